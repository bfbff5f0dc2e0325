// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/matrix.hpp>
#include <resect/random/distributions.hpp>

// Rows whose dictionary is known, and how much of it another dictionary has found.
namespace RESECT_NAMESPACE::sae {

// Rows x = Σ_{j ∈ S} a_j·atom_j + noise: S is `active` atoms drawn without replacement, a_j = 1 + |N(0, 1)|·½, atoms are unit
// Gaussian directions. noise: the share of ‖x‖² that is Gaussian. All by position: any batch can be drawn alone.
struct planted_rows {
  index_t width = 64, atoms = 128, active = 4;
  double noise = 0;
  std::uint64_t seed = 1;

  matrix<float> dictionary() const {
    matrix<float> out(atoms, width);
    for (index_t j = 0; j < atoms; ++j) {
      double squares = 0;
      for (index_t c = 0; c < width; ++c) {
        const double x = random::gaussian(seed, 0, static_cast<std::uint64_t>(j * width + c));
        out(j, c) = static_cast<float>(x);
        squares += x * x;
      }
      for (index_t c = 0; c < width; ++c)
        out(j, c) = static_cast<float>(static_cast<double>(out(j, c)) / std::sqrt(squares));
    }
    return out;
  }
  // Rows first … first + out.rows − 1; `of` is dictionary().
  void draw(const matrix<float>& of, std::int64_t first, matrix_view<float> out) const {
    array<index_t> chosen(active);
    for (index_t r = 0; r < out.rows; ++r) {
      const random::philox_stream s{seed + 0x9e3779b97f4a7c15u, static_cast<std::uint64_t>(first + r)};
      double squares = 0;
      for (index_t c = 0; c < width; ++c) out(r, c) = 0;
      for (index_t i = 0; i < active; ++i) {
        for (std::uint64_t attempt = 0;; ++attempt) {
          const auto j = static_cast<index_t>(
              random::integer_below(s, static_cast<std::uint64_t>(i) + attempt * static_cast<std::uint64_t>(active),
                                    static_cast<std::uint64_t>(atoms)));
          bool taken = false;
          for (index_t k = 0; k < i; ++k) taken = taken || chosen[k] == j;
          if (taken) continue;
          chosen[i] = j;
          break;
        }
        const auto a =
            static_cast<float>(1 + 0.5 * std::fabs(random::gaussian(s, 0x100000000u + static_cast<std::uint64_t>(i))));
        for (index_t c = 0; c < width; ++c) out(r, c) += a * of(chosen[i], c);
      }
      if (noise <= 0) continue;
      for (index_t c = 0; c < width; ++c) squares += static_cast<double>(out(r, c)) * static_cast<double>(out(r, c));
      const double size = std::sqrt(noise / (1 - noise) * squares / static_cast<double>(width));
      for (index_t c = 0; c < width; ++c)
        out(r, c) += static_cast<float>(size * random::gaussian(s, 0x200000000u + static_cast<std::uint64_t>(c)));
    }
  }
};

// Mean over the rows of `of` of the largest cosine with a row of `in` (MMCS; Sharkey et al. 2022). Not symmetric: give both.
// Rows of zeros have cosine 0. Cost 2·rows·rows·d flop.
inline double mean_max_cosine(matrix_view<const float> of, matrix_view<const float> in) {
  const auto norm = [](matrix_view<const float> m, index_t r) {
    double s = 0;
    for (index_t c = 0; c < m.cols; ++c) s += static_cast<double>(m(r, c)) * static_cast<double>(m(r, c));
    return std::sqrt(s);
  };
  array<double> norms(in.rows);
  for (index_t j = 0; j < in.rows; ++j) norms[j] = norm(in, j);
  double sum = 0;
  for (index_t i = 0; i < of.rows; ++i) {
    double best = 0;
    const double own = norm(of, i);
    for (index_t j = 0; j < in.rows; ++j) {
      double product = 0;
      for (index_t c = 0; c < of.cols; ++c) product += static_cast<double>(of(i, c)) * static_cast<double>(in(j, c));
      if (own > 0 && norms[j] > 0) best = algo::max(best, product / own / norms[j]);
    }
    sum += best;
  }
  return of.rows > 0 ? sum / static_cast<double>(of.rows) : 0.0;
}

}  // namespace RESECT_NAMESPACE::sae
