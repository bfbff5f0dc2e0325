// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/sae/host_rows.hpp>
#include <resect/sae/metrics.hpp>
#include <resect/study/windows.hpp>

// Codecs on held-out rows of a model: one run of the host serves the codecs of all sites.
namespace RESECT_NAMESPACE::study {

// A codec, the site that it codes (its number in the list of sites), and the row about which variance is taken.
struct judged_codec {
  index_t site = 0;
  const sae::codec* code = nullptr;
  std::span<const float> mean;
};

// What was measured of codecs, in their order, and which rows were left out.
struct judged_rows {
  array<sae::codec_metrics> of;
  sae::row_counts counts;
};

// L0, FVU and how often latents fire, of every codec on the rows of its site over the windows, clustered as they are. Rows
// that training would leave out (sae::host_rows) are left out.
// Errors: invalid_argument (a codec of a site that is not listed), those of codec::check, host_rows and windows.check.
template <dense_backend<float> B, model::observable_host H>
result<judged_rows> try_judge_codecs(B& exec, H& host, const token_windows& windows,
                                     std::span<const sae::model_site> sites, std::span<const judged_codec> codecs,
                                     sae::host_rows_options options = {}) {
  if (auto s = windows.check("windows"); !s) return s.error();
  options.seed = 0;
  auto source = sae::host_rows<H>::try_make(host, sites, windows.rows, options);
  if (!source) return source.error();
  judged_rows out;
  for (const judged_codec& c : codecs) {
    if (c.code == nullptr || c.site < 0 || c.site >= source->sites())
      return error{errc::invalid_argument, "site of a codec", text(c.site), text("0 to ", source->sites() - 1)};
    if (auto s = c.code->check(); !s) return s.error();
    if (c.mean.size() != static_cast<std::size_t>(c.code->weights.width()))
      return error{errc::shape_mismatch, "mean of a codec", text(c.mean.size()), text(c.code->weights.width())};
    array<float> mean;
    for (const float x : c.mean) mean.push_back(x);
    out.of.push_back(sae::codec_metrics(windows.n_clusters, c.code->weights.latents(), std::move(mean)));
  }
  const auto a_window = static_cast<index_t>(windows.rows.size()) / algo::max(windows.n_windows, index_t{1});
  sae::codec_memory memory;
  matrix<float> back;
  for (std::uint64_t cursor = 0; cursor < source->cursor_of_epoch();) {
    const auto next = source->try_pass(cursor);
    if (!next) return next.error();
    cursor = *next;
    for (index_t i = 0; i < out.of.size(); ++i) {
      const judged_codec& c = codecs[static_cast<std::size_t>(i)];
      const auto x = source->rows(c.site);
      if (auto s = sae::try_encode(exec, *c.code, x, memory); !s) return s.error();
      back.resize(x.rows, x.cols);
      exec.bulk(x.rows, [&](index_t r) {
        sae::decode_row(*c.code, std::as_const(memory).rows[r].span(), back.view().row_span(r), instructions_of(exec));
      });
      for (index_t r = 0; r < x.rows; ++r) {
        const model::row_meta& row = source->tokens()[static_cast<std::size_t>(r)];
        const index_t cluster = windows.cluster[static_cast<std::size_t>(row.seq * a_window + row.pos)];
        out.of[i].add(cluster, x.row_span(r), std::as_const(memory).rows[r].span(),
                      std::as_const(back).view().row_span(r));
      }
    }
  }
  out.counts = source->counts();
  return out;
}

}  // namespace RESECT_NAMESPACE::study
