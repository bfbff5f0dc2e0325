// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/metrics/accumulators/joint.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {
struct probability_change {
  static double value(double change) noexcept { return change; }
};
}  // namespace detail

// The change of the probability of the right token between two models on the same tokens, Δp = p_altered − p_intact =
// e^(−nll_altered) − e^(−nll_intact), with clustered intervals. It also computes the figures of llama-perplexity
// --kl-divergence, which treat tokens as independent, for comparison (n_clusters = n; as there, se = 0 for n ≤ 10,
// and then no interval; the intervals are resect's). The clustered Δln PPL is `paired_delta`.
class paired_tokens {
 public:
  paired_tokens() noexcept = default;
  explicit paired_tokens(index_t clusters) : change_(clusters), squares_(clusters) {}

  // One token. No allocation.
  void add(index_t cluster, double nll_intact, double nll_edited) noexcept {
    const double change = math::exp(-nll_edited) - math::exp(-nll_intact);
    change_.add(cluster, change);
    squares_.add(cluster, change * change, 1.0);
    intact_.add(nll_intact);
    edited_.add(nll_edited);
    log_ratio_.add(nll_edited - nll_intact);
    token_change_.add(change);
    token_square_.add(change * change);
  }
  status merge(const paired_tokens& other) noexcept {
    if (status s = change_.merge(other.change_); !s) return s;
    if (status s = squares_.merge(other.squares_); !s) return s;
    intact_.merge(other.intact_);
    edited_.merge(other.edited_);
    log_ratio_.merge(other.log_ratio_);
    token_change_.merge(other.token_change_);
    token_square_.merge(other.token_square_);
    return {};
  }

  // Mean Δp, clustered: below 0 where the edit costs.
  estimate mean_delta_p(double level = 0.95) const noexcept { return change_.estimate(level); }
  // √mean Δp², clustered by the delta method: how far probabilities moved, whichever way.
  estimate rms_delta_p(double level = 0.95) const noexcept {
    return squares_.estimate(
        [](const double(&t)[2], double(&gradient)[2]) {
          const double value = math::sqrt(t[0] / t[1]);
          gradient[0] = value == 0 ? 0.0 : 1 / (2 * value * t[1]);
          gradient[1] = -value / (2 * t[1]);
          return value;
        },
        level);
  }

  // ln(PPL edited/PPL intact), se = √(s_e² + s_i² − 2·cov) with cov = (Σxy/n − x̄·ȳ)/(n − 1) of the two nll: which is
  // the standard error of the mean of their differences, and is computed as that.
  estimate log_ratio_tokens(double level = 0.95) const noexcept { return detail::mean_of_tokens(log_ratio_, level); }
  // PPL edited/PPL intact.
  estimate ratio_tokens(double level = 0.95) const noexcept { return map_exp(log_ratio_tokens(level)); }
  // PPL edited − PPL intact, se = √((P_e·s_e)² + (P_i·s_i)² − 2·P_e·P_i·cov).
  estimate difference_tokens(double level = 0.95) const noexcept {
    const double edited = math::exp(edited_.mean()), intact = math::exp(intact_.mean());
    // the same, ordered so that nothing cancels
    const double variance = (edited - intact) * (edited * squared_error(edited_) - intact * squared_error(intact_)) +
                            edited * intact * squared_error(log_ratio_);
    return detail::token_estimate(edited - intact, math::sqrt(variance > 0 || variance != variance ? variance : 0.0),
                                  edited_.count(), level);
  }
  // Correlation of the two nll over tokens, cov/(s_e·s_i) ("Cor(ln(PPL(Q)), ln(PPL(base)))" there, in per cent), within
  // [−1, 1]. NaN where one of them never changes, and for n ≤ 10.
  double correlation() const noexcept {
    const double e = edited_.squared_deviations(), i = intact_.squared_deviations();
    if (edited_.count() <= 10 || e == 0 || i == 0) return nan;
    const double r = 0.5 * (e + i - log_ratio_.squared_deviations()) / (math::sqrt(e) * math::sqrt(i));
    return algo::clamp(r, -1.0, 1.0);
  }
  estimate mean_delta_p_tokens(double level = 0.95) const noexcept {
    return detail::mean_of_tokens(token_change_, level);
  }
  // se = se(mean Δp²)/(2·RMS).
  estimate rms_delta_p_tokens(double level = 0.95) const noexcept {
    const estimate square = detail::mean_of_tokens(token_square_, level);
    const double value = math::sqrt(square.value);
    return detail::token_estimate(value, value == 0 ? 0.0 : 0.5 / value * square.se, square.n, level);
  }

  const moments& intact() const noexcept { return intact_; }
  const moments& edited() const noexcept { return edited_; }
  // Σ Δp a cluster.
  const clustered_sums& sums() const noexcept { return change_.sums(); }

 private:
  static double squared_error(const moments& m) noexcept {
    const double n = static_cast<double>(m.count());
    return m.squared_deviations() / n / (n - 1);
  }

  clustered_mean<detail::probability_change> change_;
  joint_sums<2> squares_;  // Σ Δp², n
  moments intact_, edited_, log_ratio_, token_change_, token_square_;
};

}  // namespace RESECT_NAMESPACE::metrics
