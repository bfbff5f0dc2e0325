// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/array.hpp>
#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/metrics/accumulators/clustered_mean.hpp>

namespace RESECT_NAMESPACE::metrics {

// The angle between two rows divided by π: 0 equal direction, ½ orthogonal, 1 opposite. Formula: 2·atan2(|u − v|, |u
// + v|)/π with u = a/|a|, v = b/|b| in double, which keeps small angles (arccos of a cosine gives 0 or noise below
// 1e-8 rad): error ≤ 2e-16·√n + 1e-15·angle. Two zero rows: 0; one: ½. NaN for NaN, infinite elements and different
// lengths.
inline double angular_distance(std::span<const float> a, std::span<const float> b) noexcept {
  if (a.size() != b.size()) return nan;
  const double aa = dot(a, a), bb = dot(b, b);
  if (aa == 0 || bb == 0) return aa == bb ? 0.0 : aa != aa || bb != bb ? nan : 0.5;
  const double size_a = math::sqrt(aa), size_b = math::sqrt(bb);
  double apart[8] = {}, together[8] = {};
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double u = static_cast<double>(a[i]) / size_a, v = static_cast<double>(b[i]) / size_b;
    apart[i % 8] += (u - v) * (u - v);
    together[i % 8] += (u + v) * (u + v);
  }
  const std::span<const double> d{apart, 8}, s{together, 8};
  return 2 * math::atan2(math::sqrt(sum(d)), math::sqrt(sum(s))) / 3.14159265358979323846;
}

namespace detail {
struct angle_of_rows {
  static constexpr mean_range range = mean_range::nonnegative;
  static double value(double distance) noexcept { return distance; }
  static double value(std::span<const float> a, std::span<const float> b) noexcept { return angular_distance(a, b); }
};
}  // namespace detail

// The mean angular distance d(h_l, h_{l+n}) over the LAST counted row of each sequence (Gromov et al. 2024).
// for_last_rows chooses the rows; add(cluster, row, row) or add(cluster, distance).
using mean_angular_distance = clustered_mean<detail::angle_of_rows>;

// Calls take(r) for the last counted row of every sequence. `sequence` holds one id for each row, −1 for a row that
// does not count. Error: invalid argument, before any call, for a sequence whose rows are not adjacent. Cost O(rows +
// sequences²).
template <class F>
status for_last_rows(std::span<const index_t> sequence, F take) {
  const auto scan = [&](auto last_row) -> status {
    index_t previous = -1;  // row
    for (std::size_t r = 0; r < sequence.size(); ++r) {
      if (sequence[r] == -1) continue;
      if (previous >= 0 && sequence[static_cast<std::size_t>(previous)] != sequence[r])
        if (status s = last_row(previous); !s) return s;
      previous = static_cast<index_t>(r);
    }
    return previous >= 0 ? last_row(previous) : status{};
  };
  array<index_t> ended;
  status whole = scan([&](index_t r) -> status {
    const index_t id = sequence[static_cast<std::size_t>(r)];
    for (const index_t e : ended)
      if (e == id)
        return error{errc::invalid_argument, text("sequence ", id), text("split before row ", r),
                     "rows that stand together"};
    ended.push_back(id);
    return {};
  });
  if (!whole) return whole;
  return scan([&](index_t r) -> status {
    take(r);
    return {};
  });
}

}  // namespace RESECT_NAMESPACE::metrics
