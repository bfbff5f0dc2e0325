// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>

#include <resect/core/math.hpp>
#include <resect/core/result.hpp>
#include <resect/core/types.hpp>
#include <resect/random/distributions.hpp>

namespace RESECT_NAMESPACE::metrics {

// Options of a bootstrap: seed, number of replicates, level of the interval.
struct bootstrap_options {
  std::uint64_t seed = 0;
  index_t resamples = 2000;
  double level = 0.95;
};

namespace detail {

// Draw d of replicate b, out of `draws` draws a replicate from 0 … n−1: a pure function of (stream, b, d), so
// replicates may be made in any order on any worker, and the same streams pair several statistics.
inline index_t resampled(const random::philox_stream& stream, index_t replicate, index_t draw, index_t draws,
                         index_t n) noexcept {
  return static_cast<index_t>(random::integer_below(stream, static_cast<std::uint64_t>(replicate * draws + draw),
                                                    static_cast<std::uint64_t>(n)));
}

// Draws a replicate of times.size() clusters: times[c] is the number of times that it contains cluster c.
inline void resample_counts(const random::philox_stream& stream, index_t replicate, std::span<index_t> times) noexcept {
  const index_t g = static_cast<index_t>(times.size());
  for (index_t& t : times) t = 0;
  for (index_t d = 0; d < g; ++d) ++times[static_cast<std::size_t>(resampled(stream, replicate, d, g, g))];
}

// The rank k = ⌈share·n⌉ of a quantile among n sorted replicates, 1 … n. share·n is reduced by a tiny amount first,
// so that the rounding of a share such as 0.025 does not raise a whole product to the next rank.
inline index_t replicate_at(double share, index_t n) noexcept {
  const double k = math::ceil(share * static_cast<double>(n) - 1e-6);
  return k < 1 ? 1 : k > static_cast<double>(n) ? n : static_cast<index_t>(k);
}

inline status check_resampling(index_t resamples, double level) noexcept {
  if (resamples < 1) return error{errc::invalid_argument, "resamples", text(resamples), "at least 1"};
  if (!(level > 0 && level < 1)) return error{errc::invalid_argument, "level", text(level), "between 0 and 1"};
  return {};
}

}  // namespace detail

}  // namespace RESECT_NAMESPACE::metrics
