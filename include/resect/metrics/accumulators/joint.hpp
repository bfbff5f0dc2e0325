// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/core/result.hpp>
#include <resect/metrics/accumulators/compensated.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/intervals/range.hpp>

namespace RESECT_NAMESPACE::metrics {

// K sums of the same observations in each cluster, for estimates that are a smooth function of several totals (a
// pooled cosine, a ratio, an odds ratio). Clusters are numbered 0 … G−1; G is fixed when made, so `add` never
// allocates. Sums are compensated: a merge over any partition equals one pass to 1e-12, also when a cluster's
// observations went to several parts. 16·K + 8 bytes a cluster.
template <std::size_t K>
class joint_sums {
 public:
  joint_sums() noexcept = default;
  explicit joint_sums(index_t clusters) : cells_(algo::max(clusters, index_t{0})) {}

  // One observation of all K. A cluster outside 0 … G−1 is counted in `rejected`, and then no estimate is given.
  template <class... T>
    requires(sizeof...(T) == K)
  void add(index_t cluster, T... values) noexcept {
    const double v[K] = {static_cast<double>(values)...};
    add_sums(cluster, v, 1);
  }
  // `count` observations whose sums are `sums` (a stored cluster read back).
  void add_sums(index_t cluster, const double (&sums)[K], index_t count) noexcept {
    if (cluster < 0 || cluster >= clusters()) {
      rejected_ += count;
      return;
    }
    cell& c = cells_[cluster];
    for (std::size_t k = 0; k < K; ++k) c.sum[k].add(sums[k]);
    c.n += count;
  }
  // Adds all observations of `other`. Shape mismatch if the numbers of clusters differ; nothing changes then.
  status merge(const joint_sums& other) noexcept {
    if (other.clusters() != clusters())
      return error{errc::shape_mismatch, "clusters", text(other.clusters()), text(clusters())};
    for (index_t c = 0; c < clusters(); ++c) {
      for (std::size_t k = 0; k < K; ++k) cells_[c].sum[k].add(other.cells_[c].sum[k]);
      cells_[c].n += other.cells_[c].n;
    }
    rejected_ += other.rejected_;
    return {};
  }

  static constexpr std::size_t width = K;
  index_t clusters() const noexcept { return cells_.size(); }
  index_t rejected() const noexcept { return rejected_; }
  // The k-th sum of a cluster, how many observations it has, and both over all clusters.
  double sum(index_t cluster, std::size_t k) const noexcept { return at(cluster).sum[k].value(); }
  index_t count(index_t cluster) const noexcept { return at(cluster).n; }
  double total(std::size_t k) const noexcept {
    compensated t;
    for (const cell& c : cells_) t.add(c.sum[k]);
    return t.value();
  }
  index_t total_count() const noexcept {
    index_t n = 0;
    for (const cell& c : cells_) n += c.n;
    return n;
  }
  index_t used_clusters() const noexcept {
    index_t g = 0;
    for (const cell& c : cells_) g += c.n > 0;
    return g;
  }

  // θ = f(totals, gradient), where f also writes ∂θ/∂total_k. Delta method: with S_c the sums of cluster c and
  // e_c = Σ_k ∂_kθ·S_ck less its mean over clusters, var = G/(G−1)·Σe_c²; interval by the range of θ (set_interval; any:
  // θ ± t(G−1)·se), none for G < 6. For
  // f = total_0/total_1 with total_1 the count this is clustered_sums' estimate. NaN where f gives NaN or a cluster was
  // rejected. Cost O(G·K). Source: the sandwich estimator of Liang & Zeger, Biometrika 73 (1986).
  template <class F>
  metrics::estimate estimate(F f, double level = 0.95, mean_range range = mean_range::any) const noexcept {
    metrics::estimate e;
    e.n = total_count();
    e.n_clusters = used_clusters();
    if (e.n == 0 || rejected_ > 0) return e;
    double totals[K], gradient[K] = {};
    for (std::size_t k = 0; k < K; ++k) totals[k] = total(k);
    e.value = f(totals, gradient);
    if (!is_finite(e.value) || e.n_clusters < 2) return e;
    const double g = static_cast<double>(e.n_clusters);
    double mean = 0;
    for (const cell& c : cells_) mean += c.n > 0 ? influence(c, gradient) : 0.0;
    mean /= g;
    double squares = 0, cubes = 0;
    for (const cell& c : cells_) {
      if (c.n == 0) continue;
      const double residual = influence(c, gradient) - mean;
      squares += residual * residual;
      cubes += residual * residual * residual;
    }
    e.se = math::sqrt(g / (g - 1) * squares);
    set_interval(e, range, detail::skewness_of(squares, cubes, g), g - 1, level);
    return e;
  }

 private:
  struct cell {
    compensated sum[K];
    index_t n = 0;
  };
  const cell& at(index_t cluster) const noexcept { return cells_[cluster]; }
  static double influence(const cell& c, const double (&gradient)[K]) noexcept {
    double e = 0;
    for (std::size_t k = 0; k < K; ++k) e += gradient[k] * c.sum[k].value();
    return e;
  }

  array<cell> cells_;
  index_t rejected_ = 0;
};

// The ratio θ = total_0/total_1, the form of most pooled measures; NaN if the denominator is 0.
struct ratio_of_totals {
  template <std::size_t K>
  double operator()(const double (&t)[K], double (&gradient)[K]) const noexcept {
    static_assert(K >= 2);
    if (t[1] == 0) return nan;
    const double ratio = t[0] / t[1];
    gradient[0] = 1 / t[1];
    gradient[1] = -ratio / t[1];
    return ratio;
  }
};

}  // namespace RESECT_NAMESPACE::metrics
