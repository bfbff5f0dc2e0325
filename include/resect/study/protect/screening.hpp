// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <resect/study/protect/search.hpp>

namespace RESECT_NAMESPACE::study {

// What a screening does to one layer at a time.
enum class screening_kind : std::uint8_t {
  leave_one_in,   // it alone is altered: its loss beside the intact model
  leave_one_out,  // it alone is protected: its gain beside the model with all layers altered
};

namespace detail {

// The layers whose gains survive Holm at options.alpha, one-sided, are named.
inline void name_by_holm(protection_search& out, double alpha) {
  std::vector<double> p;
  for (const layer_effect& e : out.effects) p.push_back(e.p);
  metrics::detail::adjust_by_holm(p);
  for (std::size_t i = 0; i < p.size(); ++i) {
    out.effects[i].p = p[i];
    if (p[i] <= alpha) out.named.insert(out.effects[i].layer);
  }
}

}  // namespace detail

// Screens all layers one by one, with sequential halving where noise is fresh and the budget allows: each round evaluates
// the remaining layers once and keeps the better half by all evaluations so far, until max(8, L/8) remain; those are tested
// on evaluations of the last stage alone, because a value that led to being kept is too good. With a smaller budget, or with
// a fixed pool, one pass is tested as it is. The reference (intact, or all altered) is evaluated √L times, once with a fixed
// pool, and its noise is in every test.
// Assumes that layers add up: of a redundant pair, leave-one-in sees neither. Cost: L + √L evaluations at least; 95 % success
// takes about 180 at L = 80 where a critical layer's effect is 3 standard errors of one evaluation.
// Errors: invalid_argument (budget below L + √L + 1, alpha, tolerance), the objective's.
template <search_objective F>
result<protection_search> try_screening(F&& f, index_t layers, screening_kind kind,
                                        const search_options& options = {}) {
  using evaluator_type = detail::evaluator<std::remove_reference_t<F>>;
  const index_t references =
      options.noise == noise_kind::shared
          ? 1
          : static_cast<index_t>(std::lround(std::sqrt(static_cast<double>(layers < 1 ? 1 : layers))));
  if (auto s = detail::check_search(layers, options, layers + references); !s) return s.error();
  evaluator_type evaluate(f, layers, options);
  protection_search out;
  out.method = kind == screening_kind::leave_one_in ? "leave-one-in" : "leave-one-out";
  out.named = layer_set(layers);
  const layer_set intact = layer_set::all(layers), altered(layers);
  const bool in = kind == screening_kind::leave_one_in;
  const auto set_of = [&](index_t l) {
    layer_set set = in ? intact : altered;
    in ? set.erase(l) : set.insert(l);
    return set;
  };
  detail::pooled reference;
  if (auto s = evaluate.try_add(in ? intact : altered, reference, references); !s) return s.error();
  const auto gain_of = [&](const detail::pooled& x) {
    return in ? reference.value() - x.value() : x.value() - reference.value();
  };

  std::vector<detail::pooled> all(static_cast<std::size_t>(layers)), last(static_cast<std::size_t>(layers));
  std::vector<index_t> kept;
  for (index_t l = 0; l < layers; ++l) kept.push_back(l);
  const index_t finalists = algo::max<index_t>(8, layers / 8), repeats = 2;
  const bool halving = evaluate.fresh() && layers > finalists && evaluate.left() >= layers + repeats * finalists;
  const auto pass = [&](std::vector<detail::pooled>& into) -> status {
    for (const index_t l : kept)
      if (auto s = evaluate.try_add(set_of(l), into[static_cast<std::size_t>(l)]); !s) return s;
    return {};
  };
  if (auto s = pass(halving ? all : last); !s) return s.error();
  while (halving && static_cast<index_t>(kept.size()) > finalists) {
    std::sort(kept.begin(), kept.end(), [&](index_t a, index_t b) {
      const double x = gain_of(all[static_cast<std::size_t>(a)]), y = gain_of(all[static_cast<std::size_t>(b)]);
      return x != y ? x > y : a < b;
    });
    kept.resize(static_cast<std::size_t>(algo::max<index_t>(finalists, (static_cast<index_t>(kept.size()) + 1) / 2)));
    if (static_cast<index_t>(kept.size()) == finalists) break;
    if (evaluate.left() < static_cast<index_t>(kept.size()) + repeats * finalists) {
      kept.resize(static_cast<std::size_t>(finalists));
      break;
    }
    if (auto s = pass(all); !s) return s.error();
  }
  constexpr index_t most_repeats = 8;
  for (index_t round = halving ? 0 : 1; evaluate.fresh() && round < most_repeats; ++round) {
    if (evaluate.left() < static_cast<index_t>(kept.size())) break;
    if (auto s = pass(last); !s) return s.error();
  }

  std::sort(kept.begin(), kept.end());
  const double reference_variance = reference.variance();
  for (const index_t l : kept) {
    const detail::pooled& x = last[static_cast<std::size_t>(l)];
    if (x.n == 0) continue;
    const double variance = x.variance() + reference_variance;
    const double gain = gain_of(x);
    out.effects.push_back({l, gain, std::sqrt(variance), detail::upper_tail(detail::z_of(gain, variance)),
                           x.n + all[static_cast<std::size_t>(l)].n});
  }
  detail::name_by_holm(out, options.alpha);
  out.verdict = halving || !evaluate.fresh() ? search_verdict::found : search_verdict::undecided;
  if (in) out.intact = detail::as_estimate(reference);
  out.evaluations = evaluate.spent();
  return out;
}

}  // namespace RESECT_NAMESPACE::study
