// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <new>
#include <span>
#include <utility>

#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE {

namespace detail {
// Allocates memory for n elements; for a negative n allocation fails: no machine has that much memory. It is a call
// of its own because g++ 12, if it inlines it, warns of sizes that no caller passes.
[[gnu::noinline]] inline void* allocate(index_t n, std::size_t size) {
  constexpr std::size_t most = static_cast<std::size_t>(-1);
  const auto count = static_cast<std::size_t>(n);
  return ::operator new(count <= most / size ? count * size : most);
}
}  // namespace detail

// Owned elements in one memory space: a value with signed sizes and indices. Only the array in host memory is defined
// here; an array in another space comes with the backend of that space, and is an incomplete type without its header.
template <class T, class Space = host_space>
class array;

// The part of std::vector that resect uses, with its meaning; it grows by doubling. (std::vector costs about 10 ms of
// compile time for each element type that a non-template function uses, array under 1 ms.)
// Errors: std::bad_alloc, also for sizes that are negative or too large; what an element's copy throws. Indices are not
// checked.
template <class T>
class array<T, host_space> {
  static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

 public:
  using value_type = T;
  using space = host_space;

  array() noexcept = default;
  // n elements T().
  explicit array(index_t n) : array() { resize(n); }
  // n copies of a value.
  array(index_t n, const T& value) : array() { assign(n, value); }
  array(std::initializer_list<T> values) : array() { assign(values.begin(), static_cast<index_t>(values.size())); }
  // Copies of the elements of a span, or of a std::vector. (Templates, so that copying an array asks no concept of
  // ranges whether it is a span: 20 ms for each T.)
  template <class U, std::size_t Extent>
    requires std::same_as<U, T> || std::same_as<U, const T>
  explicit array(std::span<U, Extent> values) : array() {
    assign(values.data(), static_cast<index_t>(values.size()));
  }
  template <template <class...> class Container, class Allocator>
  array(const Container<T, Allocator>& values) : array() {
    assign(values.data(), static_cast<index_t>(values.size()));
  }
  array(const array& other) : array() { assign(other.data_, other.size_); }
  array(array&& other) noexcept { swap(other); }
  // Where a copy throws, this stays as it was.
  array& operator=(const array& other) {
    if (this == &other) return *this;
    if (noexcept(T(*data_)) && other.size_ <= room_) {
      assign(other.data_, other.size_);
    } else {
      array copy(other);
      swap(copy);
    }
    return *this;
  }
  array& operator=(array&& other) noexcept {
    array old;
    old.swap(*this);
    swap(other);
    return *this;
  }
  ~array() {
    clear();
    ::operator delete(data_);
  }

  void swap(array& other) noexcept {
    T* const data = data_;
    const index_t size = size_, room = room_;
    data_ = other.data_;
    size_ = other.size_;
    room_ = other.room_;
    other.data_ = data;
    other.size_ = size;
    other.room_ = room;
  }
  friend void swap(array& a, array& b) noexcept { a.swap(b); }

  index_t size() const noexcept { return size_; }
  index_t capacity() const noexcept { return room_; }
  bool empty() const noexcept { return size_ == 0; }
  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  T* begin() noexcept { return data_; }
  const T* begin() const noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* end() const noexcept { return data_ + size_; }
  // A conversion would go through the concepts of ranges.
  std::span<T> span() noexcept { return {data_, static_cast<std::size_t>(size_)}; }
  std::span<const T> span() const noexcept { return {data_, static_cast<std::size_t>(size_)}; }
  T& operator[](index_t i) noexcept { return data_[i]; }
  const T& operator[](index_t i) const noexcept { return data_[i]; }
  T& front() noexcept { return data_[0]; }
  const T& front() const noexcept { return data_[0]; }
  T& back() noexcept { return data_[size_ - 1]; }
  const T& back() const noexcept { return data_[size_ - 1]; }

  void reserve(index_t n) {
    if (n >= 0 && n <= room_) return;
    T* const moved = static_cast<T*>(detail::allocate(n, sizeof(T)));
    for (index_t i = 0; i < size_; ++i) {
      static_assert(noexcept(T(std::move(data_[i]))));
      ::new (static_cast<void*>(moved + i)) T(std::move(data_[i]));
      data_[i].~T();
    }
    ::operator delete(data_);
    data_ = moved;
    room_ = n;
  }
  // New elements are T().
  void resize(index_t n) {
    static_assert(noexcept(T()));
    if (n < 0 || n > room_) reserve(n >= 0 && n < 2 * size_ ? 2 * size_ : n);
    while (size_ > n) pop_back();
    T* const at = data_;
    for (index_t i = size_; i < n; ++i) ::new (static_cast<void*>(at + i)) T();
    size_ = n;
  }
  void push_back(T value) {
    if (size_ == room_) reserve(2 * size_ + 1);
    ::new (static_cast<void*>(data_ + size_)) T(std::move(value));
    ++size_;
  }
  void pop_back() noexcept { data_[--size_].~T(); }
  void clear() noexcept {
    for (index_t i = 0; i < size_; ++i) data_[i].~T();
    size_ = 0;
  }
  // n copies of elements that are not this array's own. Where a copy throws, the elements before it stay.
  void assign(const T* from, index_t n) {
    clear();
    reserve(n);
    T* const at = data_;
    for (index_t i = 0; i < n; ++i) {
      ::new (static_cast<void*>(at + i)) T(from[i]);
      if constexpr (!noexcept(T(*from))) size_ = i + 1;
    }
    size_ = n;
  }
  void assign(std::span<const T> from) { assign(from.data(), static_cast<index_t>(from.size())); }
  // n copies of a value that is not an element of this array.
  void assign(index_t n, const T& value) {
    clear();
    reserve(n);
    while (size_ < n) push_back(value);
  }

  friend bool operator==(const array& a, const array& b)
    requires requires(const T& x) { static_cast<bool>(x == x); }
  {
    if (a.size_ != b.size_) return false;
    for (index_t i = 0; i < a.size_; ++i)
      if (!(a.data_[i] == b.data_[i])) return false;
    return true;
  }

 private:
  T* data_ = nullptr;
  index_t size_ = 0, room_ = 0;
};

}  // namespace RESECT_NAMESPACE
