// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <resect/core/result.hpp>
#include <resect/io/bytes.hpp>
#include <resect/metrics/intervals/estimate.hpp>

// Members of a JSON document that nobody vouches for, read with the place in every error. Needs nlohmann-json.
namespace RESECT_NAMESPACE::io {

// Numbers of JSON are exact up to this everywhere.
inline constexpr std::int64_t json_exact = std::int64_t{1} << 53;

// A member of a JSON document and where it stands. The first thing that is wrong is kept in `failure`, which all places
// of a document share; what is read after that is of no account. A member that is not there reads as null.
//   error failure;
//   const json_place root{&json, "report", failure};
//   const int bits = static_cast<int>(root["grid"]["bits"].integer(1, 32));
//   if (root.failed()) return failure;  // malformed: report.grid.bits: got '64', wanted 1 to 32
// The document and `failure` have to outlive it.
class json_place {
 public:
  using json = nlohmann::json;

  json_place(const json* value, std::string where, error& failure)
      : value_(value), where_(std::move(where)), failure_(&failure) {}

  bool failed() const noexcept { return !failure_->operand.empty(); }
  bool is_null() const noexcept { return !value_ || value_->is_null(); }
  bool is_text() const noexcept { return value_ && value_->is_string(); }
  bool is_object() const noexcept { return value_ && value_->is_object(); }
  bool has(const char* key) const { return is_object() && value_->contains(key); }
  std::string shown_value() const { return std::string(shown(value_ ? value_->dump() : "nothing").view()); }
  const json& value() const { return *value_; }

  void refuse(std::string_view got, std::string_view wanted) const {
    if (!failed()) *failure_ = error{errc::malformed, std::string_view(where_), got, wanted};
  }

  // A member of an object. That it is missing is an error.
  json_place operator[](const char* key) const {
    if (!is_object()) refuse_type("an object");
    const auto found = has(key) ? &*value_->find(key) : nullptr;
    json_place out{found, where_ + "." + key, *failure_};
    if (!found) out.refuse("'nothing'", "a value");
    return out;
  }
  std::vector<json_place> elements() const {
    std::vector<json_place> out;
    if (!value_ || !value_->is_array()) refuse_type("an array");
    else
      for (std::size_t i = 0; i < value_->size(); ++i)
        out.emplace_back(&(*value_)[i], where_ + "[" + std::to_string(i) + "]", *failure_);
    return out;
  }
  std::vector<std::pair<std::string, json_place>> members() const {
    std::vector<std::pair<std::string, json_place>> out;
    if (!is_object()) refuse_type("an object");
    else
      for (const auto& [key, one] : value_->items())
        out.emplace_back(key, json_place{&one, where_ + "." + key, *failure_});
    return out;
  }

  std::string text() const {
    if (is_text()) return value_->get<std::string>();
    refuse_type("a string");
    return {};
  }
  std::string text_or_null() const { return is_null() ? std::string() : text(); }
  bool boolean() const {
    if (value_ && value_->is_boolean()) return value_->get<bool>();
    refuse_type("true or false");
    return false;
  }
  double number() const {
    if (value_ && value_->is_number()) return value_->get<double>();
    refuse_type("a number");
    return metrics::nan;
  }
  double number_or_null() const { return is_null() ? metrics::nan : number(); }
  std::int64_t integer(std::int64_t low, std::int64_t high) const {
    if (!value_ || !value_->is_number_integer()) {
      if (value_ && value_->is_number()) refuse("'a number with a fraction'", "an integer");
      refuse_type("an integer");
      return low;
    }
    const bool large = value_->is_number_unsigned() && value_->get<std::uint64_t>() > static_cast<std::uint64_t>(high);
    const std::int64_t x = large ? high : value_->get<std::int64_t>();
    if (!large && x >= low && x <= high) return x;
    refuse(shown_value(), resect::text(low, " to ", high).view());
    return low;
  }
  // A number of things, or a seed: 0 or more, and exact.
  std::int64_t count() const { return integer(0, json_exact); }
  // An estimate of report.json: {value, se, lo, hi, n, n_clusters}, the first four null where they do not exist.
  metrics::estimate estimate() const {
    return {(*this)["value"].number_or_null(), (*this)["se"].number_or_null(), (*this)["lo"].number_or_null(),
            (*this)["hi"].number_or_null(),    (*this)["n"].count(),           (*this)["n_clusters"].count()};
  }

 private:
  void refuse_type(std::string_view wanted) const {
    refuse(shown(value_ ? value_->type_name() : "nothing").view(), wanted);
  }

  const json* value_;
  std::string where_;
  error* failure_;
};

}  // namespace RESECT_NAMESPACE::io
