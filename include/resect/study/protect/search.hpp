// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/metrics/intervals/special_functions.hpp>
#include <resect/metrics/verdicts/multiple.hpp>
#include <resect/study/halves.hpp>
#include <resect/study/protect/layer_set.hpp>

// What all searches for critical layers share: the objective, its noise, the cost, and the result.
namespace RESECT_NAMESPACE::study {

// The objective of a search: f(P, draw) measures the quality of the model with the layers P protected and the others
// altered, on items of the search half: higher is better (accuracy, −KL), with its standard error. `draw` counts the
// evaluations from 0: an objective with fresh noise seeds its items or its sampling by it. An estimate of the confirmation
// half is another type and does not meet the concept.
template <class F>
concept search_objective = requires(F& f, const layer_set& protected_layers, index_t draw) {
  { f(protected_layers, draw) } -> std::convertible_to<result<half_estimate<search_half>>>;
};

// The errors of two evaluations of one set.
enum class noise_kind : std::uint8_t {
  fresh,   // independent: other items or other samples each time, so repeating helps
  shared,  // the same: a fixed pool of items, greedily decoded; repeating gives the same number, and is not done
};

// Options of a search.
struct search_options {
  index_t budget = 100;  // evaluations at most, those of the intact model included
  noise_kind noise = noise_kind::fresh;
  double alpha = 0.025;    // one-sided chance that a layer is named which does not matter, over all layers (Holm)
  double tolerance = 0;    // loss that counts as none, in units of the objective
  std::uint64_t seed = 1;  // of the draws of sets
};

// The outcome of a search as a whole.
enum class search_verdict : std::uint8_t {
  found,      // the plan of the method was carried out
  undecided,  // the budget ended before the method's last test
  unchecked,  // an assumption of the method (monotone) was not tested within the budget
  unsound,    // an assumption of the method is refuted by the data: the answer means nothing
};

// The words for an outcome in tables.
constexpr std::string_view name(search_verdict v) noexcept {
  switch (v) {
    case search_verdict::found: return "found";
    case search_verdict::undecided: return "undecided within the budget";
    case search_verdict::unchecked: return "monotonicity not checked";
    case search_verdict::unsound: return "unsound: the landscape is not monotone";
  }
  return "";
}

// What protecting one layer gains, by the measure of the method.
struct layer_effect {
  index_t layer = 0;
  double gain = metrics::nan;  // quality with the layer protected minus without
  double se = metrics::nan;
  double p =
      metrics::nan;  // one-sided, adjusted over the layers tested; NaN for a layer that was dropped before the test
  index_t evaluations = 0;
};

// Two critical layers of which protecting one is enough, or which need each other.
struct layer_pair {
  index_t first = 0, second = 0;
  double interaction = metrics::nan;  // gain of both minus the gains of each, from neither: below 0 where one is enough
  double se = metrics::nan;
  double p = metrics::nan;  // two-sided, Holm over the pairs tested
};

// The result of a search: a claim about the search half, which confirmation items have to confirm.
struct protection_search {
  std::string_view method;
  search_verdict verdict = search_verdict::undecided;
  layer_set named;                    // the critical layers
  std::vector<layer_effect> effects;  // of the layers that the method measured one by one
  std::vector<index_t> harmful;       // layers whose protection lowers the quality
  std::vector<layer_pair> pairs;      // pairs whose interaction survives Holm
  metrics::estimate intact;           // as measured; n counts its evaluations
  index_t evaluations = 0;            // all that were paid for
  std::string note;                   // what refutes an assumption, in words
};

namespace detail {

// Evaluations of one set put together.
struct pooled {
  index_t n = 0;
  double sum = 0, variances = 0;

  double value() const noexcept { return sum / static_cast<double>(n); }
  double variance() const noexcept { return variances / static_cast<double>(n) / static_cast<double>(n); }
  void add(const pooled& other) noexcept {
    n += other.n;
    sum += other.sum;
    variances += other.variances;
  }
};

// z of a gain; ±∞ where nothing is noisy.
inline double z_of(double gain, double variance) noexcept {
  if (variance > 0) return gain / math::sqrt(variance);
  return gain == 0 ? 0.0 : gain > 0 ? 1e300 : -1e300;
}
inline double upper_tail(double z) noexcept { return 0.5 * math::erfc(z * 0.70710678118654752440); }

// Calls the objective, checks what it returns, and counts.
template <search_objective F>
class evaluator {
 public:
  evaluator(F& f, index_t layers, const search_options& o) : f_(f), layers_(layers), options_(o) {}

  // Evaluates a set `times` times more. Shared noise: once in all, and what was evaluated before is looked up, for nothing.
  // Errors: the objective's own; not_finite for a value or a standard error that is no number, the set named.
  status try_add(const layer_set& set, pooled& into, index_t times = 1) {
    if (!fresh()) {
      if (into.n > 0) return {};
      times = 1;
      for (const auto& [known, value] : known_)
        if (known == set) {
          into.add(value);
          return {};
        }
    }
    for (index_t i = 0; i < times; ++i) {
      const result<half_estimate<search_half>> measured = f_(set, spent_);
      if (!measured) return measured.error();
      const metrics::estimate& e = measured->value();
      if (!is_finite(e.value) || !is_finite(e.se) || e.se < 0)
        return error{errc::not_finite, text("objective with ", set.words(), " protected, evaluation ", spent_),
                     text(e.value, " with a standard error of ", e.se), "finite numbers"};
      ++spent_;
      const pooled one{1, e.value, e.se * e.se};
      into.add(one);
      if (!fresh()) known_.emplace_back(set, one);
      se_squares_ += e.se * e.se;
      unprotected_ += static_cast<double>(layers_ - set.size());
    }
    return {};
  }

  index_t layers() const noexcept { return layers_; }
  index_t spent() const noexcept { return spent_; }
  index_t left() const noexcept { return options_.budget - spent_; }
  bool fresh() const noexcept { return options_.noise == noise_kind::fresh; }
  const search_options& options() const noexcept { return options_; }
  // Mean squared standard error of an evaluation.
  double mean_variance() const noexcept { return spent_ > 0 ? se_squares_ / static_cast<double>(spent_) : 0.0; }
  // With a fixed pool, what one layer does to these items is not what it does to all: the variance of that, where the errors
  // of a set are sums over its altered layers.
  double variance_of_a_layer() const noexcept {
    return fresh() || unprotected_ == 0 ? 0.0 : se_squares_ / unprotected_;
  }

 private:
  F& f_;
  index_t layers_;
  search_options options_;
  std::vector<std::pair<layer_set, pooled>> known_;  // of a fixed pool
  index_t spent_ = 0;
  double se_squares_ = 0, unprotected_ = 0;
};

// How often a reference (intact, all altered) is evaluated that all layers are compared with: about √L times, once where
// repeating gives the same.
inline index_t reference_evaluations(index_t layers, noise_kind noise) noexcept {
  if (noise == noise_kind::shared || layers < 1) return 1;
  return static_cast<index_t>(math::sqrt(static_cast<double>(layers)) + 0.5);
}

inline status check_search(index_t layers, const search_options& o, index_t least) {
  if (layers < 1) return error{errc::invalid_argument, "layers", text(layers), "1 or more"};
  if (!(o.alpha > 0 && o.alpha < 1)) return error{errc::invalid_argument, "alpha", text(o.alpha), "between 0 and 1"};
  if (!(o.tolerance >= 0 && is_finite(o.tolerance)))
    return error{errc::invalid_argument, "tolerance", text(o.tolerance), "a finite number, at least 0"};
  if (o.budget < least)
    return error{errc::invalid_argument, "budget", text(o.budget, " evaluations"), text("at least ", least)};
  return {};
}

inline metrics::estimate as_estimate(const pooled& p) noexcept {
  metrics::estimate e;
  if (p.n == 0) return e;
  e.value = p.value();
  e.se = math::sqrt(p.variance());
  const double half = metrics::normal_quantile(0.975) * e.se;
  e.lo = e.value - half;
  e.hi = e.value + half;
  e.n = e.n_clusters = p.n;
  return e;
}

}  // namespace detail

}  // namespace RESECT_NAMESPACE::study
