// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/array.hpp>
#include <resect/core/math.hpp>
#include <resect/quant/detail/merge_runs.hpp>
#include <resect/quant/scale_search.hpp>

// The exact optimum over the minimum of an offset grid, for a scale that is given.
namespace RESECT_NAMESPACE::quant::detail {

// Σ a_j·(w_j − ŵ_j)² over all minimums m, codes nearest for each: a sweep. As m falls, w_j crosses the thresholds between
// levels, at m = w_j − s·(c + ½). Between two crossings the codes stay and the error is a parabola in m, whose best existing
// minimum is the store's nearest to the vertex; the argument is that of level_sweep.
// Minimums at which the first or the last weight alone loses more than the best error so far are left out.
template <offset_grid G, class T>
class minimum_sweep {
 public:
  using P = typename G::parameters;

  minimum_sweep(const G& g, const T& t, const typename T::header& h, group_weights w) : g_(g), t_(t), h_(h), w_(w) {
    array<index_t> ends;
    for (std::size_t j = 0; j < w.values.size(); ++j)
      if (importance(j) > 0) {
        sorted_.push_back({double{w.values[j]}, importance(j)});
        ends.push_back(sorted_.size());
        weight_ += importance(j);
      }
    array<element> spare;
    merge_runs(sorted_, ends, spare, [](const element& x, const element& y) { return x.value < y.value; });
  }

  // Makes best and least better where minimums for the scale s > 0 are.
  void run(double s, P& best, double& least) {
    const index_t n = sorted_.size();
    if (n == 0 || !(s > 0)) return;
    const int last = g_.level_count() - 1;
    const double top = sorted_.front().value + math::sqrt(div_rn(least, sorted_.front().weight));
    const double bottom = sorted_.back().value - mul_rn(s, last) - math::sqrt(div_rn(least, sorted_.back().weight));
    collect(s, last, bottom, top);
    // just above the first crossing
    double r = 0, q = 0;
    codes_.resize(n);
    for (index_t j = 0; j < n; ++j) {
      const double x = div_rn(sorted_[j].value - top, s);
      const int c = static_cast<int>(math::ceil(smaller(larger(x - 0.5, 0), last)));
      codes_[j] = c;
      const double e = fma_rn(-s, c, sorted_[j].value);
      r = fma_rn(sorted_[j].weight, e, r);
      q = fma_rn(mul_rn(sorted_[j].weight, e), e, q);
    }
    consider(s, r, q, best, least);
    for (index_t i = 0; i < crossings_.size(); ++i) {
      const element& w = sorted_[crossings_[i].weight];
      int& c = codes_[crossings_[i].weight];
      if (c >= last) continue;
      const double e = fma_rn(-s, c, w.value), after = e - s;
      ++c;
      r = fma_rn(w.weight, -s, r);
      q = fma_rn(mul_rn(w.weight, -s), after + e, q);
      consider(s, r, q, best, least);
    }
  }

 private:
  struct element {
    double value, weight;
  };
  struct crossing {
    double minimum;
    std::int64_t weight;
  };
  double importance(std::size_t j) const noexcept { return w_.importance.empty() ? 1.0 : double{w_.importance[j]}; }

  // The crossings of minimums in [bottom, top), by falling minimum.
  void collect(double s, int last, double bottom, double top) {
    crossings_.clear();
    ends_.clear();
    for (int c = 0; c < last; ++c) {
      const double shift = mul_rn(s, c + 0.5);
      const index_t before = crossings_.size();
      for (index_t j = sorted_.size(); j-- > 0;) {
        const double m = sorted_[j].value - shift;
        if (m < bottom) break;
        if (m < top) crossings_.push_back({m, j});
      }
      if (crossings_.size() > before) ends_.push_back(crossings_.size());
    }
    merge_runs(crossings_, ends_, spare_, [](const crossing& x, const crossing& y) { return x.minimum > y.minimum; });
  }
  // The error at m is q − 2·m·r + m²·Σa.
  void consider(double s, double r, double q, P& best, double& least) const noexcept {
    const double vertex = div_rn(r, weight_);
    if (!(fma_rn(-r, vertex, q) < least)) return;
    const P p = t_.nearest(g_.at(s, vertex), h_);
    const double m = double{p.minimum};
    const double e = fma_rn(m, fma_rn(m, weight_, -2 * r), q);
    if (e < least) {
      least = e;
      best = p;
    }
  }

  const G& g_;
  const T& t_;
  const typename T::header& h_;
  group_weights w_;
  double weight_ = 0;
  array<element> sorted_;
  array<crossing> crossings_, spare_;
  array<index_t> ends_;
  array<int> codes_;
};

// Least squares over scale and minimum for the codes of p, the codes of those, and so on, as long as the error falls.
template <offset_grid G, class T>
void refit(const G& g, const T& t, const typename T::header& h, group_weights w, typename G::parameters& best,
           double& least, int rounds) noexcept {
  for (int round = 0; round < rounds && least > 0; ++round) {
    double n = 0, sc = 0, scc = 0, sw = 0, swc = 0;
    for (std::size_t j = 0; j < w.values.size(); ++j) {
      const double a = w.importance.empty() ? 1.0 : double{w.importance[j]}, x = double{w.values[j]};
      const double c = static_cast<double>(g.encode({&w.values[j], 1}, best));
      n += a;
      sc = fma_rn(a, c, sc);
      scc = fma_rn(mul_rn(a, c), c, scc);
      sw = fma_rn(a, x, sw);
      swc = fma_rn(mul_rn(a, c), x, swc);
    }
    const double d = fma_rn(n, scc, -mul_rn(sc, sc));
    if (!(d > 0)) return;
    const double s = div_rn(fma_rn(n, swc, -mul_rn(sc, sw)), d);
    if (!(s > 0)) return;
    const auto p = t.nearest(g.at(s, div_rn(fma_rn(-s, sc, sw), n)), h);
    const double e = squared_error(g, w, p);
    if (!(e < least)) return;
    least = e;
    best = p;
  }
}

}  // namespace RESECT_NAMESPACE::quant::detail
