// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/metrics/similarity/cosine.hpp>
#include <resect/model/host.hpp>
#include <resect/study/effect.hpp>
#include <resect/study/windows.hpp>

namespace RESECT_NAMESPACE::study::detail {

// head_norm and logits of all rows of a state, a chunk at a time: call(first_row, norm, logits)
template <model::surgical_host H, class F>
status for_head_chunks(H& host, const typename H::state& state, index_t rows, head_workspace& work, F call) {
  const auto& m = host.describe();
  auto& [chunk, norm, logits] = work;
  norm.resize(static_cast<std::size_t>(algo::min(rows, chunk) * m.d_model));
  logits.resize(static_cast<std::size_t>(algo::min(rows, chunk) * m.n_vocab));
  for (index_t first = 0; first < rows; first += chunk) {
    const index_t n = algo::min(chunk, rows - first);
    const matrix_view<float> norm_rows{norm.data(), n, m.d_model};
    const matrix_view<float> logit_rows{logits.data(), n, m.n_vocab};
    if (auto s = host.try_head(state, first, norm_rows, logit_rows); !s) return s;
    if (auto s = call(first, norm_rows, logit_rows); !s) return s;
  }
  return {};
}

template <class = void>
error not_finite_row(const token_windows& w, index_t row) {
  const auto& meta = w.rows[static_cast<std::size_t>(row)];
  return {errc::not_finite, text("output of sequence ", meta.seq, ", position ", meta.pos), "NaN or infinite values",
          "finite logits"};
}

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
  auto done = for_head_chunks(host, state, static_cast<index_t>(windows.rows.size()), work,
                              [&](index_t first, matrix_view<float> norm, matrix_view<float> logits) -> status {
                                outcomes.resize(static_cast<std::size_t>(norm.rows));
                                const instruction_set set = instructions_of(backend);
                                backend.bulk(norm.rows, [&](index_t r) {
                                  outcomes[static_cast<std::size_t>(r)] = {
                                      metrics::compare_logits(set, intact.logits_of(first + r), logits.row_span(r),
                                                              windows.next_token(first + r)),
                                      metrics::cosine(set, intact.head_norm_of(first + r), norm.row_span(r))};
                                });
                                for (index_t r = 0; r < norm.rows; ++r) {
                                  const index_t cluster = windows.cluster[static_cast<std::size_t>(first + r)];
                                  if (cluster < 0) continue;
                                  const outcome& o = outcomes[static_cast<std::size_t>(r)];
                                  if (!is_finite(o.logits.kl) || !is_finite(o.cosine))
                                    return not_finite_row(windows, first + r);
                                  sums.kl.add(cluster, o.logits.kl);
                                  sums.top1.add(cluster, o.logits.top1_full, o.logits.top1_edited,
                                                o.logits.tie_full || o.logits.tie_edited);
                                  sums.cosine.add(cluster, o.cosine);
                                  if (windows.next_token(first + r) >= 0)
                                    sums.dlnppl.add(cluster, o.logits.nll_full, o.logits.nll_edited);
                                }
                                return {};
                              });
  if (!done) return done.error();
  return sums;
}

}  // namespace RESECT_NAMESPACE::study::detail
