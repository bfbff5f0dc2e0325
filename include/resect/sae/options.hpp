// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>

#include <resect/core/algorithm.hpp>
#include <resect/core/error.hpp>
#include <resect/core/result.hpp>

namespace RESECT_NAMESPACE::sae {

// How decoder rows keep a norm, without which penalties and comparisons of latents mean nothing.
enum class decoder_norm : std::uint8_t {
  projected,  // ‖w_j‖ = 1: the gradient along w_j is taken out, and w_j is divided by its norm after each step
  folded,  // any norm in training, latents are compared by h_j·‖w_j‖; weights() folds the norms into the encoder
};

// Numbers of a training run. Rows are scaled to variance 1 an element and the loss is the fraction of variance that is left
// (FVU) with the denominator of the first rows, so learning rate, clip and aux_coefficient mean the same for every layer,
// width and model.
struct trainer_options {
  index_t latents = 0;       // F
  index_t steps = 0;         // of the whole run; schedules end there, 0: none decays
  double learning_rate = 0;  // of Adam; 0: 2e-4/√(F/2¹⁴) (Gao et al. 2024)
  double beta1 = .9, beta2 = .999, epsilon = 1e-8;
  index_t warm_up = 1000;                // steps in which the rate rises from 0 in a line
  double decay_from = .8;                // share of `steps` after which it falls to 0 in a line
  double clip = 1;                       // most that ‖gradient of the loss‖ may be, 0: no limit
  double aux_coefficient = 1.0 / 32;     // weight of AuxK, 0: none
  index_t aux_latents = 0;               // most dead latents a row in AuxK; 0: d/2
  std::int64_t dead_after = 10'000'000;  // rows without a latent after which it is dead
  decoder_norm norm = decoder_norm::projected;
  std::uint64_t seed = 1;

  double rate() const noexcept {
    return learning_rate > 0 ? learning_rate : 2e-4 / std::sqrt(static_cast<double>(latents) / 16384.0);
  }
  // The rate of a step, 0 the first.
  double rate_at(index_t step) const noexcept {
    const double up = warm_up > 0 ? algo::min(1.0, static_cast<double>(step + 1) / static_cast<double>(warm_up)) : 1.0;
    const double last = static_cast<double>(steps), from = decay_from * last, at = static_cast<double>(step);
    const double down = steps > 0 && at > from ? algo::max(0.0, (last - at) / (last - from)) : 1.0;
    return rate() * algo::min(up, down);
  }
  status check() const {
    const auto refused = [](std::string_view what, auto got, std::string_view wanted) {
      return error{errc::invalid_argument, text(what, " of a trainer"), text(got), wanted};
    };
    if (latents < 1) return refused("latents", latents, "at least 1");
    if (steps < 0) return refused("steps", steps, "at least 0");
    if (!(learning_rate >= 0 && learning_rate < 1)) return refused("learning_rate", learning_rate, "0 to 1");
    if (!(beta1 >= 0 && beta1 < 1)) return refused("beta1", beta1, "0 to below 1");
    if (!(beta2 >= 0 && beta2 < 1)) return refused("beta2", beta2, "0 to below 1");
    if (!(epsilon > 0)) return refused("epsilon", epsilon, "above 0");
    if (warm_up < 0) return refused("warm_up", warm_up, "at least 0");
    if (!(decay_from >= 0 && decay_from < 1)) return refused("decay_from", decay_from, "0 to below 1");
    if (!(clip >= 0)) return refused("clip", clip, "at least 0");
    if (!(aux_coefficient >= 0)) return refused("aux_coefficient", aux_coefficient, "at least 0");
    if (aux_latents < 0) return refused("aux_latents", aux_latents, "at least 0");
    if (dead_after < 1) return refused("dead_after", dead_after, "at least 1");
    return {};
  }
};

// What a step measured, before it changed anything.
struct step_report {
  index_t step = 0;
  double fvu = 0;            // Σ‖x − x̂‖²/(B·σ²), σ² the variance of the first rows
  double aux = 0;            // Σ‖ê − e‖²/Σ‖e − ē‖² of AuxK; 0 where no latent is dead
  double loss = 0;           // fvu + aux_coefficient·aux + penalty·mean_latents
  double mean_latents = 0;   // L̄0
  double penalty = 0;        // of the architecture
  double gradient_norm = 0;  // before it was clipped; 0 where nothing clips
  index_t dead = 0;          // latents without a row for dead_after rows
};

}  // namespace RESECT_NAMESPACE::sae
