// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

namespace RESECT_NAMESPACE::metrics {

// What holds the four sums of two rows.
template <class S>
concept four_sums = requires(const S& s) {
  { s.dot } -> std::convertible_to<double>;
  { s.aa } -> std::convertible_to<double>;
  { s.bb } -> std::convertible_to<double>;
  { s.dd } -> std::convertible_to<double>;
};

}  // namespace RESECT_NAMESPACE::metrics
