// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <resect/study/effect.hpp>
#include <study/recipes/quantizers.hpp>

// What the recipe `quantize` found, and what it says of it.
namespace studies {

// One quantizer at one width, on every matrix of the chosen layers.
struct quantize_arm {
  quantizer what;
  int bits;
};

// The name of an arm in sentences: "ldlq at 3 bits".
std::string shown_name(const quantize_arm& a);

// What the matrices of an arm lost.
struct matrix_losses {
  double bits = 0, weights = 0;  // stored bits, weights
  double lost = 0, whole = 0;    // ‖W − Ŵ‖², ‖W‖² over all of them
  double h_loss = 0;             // sum over matrices of tr(E·H·Eᵀ)/tr(W·H·Wᵀ)
  int matrices = 0;

  double bits_per_weight() const { return weights > 0 ? bits / weights : 0; }
  double relative_error() const;
  double mean_h_loss() const { return matrices > 0 ? h_loss / matrices : 0; }
};

// What was found of each arm, in the order of the table.
struct quantize_results {
  std::vector<quantize_arm> arms;
  std::vector<matrix_losses> losses;
  std::vector<resect::study::effect_sums> effects;

  std::optional<std::size_t> find(quantizer q, int bits) const;
  const resect::metrics::clustered_sums& kl(std::size_t i) const { return effects[i].kl.sums(); }
  const resect::metrics::clustered_sums& dlnppl(std::size_t i) const { return effects[i].dlnppl.sums(); }
};

// The file's weights as a quantizer that meets their grid leaves them, and the same quantizer on the rotated model.
struct trap_result {
  grid_record grid;
  estimate as_stored, rotated;  // KL
};

// Adds to the record: comparisons in pairs (full H with nearest codes on the same grid, calibrated with data-free), the
// rotation table, and a sentence for each.
void add_comparisons(study_record& to, const quantize_results& found);
void add_rotation_table(study_record& to, const quantize_results& found);
void add_trap_finding(study_record& to, const trap_result& trap);

}  // namespace studies
