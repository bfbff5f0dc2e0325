// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <utility>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/view.hpp>
#include <resect/metrics/accumulators/clustered.hpp>
#include <resect/metrics/accumulators/joint.hpp>
#include <resect/metrics/intervals/resample.hpp>

// Bootstrap of any statistic that is a function of totals. It resamples dependent observations in whole units:
// clusters, or blocks of consecutive tokens of one long sequence.
namespace RESECT_NAMESPACE::metrics {

// Scheme: each replicate draws as many clusters as the table has, with replacement. A row of the table is a cluster
// with its sums.
struct whole_clusters {};
// Scheme: each replicate draws ⌈T/length⌉ blocks of `length` consecutive tokens of one sequence of T tokens, the last
// one cut so that T tokens remain. A row of the table is a token. Moving blocks begin at 0 … T−length (Künsch, Ann.
// Statist. 17, 1989): the ends of the sequence are drawn less often, so replicates are centred a little beside the
// sample. Circular blocks begin anywhere and continue at the beginning (Politis & Romano, 1992), without this bias.
// Blocks must be longer than the dependence and many; T^(1/3) is the usual order of magnitude (Hall, Horowitz & Jing,
// Biometrika 82, 1995).
struct moving_blocks {
  index_t length;
};
// Scheme: blocks that may run over the end of the sequence into its beginning, so that every token is drawn equally
// often.
struct circular_blocks {
  index_t length;
};

// Method of the interval, percentile: quantiles of the replicates θ*. Transformation invariant; too narrow for few
// units.
struct percentile {};
// Method of the interval, bca: quantiles corrected for bias and skewness, the acceleration by the jackknife over
// units (Efron, JASA 82, 1987).
struct bca {};
// Method of the interval, studentized: θ − q·se with q the quantiles of (θ* − θ)/se*, both se by the jackknife over
// units (of the sample, of the replicate); the best of the three for means of few units, not transformation
// invariant, and it calls the statistic once more for every unit of every replicate (Efron & Tibshirani, An
// Introduction to the Bootstrap, 1993, §12.5). A replicate whose units are all alike has se* = 0 and counts as +∞ or
// −∞ among the roots (as 0 where θ* = θ); an end is infinite only where its quantile is one of those (a rate with
// misses in 3 of 16 clusters: 3.6 % of the replicates see none; bca and the clustered t interval stay finite).
struct studentized {};

// The estimate of a bootstrap: se is the standard deviation of the replicates, n_clusters the units of a replicate.
// No interval below 6 units, for a value that is not finite, and where a replicate gave no finite value or no se
// (`undefined` counts those). A rate of exactly 0 or 1 has nothing to resample and gets [0, 0] or [1, 1]: the
// estimate of its own type says more.
struct bootstrap_estimate {
  metrics::estimate estimate;
  double bias = nan;  // mean of the replicates − value
  index_t resamples = 0;
  index_t undefined = 0;
};

namespace detail {

inline constexpr std::uint64_t bootstrap_stream = 0x626f6f74;  // "boot"
inline constexpr index_t replicates_a_task = 32;

inline double normal_cdf(double x) noexcept { return 0.5 * math::erfc(-x * 0.70710678118654752440); }

// The sums of the units: rows of a table, or differences of running sums over tokens.
class resampling_units {
 public:
  resampling_units(matrix_view<const double> table, whole_clusters)
      : table_(table), draws_(table.rows), candidates_(table.rows) {}
  resampling_units(matrix_view<const double> table, moving_blocks b)
      : table_(table), draws_((table.rows + b.length - 1) / b.length), candidates_(table.rows - b.length + 1) {
    set_up_blocks(b.length);
  }
  resampling_units(matrix_view<const double> table, circular_blocks b)
      : table_(table), draws_((table.rows + b.length - 1) / b.length), candidates_(table.rows) {
    set_up_blocks(b.length);
  }

  index_t draws() const noexcept { return draws_; }
  index_t candidates() const noexcept { return candidates_; }
  index_t sums() const noexcept { return table_.cols; }

  // Sums of the unit at candidate `at`, as the draw-th of a replicate (the last block of one may be shorter).
  void read(index_t at, index_t draw, double* out) const noexcept {
    if (length_ == 0) {
      for (index_t k = 0; k < table_.cols; ++k) out[k] = table_(at, k);
      return;
    }
    const index_t end = at + (draw + 1 < draws_ ? length_ : table_.rows - (draws_ - 1) * length_);
    for (index_t k = 0; k < table_.cols; ++k) {
      const double wrapped =
          end > table_.rows ? running(table_.rows, k) + running(end - table_.rows, k) : running(end, k);
      out[k] = wrapped - running(at, k);
    }
  }
  // The unit that the sample itself has at place `draw`: what the jackknife over the sample leaves out.
  void read_own(index_t draw, double* out) const noexcept { read(length_ == 0 ? draw : draw * length_, draw, out); }

 private:
  void set_up_blocks(index_t length) {
    length_ = length;
    running_.resize((table_.rows + 1) * table_.cols);
    for (index_t k = 0; k < table_.cols; ++k) {
      compensated total;
      for (index_t t = 0; t < table_.rows; ++t) {
        total.add(table_(t, k));
        running_[(t + 1) * table_.cols + k] = total.value();
      }
    }
  }
  double running(index_t t, index_t k) const noexcept { return running_[t * table_.cols + k]; }

  matrix_view<const double> table_;
  index_t draws_, candidates_;
  index_t length_ = 0;     // of a block; 0: rows are units
  array<double> running_;  // (T + 1, sums)
};

// The jackknife over D units given Σ and a way to read unit d: about `value`, so that nothing cancels.
struct jackknife {
  double se = nan;
  double acceleration = 0;
};
template <class F, class Read>
jackknife leave_one_out(const F& f, std::span<const double> totals, index_t units, double value, std::span<double> unit,
                        std::span<double> rest, Read read) {
  double first = 0, second = 0, third = 0;
  for (index_t d = 0; d < units; ++d) {
    read(d, unit.data());
    for (std::size_t k = 0; k < totals.size(); ++k) rest[k] = totals[k] - unit[k];
    const double delta = value - f(std::span<const double>(rest));
    first += delta;
    second += delta * delta;
    third += delta * delta * delta;
  }
  const double n = static_cast<double>(units), mean = first / n;
  const double squares = second - n * mean * mean;
  const double cubes = third - 3 * mean * second + 2 * n * mean * mean * mean;
  jackknife out;
  out.se = math::sqrt((n - 1) / n * (squares > 0 || squares != squares ? squares : 0.0));
  out.acceleration = squares > 0 ? cubes / (6 * squares * math::sqrt(squares)) : 0.0;
  return out;
}

// Share of the replicates that stands for the lower and upper end.
inline std::pair<double, double> interval_shares(percentile, const bootstrap_options& o, std::span<const double>,
                                                 double, const jackknife&) noexcept {
  return {0.5 - o.level / 2, 0.5 + o.level / 2};
}
inline std::pair<double, double> interval_shares(bca, const bootstrap_options& o, std::span<const double> sorted,
                                                 double value, const jackknife& j) noexcept {
  double below = 0;
  for (const double r : sorted) below += r < value ? 1.0 : r == value ? 0.5 : 0.0;
  const double z0 = normal_quantile(below / static_cast<double>(sorted.size()));
  const double z = normal_quantile(0.5 + o.level / 2);
  const auto share = [&](double w) { return normal_cdf(z0 + w / (1 - j.acceleration * w)); };
  return {share(z0 - z), share(z0 + z)};
}

inline status check_scheme(const whole_clusters&, index_t) noexcept { return {}; }
template <class Blocks>
status check_scheme(const Blocks& b, index_t tokens) noexcept {
  if (b.length < 1 || b.length > tokens)
    return error{errc::invalid_argument, "block length", text(b.length), text("1 to ", tokens)};
  return {};
}

}  // namespace detail

// Bootstraps a statistic θ = f(totals) of the column sums of `table` (units or tokens, sums). f is a pure function of
// a span<const double>; workers call it at the same time. For bca and studentized f should not change when all totals
// are scaled (a ratio, a cosine; put a column of ones into the table where the number counts). Draw d of replicate b
// is one integer of Philox at (seed, b·draws + d): the result is a function of the table, the scheme, the method and
// the options, with the same bits for any number of workers. Sums of blocks are differences of running sums: error ≤
// 2⁻⁵²·Σ|x| of the sequence. Cost resamples·draws·sums (studentized: the statistic resamples·draws times).
// Errors: null, stride (of the table), resamples < 1, level outside (0, 1), block length outside 1 … T (invalid
// argument).
template <executor E, class Scheme, class Method, class F>
result<bootstrap_estimate> try_bootstrap(E& exec, Scheme scheme, Method method, matrix_view<const double> table, F f,
                                         const bootstrap_options& options = {}) {
  if (status s = check_view(table, "table"); !s) return s.error();
  if (status s = detail::check_resampling(options.resamples, options.level); !s) return s.error();
  bootstrap_estimate out;
  out.resamples = options.resamples;
  out.estimate.n = table.rows;
  if (table.empty()) return out;
  if (status s = detail::check_scheme(scheme, table.rows); !s) return s.error();

  const detail::resampling_units units(table, scheme);
  const index_t sums = table.cols;
  out.estimate.n_clusters = units.draws();
  array<double> totals(sums), left_out(sums), others(sums);
  for (index_t k = 0; k < table.cols; ++k) {
    compensated total;
    for (index_t r = 0; r < table.rows; ++r) total.add(table(r, k));
    totals[k] = total.value();
  }
  const double value = f(std::as_const(totals).span());
  out.estimate.value = value;
  if (!is_finite(value) || units.draws() < 2) return out;
  constexpr bool is_studentized = std::is_same_v<Method, studentized>;
  detail::jackknife own;
  if constexpr (!std::is_same_v<Method, percentile>)
    own = detail::leave_one_out(f, totals.span(), units.draws(), value, left_out.span(), others.span(),
                                [&](index_t d, double* u) { units.read_own(d, u); });

  const random::philox_stream stream{options.seed, detail::bootstrap_stream};
  const index_t tasks = (options.resamples + detail::replicates_a_task - 1) / detail::replicates_a_task;
  array<double> replicate(options.resamples), root(is_studentized ? replicate.size() : 0);
  array<double> memory(tasks * 3 * sums);
  exec.bulk(tasks, [&](index_t task) {
    double* const mine = memory.data() + task * 3 * sums;
    const std::size_t width = totals.span().size();
    const std::span<double> total(mine, width), unit(mine + sums, width), rest(mine + 2 * sums, width);
    const index_t first = task * detail::replicates_a_task;
    const index_t last = algo::min(first + detail::replicates_a_task, options.resamples);
    for (index_t b = first; b < last; ++b) {
      const auto read = [&](index_t d, double* u) {
        units.read(detail::resampled(stream, b, d, units.draws(), units.candidates()), d, u);
      };
      for (double& t : total) t = 0;
      for (index_t d = 0; d < units.draws(); ++d) {
        read(d, unit.data());
        for (std::size_t k = 0; k < width; ++k) total[k] += unit[k];
      }
      const double theta = f(std::span<const double>(total));
      replicate[b] = theta;
      if constexpr (is_studentized) {
        const auto j = detail::leave_one_out(f, total, units.draws(), theta, unit, rest, read);
        root[b] = theta == value ? 0.0 : (theta - value) / j.se;
      }
    }
  });

  double mean = 0, squares = 0;
  for (const double r : replicate) {
    out.undefined += !is_finite(r);
    mean += r - value;
  }
  for (index_t i = 0; i < root.size(); ++i) out.undefined += is_finite(replicate[i]) && math::isnan(root[i]);
  const double n = static_cast<double>(options.resamples);
  mean /= n;
  if (out.undefined > 0) return out;
  for (const double r : replicate) squares += (r - value - mean) * (r - value - mean);
  out.bias = mean;
  out.estimate.se = options.resamples > 1 ? math::sqrt(squares / (n - 1)) : nan;
  if (units.draws() < min_clusters) return out;
  const auto at = [&](const array<double>& sorted, double share) {
    return sorted[detail::replicate_at(share, options.resamples) - 1];
  };
  if constexpr (is_studentized) {
    algo::stable_sort(root.begin(), root.end());
    out.estimate.lo = value - at(root, 0.5 + options.level / 2) * own.se;
    out.estimate.hi = value - at(root, 0.5 - options.level / 2) * own.se;
  } else {
    algo::stable_sort(replicate.begin(), replicate.end());
    const auto [low, high] = detail::interval_shares(method, options, replicate.span(), value, own);
    if (!(low <= high)) return out;  // every replicate on one side of the value, or an acceleration beyond the pole
    out.estimate.lo = at(replicate, low);
    out.estimate.hi = at(replicate, high);
  }
  return out;
}

// Of a function of joint sums (the one that their `estimate` takes), resampling the clusters that hold anything.
// n is the number of observations. Error: observations outside the clusters (invalid argument).
template <executor E, class Method, std::size_t K, class F>
result<bootstrap_estimate> try_bootstrap(E& exec, Method method, const joint_sums<K>& data, F f,
                                         const bootstrap_options& options = {}) {
  if (data.rejected() > 0)
    return error{errc::invalid_argument, "observations outside the clusters", text(data.rejected()), "none"};
  array<double> table;
  for (index_t c = 0; c < data.clusters(); ++c)
    for (std::size_t k = 0; k < K && data.count(c) > 0; ++k) table.push_back(data.sum(c, k));
  const matrix_view<const double> view{table.data(), data.used_clusters(), static_cast<index_t>(K),
                                       static_cast<index_t>(K), 1};
  auto out = try_bootstrap(
      exec, whole_clusters{}, method, view,
      [&f](std::span<const double> totals) {
        double t[K], gradient[K];
        for (std::size_t k = 0; k < K; ++k) t[k] = totals[k];
        return f(t, gradient);
      },
      options);
  if (out) out->estimate.n = data.total_count();
  return out;
}

// Of the mean over tokens of clustered sums.
template <executor E, class Method>
result<bootstrap_estimate> try_bootstrap(E& exec, Method method, const clustered_sums& data,
                                         const bootstrap_options& options = {}) {
  joint_sums<2> joint(data.clusters());
  for (index_t c = 0; c < data.clusters(); ++c)
    if (data.count(c) > 0) joint.add_sums(c, {data.sum(c), static_cast<double>(data.count(c))}, data.count(c));
  if (data.rejected() > 0) joint.add_sums(-1, {0, 0}, data.rejected());
  return try_bootstrap(exec, method, joint, ratio_of_totals{}, options);
}

// The bootstrap of a table that is any operand of doubles.
template <executor E, class Scheme, class Method, operand_of<double> Table, class F>
result<bootstrap_estimate> try_bootstrap(E& exec, Scheme scheme, Method method, const Table& table, F f,
                                         const bootstrap_options& options = {}) {
  return on_view(table, "table",
                 [&](matrix_view<const double> view) { return try_bootstrap(exec, scheme, method, view, f, options); });
}

#if RESECT_EXCEPTIONS
// The throwing form; arguments as try_bootstrap.
template <executor E, class... Args>
  requires requires(E& e, const Args&... args) { try_bootstrap(e, args...); }
bootstrap_estimate bootstrap(E& exec, const Args&... args) {
  return value_or_throw(try_bootstrap(exec, args...));
}
#endif

}  // namespace RESECT_NAMESPACE::metrics
