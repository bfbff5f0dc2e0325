// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/metrics/accumulators/clustered_mean.hpp>
#include <resect/metrics/accumulators/moments.hpp>
#include <resect/metrics/intervals/tokens.hpp>

namespace RESECT_NAMESPACE::metrics {

// The rule by which tokens of a text are scored: window length, skipped rows, BOS. Perplexities under different rules
// are not comparable.
struct scoring_rule {
  index_t window = 0;  // tokens that run together; 0: not said
  index_t skip = 0;    // rows at the start of a window whose next token is not scored (llama-perplexity: half of them)
  bool bos = false;    // windows begin with a token that marks the beginning of a text

  friend bool operator==(const scoring_rule&, const scoring_rule&) = default;
};

// Perplexity, exp of the mean nll (nats) over scored tokens, with two standard errors: clustered (resect's) and
// llama.cpp's, which treats tokens as independent and is for comparison only. The rule describes which tokens the
// caller scores; `add` leaves none out.
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

}  // namespace RESECT_NAMESPACE::metrics
