// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

#include <resect/model/host.hpp>
#include <resect/study/effect.hpp>

namespace RESECT_NAMESPACE::study::detail {

inline bool is_zero(matrix_view<const float> h) noexcept {
  for (index_t r = 0; r < h.rows; ++r)
    for (index_t c = 0; c < h.cols; ++c)
      if (std::bit_cast<std::uint32_t>(h(r, c)) != 0) return false;
  return true;
}

// Runs that have lost their stream. Once every element is +0 nothing is left of what the run was, so a second run
// that is at zero before the same layer ends as the first one did, and need not go on. (In a model without biases all
// runs of zero_stream are one; in another each goes its way, and none is cut short.)
class lost_streams {
 public:
  // Layers [first, n) and then effect(state) → result<effect_sums>; or, where an earlier run passed the same state,
  // what that run gave.
  template <model::surgical_host H, class Effect>
  result<effect_sums> finish(H& host, typename H::state& state, int first, Effect effect) {
    const int n = host.describe().n_layers;
    std::vector<bool> zero(static_cast<std::size_t>(n) + 1, false);
    for (int l = first; l <= n; ++l) {
      const auto at = static_cast<std::size_t>(l);
      zero[at] = is_zero(host.stream(state));
      if (zero[at] && sums_ && zero_[at]) return *sums_;
      if (l == n) break;
      if (auto s = host.try_run(state, l, l + 1, model::no_hooks<float>()); !s) return s.error();
    }
    auto sums = effect(state);
    if (sums && !sums_) {
      sums_ = *sums;
      zero_ = std::move(zero);
    }
    return sums;
  }

 private:
  std::optional<effect_sums> sums_;  // of the first run, and where it was at zero
  std::vector<bool> zero_;
};

}  // namespace RESECT_NAMESPACE::study::detail
