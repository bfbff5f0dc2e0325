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

#include <resect/core/result.hpp>
#include <resect/io/bytes.hpp>

// JSON from bytes that nobody vouches for. Needs nlohmann-json.
namespace RESECT_NAMESPACE::io {
namespace detail {

// Takes the events of nlohmann-json's parser and accepts what is not too deep and has no key twice.
class json_guard {
 public:
  using json = nlohmann::json;

  explicit json_guard(std::string_view operand) : operand_(operand) {}
  const error& failure() const noexcept { return failure_; }

  bool start_object(std::size_t) { return enter(); }
  bool start_array(std::size_t) { return enter(); }
  bool end_object() { return leave(); }
  bool end_array() { return leave(); }
  bool key(std::string& name) {
    if (keys_.back().insert(name).second) return true;
    return fail(text("a second key ", shown(name).view()), "keys that differ");
  }
  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(std::int64_t) { return true; }
  bool number_unsigned(std::uint64_t) { return true; }
  bool number_float(double, const std::string&) { return true; }
  bool string(std::string&) { return true; }
  bool binary(json::binary_t&) { return true; }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) {
    return fail(text("a JSON error at byte ", position), "JSON in UTF-8");
  }

 private:
  bool enter() {
    constexpr std::size_t deepest = 32;
    if (keys_.size() == deepest) return fail("deeper nesting", text("at most ", deepest, " levels"));
    keys_.emplace_back();
    return true;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }
  bool fail(short_text<120> got, short_text<120> wanted) {
    failure_ = error{errc::malformed, operand_, got, wanted};
    return false;
  }

  short_text<120> operand_;
  std::vector<std::unordered_set<std::string>> keys_;
  error failure_;
};

}  // namespace detail

// A JSON object, as nlohmann-json holds it. Errors call the text `operand`.
//   const auto config = io::try_parse_json(io::as_text(bytes), "config.json");
// Errors: malformed (more than 4 MiB, a NUL byte, no JSON in UTF-8, objects and arrays nested more than 32 deep, a key
// that an object has twice, another value than an object).
// Cost: linear in the text, which is parsed twice.
inline result<nlohmann::json> try_parse_json(std::string_view bytes, std::string_view operand) {
  constexpr std::size_t largest = 4u << 20;
  if (bytes.size() > largest)
    return error{errc::malformed, operand, text(bytes.size(), " bytes"), text("at most ", largest)};
  if (const std::size_t nul = bytes.find('\0'); nul != bytes.npos)  // where the JSON parser would stop
    return error{errc::malformed, operand, text("a NUL byte at ", nul), "JSON in UTF-8"};
  detail::json_guard guard{operand};
  if (!nlohmann::json::sax_parse(bytes.begin(), bytes.end(), &guard)) return guard.failure();
  auto parsed = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, false);
  if (!parsed.is_object()) return error{errc::malformed, operand, parsed.type_name(), "an object"};
  return result<nlohmann::json>{std::move(parsed)};
}

#if RESECT_EXCEPTIONS
inline nlohmann::json parse_json(std::string_view bytes, std::string_view operand) {
  return value_or_throw(try_parse_json(bytes, operand));
}
#endif

}  // namespace RESECT_NAMESPACE::io
