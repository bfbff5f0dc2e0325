// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <resect/config.hpp>

namespace RESECT_NAMESPACE {

// The parameters of an operator or a method as reports list them: numbers and words under names. At most 8; further ones
// are dropped, so nothing but a report may depend on them. Names and words are literals, kept by reference.
class field_list {
 public:
  struct field {
    std::string_view name;
    double number = 0;
    std::string_view word = {};  // replaces the number where it is not empty
  };

  field_list& add(std::string_view name, double number) noexcept { return add(field{name, number}); }
  field_list& add(std::string_view name, std::string_view word) noexcept { return add(field{name, 0, word}); }
  // Declares that id and fields (with the layers, matrix and seed of a step) distinguish the operator from every
  // other, so that a report need not show its hash.
  field_list& complete() noexcept {
    complete_ = true;
    return *this;
  }

  // Withdraws `complete`: a part of the operator is shown by no field.
  field_list& incomplete() noexcept {
    complete_ = false;
    return *this;
  }

  bool is_complete() const noexcept { return complete_; }
  const field* begin() const noexcept { return fields_; }
  const field* end() const noexcept { return fields_ + size_; }

 private:
  static constexpr int most = 8;
  field_list& add(const field& f) noexcept {
    if (size_ < most) fields_[size_++] = f;
    return *this;
  }
  field fields_[most] = {};
  int size_ = 0;
  bool complete_ = false;
};

}  // namespace RESECT_NAMESPACE
