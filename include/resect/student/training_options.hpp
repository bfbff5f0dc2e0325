// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <limits>
#include <string_view>

#include <resect/core/algorithm.hpp>
#include <resect/student/row_loss.hpp>

namespace RESECT_NAMESPACE::student {

// Numbers of a student's training run: AdamW whose rate rises in a line, falls by half a cosine, and ends at `last_share`.
struct training_options {
  loss_options loss{};
  index_t steps = 0;  // of the whole run
  double learning_rate = 3e-3;
  double beta1 = .9, beta2 = .98, epsilon = 1e-8;
  double weight_decay = .01;  // of matrices; gains keep their size
  index_t warm_up = 20;       // steps in which the rate rises from 0
  double last_share = .02;    // of learning_rate at the last step
  double clip = 1;            // most that ‖gradient‖ may be; 0: no limit
  index_t patience = 0;       // judgements without a lower held-out loss after which a run ends; 0: none ends it

  // The rate of a step, 0 the first.
  double rate_at(index_t step) const noexcept {
    const double at = static_cast<double>(step), up = static_cast<double>(warm_up), all = static_cast<double>(steps);
    if (step < warm_up) return learning_rate * (at + 1) / up;
    const double done = all > up ? algo::min(1.0, (at - up) / (all - up)) : 1.0;
    return learning_rate * (last_share + (1 - last_share) * 0.5 * (1 + std::cos(3.14159265358979323846 * done)));
  }
  status check() const {
    const auto refused = [](std::string_view what, auto got, std::string_view wanted) {
      return error{errc::invalid_argument, text(what, " of a student's training"), text(got), wanted};
    };
    if (auto s = loss.check(); !s) return s;
    if (steps < 1) return refused("steps", steps, "1 or more");
    if (!(learning_rate > 0 && learning_rate < 1)) return refused("learning_rate", learning_rate, "above 0, below 1");
    if (!(beta1 >= 0 && beta1 < 1)) return refused("beta1", beta1, "0 to below 1");
    if (!(beta2 >= 0 && beta2 < 1)) return refused("beta2", beta2, "0 to below 1");
    if (!(epsilon > 0)) return refused("epsilon", epsilon, "above 0");
    if (!(weight_decay >= 0 && weight_decay < 1)) return refused("weight_decay", weight_decay, "0 to below 1");
    if (warm_up < 0) return refused("warm_up", warm_up, "at least 0");
    if (!(last_share >= 0 && last_share <= 1)) return refused("last_share", last_share, "0 to 1");
    if (!(clip >= 0)) return refused("clip", clip, "at least 0");
    if (patience < 0) return refused("patience", patience, "at least 0");
    return {};
  }
  friend bool operator==(const training_options&, const training_options&) = default;
};

// What a student is trained to replace: layers of a teacher, and the rows that stand apart from its losses.
struct training_task {
  residual::layer_range span;
  std::uint64_t teacher = 0;  // fingerprint of the model
  apart_rule apart{};

  friend bool operator==(const training_task&, const training_task&) = default;
};

// What a step measured, before it changed anything.
struct training_report {
  index_t step = 0;
  double loss = 0;           // of the batch, a row
  double gradient_norm = 0;  // before it was clipped
  double rate = 0;
  index_t rows = 0;  // that counted
};

}  // namespace RESECT_NAMESPACE::student
