// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <resect/metrics/similarity/cosine.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/delta_nll.hpp>
#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/intervals/two_way.hpp>
#include <resect/model/host.hpp>
#include <resect/study/windows.hpp>

// What an altered model's outputs are, compared with the intact model's on the same tokens.
namespace RESECT_NAMESPACE::study {

// What the intact model gave: kept while altered models are compared with it.
struct intact_outputs {
  index_t width = 0;
  index_t vocabulary = 0;
  std::vector<float> head_norm;  // (rows, d_model)
  std::vector<float> logits;     // (rows, n_vocab)

  std::span<const float> logits_of(index_t row) const noexcept {
    return {logits.data() + row * vocabulary, static_cast<std::size_t>(vocabulary)};
  }
  std::span<const float> head_norm_of(index_t row) const noexcept {
    return {head_norm.data() + row * width, static_cast<std::size_t>(width)};
  }
};

// How many rows of logits are held at a time, and the memory for them: made by the first use, kept for the next.
struct head_workspace {
  index_t rows = 512;
  std::vector<float> norm = {}, logits = {};
};

// Estimates of the four measures.
//   kl          mean KL(intact ‖ altered) of the next-token distributions, nats, all counted rows
//   top1        share of rows whose most likely token is the intact model's
//   dlnppl      mean nll(altered) − nll(intact) of the same token, rows with a next token in their window
//   cosine      mean cosine between the rows that the output matrix reads
struct effect {
  metrics::estimate kl, top1, dlnppl, cosine;
  double kl_seed_sd = metrics::nan;      // between seeds; NaN for a single run
  double dlnppl_seed_sd = metrics::nan;
  double degrees = 0;                    // of freedom of the intervals; 0 where they are n_clusters − 1
};

// The same as sums a cluster: what intervals, ranks, paired comparisons and reports are made of.
struct effect_sums {
  metrics::kl_divergence kl;
  metrics::top1_agreement top1;
  metrics::paired_delta dlnppl;
  metrics::mean_cosine cosine;

  explicit effect_sums(index_t clusters) : kl(clusters), top1(clusters), dlnppl(clusters), cosine(clusters) {}

  effect estimate() const noexcept { return {kl.estimate(), top1.estimate(), dlnppl.estimate(), cosine.estimate()}; }
};

namespace detail {

// head_norm and logits of all rows of a state, a chunk at a time: call(first_row, norm, logits)
template <model::surgical_host H, class F>
status for_head_chunks(H& host, const typename H::state& state, index_t rows, head_workspace& work, F call) {
  const auto& m = host.describe();
  auto& [chunk, norm, logits] = work;
  norm.resize(static_cast<std::size_t>(std::min(rows, chunk) * m.d_model));
  logits.resize(static_cast<std::size_t>(std::min(rows, chunk) * m.n_vocab));
  for (index_t first = 0; first < rows; first += chunk) {
    const index_t n = std::min(chunk, rows - first);
    const matrix_view<float> norm_rows{norm.data(), n, m.d_model};
    const matrix_view<float> logit_rows{logits.data(), n, m.n_vocab};
    if (auto s = host.try_head(state, first, norm_rows, logit_rows); !s) return s;
    if (auto s = call(first, norm_rows, logit_rows); !s) return s;
  }
  return {};
}

template <class T>
std::span<const float> row_span(matrix_view<T> a, index_t r) noexcept {
  return {a.data + r * a.row_stride, static_cast<std::size_t>(a.cols)};
}

inline error not_finite_row(const token_windows& w, index_t row) {
  const auto& meta = w.rows[static_cast<std::size_t>(row)];
  return {errc::not_finite, text("output of sequence ", meta.seq, ", position ", meta.pos), "NaN or infinite values",
          "finite logits"};
}

}  // namespace detail

// Compares the outputs of `state` (a stream that has passed all layers) with the intact ones, row by row on
// the backend's workers, and adds them up in the order of rows. Errors: not_finite names the row.
template <class Backend, model::surgical_host H>
result<effect_sums> try_effect(Backend& backend, H& host, const typename H::state& state, const token_windows& windows,
                               const intact_outputs& intact, head_workspace& work) {
  if (auto s = windows.check("windows"); !s) return s.error();
  effect_sums sums(windows.n_clusters);
  struct outcome {
    metrics::logit_comparison logits;
    double cosine;
  };
  std::vector<outcome> outcomes;
  auto done = detail::for_head_chunks(host, state, static_cast<index_t>(windows.rows.size()), work,
                                      [&](index_t first, matrix_view<float> norm, matrix_view<float> logits) -> status {
    outcomes.resize(static_cast<std::size_t>(norm.rows));
    const instruction_set set = instructions_of(backend);
    backend.bulk(norm.rows, [&](index_t r) {
      outcomes[static_cast<std::size_t>(r)] = {
          metrics::compare_logits(set, intact.logits_of(first + r), detail::row_span(logits, r),
                                  windows.next_token(first + r)),
          metrics::cosine(set, intact.head_norm_of(first + r), detail::row_span(norm, r))};
    });
    for (index_t r = 0; r < norm.rows; ++r) {
      const index_t cluster = windows.cluster[static_cast<std::size_t>(first + r)];
      if (cluster < 0) continue;
      const outcome& o = outcomes[static_cast<std::size_t>(r)];
      if (!std::isfinite(o.logits.kl) || !std::isfinite(o.cosine)) return detail::not_finite_row(windows, first + r);
      sums.kl.add(cluster, o.logits.kl);
      sums.top1.add(cluster, o.logits.top1_full, o.logits.top1_edited, o.logits.tie_full || o.logits.tie_edited);
      sums.cosine.add(cluster, o.cosine);
      if (windows.next_token(first + r) >= 0) sums.dlnppl.add(cluster, o.logits.nll_full, o.logits.nll_edited);
    }
    return {};
  });
  if (!done) return done.error();
  return sums;
}

// Over the runs of one alteration: the mean over seeds with a variance clustered both ways (definition of
// two_way.hpp; a rate of 0 or 1 as rate_interval says); a single run is itself.
inline result<effect> try_mean_effect(std::span<const effect_sums> runs) {
  if (runs.size() == 1) return runs.front().estimate();
  effect out;
  const auto over_seeds = [&](auto member, metrics::estimate& mean, double* seed_sd) -> status {
    std::vector<metrics::clustered_sums> sums;
    for (const effect_sums& run : runs) sums.push_back((run.*member).sums());
    auto both = metrics::try_two_way(sums);
    if (!both) return both.error();
    mean = both->mean;
    out.degrees = both->degrees;
    if (seed_sd) *seed_sd = both->seed_sd;
    return {};
  };
  if (auto s = over_seeds(&effect_sums::kl, out.kl, &out.kl_seed_sd); !s) return s.error();
  if (auto s = over_seeds(&effect_sums::dlnppl, out.dlnppl, &out.dlnppl_seed_sd); !s) return s.error();
  if (auto s = over_seeds(&effect_sums::top1, out.top1, nullptr); !s) return s.error();
  out.top1 = metrics::rate_interval(out.top1);
  if (auto s = over_seeds(&effect_sums::cosine, out.cosine, nullptr); !s) return s.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::study
