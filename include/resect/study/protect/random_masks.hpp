// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <resect/metrics/intervals/student_t.hpp>
#include <resect/random/distributions.hpp>
#include <resect/study/detail/sparse_fit.hpp>
#include <resect/study/protect/search.hpp>

namespace RESECT_NAMESPACE::study {

namespace detail {

inline constexpr std::uint64_t mask_stream = 0x6d61736b;  // "mask"

// ⌊L/2⌋ layers drawn without replacement: a shuffle by Philox at (seed, mask, place).
inline layer_set drawn_half(index_t layers, std::uint64_t seed, std::uint64_t mask) {
  std::vector<index_t> order;
  for (index_t l = 0; l < layers; ++l) order.push_back(l);
  const random::philox_stream stream{seed, mask_stream << 32 ^ mask};
  layer_set out(layers);
  for (index_t i = 0; i < layers / 2; ++i) {
    const auto j = i + static_cast<index_t>(random::integer_below(stream, static_cast<std::uint64_t>(i),
                                                                  static_cast<std::uint64_t>(layers - i)));
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
    out.insert(order[static_cast<std::size_t>(i)]);
  }
  return out;
}

// Noise of an evaluation in a fit: what the objective says, or what the residual says where that is more (a model without
// interactions leaves them there).
inline double fit_noise(const sparse_fit& fit, double reported) noexcept {
  const double left = fit.degrees > 0 ? fit.residual_squares / fit.degrees : 0.0;
  return left > reported ? left : reported;
}

// Two-sided tails of the coefficients with Student's t; `extra` is a variance of each effect that the rows share.
inline std::vector<double> tails_of(const sparse_fit& fit, double noise, double extra, std::vector<double>& se) {
  std::vector<double> out;
  se.clear();
  for (std::size_t j = 0; j < fit.chosen.size(); ++j) {
    const double variance = noise * fit.unit_variance[j] + extra;
    se.push_back(std::sqrt(variance));
    const double z = std::fabs(z_of(fit.coefficient[j], variance));
    out.push_back(fit.degrees > 0 ? 2 * metrics::student_t_cdf(-z, fit.degrees) : 1.0);
  }
  return out;
}

// Drops the weakest column again and again until each of the rest has a two-sided p of at most `limit`.
inline sparse_fit drop_backward(const regression_data& data, std::vector<std::size_t> chosen, double limit,
                                double reported, double extra, std::vector<double>& p, std::vector<double>& se) {
  for (;;) {
    sparse_fit fit = fit_columns(data, chosen);
    p = tails_of(fit, fit_noise(fit, reported), extra, se);
    const auto weakest = std::max_element(p.begin(), p.end());
    if (weakest == p.end() || *weakest <= limit) return fit;
    chosen.erase(chosen.begin() + (weakest - p.begin()));
  }
}

// Adds every pair of the chosen columns as a product, one at a time, and keeps those that survive Holm at 5 %.
template <class = void>
void test_pairs(const regression_data& data, const sparse_fit& fit, double reported, protection_search& out) {
  std::vector<layer_pair> tested;
  std::vector<double> tails;
  for (std::size_t a = 0; a < fit.chosen.size(); ++a)
    for (std::size_t b = a + 1; b < fit.chosen.size(); ++b) {
      regression_data more;
      more.response = data.response;
      std::vector<std::size_t> columns;
      for (const std::size_t c : fit.chosen) {
        columns.push_back(columns.size());
        more.columns.push_back(data.columns[c]);
      }
      more.columns.push_back(data.columns[fit.chosen[a]]);
      for (std::size_t i = 0; i < data.response.size(); ++i) more.columns.back()[i] *= data.columns[fit.chosen[b]][i];
      columns.push_back(columns.size());
      const sparse_fit with = fit_columns(more, columns);
      std::vector<double> se;
      const auto p = tails_of(with, fit_noise(with, reported), 0, se);
      const auto [first, second] = std::minmax(fit.chosen[a], fit.chosen[b]);
      tested.push_back(
          {static_cast<index_t>(first), static_cast<index_t>(second), with.coefficient.back(), se.back(), p.back()});
      tails.push_back(p.back());
    }
  metrics::detail::adjust_by_holm(tails);
  for (std::size_t i = 0; i < tested.size(); ++i) {
    tested[i].p = tails[i];
    if (tails[i] <= 0.05) out.pairs.push_back(tested[i]);
  }
}

}  // namespace detail

// Finds critical layers from random sets: the model with all layers intact, with none, and with random halves of the layers
// protected, as many as the budget allows; quality = intercept + Σ gains of the protected layers, fitted sparsely: forward
// choice of up to 12 + L/10 layers (at most a fifth of the evaluations), then the weakest is dropped until each has p ≤ 2·alpha
// / L two-sided. A gain above 0 names the layer, one below 0 calls it harmful. Pairs of the chosen layers are then tested for
// interaction (Holm at 5 %): one critical pair of which one layer is enough shows as a negative one.
// Assumes few layers that matter, and sums up to pairs; that all sets are drawn in advance lets them run side by side.
// A layer's noise is what the residual or the objective says, whichever is more; with a fixed pool also the pool's own.
// Cost: the budget, all of it; with a fixed pool at most the number of halves and 2. Where the effect is 3 standard errors of one evaluation, 5 of 80 layers are found exactly in
// 95 % of runs with 50 evaluations, in 99 % with 60. Errors: invalid_argument (budget below max(16, L/2), alpha), the objective's.
// Source: Tibshirani, JRSS B 58 (1996) 267 for the idea; Chen, Billings & Luo, Int. J. Control 50 (1989) 1873 for the choice.
template <search_objective F>
result<protection_search> try_random_masks(F&& f, index_t layers, const search_options& options = {}) {
  const index_t least = algo::max<index_t>(16, layers / 2);  // with fewer, one run in ten names a wrong layer
  if (auto s = detail::check_search(layers, options, least); !s) return s.error();
  detail::evaluator<std::remove_reference_t<F>> evaluate(f, layers, options);
  protection_search out;
  out.method = "random masks";
  out.named = layer_set(layers);
  constexpr index_t most_tries = 200;
  const auto seen = [](const std::vector<layer_set>& list, const layer_set& set) {
    return std::find(list.begin(), list.end(), set) != list.end();
  };
  detail::regression_data data;
  data.columns.resize(static_cast<std::size_t>(layers));
  detail::pooled intact;
  std::vector<layer_set> drawn;
  std::uint64_t mask = 0;
  for (index_t row = 0; row < options.budget; ++row) {
    layer_set set = row == 0 ? layer_set::all(layers) : layer_set(layers);
    // a set of a fixed pool is one observation, however often it is drawn; few layers have few halves
    for (index_t tries = 0; row > 1 && (tries == 0 || (!evaluate.fresh() && seen(drawn, set))); ++tries) {
      if (tries == most_tries) break;
      set = detail::drawn_half(layers, options.seed, ++mask + 1);
    }
    if (!evaluate.fresh() && seen(drawn, set)) break;
    drawn.push_back(set);
    detail::pooled one;
    if (auto s = evaluate.try_add(set, one); !s) return s.error();
    if (row == 0) intact = one;
    data.response.push_back(one.value());
    for (index_t l = 0; l < layers; ++l)
      data.columns[static_cast<std::size_t>(l)].push_back(set.contains(l) ? 0.5 : -0.5);
  }

  const double reported = evaluate.mean_variance(), extra = evaluate.variance_of_a_layer();
  const auto most = static_cast<std::size_t>(algo::min<index_t>(12 + layers / 10, evaluate.spent() / 5));
  const double limit = 2 * options.alpha / static_cast<double>(layers);
  std::vector<double> p, se;
  const auto fit = detail::drop_backward(data, detail::choose_forward(data, most), limit, reported, extra, p, se);
  for (std::size_t j = 0; j < fit.chosen.size(); ++j) {
    const auto l = static_cast<index_t>(fit.chosen[j]);
    const double adjusted = algo::min(1.0, 0.5 * p[j] * static_cast<double>(layers));
    out.effects.push_back({l, fit.coefficient[j], se[j], adjusted, evaluate.spent()});
    if (fit.coefficient[j] > 0) out.named.insert(l);
    else out.harmful.push_back(l);
  }
  std::sort(out.effects.begin(), out.effects.end(),
            [](const layer_effect& a, const layer_effect& b) { return a.layer < b.layer; });
  std::sort(out.harmful.begin(), out.harmful.end());
  detail::test_pairs(data, fit, reported, out);
  out.verdict = search_verdict::found;
  out.intact = detail::as_estimate(intact);
  out.evaluations = evaluate.spent();
  return out;
}

}  // namespace RESECT_NAMESPACE::study
