// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/array.hpp>
#include <resect/core/math.hpp>
#include <resect/quant/detail/merge_runs.hpp>
#include <resect/quant/scale_search.hpp>

// The exact optimum over the scale of a level grid.
namespace RESECT_NAMESPACE::quant::detail {

// Σ a_j·(w_j − ŵ_j)² over all scales s of one sign, codes nearest for each: a sweep. As s falls from ∞ to 0, w_j/s crosses the
// thresholds between levels, at s = w_j/t_c. Between two crossings the codes stay, and the error is a parabola
//   C − 2·s·A + s²·B,   A = Σ a·w·l, B = Σ a·l², C = Σ a·w².
// The best scale that exists is the store's nearest to the vertex A/B of some piece: (1) on its own piece the best scale s*
// has the parabola's value, of which the minimum over existing scales lies at the one nearest to the vertex; (2) any
// piece's parabola at any scale is at least the error of the nearest codes there. So the least of all parabolas at the
// stored vertices is the least error. The same argument holds whatever the order of crossings at one scale.
// Cost: n·(levels − 1)/2 crossings, merged from sorted runs: O(n·levels·log levels).
template <level_grid G, class T>
class level_sweep {
 public:
  using P = typename G::parameters;

  level_sweep(const G& g, const T& t, const typename T::header& h, group_weights w) : g_(g), t_(t), h_(h), w_(w) {
    sort_weights();
    for (std::size_t j = 0; j < w.values.size(); ++j)
      squares_ = fma_rn(mul_rn(importance(j), w.values[j]), double{w.values[j]}, squares_);
  }

  // Makes best and least better where scales of this sign (1, −1) and levels of this set are.
  void run(int sign, int set, P& best, double& least) {
    collect(sign, set);
    double a = 0, b = 0;
    codes_.resize(static_cast<index_t>(w_.values.size()));
    for (std::size_t j = 0; j < w_.values.size(); ++j) {
      const int c = code_at_zero(mul_rn(sign, w_.values[j]), set);
      codes_[static_cast<index_t>(j)] = c;
      move(j, sign, 0.0, g_.level(set, c), a, b);
    }
    consider(sign, set, a, b, best, least);
    const index_t n = crossings_.size();
    for (index_t i = 0; i < n; ++i) {
      const auto j = static_cast<index_t>(crossings_[i].weight);
      const bool up = (w_.values[static_cast<std::size_t>(j)] > 0) == (sign > 0);
      const int from = codes_[j], to = up ? from + 1 : from - 1;
      codes_[j] = to;
      move(static_cast<std::size_t>(j), sign, g_.level(set, from), g_.level(set, to), a, b);
      if (i + 1 == n || crossings_[i + 1].scale < crossings_[i].scale) consider(sign, set, a, b, best, least);
    }
  }

 private:
  struct crossing {
    double scale;
    std::int64_t weight;
  };
  double importance(std::size_t j) const noexcept { return w_.importance.empty() ? 1.0 : double{w_.importance[j]}; }

  // The indices of positive and of negative weights, by falling magnitude.
  void sort_weights() {
    array<crossing> all, spare;
    array<index_t> ends;
    for (std::size_t j = 0; j < w_.values.size(); ++j)
      if (w_.values[j] != 0 && importance(j) > 0) {
        all.push_back({math::fabs(double{w_.values[j]}), static_cast<std::int64_t>(j)});
        ends.push_back(all.size());
      }
    merge_runs(all, ends, spare, [](const crossing& x, const crossing& y) { return x.scale > y.scale; });
    for (const crossing& c : all)
      (w_.values[static_cast<std::size_t>(c.weight)] > 0 ? positive_ : negative_).push_back(c);
  }
  double threshold(int set, int c) const noexcept { return 0.5 * (g_.level(set, c) + g_.level(set, c + 1)); }
  // The code of x/s as s goes to ∞.
  int code_at_zero(double x, int set) const noexcept {
    int c = 0;
    while (c + 1 < g_.level_count() && (x > 0 ? threshold(set, c) <= 0 : threshold(set, c) < 0)) ++c;
    return c;
  }
  void collect(int sign, int set) {
    crossings_.clear();
    ends_.clear();
    for (int c = 0; c + 1 < g_.level_count(); ++c) {
      const double t = threshold(set, c);
      if (t == 0) continue;
      const array<crossing>& weights = (t > 0) == (sign > 0) ? positive_ : negative_;
      const double by = math::fabs(t);
      for (const crossing& w : weights) crossings_.push_back({div_rn(w.scale, by), w.weight});
      if (!weights.empty()) ends_.push_back(crossings_.size());
    }
    merge_runs(crossings_, ends_, spare_, [](const crossing& x, const crossing& y) { return x.scale > y.scale; });
  }
  void move(std::size_t j, int sign, double from, double to, double& a, double& b) const noexcept {
    const double weight = importance(j), d = to - from;
    a = fma_rn(mul_rn(weight, mul_rn(sign, w_.values[j])), d, a);
    b = fma_rn(mul_rn(weight, d), to + from, b);
  }
  void consider(int sign, int set, double a, double b, P& best, double& least) const noexcept {
    if (!(a > 0 && b > 0)) return;
    const double vertex = div_rn(a, b);
    if (!(fma_rn(-a, vertex, squares_) < least)) return;
    const P p = existing(g_, t_, h_, g_.at_scale(mul_rn(sign, vertex), set));
    const double s = mul_rn(sign, p.scale);
    const double e = fma_rn(s, fma_rn(s, b, -2 * a), squares_);
    if (e < least) {
      least = e;
      best = p;
    }
  }
  const G& g_;
  const T& t_;
  const typename T::header& h_;
  group_weights w_;
  double squares_ = 0;
  array<crossing> positive_, negative_, crossings_, spare_;
  array<index_t> ends_;
  array<int> codes_;
};

}  // namespace RESECT_NAMESPACE::quant::detail
