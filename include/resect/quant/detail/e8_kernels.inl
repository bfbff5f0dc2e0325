// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The search for the nearest magnitudes of E8 of one instruction set: e8_kernels.hpp includes this in a namespace that has
// its lanes (width, i32) and RESECT_KERNEL, the attribute that its functions carry. No lambda and no std call.

// The first pattern of the least Σ (m_i − x_i)² − Σ m_i², x its magnitudes; where the signs have to be odd in sum, one is
// turned over, the cheapest. m holds magnitudes times 2¹⁸, at most 2²⁴: everything is exact in 32 bits.
[[RESECT_KERNEL gnu::noinline]] inline int nearest_e8_pattern(const e8_lanes& table, const std::int32_t* m,
                                                              std::int32_t odd) noexcept {
  constexpr int lanes = 2 * width;
  i32 best = i32{} + 0x7fffffff, best_at = {}, at = {};
  for (int j = 0; j < lanes; ++j) at[j] = j;
  for (int p = 0; p < 256; p += lanes) {
    i32 cost, parity, least = i32{} + 0x7fffffff;
    __builtin_memcpy(&cost, table.squares + p, sizeof cost);
    __builtin_memcpy(&parity, table.parity + p, sizeof parity);
    RESECT_UNROLL(8)
    for (int i = 0; i < 8; ++i) {
      i32 x;
      __builtin_memcpy(&x, table.twice[i] + p, sizeof x);
      const i32 product = x * m[i];
      cost -= product;
      least = product < least ? product : least;
    }
    cost += (least + least) & -(parity ^ odd);
    const i32 better = cost < best;
    best = better ? cost : best;
    best_at = better ? at : best_at;
    at += lanes;
  }
  std::int32_t costs[lanes], places[lanes];
  __builtin_memcpy(costs, &best, sizeof costs);
  __builtin_memcpy(places, &best_at, sizeof places);
  int out = 0;
  for (int j = 1; j < lanes; ++j)
    if (costs[j] < costs[out] || (costs[j] == costs[out] && places[j] < places[out])) out = j;
  return places[out];
}
