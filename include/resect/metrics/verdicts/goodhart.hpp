// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/metrics/accumulators/joint.hpp>
#include <resect/metrics/verdicts/paired_items.hpp>

namespace RESECT_NAMESPACE::metrics {

// The runs of one item by outcome: understanding (U: the reply says what to do) and execution (E: the reply does it).
struct understood_executed {
  index_t both = 0;             // n11
  index_t only_understood = 0;  // n10, the gap
  index_t only_executed = 0;    // n01
  index_t neither = 0;          // n00
};

// The 2×2 table of understanding against execution. Every item counts once: with R runs each weighs 1/R. The table is
// what is stored, so margins and gaps cannot contradict each other. Clusters are templates of items (an item of its own
// where there are none); intervals are clustered, by the delta method. A rate of exactly 0 or 1 has Wilson's interval with
// one observation a cluster (rate_interval). NaN ("N/A") wherever a denominator is 0: "0 gaps" among nothing understood
// is no finding.
class goodhart_table {
 public:
  goodhart_table() noexcept = default;
  explicit goodhart_table(index_t clusters) : cells_(clusters) {}

  // One item, one run.
  void add(index_t cluster, grade understanding, grade execution) noexcept {
    const bool u = understanding == grade::pass, e = execution == grade::pass;
    add(cluster, understood_executed{u && e, u && !e, !u && e, !u && !e});
  }
  // One item with its runs. Negative counts or no runs make all estimates NaN.
  void add(index_t cluster, const understood_executed& runs) noexcept {
    const index_t n = runs.both + runs.only_understood + runs.only_executed + runs.neither;
    const bool valid =
        n > 0 && runs.both >= 0 && runs.only_understood >= 0 && runs.only_executed >= 0 && runs.neither >= 0;
    const auto share = [&](index_t k) { return valid ? static_cast<double>(k) / static_cast<double>(n) : nan; };
    cells_.add(cluster, share(runs.both), share(runs.only_understood), share(runs.only_executed), share(runs.neither));
  }
  status merge(const goodhart_table& other) noexcept { return cells_.merge(other.cells_); }

  // Items (a sum of shares with runs): n11, n10, n01, n00.
  double both() const noexcept { return cells_.total(0); }
  double only_understood() const noexcept { return cells_.total(1); }
  double only_executed() const noexcept { return cells_.total(2); }
  double neither() const noexcept { return cells_.total(3); }

  // p_U = (n11 + n10)/N and p_E = (n11 + n01)/N.
  estimate understanding(double level = 0.95) const noexcept { return rate({1, 1, 0, 0}, {1, 1, 1, 1}, level); }
  estimate execution(double level = 0.95) const noexcept { return rate({1, 0, 1, 0}, {1, 1, 1, 1}, level); }
  // gap = n10/N: the mean over items of U(1 − E).
  estimate gap(double level = 0.95) const noexcept { return rate({0, 1, 0, 0}, {1, 1, 1, 1}, level); }
  // n10/(n10 + n11) = ΣU(1 − E)/ΣU. Between arms it compares different items (those that each understands).
  estimate conditional_gap(double level = 0.95) const noexcept { return rate({0, 1, 0, 0}, {1, 1, 0, 0}, level); }
  // n01/(n01 + n11): does it without knowing.
  estimate unexplained_execution(double level = 0.95) const noexcept { return rate({0, 0, 1, 0}, {1, 0, 1, 0}, level); }

  // p_U(1 − p_E): the gap if understanding and execution had nothing to do with each other. Where it is exactly 0 or 1,
  // from the ends of both rates.
  estimate independent_gap(double level = 0.95) const noexcept {
    estimate e = cells_.estimate([](const double(&t)[4], double(&g)[4]) { return independence(t, g); }, level);
    if (!e.has_interval() || (e.value != 0 && e.value != 1)) return e;
    const estimate u = understanding(level), x = execution(level);
    e.lo = u.lo * (1 - x.hi);
    e.hi = u.hi * (1 - x.lo);
    return e;
  }
  // gap − p_U(1 − p_E): below 0 where those who know also do. It is the covariance of U and 1 − E, so where one of them
  // has a rate of exactly 0 or 1 it is 0 without spread; its interval is then what the ends of both rates allow:
  // −w·b … w·(1 − a), with w the largest share of the items that were not seen and a, b the ends of the other rate.
  estimate excess_gap(double level = 0.95) const noexcept {
    estimate e = cells_.estimate(
        [](const double(&t)[4], double(&g)[4]) {
          const double n = t[0] + t[1] + t[2] + t[3], gap = t[1] / n;
          const double expected = independence(t, g);
          for (int k = 0; k < 4; ++k) g[k] = -gap / n - g[k];
          g[1] += 1 / n;
          return gap - expected;
        },
        level);
    if (!e.has_interval()) return e;
    const estimate u = understanding(level), x = execution(level), not_x{1 - x.value, x.se, 1 - x.hi, 1 - x.lo};
    // cov(A, B) = P(A)·(P(B|A) − P(B)) lies between −P(A)·P(B) and P(A)·(1 − P(B)); cov(A, B) = −cov(1 − A, B)
    bool bounded = false;
    const auto bound = [&](double lo, double hi) {
      e.lo = bounded && e.lo > lo ? e.lo : lo;
      e.hi = bounded && e.hi < hi ? e.hi : hi;
      bounded = true;
    };
    const auto unseen = [&](const estimate& a, const estimate& b) {
      if (a.value == 0) bound(-a.hi * b.hi, a.hi * (1 - b.lo));
      if (a.value == 1) bound(-(1 - a.lo) * (1 - b.lo), (1 - a.lo) * b.hi);
    };
    unseen(u, not_x);
    unseen(not_x, u);
    return e;
  }
  // n11·n00/(n10·n01); the interval is that of its logarithm, mapped. N/A where any of the four is 0.
  estimate odds_ratio(double level = 0.95) const noexcept {
    return map_exp(cells_.estimate(
        [](const double(&t)[4], double(&g)[4]) {
          for (int k = 0; k < 4; ++k) {
            if (t[k] == 0) return nan;
            g[k] = (k == 0 || k == 3 ? 1 : -1) / t[k];
          }
          return math::log(t[0]) + math::log(t[3]) - math::log(t[1]) - math::log(t[2]);
        },
        level));
  }
  // n11, n10, n01, n00 a cluster: what a bootstrap takes.
  const joint_sums<4>& cells() const noexcept { return cells_; }
  const joint_sums<4>& sums() const noexcept { return cells_; }

 private:
  static double independence(const double (&t)[4], double (&g)[4]) noexcept {
    const double n = t[0] + t[1] + t[2] + t[3], u = (t[0] + t[1]) / n, not_e = (t[1] + t[3]) / n;
    for (int k = 0; k < 4; ++k) {
      const double du = (k < 2 ? 1 - u : -u) / n, de = (k % 2 == 1 ? 1 - not_e : -not_e) / n;
      g[k] = du * not_e + u * de;
    }
    return u * not_e;
  }

  // Σ over the cells of `top` by that of `bottom` (0/1 weights).
  estimate rate(const double (&top)[4], const double (&bottom)[4], double level) const noexcept {
    const estimate e = cells_.estimate(
        [&](const double(&t)[4], double(&g)[4]) {
          double a = 0, b = 0;
          for (int k = 0; k < 4; ++k) {
            a += top[k] * t[k];
            b += bottom[k] * t[k];
          }
          if (b == 0) return nan;
          for (int k = 0; k < 4; ++k) g[k] = (top[k] - bottom[k] * (a / b)) / b;
          return a / b;
        },
        level, mean_range::rate);
    index_t used = 0;
    for (index_t c = 0; c < cells_.clusters(); ++c) {
      double in = 0;
      for (std::size_t k = 0; k < 4; ++k) in += bottom[k] * cells_.sum(c, k);
      used += in > 0;
    }
    return rate_interval(e, used, level);
  }

  joint_sums<4> cells_;
};

// Differences between two arms on the same items, altered minus intact: execution and gap, clustered by template. An item
// counts once, however many runs it has.
class goodhart_arms {
 public:
  // Grades of one arm on one item.
  struct item {
    grade understanding = grade::fail;
    grade execution = grade::fail;
  };

  goodhart_arms() noexcept = default;
  explicit goodhart_arms(index_t clusters) : sums_(clusters) {}

  void add(index_t cluster, item intact, item altered) noexcept {
    const auto one = [](grade g) { return g == grade::pass ? 1.0 : 0.0; };
    const double change = one(altered.execution) - one(intact.execution);
    const double both = one(intact.understanding) * one(altered.understanding);
    const auto gap = [&](const item& i) { return one(i.understanding) * (1 - one(i.execution)); };
    sums_.add(cluster, change, 1.0, change * both, both, gap(altered) - gap(intact));
  }
  // One item with its runs: means over the runs of each arm. "Both understand" is a share of the pairs of runs, one of each
  // arm, and the change among those that of the pairs: m(U)·m(U'E') − m(UE)·m(U'). No runs or negative counts make all
  // estimates NaN.
  void add(index_t cluster, const understood_executed& intact, const understood_executed& altered) noexcept {
    const auto share = [](const understood_executed& c, index_t k) {
      const index_t n = c.both + c.only_understood + c.only_executed + c.neither;
      const bool valid = n > 0 && c.both >= 0 && c.only_understood >= 0 && c.only_executed >= 0 && c.neither >= 0;
      return valid ? static_cast<double>(k) / static_cast<double>(n) : nan;
    };
    const auto executed = [&](const understood_executed& c) { return share(c, c.both + c.only_executed); };
    const auto understood = [&](const understood_executed& c) { return share(c, c.both + c.only_understood); };
    const auto done = [&](const understood_executed& c) { return share(c, c.both); };
    const double both = understood(intact) * understood(altered);
    sums_.add(cluster, executed(altered) - executed(intact), 1.0,
              understood(intact) * done(altered) - done(intact) * understood(altered), both,
              share(altered, altered.only_understood) - share(intact, intact.only_understood));
  }
  status merge(const goodhart_arms& other) noexcept { return sums_.merge(other.sums_); }

  // ΔE over all items: the primary endpoint.
  estimate execution_change(double level = 0.95) const noexcept { return ratio<0, 1>(level); }
  // ΔE over the items that both arms understand; N/A where there are none.
  estimate execution_change_understood(double level = 0.95) const noexcept { return ratio<2, 3>(level); }
  // Change of the gap over all items.
  estimate gap_change(double level = 0.95) const noexcept { return ratio<4, 1>(level); }
  const joint_sums<5>& sums() const noexcept { return sums_; }

 private:
  // If no item changed (or all changed one way), the variance is 0 and the interval would be a point. Instead w,
  // Wilson's upper bound for the share of unseen changes with one observation a cluster, widens it: each could move
  // the mean by 1 (by 2 if all changed the other way).
  template <int Top, int Bottom>
  estimate ratio(double level) const noexcept {
    estimate e = sums_.estimate(
        [](const double(&t)[5], double(&g)[5]) {
          if (t[Bottom] == 0) return nan;
          const double value = t[Top] / t[Bottom];
          g[Top] = 1 / t[Bottom];
          g[Bottom] = -value / t[Bottom];
          return value;
        },
        level);
    if (!e.has_interval() || e.se != 0) return e;
    index_t used = 0;
    for (index_t c = 0; c < sums_.clusters(); ++c) used += sums_.sum(c, Bottom) > 0;
    const double unseen = wilson(0, used, level).hi;
    if (e.value == 0) {
      e.lo = -unseen;
      e.hi = unseen;
    }
    if (e.value == 1) e.lo = 1 - 2 * unseen;
    if (e.value == -1) e.hi = -1 + 2 * unseen;
    return e;
  }
  joint_sums<5> sums_;
};

}  // namespace RESECT_NAMESPACE::metrics
