// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/array.hpp>
#include <resect/core/math.hpp>
#include <resect/core/result.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/intervals/student_t.hpp>
#include <resect/metrics/intervals/wilson.hpp>

namespace RESECT_NAMESPACE::metrics {

// A rate over items that were run several times each. Runs of one item resemble each other, so 20 items × 5 runs are not
// 100 observations. The model is Beta–Binomial: an item's own rate is drawn from a beta distribution with mean μ, and two
// runs of one item have the correlation ρ, 0 (runs are independent) to 1 (an item always or never succeeds). Items are
// independent; where they share a template, goodhart_table clusters by it instead.
class item_runs {
 public:
  // One item: k of its runs succeeded. Errors: no run, successes outside 0 … runs (invalid argument).
  status try_add(index_t successes, index_t runs) {
    if (runs < 1) return error{errc::invalid_argument, "runs of an item", text(runs), "1 or more"};
    if (successes < 0 || successes > runs)
      return error{errc::invalid_argument, "successes of an item", text(successes), text("0 to ", runs)};
    while (more_than_.size() < runs) more_than_.push_back(counts{});
    for (index_t j = 0; j < runs; ++j) {
      more_than_[j].successes += j < successes;
      more_than_[j].failures += j < runs - successes;
      more_than_[j].runs += 1;
    }
    const double rate = static_cast<double>(successes) / static_cast<double>(runs);
    sum_ += rate;
    squares_ += rate * rate;
    ++items_;
    runs_ += runs;
    return {};
  }
  void merge(const item_runs& other) {
    while (more_than_.size() < other.more_than_.size()) more_than_.push_back(counts{});
    for (index_t j = 0; j < other.more_than_.size(); ++j) {
      more_than_[j].successes += other.more_than_[j].successes;
      more_than_[j].failures += other.more_than_[j].failures;
      more_than_[j].runs += other.more_than_[j].runs;
    }
    sum_ += other.sum_;
    squares_ += other.squares_;
    items_ += other.items_;
    runs_ += other.runs_;
  }

  index_t items() const noexcept { return items_; }
  index_t runs() const noexcept { return runs_; }

  // The mean over items of an item's rate (each item counts once) with the interval of the profile likelihood of μ: all μ
  // whose best log-likelihood over ρ lies within t²/2 of the largest, t Student's quantile with items − 1 degrees of freedom. A
  // rate of exactly 0 or 1 has Wilson's interval with one observation an item. se = √(s²/items), s² the sample variance of
  // the items' rates. n: runs; n_clusters: items. Below 6 items no interval.
  // Cost: about 3,500 likelihoods, each 3 logarithms for every run of the item with most.
  metrics::estimate estimate(double level = 0.95) const noexcept {
    metrics::estimate e;
    e.n = runs_;
    e.n_clusters = items_;
    if (items_ == 0) return e;
    const double n = static_cast<double>(items_);
    e.value = sum_ / n;
    if (items_ < 2) return e;
    const double variance = (squares_ - n * e.value * e.value) / (n - 1);
    e.se = math::sqrt((variance > 0 ? variance : 0.0) / n);
    if (items_ < min_clusters) return e;
    const bool none = more_than_[0].successes == 0, all = more_than_[0].failures == 0;
    if (none || all) {
      e.value = none ? 0.0 : 1.0;
      const auto w = wilson(none ? 0 : items_, items_, level);
      e.lo = w.lo;
      e.hi = w.hi;
      return e;
    }
    const double best = largest(0, 1, [this](double mu) { return profile(mu); });
    const double t = student_t_quantile(0.5 + level / 2, n - 1), limit = profile(best) - t * t / 2;
    const auto end = [&](double inside, double outside) {
      for (int i = 0; i < 32; ++i) {
        const double middle = 0.5 * (inside + outside);
        (profile(middle) > limit ? inside : outside) = middle;
      }
      return 0.5 * (inside + outside);
    };
    e.lo = end(best, 0);
    e.hi = end(best, 1);
    if (e.lo > e.value) e.lo = e.value;  // runs of unequal number: the mean over items is not the likelihood's best μ
    if (e.hi < e.value) e.hi = e.value;
    return e;
  }

  // The likelihood's best correlation of two runs of one item; NaN where every run succeeded or none did, and where no item
  // has two runs.
  double correlation() const noexcept {
    if (more_than_.size() < 2 || more_than_[0].successes == 0 || more_than_[0].failures == 0) return nan;
    const double mu = largest(0, 1, [this](double m) { return profile(m); });
    return largest(0, 1, [&](double rho) { return log_likelihood(mu, rho); });
  }

 private:
  // How many items have more than j successes, failures, runs.
  struct counts {
    index_t successes = 0, failures = 0, runs = 0;
  };

  // Σ over items of ln P(k of r | μ, ρ) without its binomial coefficients: with A_j items of more than j successes, B_j of
  // more than j failures, C_j of more than j runs, Σ_j A_j·ln(μ(1−ρ) + jρ) + B_j·ln((1−μ)(1−ρ) + jρ) − C_j·ln(1−ρ + jρ).
  double log_likelihood(double mu, double rho) const noexcept {
    double sum = 0;
    const auto add = [&](double weight, double x) {
      if (weight != 0) sum += weight * math::log(x > 1e-300 ? x : 1e-300);
    };
    for (index_t j = 0; j < more_than_.size(); ++j) {
      const double step = static_cast<double>(j) * rho;
      add(static_cast<double>(more_than_[j].successes), mu * (1 - rho) + step);
      add(static_cast<double>(more_than_[j].failures), (1 - mu) * (1 - rho) + step);
      add(-static_cast<double>(more_than_[j].runs), 1 - rho + step);
    }
    return sum;
  }
  double profile(double mu) const noexcept {
    const auto at = [&](double rho) { return log_likelihood(mu, rho); };
    return at(largest(0, 1, at));
  }

  // The place of the largest value of a function with one maximum on (low, high), by golden sections.
  template <class F>
  static double largest(double low, double high, F f) noexcept {
    constexpr double golden = 0.61803398874989484820;
    double a = high - golden * (high - low), b = low + golden * (high - low), at_a = f(a), at_b = f(b);
    for (int i = 0; i < 32; ++i) {
      if (at_a < at_b) {
        low = a;
        a = b;
        at_a = at_b;
        b = low + golden * (high - low);
        at_b = f(b);
      } else {
        high = b;
        b = a;
        at_b = at_a;
        a = high - golden * (high - low);
        at_a = f(a);
      }
    }
    return 0.5 * (low + high);
  }

  array<counts> more_than_;
  double sum_ = 0, squares_ = 0;
  index_t items_ = 0, runs_ = 0;
};

}  // namespace RESECT_NAMESPACE::metrics
