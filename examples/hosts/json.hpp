// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <hosts/bytes.hpp>
#include <hosts/mapped_file.hpp>
#include <resect/core/result.hpp>

namespace hosts {
namespace detail {

// Takes the events of nlohmann-json's parser and accepts what is not too deep and has no key twice.
class json_guard {
 public:
  using json = nlohmann::json;

  explicit json_guard(std::string_view operand) : operand_(operand) {}
  const resect::error& failure() const noexcept { return failure_; }

  bool start_object(std::size_t) { return enter(); }
  bool start_array(std::size_t) { return enter(); }
  bool end_object() { return leave(); }
  bool end_array() { return leave(); }
  bool key(std::string& text) {
    if (keys_.back().insert(text).second) return true;
    return fail(resect::text("a second key ", shown(text).view()), "keys that differ");
  }
  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(std::int64_t) { return true; }
  bool number_unsigned(std::uint64_t) { return true; }
  bool number_float(double, const std::string&) { return true; }
  bool string(std::string&) { return true; }
  bool binary(json::binary_t&) { return true; }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) {
    return fail(resect::text("a JSON error at byte ", position), "JSON in UTF-8");
  }

 private:
  bool enter() {
    constexpr std::size_t deepest = 32;
    if (keys_.size() == deepest) return fail("deeper nesting", resect::text("at most ", deepest, " levels"));
    keys_.emplace_back();
    return true;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }
  bool fail(resect::short_text<120> got, resect::short_text<120> wanted) {
    failure_ = resect::error{resect::errc::malformed, operand_, got, wanted};
    return false;
  }

  resect::short_text<120> operand_;
  std::vector<std::unordered_set<std::string>> keys_;
  resect::error failure_;
};

}  // namespace detail

// A JSON object from bytes that nobody vouches for.
// @param operand  what errors call it
inline resect::result<nlohmann::json> try_parse_json(std::string_view bytes, std::string_view operand) {
  constexpr std::size_t largest = 4u << 20;
  if (bytes.size() > largest)
    return resect::error{resect::errc::malformed, operand, resect::text(bytes.size(), " bytes"),
                         resect::text("at most ", largest)};
  if (const std::size_t nul = bytes.find('\0'); nul != bytes.npos)  // where the JSON parser would stop
    return resect::error{resect::errc::malformed, operand, resect::text("a NUL byte at ", nul), "JSON in UTF-8"};
  detail::json_guard guard{operand};
  if (!nlohmann::json::sax_parse(bytes.begin(), bytes.end(), &guard)) return guard.failure();
  auto parsed = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, false);
  if (!parsed.is_object()) return resect::error{resect::errc::malformed, operand, parsed.type_name(), "an object"};
  return resect::result<nlohmann::json>{std::move(parsed)};
}

// The same from a file.
inline resect::result<nlohmann::json> try_read_json(const std::string& path) {
  auto file = mapped_file::try_open(path);
  if (!file) return file.error();
  return try_parse_json(as_text(file->bytes()), shown_path(path).view());
}

}  // namespace hosts
