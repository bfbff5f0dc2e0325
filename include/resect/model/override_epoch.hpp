// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/hash.hpp>

namespace RESECT_NAMESPACE::model {

// The epoch of a host's weights: a number that changes when an override of a weight begins, and is what it was before when
// the override ends, in whatever order overrides end. A host with such a member returns it as weights_epoch().
class override_epoch {
 public:
  std::uint64_t value() const noexcept { return value_; }
  // Begins an override; the returned tag ends it.
  std::uint64_t begin() noexcept {
    const std::uint64_t tag = fingerprint{}.add(++begun_).value();
    value_ ^= tag;
    return tag;
  }
  void end(std::uint64_t tag) noexcept { value_ ^= tag; }

 private:
  std::uint64_t value_ = 0, begun_ = 0;
};

}  // namespace RESECT_NAMESPACE::model
