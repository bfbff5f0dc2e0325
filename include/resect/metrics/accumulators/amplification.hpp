// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/metrics/accumulators/explained_variance.hpp>

namespace RESECT_NAMESPACE::metrics {

// How much an error has grown from one layer to a later one: A = FVU there / FVU at the splice, both over the same rows,
// FVU = Σ‖x − x̂‖²/Σ‖x − x̄‖². The interval is exp of that of ln A (delta method on the four totals, clusters paired).
// No value where an FVU is 0 or a side has no variance; errors: shape_mismatch where the clusters differ in number or in
// rows. Cost O(G·d).
inline result<estimate> try_amplification(const explained_variance& there, const explained_variance& splice,
                                          double level = 0.95) {
  if (there.clusters() != splice.clusters())
    return error{errc::shape_mismatch, "clusters of the later layer", text(there.clusters()), text(splice.clusters())};
  const auto a = there.sums(), b = splice.sums();
  joint_sums<4> both(a.clusters());
  for (index_t c = 0; c < a.clusters(); ++c) {
    if (a.count(c) != b.count(c))
      return error{errc::shape_mismatch, text("rows of cluster ", c, " at the later layer"), text(a.count(c)),
                   text(b.count(c))};
    if (a.count(c) > 0) both.add_sums(c, {a.sum(c, 0), a.sum(c, 1), b.sum(c, 0), b.sum(c, 1)}, a.count(c));
  }
  return map_exp(both.estimate(
      [](const double(&t)[4], double(&gradient)[4]) {
        double out = 0;
        for (int k = 0; k < 4; ++k) {
          if (!(t[k] > 0)) return nan;
          const double sign = k == 0 || k == 3 ? 1 : -1;
          out += sign * math::log(t[k]);
          gradient[k] = sign / t[k];
        }
        return out;
      },
      level));
}

}  // namespace RESECT_NAMESPACE::metrics
