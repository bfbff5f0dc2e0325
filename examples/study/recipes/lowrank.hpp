// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <resect/compress/packed_decomposition.hpp>
#include <resect/compress/policy.hpp>
#include <resect/factor/low_rank.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/hessian.hpp>
#include <resect/study/effect.hpp>
#include <resect/study/loop_rate.hpp>
#include <study/recipes/bench.hpp>

// What the recipe `lowrank` makes of each matrix, and what it says of it.
namespace studies {

// Which pair L·R of a rank.
enum class pair_kind : std::uint8_t {
  svd,       // the best in the Frobenius norm
  weighted,  // the best in the norm of H
};
constexpr const char* name(pair_kind k) noexcept { return k == pair_kind::svd ? "svd" : "weighted"; }

// Factors of 8 bits, a scale of f16 a component.
using factors_8 = resect::quant::affine_symmetric<8, resect::quant::f16_store>;

// One matrix with the pairs of its largest rank, whose first components are the pairs of every smaller rank.
struct low_rank_matrix {
  resect::model::weight_desc w;
  resect::factor::low_rank<float> svd{}, weighted{};
  resect::array<double> squares{};   // σ², descending, all of them
  resect::array<double> captured{};  // eigenvalues of W·H·Wᵀ, descending, as many as the largest rank
  double total = 0;                  // tr(W·H·Wᵀ)

  resect::index_t smaller() const noexcept { return w.rows < w.cols ? w.rows : w.cols; }
  resect::index_t rank_of(double share) const noexcept;
  // ‖W − L·R‖/‖W‖ and tr(E·H·Eᵀ)/tr(W·H·Wᵀ) that the spectra say of the best pairs of a rank.
  double forecast_error(resect::index_t rank) const noexcept;
  double forecast_loss(resect::index_t rank) const noexcept;
};

// What one matrix loses at one share of its smaller extent.
struct matrix_loss {
  std::size_t matrix = 0;  // in the list of matrices
  pair_kind kind = pair_kind::svd;
  double share = 0;
  resect::index_t rank = 0;
  double truncated = 0, error = 0;  // ‖W − Ŵ‖/‖W‖ with factors of fp32, and of 8 bits
  double loss = 0;                  // tr(E·H·Eᵀ)/tr(W·H·Wᵀ), 8 bits
  double cosine = 0;                // of W and Ŵ as vectors: what S002 calls quality
  double forecast = 0;              // of `truncated` (svd) or of the loss (weighted), from the spectrum
  double null = 0;                  // the truncation error of a Gaussian matrix of these extents (svd)
};

low_rank_matrix factorize(backend& exec, const resect::model::weight_desc& w, resect::matrix_view<const float> values,
                          const resect::quant::hessian& h, double largest_share);
// The first `rank` components, rounded to 8 bits.
resect::result<resect::compress::quantized_factors<factors_8>> try_round_pair(backend& exec, const low_rank_matrix& m,
                                                                              pair_kind kind, resect::index_t rank);
// The errors of all matrices at all shares, both pairs.
std::vector<matrix_loss> losses_of(backend& exec, const std::vector<low_rank_matrix>& matrices,
                                   const resect::array<resect::quant::hessian>& h,
                                   const std::vector<resect::matrix<float>>& values, const std::vector<double>& shares,
                                   std::uint64_t seed);

// One altered model of the main table.
struct lowrank_arm {
  pair_kind kind;
  resect::compress::policy policy;
  std::string scope;  // "all", "attention", "S002"
  double share = 0;   // 0: the policy's own
};

// What ran.
struct lowrank_results {
  std::vector<lowrank_arm> arms;
  std::vector<resect::study::effect_sums> effects;
  std::vector<double> bits;  // a weight of the altered matrices of each arm
  std::vector<std::optional<std::pair<resect::study::loop_sums, resect::study::loop_sums>>> loops;  // greedy, sampled
  resect::study::loop_sums intact_greedy{0}, intact_sampled{0};
  std::vector<matrix_loss> losses;
  std::vector<low_rank_matrix>* matrices = nullptr;
  std::vector<double> shares;
  int n_layers = 0;

  // Layers one at a time, all but each, all of them, and sets of several.
  double single_share = 0;
  std::vector<int> layers;
  std::vector<resect::study::effect_sums> alone, without;
  std::optional<resect::study::effect_sums> together;
  struct subset {
    int size;
    double kl, sum;  // of the set, and of its layers one at a time
  };
  std::vector<subset> subsets;
  bool saturated = false;
};

// Adds to the record: means by role and by depth, the spectrum beside the null, leaving in and out, additivity, loops,
// and a sentence for each.
void add_matrix_tables(study_record& to, const lowrank_results& found);
void add_layer_table(study_record& to, const lowrank_results& found);
void add_loop_table(study_record& to, const lowrank_results& found);
void add_lowrank_findings(study_record& to, const lowrank_results& found);

}  // namespace studies
