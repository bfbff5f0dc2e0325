// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>
#include <vector>

#include <resect/core/copy.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/reduce.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/study/baseline.hpp>
#include <resect/study/detail/layer_walk.hpp>
#include <resect/study/detail/outputs.hpp>
#include <resect/study/effect.hpp>

namespace RESECT_NAMESPACE::study::detail {

template <class = void>
status check_finite_stream(matrix_view<const float> h, const token_windows& windows, int l) {
  for (index_t r = 0; r < h.rows; ++r)
    if (!is_finite(sum(h.row_span(r)))) {
      error e = not_finite_row(windows, r);
      e = e.within(text("layer ", l).view());
      e.wanted = "a finite stream";
      return e;
    }
  return {};
}

// The stream at every layer, into the baseline; returns the state after the last layer.
template <model::surgical_host H>
result<typename H::state> try_profile(H& host, const token_windows& windows, baseline& out) {
  const int n_layers = host.describe().n_layers;
  out.output = metrics::norm_profile(windows.n_clusters);
  return try_walk_layers(
      host, windows, "windows", [&](int l, matrix_view<const float> before, matrix_view<const float> after) -> status {
        if (auto s = check_finite_stream(after, windows, l); !s) return s;
        metrics::norm_profile profile(windows.n_clusters);
        for (index_t r = 0; r < after.rows; ++r) {
          const auto i = static_cast<std::size_t>(r);
          if (windows.cluster[i] < 0) continue;
          profile.add(windows.cluster[i], windows.rows[i].pos, before.row_span(r), after.row_span(r));
          if (l + 1 == n_layers)
            out.output.add(windows.cluster[i], windows.rows[i].pos, after.row_span(r), after.row_span(r));
        }
        out.layers.push_back(std::move(profile));
        return {};
      });
}

// The outputs of the intact model and its perplexity, from the state after the last layer.
template <class Backend, model::surgical_host H>
status try_keep_outputs(Backend& backend, H& host, const typename H::state& state, const token_windows& windows,
                        head_workspace& work, metrics::perplexity& ppl, intact_outputs& outputs) {
  const auto& m = host.describe();
  const auto rows = static_cast<index_t>(windows.rows.size());
  outputs.width = m.d_model;
  outputs.vocabulary = m.n_vocab;
  outputs.head_norm.resize(static_cast<std::size_t>(rows * m.d_model));
  outputs.logits.resize(static_cast<std::size_t>(rows * m.n_vocab));
  ppl = metrics::perplexity(windows.n_clusters, windows.scoring());
  std::vector<double> nll;
  return for_head_chunks(
      host, state, rows, work, [&](index_t first, matrix_view<float> norm, matrix_view<float> logits) -> status {
        copy(norm, matrix_view<float>{outputs.head_norm.data() + first * norm.cols, norm.rows, norm.cols});
        copy(logits, matrix_view<float>{outputs.logits.data() + first * logits.cols, logits.rows, logits.cols});
        nll.assign(static_cast<std::size_t>(norm.rows), 0.0);
        const instruction_set set = instructions_of(backend);
        backend.bulk(norm.rows, [&](index_t r) {
          const auto next = windows.next_token(first + r);
          const auto row = outputs.logits_of(first + r);
          nll[static_cast<std::size_t>(r)] = next >= 0 ? metrics::nll(set, row, next) : metrics::log_sum_exp(set, row);
        });
        for (index_t r = 0; r < norm.rows; ++r) {
          const index_t cluster = windows.cluster[static_cast<std::size_t>(first + r)];
          const double value = nll[static_cast<std::size_t>(r)];
          if (!is_finite(value)) return not_finite_row(windows, first + r);
          if (cluster >= 0 && windows.next_token(first + r) >= 0) ppl.add(cluster, value);
        }
        return {};
      });
}

// Runs the intact model over the windows, keeps its outputs, measures the stream at every layer.
// Errors: not_finite names the layer or the row; what the host says.
template <class Backend, model::surgical_host H>
result<baseline> try_baseline(Backend& backend, H& host, const token_windows& windows, head_workspace& work,
                              intact_outputs& outputs) {
  baseline out;
  auto state = try_profile(host, windows, out);
  if (!state) return state.error();
  if (auto s = try_keep_outputs(backend, host, *state, windows, work, out.ppl, outputs); !s) return s.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::study::detail
