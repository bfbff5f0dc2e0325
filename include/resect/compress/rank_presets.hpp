// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/result.hpp>
#include <resect/model/weight.hpp>

// Ranks by depth: the configurations "uniform", "selective" and "ultra" of a study of 28- and 80-layer models with late
// layers protected, for any depth.
namespace RESECT_NAMESPACE::compress {

// How ranks follow depth.
enum class rank_preset : std::uint8_t {
  uniform,    // one rank
  selective,  // four times that rank in the last 1/8 of the layers
  ultra,      // 8, 8, 4, 2.5 and 2 times that rank over the last 5/28 of the layers, stretched to the depth
};

// Times the uniform rank that a layer of n_layers gets. The last k = max(1, round(n/8)) or max(1, round(5n/28)) layers are
// protected; the i-th of k gets the factor of ultra at ⌊5·(i + ½)/k⌋. At 28 layers: 23 to 27 get 8, 8, 4, 2.5, 2.
// A layer that is not in [0, n_layers) gets 1.
constexpr double rank_factor(rank_preset preset, int layer, int n_layers) noexcept {
  constexpr double ultra[] = {8, 8, 4, 2.5, 2};
  if (preset == rank_preset::uniform) return 1;
  const int k = preset == rank_preset::selective ? (n_layers + 4) / 8 : (5 * n_layers + 14) / 28;
  const int n_protected = k < 1 ? 1 : k, i = layer - (n_layers - n_protected);
  if (i < 0 || layer >= n_layers) return 1;
  return preset == rank_preset::selective ? 4 : ultra[5 * (2 * i + 1) / (2 * n_protected)];
}

// Ranks of matrices, with the uniform rank of equal bytes beside.
struct preset_ranks {
  array<index_t> ranks;      // of each matrix: ⌊factor·rank⌋, at most min(m, n)/2
  double numbers = 0;        // Σ r·(m + n): entries of all factors
  index_t uniform_rank = 0;  // the largest one rank, capped in the same way, with no more entries
  double uniform_numbers = 0;
};

// The ranks of a preset around `rank`. Factors have one width, so equal entries are equal bytes.
//   Errors: invalid_argument (rank below 0, n_layers below 1, a matrix of a layer that is not in [0, n_layers)).
template <class = void>
result<preset_ranks> try_preset_ranks(rank_preset preset, index_t rank, std::span<const model::weight_desc> matrices,
                                      int n_layers) {
  if (rank < 0) return error{errc::invalid_argument, "rank", text(rank), "at least 0"};
  if (n_layers < 1) return error{errc::invalid_argument, "layers", text(n_layers), "at least 1"};
  const auto most = [](const model::weight_desc& w) { return algo::min(w.rows, w.cols) / 2; };
  const auto numbers = [](const model::weight_desc& w, index_t r) {
    return static_cast<double>(r) * static_cast<double>(w.rows + w.cols);
  };
  preset_ranks out;
  index_t largest = 0;
  for (const model::weight_desc& w : matrices) {
    if (w.layer < 0 || w.layer >= n_layers)
      return error{errc::invalid_argument, text("layer of ", w.name.view()), text(w.layer),
                   text("0 to ", n_layers - 1)};
    const double wanted = rank_factor(preset, w.layer, n_layers) * static_cast<double>(rank);
    const index_t r = wanted < static_cast<double>(most(w)) ? static_cast<index_t>(wanted) : most(w);
    out.ranks.push_back(r);
    out.numbers += numbers(w, r);
    largest = algo::max(largest, r);
  }
  const auto uniform = [&](index_t r) {
    double sum = 0;
    for (const model::weight_desc& w : matrices) sum += numbers(w, algo::min(r, most(w)));
    return sum;
  };
  while (out.uniform_rank < largest && uniform(out.uniform_rank + 1) <= out.numbers) ++out.uniform_rank;
  out.uniform_numbers = uniform(out.uniform_rank);
  return out;
}

}  // namespace RESECT_NAMESPACE::compress
