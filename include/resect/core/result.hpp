// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <new>
#include <type_traits>
#include <utility>

#include <resect/core/error.hpp>

namespace RESECT_NAMESPACE {

// Under sanitizers, and at -O1 for aarch64, g++ wrongly warns that an absent error is read uninitialized.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

// A value or an error. Never an alias of std::expected, so that its layout does not follow -std.
// Reading the absent side is a broken precondition (checked by nothing: test `if (r)` first).
template <class T>
class [[nodiscard]] result {
 public:
  using value_type = T;

  result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(true) {
    ::new (&storage_.value) T(std::move(value));
  }
  result(const resect::error& e) noexcept : ok_(false) { ::new (&storage_.error) resect::error(e); }

  result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(other.ok_) { take(std::move(other)); }
  result(const result& other)
    requires std::is_copy_constructible_v<T>
      : ok_(other.ok_) {
    if (ok_) ::new (&storage_.value) T(other.storage_.value);
    else ::new (&storage_.error) resect::error(other.storage_.error);
  }
  result& operator=(result other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    destroy();
    if constexpr (!std::is_nothrow_move_constructible_v<T>) {  // what there is if the move throws
      ::new (&storage_.error) resect::error();
      ok_ = false;
    }
    take(std::move(other));
    ok_ = other.ok_;
    return *this;
  }
  ~result() { destroy(); }

  bool has_value() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }

  T& value() & noexcept { return storage_.value; }
  const T& value() const& noexcept { return storage_.value; }
  T&& value() && noexcept { return std::move(storage_.value); }
  T& operator*() & noexcept { return storage_.value; }
  const T& operator*() const& noexcept { return storage_.value; }
  T&& operator*() && noexcept { return std::move(storage_.value); }
  T* operator->() noexcept { return &storage_.value; }
  const T* operator->() const noexcept { return &storage_.value; }

  const resect::error& error() const noexcept { return storage_.error; }

 private:
  void take(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    if (other.ok_) ::new (&storage_.value) T(std::move(other.storage_.value));
    else ::new (&storage_.error) resect::error(other.storage_.error);
  }
  void destroy() noexcept {
    if (ok_) storage_.value.~T();
  }

  union storage {
    storage() noexcept {}
    ~storage() {}
    T value;
    resect::error error;
  } storage_;
  bool ok_;
};

// Success writes the flag alone: the memory of the error stays as it was, whatever its size.
template <>
class [[nodiscard]] result<void> {
 public:
  using value_type = void;

  result() noexcept : ok_(true) {}
  result(const resect::error& e) noexcept : ok_(false) { ::new (&storage_.error) resect::error(e); }
  result(const result& other) noexcept : ok_(other.ok_) {
    if (!ok_) ::new (&storage_.error) resect::error(other.storage_.error);
  }
  result& operator=(const result& other) noexcept {
    if (this == &other) return *this;
    ok_ = other.ok_;
    if (!ok_) ::new (&storage_.error) resect::error(other.storage_.error);
    return *this;
  }
  ~result() = default;

  bool has_value() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }
  const resect::error& error() const noexcept { return storage_.error; }

 private:
  static_assert(std::is_trivially_copyable_v<resect::error>);
  union storage {
    storage() noexcept {}
    resect::error error;
  } storage_;
  bool ok_;
};

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

// Success or an error, for functions that return no value.
using status = result<void>;

#if RESECT_EXCEPTIONS
// Returns the value of a result, or throws its error as resect::exception. Every throwing form calls it.
template <class T>
T value_or_throw(result<T>&& r) {
  if (!r) throw exception(r.error());
  return std::move(r).value();
}
inline void value_or_throw(status&& s) {
  if (!s) throw exception(s.error());
}
#endif

}  // namespace RESECT_NAMESPACE
