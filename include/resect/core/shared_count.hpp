// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/config.hpp>

namespace RESECT_NAMESPACE {

// An atomic counter. (<atomic> costs a tenth of a second to include, a fifth of what including all of resect may
// take.)
class shared_count {
 public:
  explicit shared_count(std::int64_t n = 0) noexcept : n_(n) {}
  shared_count(const shared_count&) = delete;
  shared_count& operator=(const shared_count&) = delete;

  // Adds without an order among threads: exact once they are done.
  void add(std::int64_t n = 1) noexcept { __atomic_fetch_add(&n_, n, __ATOMIC_RELAXED); }
  // Decrements and returns the new value. Acquire-release: the thread that gets 0 sees all earlier writes of the
  // others.
  std::int64_t take_one() noexcept { return __atomic_sub_fetch(&n_, 1, __ATOMIC_ACQ_REL); }
  std::int64_t load() const noexcept { return __atomic_load_n(&n_, __ATOMIC_RELAXED); }
  operator std::int64_t() const noexcept { return load(); }

 private:
  std::int64_t n_;
};

}  // namespace RESECT_NAMESPACE
