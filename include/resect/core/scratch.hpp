// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include <resect/core/array.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE {

// Working memory that is kept between calls: it grows to the largest need of a call, after which calls allocate
// nothing. A stack: the memory of a scratch_frame is free again when the frame ends, and never moves before. Every
// thread needs its own.
class scratch {
 public:
  scratch() noexcept = default;
  // Room for so many bytes from the start.
  explicit scratch(index_t bytes) { blocks_.push_back(block(bytes)); }
  scratch(scratch&&) noexcept = default;
  scratch& operator=(scratch&&) noexcept = default;

  // The size of all its memory, in use or not.
  index_t capacity() const noexcept {
    index_t n = 0;
    for (const block& b : blocks_) n += b.size();
    return n;
  }

 private:
  friend class scratch_frame;
  using block = array<std::byte>;
  struct place {
    index_t block = 0, offset = 0;
  };

  std::byte* take(index_t bytes) {
    constexpr index_t grain = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
    bytes = (bytes + grain - 1) / grain * grain;
    if (top_.block == 0 && top_.offset == 0 && blocks_.size() > 1) {  // nothing is in use: one block for all
      const index_t all = capacity();
      blocks_.clear();
      blocks_.push_back(block(all));
    }
    while (top_.block < blocks_.size() && blocks_[top_.block].size() - top_.offset < bytes) top_ = {top_.block + 1, 0};
    if (top_.block == blocks_.size()) blocks_.push_back(block(bytes));
    std::byte* out = blocks_[top_.block].data() + top_.offset;
    top_.offset += bytes;
    return out;
  }

  array<block> blocks_;
  place top_;
};

// Takes memory from a scratch (from the heap without one) and frees it in its destructor. Frames end in reverse
// order.
class scratch_frame {
 public:
  explicit scratch_frame(scratch* shared) noexcept : from_(shared != nullptr ? shared : &own_), begin_(from_->top_) {}
  scratch_frame(const scratch_frame&) = delete;
  scratch_frame& operator=(const scratch_frame&) = delete;
  ~scratch_frame() { from_->top_ = begin_; }

  // n elements, whose values are unspecified.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::span<T> take(index_t n) {
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
    if (n <= 0) return {};
    return {reinterpret_cast<T*>(from_->take(n * static_cast<index_t>(sizeof(T)))), static_cast<std::size_t>(n)};
  }

 private:
  scratch own_;
  scratch* from_;
  scratch::place begin_;
};

}  // namespace RESECT_NAMESPACE
