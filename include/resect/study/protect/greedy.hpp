// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <vector>

#include <resect/study/protect/search.hpp>

namespace RESECT_NAMESPACE::study {

// Protects one layer after another, the one that gains most first, lazily: the gains of the first round are kept as bounds,
// and only the layer with the largest bound is measured again beside the layers protected so far. A layer is
// taken if its gain on new evaluations has a one-sided p ≤ alpha/16: 4 with it and 4 without, then as many again unless z < 1.
// Ends when the loss beside the intact model is at most `tolerance` (one-sided bound at alpha), when 16 layers in a row were
// not taken, or with the budget.
// Assumes that a layer's gain does not grow as others are protected (submodular): of two layers that matter only together
// neither gains alone. Cost: L + √L and about 10 for each layer looked at. The chance of naming a layer that does not matter is
// alpha/16 for each that is looked at, about 20 at L = 80. With a fixed pool each set is evaluated once.
// Errors: invalid_argument (budget below L + 2·√L, alpha, tolerance), the objective's.
// Source: Minoux, Optimization Techniques (1978) 234; CELF: Leskovec et al., KDD 2007.
template <search_objective F>
result<protection_search> try_lazy_greedy(F&& f, index_t layers, const search_options& options = {}) {
  const bool shared = options.noise == noise_kind::shared;
  const index_t references = detail::reference_evaluations(layers, options.noise);
  if (auto s = detail::check_search(layers, options, layers + 2 * references); !s) return s.error();
  constexpr index_t most_refused = 16, repeats = 4;
  detail::evaluator<std::remove_reference_t<F>> evaluate(f, layers, options);
  protection_search out;
  out.method = "lazy greedy";
  out.named = layer_set(layers);
  detail::pooled intact, now;
  if (auto s = evaluate.try_add(layer_set::all(layers), intact, references); !s) return s.error();
  if (auto s = evaluate.try_add(out.named, now, references); !s) return s.error();

  struct candidate {
    index_t layer;
    double bound;
  };
  std::vector<candidate> queue;
  const auto smaller = [](const candidate& a, const candidate& b) {
    return a.bound != b.bound ? a.bound < b.bound : a.layer > b.layer;
  };
  for (index_t l = 0; l < layers; ++l) {
    layer_set one(layers);
    one.insert(l);
    detail::pooled alone;
    if (auto s = evaluate.try_add(one, alone); !s) return s.error();
    queue.push_back({l, alone.value() - now.value()});
  }
  std::make_heap(queue.begin(), queue.end(), smaller);

  const double limit = options.alpha / 16;
  index_t refused = 0;
  out.verdict = search_verdict::found;
  while (!queue.empty() && refused < most_refused) {
    const double loss = intact.value() - now.value();
    if (detail::upper_tail(detail::z_of(options.tolerance - loss, intact.variance() + now.variance())) <= options.alpha)
      break;
    if (evaluate.left() < (shared ? 1 : 2 * repeats)) {
      out.verdict = search_verdict::undecided;
      break;
    }
    std::pop_heap(queue.begin(), queue.end(), smaller);
    const candidate top = queue.back();
    queue.pop_back();
    layer_set with = out.named;
    with.insert(top.layer);
    detail::pooled better, same = shared ? now : detail::pooled{};
    double gain = 0, variance = 0, p = 1;
    for (int stage = 0; stage < (shared ? 1 : 2) && evaluate.left() >= (shared ? 1 : 2 * repeats); ++stage) {
      if (auto s = evaluate.try_add(with, better, repeats); !s) return s.error();
      if (auto s = evaluate.try_add(out.named, same, repeats); !s) return s.error();
      variance = better.variance() + same.variance();
      gain = better.value() - same.value();
      p = detail::upper_tail(detail::z_of(gain, variance));
      if (detail::z_of(gain, variance) < 1) break;
    }
    if (!shared) now.add(same);
    if (p > limit) {
      ++refused;
      continue;
    }
    refused = 0;
    out.effects.push_back({top.layer, gain, std::sqrt(variance), p, better.n});
    out.named.insert(top.layer);
    now = better;
  }
  out.intact = detail::as_estimate(intact);
  out.evaluations = evaluate.spent();
  return out;
}

}  // namespace RESECT_NAMESPACE::study
