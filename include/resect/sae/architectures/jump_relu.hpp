// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/core/algorithm.hpp>
#include <resect/sae/architecture.hpp>

namespace RESECT_NAMESPACE::sae {

// f_j = h_j·1[h_j > θ_j], θ_j ≥ 0 a parameter of each latent, kept as it is (a logarithm under Adam hardly moves). A step
// minimises FVU + λ·L̄0, L̄0 the mean number of kept latents a row, with straight-through gradients, K(u) = 1[|u| < ½]:
//   ∂f_j/∂h_j = 1[h_j > θ_j],   ∂f_j/∂θ_j = −(θ_j/ε)·K((h_j − θ_j)/ε),   ∂1[h_j > θ_j]/∂θ_j = −(1/ε)·K((h_j − θ_j)/ε).
// λ is found on the way: after a step λ ← λ·exp(gain·clamp(L̄0/latents − 1, ±1)), so L̄0 settles where it is asked for and
// no sweep over λ is needed.
// Source: Rajamanoharan et al., "Jumping ahead: JumpReLU sparse autoencoders" (2024), eq. 9–12.
struct jump_relu {
  static constexpr std::string_view name = "jump_relu";
  static constexpr bool has_threshold = true;
  double latents = 32;     // L̄0 that is asked for
  double bandwidth = 0.5;  // ε, of rows scaled to variance 1 an element
  double penalty = 1e-3;   // λ of the first step
  double gain = 0.01;

  status check(index_t available) const {
    if (!(latents > 0 && latents <= static_cast<double>(available)))
      return error{errc::invalid_argument, "latents a row", text(latents), text("above 0, at most ", available)};
    if (!(bandwidth > 0) || !(penalty > 0) || !(gain >= 0))
      return error{errc::invalid_argument, "options of jump_relu",
                   text("bandwidth ", bandwidth, ", penalty ", penalty, ", gain ", gain), "above 0; gain at least 0"};
    return {};
  }
  template <class T>
  void select(const latent_range<T>& range, const T* threshold, const step_context&, row_entries<T>& out) const {
    const T half = static_cast<T>(0.5 * bandwidth);
    for (index_t i = 0; i < range.size(); ++i) {
      const T s = range.score[static_cast<std::size_t>(i)], at = algo::max(threshold[range.first + i], T{0});
      if (!(s > at - half)) continue;
      const bool kept = s > at && s > 0;
      if (!kept && !(s < at + half)) continue;
      out.push_back(range.at(i));
      if (!kept) out.back().value = 0;
    }
  }
  template <class T>
  void finish(row_entries<T>&) const noexcept {}
  template <class T>
  double select_batch(std::span<row_entries<T>>, const step_context&) const noexcept {
    return 0;
  }
  template <class T>
  entry_gradient<T> pull_back(const entry<T>& e, T threshold, T df, const step_context& ctx) const noexcept {
    const T at = algo::max(threshold, T{0}), gap = e.score - at;
    const T inside = gap < static_cast<T>(0.5 * bandwidth) && -gap < static_cast<T>(0.5 * bandwidth) ? T{1} : T{0};
    const T l0 = static_cast<T>(ctx.penalty / static_cast<double>(ctx.rows));
    return {e.value != 0 ? df : T{0}, -inside / static_cast<T>(bandwidth) * (at * df + l0)};
  }
  double first_penalty() const noexcept { return penalty; }
  double adapt(double now, double mean_latents) const noexcept {
    return now * std::exp(gain * algo::clamp(mean_latents / latents - 1, -1.0, 1.0));
  }
};

}  // namespace RESECT_NAMESPACE::sae
