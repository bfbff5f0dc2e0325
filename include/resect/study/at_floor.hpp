// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/metrics/intervals/estimate.hpp>

// Effects that rounding alone could give; floor.hpp measures the floor.
namespace RESECT_NAMESPACE::study {

// Whether a mean KL cannot be distinguished from the floor: the lower end of its interval (its value, without an
// interval) is below 3 times the floor. No KL is at a floor of 0.
template <class = void>
bool is_at_floor(const metrics::estimate& kl, double floor) noexcept {
  return floor > 0 && (kl.has_interval() ? kl.lo : kl.value) < 3 * floor;
}

}  // namespace RESECT_NAMESPACE::study
