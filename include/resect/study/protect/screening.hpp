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

// The layers that a screening still looks at, with their evaluations before the last stage and in it.
template <class E>
class layer_screen {
 public:
  layer_screen(E& evaluate, screening_kind kind, pooled reference)
      : evaluate_(evaluate), in_(kind == screening_kind::leave_one_in), reference_(reference) {
    for (index_t l = 0; l < evaluate.layers(); ++l) kept_.push_back(l);
    before_.resize(kept_.size());
    last_.resize(kept_.size());
  }

  // The layers that are tested at the end, where the noise is fresh.
  index_t finalists() const noexcept { return algo::max<index_t>(8, evaluate_.layers() / 8); }

  // Rounds of one evaluation a layer after which the worse half is dropped, as far as the budget leaves two for each of the
  // finalists.
  status try_halve() {
    while (count() > finalists()) {
      const bool enough = evaluate_.left() >= count() + 2 * finalists();
      if (enough)
        if (auto s = try_pass(before_); !s) return s;
      std::sort(kept_.begin(), kept_.end(), [this](index_t a, index_t b) {
        const double x = gain(before_[at(a)]), y = gain(before_[at(b)]);
        return x != y ? x > y : a < b;
      });
      kept_.resize(at(enough ? algo::max(finalists(), (count() + 1) / 2) : finalists()));
    }
    return {};
  }
  // Up to 8 evaluations of each layer that is left, on which it is tested; one at least, which the caller has checked.
  status try_test() {
    for (int round = 0; round < (evaluate_.fresh() ? 8 : 1) && (round == 0 || evaluate_.left() >= count()); ++round)
      if (auto s = try_pass(last_); !s) return s;
    return {};
  }
  std::vector<layer_effect> effects() {
    std::sort(kept_.begin(), kept_.end());
    std::vector<layer_effect> out;
    for (const index_t l : kept_) {
      const pooled& x = last_[at(l)];
      const double variance = x.variance() + reference_.variance(), g = gain(x);
      out.push_back({l, g, std::sqrt(variance), upper_tail(z_of(g, variance)), x.n + before_[at(l)].n});
    }
    return out;
  }

 private:
  static std::size_t at(index_t l) noexcept { return static_cast<std::size_t>(l); }
  index_t count() const noexcept { return static_cast<index_t>(kept_.size()); }
  double gain(const pooled& x) const noexcept {
    return in_ ? reference_.value() - x.value() : x.value() - reference_.value();
  }
  status try_pass(std::vector<pooled>& into) {
    for (const index_t l : kept_) {
      layer_set set = in_ ? layer_set::all(evaluate_.layers()) : layer_set(evaluate_.layers());
      in_ ? set.erase(l) : set.insert(l);
      if (auto s = evaluate_.try_add(set, into[at(l)]); !s) return s;
    }
    return {};
  }

  E& evaluate_;
  bool in_;
  pooled reference_;
  std::vector<index_t> kept_;
  std::vector<pooled> before_, last_;
};

}  // namespace detail

// Screens all layers one by one, with sequential halving where noise is fresh and the budget allows: each round evaluates
// the remaining layers once and keeps the better half by all evaluations so far, until max(8, L/8) remain; those are tested
// on evaluations of the last stage alone, because a value that led to being kept is too good. With a smaller budget, or with
// a fixed pool, one pass is tested as it is. The reference (intact, or all altered) is evaluated √L times, once with a fixed
// pool, and its noise is in every test.
// Assumes that layers add up: of a redundant pair, leave-one-in sees neither. Cost: L + √L evaluations at least; 95 % success
// takes about 180 at L = 80 where a critical layer's effect is 3 standard errors of one evaluation.
// Errors: invalid_argument (budget below L + √L, alpha, tolerance), the objective's.
template <search_objective F>
result<protection_search> try_screening(F&& f, index_t layers, screening_kind kind,
                                        const search_options& options = {}) {
  const index_t references = detail::reference_evaluations(layers, options.noise);
  if (auto s = detail::check_search(layers, options, layers + references); !s) return s.error();
  detail::evaluator<std::remove_reference_t<F>> evaluate(f, layers, options);
  protection_search out;
  const bool in = kind == screening_kind::leave_one_in;
  out.method = in ? "leave-one-in" : "leave-one-out";
  out.named = layer_set(layers);
  detail::pooled reference;
  if (auto s = evaluate.try_add(in ? layer_set::all(layers) : layer_set(layers), reference, references); !s)
    return s.error();
  detail::layer_screen screen(evaluate, kind, reference);
  const bool halving =
      evaluate.fresh() && layers > screen.finalists() && evaluate.left() >= layers + 2 * screen.finalists();
  if (halving)
    if (auto s = screen.try_halve(); !s) return s.error();
  if (auto s = screen.try_test(); !s) return s.error();
  out.effects = screen.effects();
  detail::name_by_holm(out, options.alpha);
  out.verdict = halving || !evaluate.fresh() ? search_verdict::found : search_verdict::undecided;
  if (in) out.intact = detail::as_estimate(reference);
  out.evaluations = evaluate.spent();
  return out;
}

}  // namespace RESECT_NAMESPACE::study
