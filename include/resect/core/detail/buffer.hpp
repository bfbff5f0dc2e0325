// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <new>
#include <span>
#include <utility>

#include <resect/config.hpp>

// Owned memory for headers that everyone includes: of a std::vector each element type costs the compiler some 10 ms as soon
// as a function that is no template uses it, of a buffer less than one.
namespace RESECT_NAMESPACE::detail {

// The part of std::vector that resect's own code uses, with its meaning. Grows by doubling. Throws std::bad_alloc and what
// an element's copy throws.
template <class T>
class buffer {
  static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

 public:
  buffer() noexcept = default;
  explicit buffer(std::size_t n) : buffer() { resize(n); }
  buffer(const buffer& other) : buffer() { assign(other.data_, other.size_); }
  buffer(buffer&& other) noexcept { swap(other); }
  // What throws leaves this as it was.
  buffer& operator=(const buffer& other) {
    if (this == &other) return *this;
    if (noexcept(T(*data_)) && other.size_ <= room_) {
      assign(other.data_, other.size_);
    } else {
      buffer copy(other);
      swap(copy);
    }
    return *this;
  }
  buffer& operator=(buffer&& other) noexcept {
    buffer old;
    old.swap(*this);
    swap(other);
    return *this;
  }
  ~buffer() {
    clear();
    ::operator delete(data_);
  }

  void swap(buffer& other) noexcept {
    T* const data = data_;
    const std::size_t size = size_, room = room_;
    data_ = other.data_;
    size_ = other.size_;
    room_ = other.room_;
    other.data_ = data;
    other.size_ = size;
    other.room_ = room;
  }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  T* begin() noexcept { return data_; }
  const T* begin() const noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* end() const noexcept { return data_ + size_; }
  std::span<T> span() noexcept { return {data_, size_}; }  // a conversion would go through the concepts of ranges
  std::span<const T> span() const noexcept { return {data_, size_}; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  T& back() noexcept { return data_[size_ - 1]; }

  void reserve(std::size_t n) {
    if (n <= room_) return;
    constexpr std::size_t most = static_cast<std::size_t>(-1);
    T* const moved =
        static_cast<T*>(::operator new(n <= most / sizeof(T) ? n * sizeof(T) : most));  // which there never is
    for (std::size_t i = 0; i < size_; ++i) {
      static_assert(noexcept(T(std::move(data_[i]))));
      ::new (static_cast<void*>(moved + i)) T(std::move(data_[i]));
      data_[i].~T();
    }
    ::operator delete(data_);
    data_ = moved;
    room_ = n;
  }
  // New elements are T().
  void resize(std::size_t n) {
    static_assert(noexcept(T()));
    if (n > room_) reserve(n < 2 * size_ ? 2 * size_ : n);
    while (size_ > n) pop_back();
    T* const at = data_;
    for (std::size_t i = size_; i < n; ++i) ::new (static_cast<void*>(at + i)) T();
    size_ = n;
  }
  void push_back(T value) {
    if (size_ == room_) reserve(2 * size_ + 1);
    ::new (static_cast<void*>(data_ + size_)) T(std::move(value));
    ++size_;
  }
  void pop_back() noexcept { data_[--size_].~T(); }
  void clear() noexcept {
    for (std::size_t i = 0; i < size_; ++i) data_[i].~T();
    size_ = 0;
  }
  // n copies of elements that are not this buffer's own. Where one throws, those before it stay.
  void assign(const T* from, std::size_t n) {
    clear();
    reserve(n);
    T* const at = data_;
    for (std::size_t i = 0; i < n; ++i) {
      ::new (static_cast<void*>(at + i)) T(from[i]);
      if constexpr (!noexcept(T(*from))) size_ = i + 1;
    }
    size_ = n;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0, room_ = 0;
};

}  // namespace RESECT_NAMESPACE::detail
