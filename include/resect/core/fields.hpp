// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <resect/core/hash.hpp>

namespace RESECT_NAMESPACE {

// How a report identifies a value that is too long to be listed: by the hash of the whole operator, or by a source that
// the report names in another place (the reference rows of a mean).
enum class listed_by : std::uint8_t { hash, source };

// A visitor of the fields of a named operator. An operator lists each value that changes its result once, in
// `fields(visitor)`; fingerprint, equality, reports and serialization are visitors of that one list. Names are literals.
class field_visitor {
 public:
  // A number; a report leaves it out where it equals `usual`.
  virtual void number(std::string_view name, double value, double usual) = 0;
  virtual void word(std::string_view name, std::string_view value) = 0;
  // The seed of an operator that draws random numbers.
  virtual void seed(std::uint64_t value) = 0;
  // A hash, an identity or a count in full.
  virtual void key(std::string_view name, std::uint64_t value, listed_by how) = 0;
  virtual void values(std::string_view name, std::span<const float> values, listed_by how) = 0;

  void number(std::string_view name, double value) { number(name, value, __builtin_nan("")); }
  void key(std::string_view name, std::uint64_t value) { key(name, value, listed_by::hash); }
  void values(std::string_view name, std::span<const float> x) { values(name, x, listed_by::hash); }

 protected:
  ~field_visitor() = default;
};

// The visitor that computes the hash of all fields in their order; names have no part in it.
class field_hash final : public field_visitor {
 public:
  using field_visitor::key, field_visitor::number, field_visitor::values;
  void number(std::string_view, double value, double) override { hash_.add(value); }
  void word(std::string_view, std::string_view value) override { hash_.add(value); }
  void seed(std::uint64_t value) override { hash_.add(value); }
  void key(std::string_view, std::uint64_t value, listed_by) override { hash_.add(value); }
  void values(std::string_view, std::span<const float> x, listed_by) override { hash_.add(x); }

  std::uint64_t value() const noexcept { return hash_.value(); }

 private:
  fingerprint hash_;
};

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
