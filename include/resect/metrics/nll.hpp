// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/metrics/clustered_mean.hpp>
#include <resect/metrics/moments.hpp>
#include <resect/metrics/wilson.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {

// What llama.cpp takes for the standard error of something about n tokens: 0 for n ≤ 10 (and no interval).
inline estimate token_estimate(double value, double se, index_t n, double level) noexcept {
  estimate e;
  e.n = e.n_clusters = n;
  if (n == 0) return e;
  e.value = value;
  e.se = n > 10 ? se : 0.0;
  if (n > 10 && math::isfinite(se)) {
    const double half = normal_quantile(0.5 + level / 2) * se;
    e.lo = value - half;
    e.hi = value + half;
  }
  return e;
}
inline estimate mean_of_tokens(const moments& m, double level) noexcept {
  const double n = static_cast<double>(m.count());
  return token_estimate(m.mean(), math::sqrt(m.squared_deviations() / n / (n - 1)), m.count(), level);
}

}  // namespace detail

// Which tokens of a text are scored, on what they can see: a model has another perplexity under another rule.
struct scoring_rule {
  index_t window = 0;  // tokens that run together; 0: not said
  index_t skip = 0;    // rows at the start of a window whose next token is not scored (llama-perplexity: half of them)
  bool bos = false;  // windows begin with a token that marks the beginning of a text

  friend bool operator==(const scoring_rule&, const scoring_rule&) = default;
};

// Perplexity = exp of the mean nll (nats) over scored tokens, with two standard errors: clustered (ours) and that of
// llama.cpp, which takes tokens for independent and is printed for comparison only. The rule says which tokens the
// caller scores; nothing is left out here.
class perplexity {
 public:
  perplexity() noexcept = default;
  explicit perplexity(index_t clusters, const scoring_rule& rule = {}) : rule_(rule), sums_(clusters) {}

  void add(index_t cluster, double nll) noexcept {
    sums_.add(cluster, nll);
    tokens_.add(nll);
  }
  // Conflict where the rules differ, shape mismatch where the numbers of clusters do; then nothing changes.
  status merge(const perplexity& other) noexcept {
    if (other.rule_ != rule_) return error{errc::conflict, "scoring rule", named(other.rule_), named(rule_)};
    if (status s = sums_.merge(other.sums_); !s) return s;
    tokens_.merge(other.tokens_);
    return {};
  }

  // Mean nll with the clustered interval, and exp of it.
  metrics::estimate mean_nll(double level = 0.95) const noexcept { return sums_.estimate(level); }
  metrics::estimate estimate(double level = 0.95) const noexcept { return map_exp(mean_nll(level)); }

  // Mean nll f with llama.cpp's s = √((Σx²/n − f²)/(n − 1)), computed without the cancellation; s = 0 for n ≤ 10, as
  // there (and no interval). The interval f ± z·s is not theirs. n_clusters = n: every token counts as a cluster.
  metrics::estimate mean_nll_tokens(double level = 0.95) const noexcept {
    return detail::mean_of_tokens(tokens_, level);
  }
  // PPL ± PPL·s: value and se are what llama-perplexity prints as its final estimate.
  metrics::estimate estimate_tokens(double level = 0.95) const noexcept { return map_exp(mean_nll_tokens(level)); }

  const scoring_rule& rule() const noexcept { return rule_; }
  const clustered_sums& sums() const noexcept { return sums_; }
  const moments& tokens() const noexcept { return tokens_; }

 private:
  static short_text<120> named(const scoring_rule& r) noexcept {
    return text("windows of ", r.window, " less their first ", r.skip, r.bos ? ", after a BOS" : "");
  }

  scoring_rule rule_;
  clustered_sums sums_;
  moments tokens_;
};

namespace detail {
struct nll_difference {
  static double value(double nll_intact, double nll_edited) noexcept { return nll_edited - nll_intact; }
};
struct kl_value {
  static double value(double kl) noexcept { return kl; }
};
struct top1_match {
  static double value(index_t intact, index_t edited) noexcept {
    return intact < 0 || edited < 0 ? nan : intact == edited ? 1.0 : 0.0;
  }
};
}  // namespace detail

// Δln PPL: mean of nll(edited) − nll(intact) of the same token; add(cluster, nll_intact, nll_edited).
using paired_delta = clustered_mean<detail::nll_difference>;

// Mean KL(intact ‖ edited) over positions, nats; add(cluster, kl).
using kl_divergence = clustered_mean<detail::kl_value>;

// Share of positions whose most likely token is the same in both; ties go to the lowest id and are counted. (Agreement
// with the intact model is not accuracy.) A position without a most likely token (−1: NaN) makes the estimate NaN.
class top1_agreement {
 public:
  top1_agreement() noexcept = default;
  explicit top1_agreement(index_t clusters) : matches_(clusters) {}

  void add(index_t cluster, index_t top1_intact, index_t top1_edited, bool tied = false) noexcept {
    matches_.add(cluster, top1_intact, top1_edited);
    ties_ += tied ? 1 : 0;
  }
  status merge(const top1_agreement& other) noexcept {
    if (status s = matches_.merge(other.matches_); !s) return s;
    ties_ += other.ties_;
    return {};
  }

  // Clustered; Wilson's with one observation a cluster for a rate of 0 or 1 (rate_interval).
  metrics::estimate estimate(double level = 0.95) const noexcept {
    return rate_interval(matches_.estimate(level), level);
  }
  // The same share p with the standard error that llama-perplexity prints, √(p(1 − p)/(n − 1)) (Wald's, tokens taken for
  // independent; for comparison only). n_clusters = n. The interval p ± z·se is not theirs; none for one token.
  metrics::estimate estimate_tokens(double level = 0.95) const noexcept {
    metrics::estimate e;
    e.n = e.n_clusters = sums().total_count();
    if (e.n == 0 || sums().rejected() > 0) return e;
    const double n = static_cast<double>(e.n);
    e.value = sums().total().value() / n;
    if (e.n == 1) return e;
    e.se = math::sqrt(e.value * (1 - e.value) / (n - 1));
    const double half = normal_quantile(0.5 + level / 2) * e.se;
    e.lo = e.value - half;
    e.hi = e.value + half;
    return e;
  }
  // Positions where either model had more than one most likely token.
  index_t ties() const noexcept { return ties_; }
  const clustered_sums& sums() const noexcept { return matches_.sums(); }

 private:
  clustered_mean<detail::top1_match> matches_;
  index_t ties_ = 0;
};

}  // namespace RESECT_NAMESPACE::metrics
