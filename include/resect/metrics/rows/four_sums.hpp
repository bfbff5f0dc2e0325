// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

namespace RESECT_NAMESPACE::metrics {

// A type that holds the four sums of two rows: ⟨a, b⟩, |a|², |b|², |a − b|².
template <class S>
concept four_sums = requires(const S& s) {
  { s.dot } -> std::convertible_to<double>;
  { s.aa } -> std::convertible_to<double>;
  { s.bb } -> std::convertible_to<double>;
  { s.dd } -> std::convertible_to<double>;
};

}  // namespace RESECT_NAMESPACE::metrics
