// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/detail/shared_header.hpp>
#include <resect/quant/search/exact.hpp>
#include <resect/quant/stores/six_bit.hpp>

namespace RESECT_NAMESPACE::quant {

// What a search weighs an error with.
enum class error_weight : std::uint8_t {
  importance,  // a_j
  ggml,  // as ggml's k-quants: a_j·√(σ² + w²), σ² twice the mean of w² over the super-block; without importance √(mean
         // of w² over the group) + |w|
};

// Two levels at once: units for a super-block, and six bits of them for each group.
//   1. Units and parameters of `exact`.
//   2. Units near to those, first of scales, then of minimums: with each, every group gets the best of the scales next to that of
//      step 1, each with its exact minimum. The units of the least sum stay.
//   3. With those units, each group by `exact`: every scale that exists near the extent's, each with its exact minimum.
// The result is the better of steps 1 and 3, so never worse than exact's, in Σ weight·(w − ŵ)². `./run compare two_level` measures
// it beside ggml's encoder of Q4_K (make_qkx3_quants and a weighted search of six bits), with ggml's weights.
// Cost: about twice that of exact. Grids of more than exact::most_bits are refused.
struct two_level_search {
  error_weight weight = error_weight::importance;
  int units = 3;                        // tried on each side of the first ones, a hundredth apart
  std::span<const float> importance{};  // a_j ≥ 0 of each column, or empty: 1

  // As names of methods show it, and the identity of everything that changes what it does.
  static constexpr std::string_view name() noexcept { return "two-level"; }
  std::uint64_t hash() const noexcept {
    return fingerprint{}
        .add("resect.two-level/2")
        .add(static_cast<std::uint64_t>(weight))
        .add(static_cast<std::uint64_t>(units))
        .add(importance)
        .value();
  }

  // Errors: invalid_argument (a grid of more than exact::most_bits), shape_mismatch, not_finite.
  template <grid G>
  status check(const G& g, index_t cols) const noexcept {
    if (status s = exact{}.check(g, cols); !s) return s;
    return check(cols);
  }
  status check(index_t cols) const noexcept {
    if (units < 0) return error{errc::invalid_argument, "units of two_level_search", text(units), "at least 0"};
    return detail::check_importance(importance, cols);
  }

  // One group whose units are given.
  template <class G, store_of<typename G::parameters> T>
    requires(level_grid<G> || offset_grid<G>)
  typename G::parameters fit(const G& g, const T& t, const typename T::header& h, group_weights w) const {
    return exact{}.fit(g, t, h, w);
  }

  template <offset_grid G, class P = typename G::parameters>
  six_bit_units fit_super_block(const G& g, const six_bit_store<P>& t, std::span<const group_weights> groups,
                                std::span<P> out) const {
    array<group_weights> weighted;
    array<float> memory;
    weigh(groups, weighted, memory);
    const auto start = detail::shared_header(g, t, exact{}, std::span<const group_weights>(weighted.span()), out);
    const array<P> first{std::span<const P>(out)};
    six_bit_units best = start.header;
    double least = total(g, t, best, weighted, first);
    const auto consider = [&](const six_bit_units& h) {
      const double e = total(g, t, h, weighted, first);
      if (e < least) {
        least = e;
        best = h;
      }
    };
    for (int i = -units; i <= units; ++i) consider({scaled(start.header.scale, 1.0 + 0.01 * i), start.header.minimum});
    const float scale = best.scale;
    for (int i = -units; i <= units; ++i) consider({scale, scaled(start.header.minimum, 1.0 + 0.01 * i)});
    if (t.pack_header(best) == t.pack_header(start.header)) return best;
    array<P> found;
    double error = 0;
    for (index_t i = 0; i < weighted.size(); ++i) {
      const P near = beside(g, t, best, weighted[i], first[i]), all = exact{}.fit(g, t, best, weighted[i]);
      const double e_near = detail::squared_error(g, weighted[i], near);
      const double e_all = detail::squared_error(g, weighted[i], all);
      found.push_back(e_near < e_all ? near : all);
      error += detail::smaller(e_near, e_all);
    }
    if (!(error < start.error)) return start.header;
    for (index_t i = 0; i < found.size(); ++i) out[static_cast<std::size_t>(i)] = found[i];
    return best;
  }

 private:
  static float scaled(float unit, double ratio) noexcept {
    return static_cast<float>(f16(mul_rn(unit, ratio), overflow::saturate));
  }

  template <class Groups>  // as late as fit_super_block is instantiated
  void weigh(std::span<const group_weights> groups, Groups& out, array<float>& memory) const {
    index_t all = 0;
    double squares = 0;
    for (const group_weights& w : groups) {
      all += static_cast<index_t>(w.values.size());
      out.push_back(w);
      for (const float x : w.values) squares = fma_rn(double{x}, double{x}, squares);
    }
    if (weight == error_weight::importance) return;
    memory.resize(all);
    const double sigma2 = all == 0 ? 0.0 : div_rn(2 * squares, static_cast<double>(all));
    index_t at = 0;
    for (group_weights& w : out) {
      const index_t begin = at;
      double own = 0;
      for (const float x : w.values) own = fma_rn(double{x}, double{x}, own);
      const double rms = w.values.empty() ? 0.0 : sqrt_rn(div_rn(own, static_cast<double>(w.values.size())));
      for (std::size_t j = 0; j < w.values.size(); ++j, ++at) {
        const double x = double{w.values[j]};
        memory[at] = static_cast<float>(w.importance.empty() ? rms + math::fabs(x)
                                                             : mul_rn(w.importance[j], sqrt_rn(fma_rn(x, x, sigma2))));
      }
      w.importance = {memory.data() + begin, w.values.size()};
    }
  }

  // The best of the existing scales next to that of p, each with its exact minimum.
  template <offset_grid G, class P>
  static P beside(const G& g, const six_bit_store<P>& t, const six_bit_units& h, group_weights w, const P& p) {
    P best = t.nearest(p, h);
    double least = detail::squared_error(g, w, best);
    detail::minimum_sweep<G, six_bit_store<P>> sweep(g, t, h, w);
    const double middle = double{best.scale};
    for (int i = -1; i <= 1 && h.scale > 0 && least > 0; ++i) {
      P found = best;
      double e = least;
      sweep.run(double{t.nearest(P{static_cast<float>(middle + i * double{h.scale}), 0.0f}, h).scale}, found, e);
      if (e < least) {
        least = e;
        best = found;
      }
    }
    return best;
  }
  template <offset_grid G, class P>
  static double total(const G& g, const six_bit_store<P>& t, const six_bit_units& h, const array<group_weights>& groups,
                      const array<P>& first) {
    double sum = 0;
    for (index_t i = 0; i < groups.size(); ++i)
      sum += detail::squared_error(g, groups[i], beside(g, t, h, groups[i], first[i]));
    return sum;
  }
};

}  // namespace RESECT_NAMESPACE::quant
