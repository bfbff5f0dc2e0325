// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <resect/core/text.hpp>

#if RESECT_EXCEPTIONS
#include <exception>
#endif

namespace RESECT_NAMESPACE {

// The kind of an error, for programs; error::message is the text for people.
enum class errc : std::uint8_t {
  invalid_argument,  // a value outside its allowed set
  shape_mismatch,    // extents that do not fit each other
  bad_stride,        // overlapping or negative strides where they are not allowed
  null_pointer,      // null data with a non-empty extent
  not_finite,        // NaN or infinity in an operand
  conflict,          // a plan whose parts contradict each other
  stale_cache,       // a cache built under another plan
  unsupported,       // the host or the backend cannot do this
  malformed,         // bytes that break the format
  io,                // a file that cannot be read or written
  out_of_memory,
};

// The kind of an error in words, the begin of a message: "invalid argument".
constexpr std::string_view name(errc code) noexcept {
  switch (code) {
    case errc::invalid_argument: return "invalid argument";
    case errc::shape_mismatch: return "shape mismatch";
    case errc::bad_stride: return "bad stride";
    case errc::null_pointer: return "null pointer";
    case errc::not_finite: return "not finite";
    case errc::conflict: return "conflict";
    case errc::stale_cache: return "stale cache";
    case errc::unsupported: return "unsupported";
    case errc::malformed: return "malformed";
    case errc::io: return "i/o";
    case errc::out_of_memory: return "out of memory";
  }
  return "unknown";
}

// An error: its kind, the operand, what it was (`got`) and what was needed (`wanted`). It holds its texts itself.
struct error {
  errc code = errc::invalid_argument;
  short_text<120> operand;
  short_text<120> got;
  short_text<120> wanted;

  // The same error, its operand as a part of what `whole` names: "W of layer 3: row 2".
  error within(std::string_view whole) const noexcept {
    error e = *this;
    e.operand = operand.empty() ? text(whole) : text(whole, ": ", operand.view());
    return e;
  }

  // One line, for people.
  short_text<420> message() const noexcept {
    short_text<420> out{name(code)};
    if (!operand.empty()) out.append(": ").append(operand.view());
    if (!got.empty()) out.append(": got ").append(got.view());
    if (!wanted.empty()) out.append(", wanted ").append(wanted.view());
    return out;
  }
};

#if RESECT_EXCEPTIONS
// The exception that the throwing forms throw.
class exception : public std::exception {
 public:
  explicit exception(const resect::error& e) noexcept : error_(e), message_(e.message()) {}
  const char* what() const noexcept override { return message_.c_str(); }
  const resect::error& error() const noexcept { return error_; }

 private:
  resect::error error_;
  short_text<420> message_;
};
#endif

}  // namespace RESECT_NAMESPACE
