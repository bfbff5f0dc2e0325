// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <resect/core/reduce.hpp>
#include <resect/metrics/accumulators/norm_profile.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/study/effect.hpp>

// What the intact model does: its perplexity, how its stream grows, how much each layer turns it.
namespace RESECT_NAMESPACE::study {

// The intact model in numbers: how well it predicts, and what its stream does at every layer.
struct baseline {
  metrics::perplexity ppl;
  std::vector<metrics::norm_profile>
      layers;  // of what layer l reads (h_l), of its delta and of how much it turns the row
  metrics::norm_profile output;               // of what the final norm reads; no layer follows, so its deltas are 0
};

namespace detail {

inline status check_finite(matrix_view<const float> h, const token_windows& windows, int l) {
  for (index_t r = 0; r < h.rows; ++r)
    if (!std::isfinite(sum(row_span(h, r)))) {
      error e = not_finite_row(windows, r);
      e.operand = text("layer ", l, ", ", e.operand.view());
      e.wanted = "a finite stream";
      return e;
    }
  return {};
}

}  // namespace detail

// Runs the intact model over the windows, keeps its outputs, measures the stream at every layer.
// Errors: not_finite names the layer or the row; what the host says.
template <class Backend, model::surgical_host H>
result<baseline> try_baseline(Backend& backend, H& host, const token_windows& windows, head_workspace& work,
                              intact_outputs& outputs) {
  if (auto s = windows.check("windows"); !s) return s.error();
  const auto& m = host.describe();
  const auto rows = static_cast<index_t>(windows.rows.size());
  auto state = host.try_embed(windows.rows);
  if (!state) return state.error();

  baseline out;
  out.ppl = metrics::perplexity(windows.n_clusters, windows.scoring());
  out.output = metrics::norm_profile(windows.n_clusters);
  for (int l = 0; l < m.n_layers; ++l) {
    const auto before = residual::detail::copy_rows(host.stream(*state));
    if (auto s = host.try_run(*state, l, l + 1, model::no_hooks<float>()); !s) return s.error();
    const auto after = host.stream(*state);
    if (auto s = detail::check_finite(after, windows, l); !s) return s.error();
    metrics::norm_profile profile(windows.n_clusters);
    for (index_t r = 0; r < rows; ++r) {
      const auto i = static_cast<std::size_t>(r);
      if (windows.cluster[i] < 0) continue;
      const std::span<const float> from{before.data() + r * after.cols, static_cast<std::size_t>(after.cols)};
      profile.add(windows.cluster[i], windows.rows[i].pos, from, detail::row_span(after, r));
      if (l + 1 == m.n_layers)
        out.output.add(windows.cluster[i], windows.rows[i].pos, detail::row_span(after, r), detail::row_span(after, r));
    }
    out.layers.push_back(std::move(profile));
  }

  outputs.width = m.d_model;
  outputs.vocabulary = m.n_vocab;
  outputs.head_norm.resize(static_cast<std::size_t>(rows * m.d_model));
  outputs.logits.resize(static_cast<std::size_t>(rows * m.n_vocab));
  std::vector<double> nll;
  auto done = detail::for_head_chunks(host, *state, rows, work,
                                      [&](index_t first, matrix_view<float> norm, matrix_view<float> logits) -> status {
    std::copy_n(norm.data, norm.rows * norm.cols, outputs.head_norm.begin() + first * norm.cols);
    std::copy_n(logits.data, logits.rows * logits.cols, outputs.logits.begin() + first * logits.cols);
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
      if (!std::isfinite(value)) return detail::not_finite_row(windows, first + r);
      if (cluster >= 0 && windows.next_token(first + r) >= 0) out.ppl.add(cluster, value);
    }
    return {};
  });
  if (!done) return done.error();
  return out;
}

// The mean delta of every layer over rows of the intact model; rows that are not counted (a BOS) are left
// out. Sums in double, in the order of rows.
template <model::surgical_host H>
result<residual::delta_means> try_delta_means(H& host, const token_windows& windows) {
  if (auto s = windows.check("calibration windows"); !s) return s.error();
  const auto& m = host.describe();
  residual::delta_means out;
  out.n_layers = m.n_layers;
  out.width = m.d_model;
  out.model = m.fingerprint;
  out.reference = windows.fingerprint();
  auto state = host.try_embed(windows.rows);
  if (!state) return state.error();
  for (index_t r = 0; r < static_cast<index_t>(windows.rows.size()); ++r)
    out.rows += windows.cluster[static_cast<std::size_t>(r)] >= 0;
  if (out.rows == 0) return error{errc::invalid_argument, "calibration rows", "0", "1 or more"};
  for (int l = 0; l < m.n_layers; ++l) {
    const auto before = residual::detail::copy_rows(host.stream(*state));
    if (auto s = host.try_run(*state, l, l + 1, model::no_hooks<float>()); !s) return s.error();
    const auto after = host.stream(*state);
    std::vector<double> sum(static_cast<std::size_t>(m.d_model), 0.0);
    for (index_t r = 0; r < after.rows; ++r) {
      if (windows.cluster[static_cast<std::size_t>(r)] < 0) continue;
      for (index_t c = 0; c < after.cols; ++c)
        sum[static_cast<std::size_t>(c)] += static_cast<double>(after(r, c)) -
                                            static_cast<double>(before[r * after.cols + c]);
    }
    for (const double s : sum) out.mean.push_back(static_cast<float>(s / static_cast<double>(out.rows)));
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::study
