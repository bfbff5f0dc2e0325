// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include <resect/quant/grid.hpp>

// A user's own grid of sixteen weights a code, with a state: a trellis whose state is the last four bits.
namespace tests {

class run_grid {
 public:
  static constexpr resect::quant::grid_shape shape{1, 16};
  static constexpr std::string_view name = "run";
  using code = std::uint32_t;  // bits 0–3 the state before the first weight, then a bit a weight
  using parameters = resect::quant::scale_parameters;

  run_grid() {
    for (int s = 0; s < 16; ++s) value_[s] = static_cast<float>((s * 11 + 4) % 16) * 0.3f - 2.25f;
  }
  int code_bits() const noexcept { return 20; }
  parameters fit(std::span<const float> weights, std::span<const float>) const noexcept {
    double sum = 0;
    for (const float w : weights) sum += double{w} * double{w};
    return {weights.empty() ? 0.0f : static_cast<float>(resect::sqrt_rn(sum / static_cast<double>(weights.size())))};
  }
  parameters scaled(const parameters& p, double ratio) const noexcept { return {static_cast<float>(p.scale * ratio)}; }
  // The best of all 2²⁰ paths (Viterbi).
  code encode(std::span<const float> in, const parameters& p) const noexcept {
    double cost[16] = {}, next[16];
    code path[16], longer[16];
    for (unsigned s = 0; s < 16; ++s) path[s] = s;
    for (unsigned i = 0; i < 16; ++i) {
      for (double& n : next) n = std::numeric_limits<double>::infinity();
      for (unsigned s = 0; s < 16; ++s)
        for (unsigned bit = 0; bit < 2; ++bit) {
          const unsigned to = (s << 1 | bit) & 15u;
          const double e = double{in[i]} - double{p.scale * value_[to]}, c = cost[s] + e * e;
          if (!(c < next[to])) continue;
          next[to] = c;
          longer[to] = path[s] | bit << (4 + i);
        }
      for (unsigned s = 0; s < 16; ++s) {
        cost[s] = next[s];
        path[s] = longer[s];
      }
    }
    unsigned best = 0;
    for (unsigned s = 1; s < 16; ++s)
      if (cost[s] < cost[best]) best = s;
    return path[best];
  }
  void decode(code c, const parameters& p, std::span<float> out) const noexcept {
    unsigned state = c & 15u;
    for (unsigned i = 0; i < 16; ++i) {
      state = (state << 1 | (c >> (4 + i) & 1u)) & 15u;
      out[i] = p.scale * value_[state];
    }
  }

 private:
  float value_[16];
};
static_assert(resect::quant::grid<run_grid> && !resect::quant::scalar_grid<run_grid>);

}  // namespace tests
