// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <span>

#include <resect/core/matrix.hpp>
#include <resect/quant/format.hpp>
#include <resect/random/distributions.hpp>

// Weights, second moments and a grid of a test's own, for rules that round with feedback.
namespace tests {

using resect::index_t;
using resect::matrix;

inline matrix<float> gaussian_weights(index_t rows, index_t cols, std::uint64_t seed) {
  matrix<float> w(rows, cols);
  resect::random::fill_gaussian(w.data.span(), seed, 0, 0, 0.1);
  return w;
}

// (1/N)·Σ x·xᵀ of `rows` rows whose neighbouring columns go together; scales of columns differ by `spread`.
inline matrix<double> second_moment(index_t n, index_t rows, std::uint64_t seed, double spread = 10) {
  matrix<double> x(rows, n), h(n, n);
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < n; ++c) {
      const double fresh = resect::random::gaussian(seed, 1, static_cast<std::uint64_t>(r * n + c));
      x(r, c) = fresh + (c > 0 ? 0.8 * x(r, c - 1) : 0.0);
    }
  for (index_t c = 0; c < n; ++c) {
    const double scale = std::pow(spread, static_cast<double>(c * 7 % n) / static_cast<double>(n) - 0.5);
    for (index_t r = 0; r < rows; ++r) x(r, c) *= scale;
  }
  for (index_t r = 0; r < rows; ++r)
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) h(i, j) += x(r, i) * x(r, j) / static_cast<double>(rows);
  return h;
}

// Runs of 16 weights at two bits each whose levels depend on the bits before: state ← the last two digits, a level a
// state. The best path is found over all states, so a code is the nearest.
struct run_grid {
  static constexpr resect::quant::grid_shape shape{1, 16};
  static constexpr std::string_view name = "test run";
  using code = std::uint32_t;
  using parameters = resect::quant::scale_parameters;

  float levels[16] = {-1.9f, -0.6f, 0.2f, 1.1f, -1.2f, -0.3f, 0.5f, 1.6f,
                      -1.5f, -0.1f, 0.7f, 2.1f, -0.9f, 0.0f,  0.9f, 1.3f};

  static constexpr int code_bits() noexcept { return 32; }
  static parameters fit(std::span<const float> w, std::span<const float>) noexcept {
    double squares = 0;
    for (const float x : w) squares += static_cast<double>(x) * static_cast<double>(x);
    return {static_cast<float>(w.empty() ? 0.0 : std::sqrt(squares / static_cast<double>(w.size())))};
  }
  static parameters scaled(const parameters& p, double ratio) noexcept {
    return {static_cast<float>(static_cast<double>(p.scale) * ratio)};
  }
  code encode(std::span<const float> in, const parameters& p) const noexcept {
    double cost[16] = {}, next[16];
    code path[16] = {}, path_next[16];
    for (int s = 1; s < 16; ++s) cost[s] = 1e300;
    for (int i = 0; i < 16; ++i) {
      for (double& c : next) c = 1e301;
      for (unsigned s = 0; s < 16; ++s)
        for (unsigned digit = 0; digit < 4; ++digit) {
          const unsigned to = (s << 2 | digit) & 15u;
          const double e = static_cast<double>(in[static_cast<std::size_t>(i)]) -
                           static_cast<double>(p.scale) * static_cast<double>(levels[to]);
          if (cost[s] + e * e < next[to]) next[to] = cost[s] + e * e, path_next[to] = path[s] | digit << (2 * i);
        }
      for (int s = 0; s < 16; ++s) cost[s] = next[s], path[s] = path_next[s];
    }
    int best = 0;
    for (int s = 1; s < 16; ++s) best = cost[s] < cost[best] ? s : best;
    return path[best];
  }
  void decode(code c, const parameters& p, std::span<float> out) const noexcept {
    unsigned state = 0;
    for (std::size_t i = 0; i < 16; ++i) {
      state = (state << 2 | (c >> (2 * i) & 3u)) & 15u;
      out[i] = static_cast<float>(static_cast<double>(p.scale) * static_cast<double>(levels[state]));
    }
  }
};
static_assert(resect::quant::grid<run_grid>);

}  // namespace tests
