// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <resect/core/hash.hpp>
#include <resect/random/distributions.hpp>
#include <resect/study/protect/search.hpp>

// Models whose critical layers are known: q(P) = q0 − Σ over critical layers that are not protected of e, and noise.
namespace tests {

using resect::index_t;

// What of a landscape differs from "layers add up, errors are independent".
enum class landscape_kind {
  additive,
  redundant_pair,  // two critical layers cost e together, where neither is protected
  not_monotone,    // two layers outside the critical ones cost e/2 where they are protected
  fixed_pool,      // errors belong to the items: shared by all evaluations, by layer, and by set
};

struct landscape_options {
  index_t layers = 80, critical = 5;
  double effect = 0.3, ratio = 3;  // effect over the noise of one evaluation
  landscape_kind kind = landscape_kind::additive;
};

class planted_landscape {
 public:
  // Everything is drawn anew from the run's number.
  planted_landscape(const landscape_options& o, std::uint64_t run) : options_(o), run_(run), critical_(o.layers) {
    const resect::random::philox_stream draws{run, 1};
    std::uint64_t at = 0;
    const auto draw = [&] {
      return static_cast<index_t>(resect::random::integer_below(draws, at++, static_cast<std::uint64_t>(o.layers)));
    };
    while (critical_.size() < o.critical) {
      const index_t l = draw();
      if (critical_.contains(l)) continue;
      critical_.insert(l);
      order_.push_back(l);
    }
    while (harmful_.size() < 2) {
      const index_t l = draw();
      if (!critical_.contains(l)) harmful_.insert(l);
    }
  }

  // The items are named so that the objective can say which half its estimates are of.
  static resect::study::item_halves halves() {
    const std::vector<std::string> search{"s"}, confirmation{"c"};
    return resect::value_or_throw(resect::study::try_halves(search, confirmation));
  }

  double truth(const resect::study::layer_set& p) const {
    double q = 0.9;
    for (const index_t l : order_) q -= p.contains(l) ? 0 : options_.effect;
    if (options_.kind == landscape_kind::redundant_pair) {  // the first two: e once, and only together
      const bool first = p.contains(order_[0]), second = p.contains(order_[1]);
      q += (first ? 0 : options_.effect) + (second ? 0 : options_.effect) - (first || second ? 0 : options_.effect);
    }
    if (options_.kind == landscape_kind::not_monotone)
      for (const index_t l : harmful_) q -= p.contains(l) ? options_.effect / 2 : 0;
    return q;
  }

  // One evaluation.
  double measured(const resect::study::layer_set& p, index_t draw) const {
    const double sd = noise();
    if (options_.kind != landscape_kind::fixed_pool)
      return truth(p) + sd * resect::random::gaussian(run_, 2, static_cast<std::uint64_t>(draw));
    // a third of the variance (at half of the layers altered) for the pool as a whole, its layers, and each set
    double q = truth(p) + sd / std::sqrt(3.0) * resect::random::gaussian(run_, 3, 0);
    resect::fingerprint set;
    const double by_layer = sd * std::sqrt(2.0 / (3.0 * static_cast<double>(options_.layers)));
    for (index_t l = 0; l < options_.layers; ++l) {
      set.add(static_cast<std::uint64_t>(p.contains(l)));
      if (!p.contains(l)) q += by_layer * resect::random::gaussian(run_, 4, static_cast<std::uint64_t>(l));
    }
    return q + sd / std::sqrt(3.0) * resect::random::gaussian(run_, 5, set.value());
  }

  auto objective() const {
    return [this, half = halves().search](const resect::study::layer_set& p, index_t draw) {
      resect::metrics::estimate e;
      e.value = measured(p, draw);
      e.se = noise();
      return half.estimate(e);
    };
  }

  double noise() const { return options_.effect / options_.ratio; }
  const resect::study::layer_set& critical() const { return critical_; }
  const std::set<index_t>& harmful() const { return harmful_; }
  // The redundant pair, of that kind.
  std::pair<index_t, index_t> pair() const { return std::minmax(order_[0], order_[1]); }
  bool names_outside(const resect::study::layer_set& named) const {
    for (const index_t l : named.members())
      if (!critical_.contains(l)) return true;
    return false;
  }

 private:
  landscape_options options_;
  std::uint64_t run_;
  resect::study::layer_set critical_;
  std::vector<index_t> order_;
  std::set<index_t> harmful_;
};

}  // namespace tests
