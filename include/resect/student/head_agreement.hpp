// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/student/verdict.hpp>

// What rows in the place of a span's output do to the model's most likely tokens.
namespace RESECT_NAMESPACE::student {

namespace detail {

// The most likely token of every row when the layers after the span read these rows.
template <model::surgical_host H>
status try_top_tokens(H& host, model::batch_view rows, matrix_view<const float> h, int first_layer,
                      std::span<metrics::row_top> out) {
  auto state = host.try_embed(rows);
  if (!state) return state.error();
  copy(h, host.stream(*state));
  const auto& m = host.describe();
  if (auto s = host.try_run(*state, first_layer, m.n_layers, model::no_hooks<float>()); !s) return s;
  constexpr index_t chunk = 128;
  matrix<float> norm, logits;
  for (index_t at = 0; at < h.rows; at += chunk) {
    const index_t n = algo::min(chunk, h.rows - at);
    norm.resize(n, m.d_model);
    logits.resize(n, m.n_vocab);
    if (auto s = host.try_head(std::as_const(*state), at, norm.view(), logits.view()); !s) return s;
    for (index_t r = 0; r < n; ++r)
      out[static_cast<std::size_t>(at + r)] = metrics::row_argmax(std::as_const(logits).view().row_span(r));
  }
  return {};
}

}  // namespace detail

// Top-1 agreement of the model whose span gives `predicted` (rows, width) with the intact one, over the pairs' rows but pads
// and rows apart; every layer after the span runs. Clustered by documents.
//   `apart` is what rows apart get, as in a plan (trained_span.hpp).
// Errors: shape_mismatch; invalid_argument (fewer than 6 documents); conflict (a host of another model); what the host says.
template <model::surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
result<metrics::top1_agreement> try_head_agreement(H& host, const row_pairs& held_out,
                                                   matrix_view<const float> predicted, const apart_rows& apart = {}) {
  const auto& m = host.describe();
  if (auto s = detail::check_held_out(held_out, m.d_model); !s) return s.error();
  if (auto s = check_view(predicted, held_out.x.rows, held_out.x.cols, "predicted rows"); !s) return s.error();
  if (held_out.task.teacher != m.fingerprint)
    return error{errc::conflict, "host of held-out rows", text("model ", m.fingerprint),
                 text("model ", held_out.task.teacher)};
  metrics::top1_agreement out(held_out.documents());
  const auto sequences = detail::sequences_of(held_out.batch());
  const detail::loss_rows<float> in{held_out.batch(), held_out.x.view(), held_out.y.view(), predicted};
  for (index_t i = 0; i < sequences.size();) {
    const index_t first = sequences[i].first;
    index_t rows = 0;
    for (; i < sequences.size() && (rows == 0 || rows + sequences[i].count <= 2048); ++i) rows += sequences[i].count;
    const auto batch = held_out.batch().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows));
    matrix<float> h(rows, m.d_model);
    copy(predicted.middle_rows(first, rows), h.view());
    apart.write(batch, held_out.x.view().middle_rows(first, rows), h.view());
    array<metrics::row_top> intact(rows), altered(rows);
    const int after = held_out.task.span.last;
    if (auto s = detail::try_top_tokens(host, batch, held_out.y.view().middle_rows(first, rows), after, intact.span());
        !s)
      return s.error();
    if (auto s = detail::try_top_tokens(host, batch, std::as_const(h).view(), after, altered.span()); !s)
      return s.error();
    for (index_t r = 0; r < rows; ++r)
      if (in.counts(held_out.task.apart, first + r))
        out.add(held_out.document[first + r], static_cast<index_t>(intact[r].id), static_cast<index_t>(altered[r].id),
                intact[r].tie || altered[r].tie);
  }
  return result<metrics::top1_agreement>(std::move(out));
}

}  // namespace RESECT_NAMESPACE::student
