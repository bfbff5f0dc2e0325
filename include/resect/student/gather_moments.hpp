// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <span>
#include <utility>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/matrix.hpp>
#include <resect/model/host.hpp>
#include <resect/residual/step.hpp>
#include <resect/student/span_moments.hpp>

// Moments of spans of a model, from a host of the surgery level.
namespace RESECT_NAMESPACE::student {

// Options of gathering moments: how many folds for cross-validation, and how many pairs of rows each span keeps for a
// fit that reads rows (cosine).
struct gather_options {
  int folds = 4;
  index_t kept_rows = 0;
};

// The moments of one span, a part for each fold, and the first rows that do not stand apart, as far as they were asked
// for. A fold holds whole sequences, one stretch of the text.
struct gathered_span {
  residual::layer_range span;
  array<span_moments> folds;
  matrix<float> x, y;  // (kept rows, width)
};

namespace detail {

template <class = void>
status check_spans(std::span<const residual::layer_range> spans, const model::model_desc& m) {
  if (m.n_streams != 1) return error{errc::unsupported, "residual streams of the model", text(m.n_streams), "1"};
  for (const auto& s : spans)
    if (s.first < 0 || s.last <= s.first || s.last > m.n_layers)
      return error{errc::invalid_argument, "span", text("[", s.first, ", ", s.last, ")"),
                   text("a range within [0, ", m.n_layers, ")")};
  return {};
}

// The rows of a stream before each layer that a span begins or ends at.
class held_streams {
 public:
  held_streams(std::span<const residual::layer_range> spans, int n_layers) : at_(n_layers + 1), wanted_(n_layers + 1) {
    for (const auto& s : spans) wanted_[s.first] = wanted_[s.last] = true;
  }
  bool wants(int layer) const { return wanted_[layer]; }
  int last() const {
    int out = 0;
    for (int l = 0; l < static_cast<int>(wanted_.size()); ++l)
      if (wanted_[l]) out = l;
    return out;
  }
  void keep(int layer, matrix_view<const float> h) {
    at_[layer].resize(h.rows, h.cols);
    copy(h, at_[layer].view());
  }
  matrix_view<const float> at(int layer) const { return at_[layer].view(); }

 private:
  array<matrix<float>> at_;
  array<bool> wanted_;
};

template <class H>
status try_hold(H& host, model::batch_view batch, held_streams& to) {
  auto state = host.try_embed(batch);
  if (!state) return state.error();
  const int last = to.last();
  for (int l = 0;; ++l) {
    if (to.wants(l)) to.keep(l, matrix_view<const float>(host.stream(*state)));
    if (l == last) return {};
    if (auto s = host.try_run(*state, l, l + 1, model::no_hooks<float>()); !s) return s;
  }
}

// The first rows that do not stand apart, until `to` has as many as it has room for.
template <class = void>
void keep_rows(const apart_rule& rule, model::batch_view rows, matrix_view<const float> x, matrix_view<const float> y,
               gathered_span& to, index_t room) {
  for (index_t r = 0; r < x.rows && to.x.rows < room; ++r) {
    const auto& row = rows[static_cast<std::size_t>(r)];
    if ((row.flags & model::row_meta::pad) != 0 || rule.is_apart(row, row_norm(x, r), row_norm(y, r))) continue;
    to.x.resize(to.x.rows + 1, x.cols);
    to.y.resize(to.y.rows + 1, y.cols);
    copy(x.middle_rows(r, 1), to.x.view().middle_rows(to.x.rows - 1, 1));
    copy(y.middle_rows(r, 1), to.y.view().middle_rows(to.y.rows - 1, 1));
  }
}

// A batch's rows as one stretch for each fold: [first row, row after the last), by the number of the sequence among all.
struct fold_cursor {
  index_t sequences = 0, folds = 1, seen = -1;

  template <class F>
  status for_stretches(model::batch_view rows, F f) {
    for (std::size_t first = 0; first < rows.size();) {
      index_t fold = -1;
      std::size_t end = first;
      for (; end < rows.size(); ++end) {
        const bool begins = end == 0 || rows[end].seq != rows[end - 1].seq;
        const index_t at = (seen + begins) * folds / sequences;
        if (fold >= 0 && at != fold) break;
        fold = at;
        seen += begins;
      }
      if (auto s = f(fold, static_cast<index_t>(first), static_cast<index_t>(end - first)); !s) return s;
      first = end;
    }
    return {};
  }
};

template <class = void>
index_t count_sequences(std::span<const model::batch_view> batches) {
  index_t out = 0;
  for (const auto b : batches)
    for (std::size_t r = 0; r < b.size(); ++r) out += r == 0 || b[r].seq != b[r - 1].seq;
  return out;
}

}  // namespace detail

// The moments of spans over batches of whole sequences (from position 0): x the stream before layer `first`, y that
// before layer `last`. Rows apart are those of apart_rule with ten medians of the first batch at both ends, fixed from
// there on, so that a further text gathered with the same rule merges.
//   Sequence number i of n goes to fold ⌊i·folds/n⌋. Cost: a pass up to the last layer that a span ends at, and
//   3·rows·d² flop in double a span. Memory: folds·1.5·d² doubles a span, the kept rows, and one batch's stream at every
//   end of a span. Determinism: as the host's and the backend's products.
// Errors: invalid_argument (a span that does not exist, folds below 2, fewer sequences than folds, a negative number of kept
// rows); unsupported (more than one stream); not_finite (with span and row); what the host says.
template <dense_backend<double> B, model::surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
result<array<gathered_span>> try_gather_moments(B& exec, H& host, std::span<const residual::layer_range> spans,
                                                std::span<const model::batch_view> batches,
                                                const gather_options& options = {}) {
  const model::model_desc& m = host.describe();
  if (auto s = detail::check_spans(spans, m); !s) return s.error();
  if (options.kept_rows < 0)
    return error{errc::invalid_argument, "kept rows of moments", text(options.kept_rows), "0 or more"};
  detail::fold_cursor cursor{detail::count_sequences(batches), options.folds, -1};
  if (options.folds < 2 || cursor.sequences < options.folds)
    return error{errc::invalid_argument, "folds of moments",
                 text(options.folds, " of ", cursor.sequences, " sequences"), "2 or more, and a sequence for each"};
  array<gathered_span> out;
  detail::held_streams streams(spans, m.n_layers);
  for (const model::batch_view batch : batches) {
    if (auto s = detail::try_hold(host, batch, streams); !s) return s.error();
    const index_t seen = cursor.seen;
    for (index_t i = 0; i < static_cast<index_t>(spans.size()); ++i) {
      const auto& span = spans[static_cast<std::size_t>(i)];
      const auto x = streams.at(span.first), y = streams.at(span.last);
      if (out.size() == i) {
        auto empty = span_moments::try_make(m.d_model, {apart_limit(batch, x), apart_limit(batch, y)});
        if (!empty) return empty.error();
        out.push_back({span, array<span_moments>(static_cast<index_t>(options.folds), *empty), {}, {}});
      }
      cursor.seen = seen;
      auto added = cursor.for_stretches(batch, [&](index_t fold, index_t first, index_t rows) {
        return out[i].folds[fold].try_add(
            exec, batch.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows)),
            x.middle_rows(first, rows), y.middle_rows(first, rows));
      });
      if (!added) return added.error().within(text("span [", span.first, ", ", span.last, ")").view());
      detail::keep_rows(out[i].folds.front().rule(), batch, x, y, out[i], options.kept_rows);
    }
  }
  return result<array<gathered_span>>(std::move(out));
}

}  // namespace RESECT_NAMESPACE::student
