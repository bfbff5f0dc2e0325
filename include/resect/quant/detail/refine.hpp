// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>

#include <resect/quant/detail/descent.hpp>
#include <resect/quant/rounding.hpp>

// What follows the pass with feedback: the better of it and of the nearest codes, sweeps, scales fitted again.
namespace RESECT_NAMESPACE::quant::detail {

// Codes and parameters of some rows, to go back to.
template <static_format F>
class kept_rows {
  using tiles = code_tiles<F>;

 public:
  // Of rows [first, first + rows).
  kept_rows(quantized<F>& q, index_t first, index_t rows)
      : tiles_(q),
        first_(first),
        begin_code_(first / tiles::height * tiles_.per_row()),
        begin_group_(first / tiles_.layout().height() * tiles_.layout().per_row()) {
    const index_t end = first + rows, height = tiles_.layout().height();
    const index_t end_code = (end + tiles::height - 1) / tiles::height * tiles_.per_row();
    const index_t end_group = (end + height - 1) / height * tiles_.layout().per_row();
    for (index_t i = begin_code_; i < end_code; ++i) codes_.push_back(q.codes[i]);
    for (index_t i = begin_group_; i < end_group; ++i) parameters_.push_back(q.parameters[i]);
  }

  // Puts codes of rows [row, row + count) of these back: whole codes, where they share any with other rows.
  void restore_codes(index_t row, index_t count) const {
    const index_t per_row = tiles_.per_row();
    const index_t end = (first_ + row + count + tiles::height - 1) / tiles::height * per_row;
    for (index_t i = (first_ + row) / tiles::height * per_row; i < end; ++i)
      tiles_.matrix().codes[i] = codes_[i - begin_code_];
  }
  void restore_parameters(index_t row, index_t count) const {
    const index_t per_row = tiles_.layout().per_row(), height = tiles_.layout().height();
    const index_t end = (first_ + row + count + height - 1) / height * per_row;
    for (index_t i = (first_ + row) / height * per_row; i < end; ++i)
      tiles_.matrix().parameters[i] = parameters_[i - begin_group_];
  }

 private:
  tiles tiles_;
  index_t first_, begin_code_, begin_group_;
  array<code_of<F>> codes_;
  array<parameters_of<F>> parameters_;
};

struct refine_options {
  int sweeps = 0, refits = 0;
  bool keep_best = false;
};

// Rows [first, first + rows) of a matrix, which share nothing with others.
template <class B, static_format F>
class row_refiner {
  using tiles = code_tiles<F>;

 public:
  row_refiner(B& exec, matrix_view<const float> w, const moment_view& h, const refine_options& o, quantized<F>& q,
              index_t first, index_t rows)
      : exec_(exec), w_(w), options_(o), q_(q), first_(first), rows_(rows), descent_(exec, w, h, q, first, rows) {}

  status try_run() {
    rounding_outcome& out = q_.outcome;
    if (options_.keep_best)
      if (auto s = try_nearest(); !s) return s;
    if (auto s = descent_.try_start(); !s) return s;
    if (options_.keep_best) {
      const kept_rows<F> passed(q_, first_, rows_);
      auto kept = try_return_to(nearest_codes_[0], tiles::height);
      if (!kept) return kept.error();
      out.rows_kept_nearest += *kept;
    }
    if (auto s = try_sweeps(); !s) return s;
    if (options_.keep_best && tiles::height > 1)
      if (auto kept = try_return_to(nearest_codes_[0], tiles::height); !kept) return kept.error();
    for (int round = 0; round < options_.refits; ++round) {
      const kept_rows<F> before(q_, first_, rows_);
      auto refitted = descent_.try_refit();
      if (!refitted) return refitted.error();
      if (*refitted == 0) break;
      out.refitted_groups += *refitted;
      if (auto s = try_sweeps(); !s) return s;
      if (!options_.keep_best) continue;
      auto returned = try_return_to(before, code_tiles<F>(q_).band());
      if (!returned) return returned.error();
    }
    out.loss += total([&](index_t r) { return descent_.loss(r); });
    if (options_.keep_best) out.nearest_loss += total([&](index_t r) { return nearest_loss_[r]; });
    return {};
  }

 private:
  template <class Of>
  double total(Of of) const {
    double sum = 0;
    for (index_t r = 0; r < rows_; ++r) sum += of(r);
    return sum;
  }

  // The nearest codes and what they lose; the matrix keeps its own.
  status try_nearest() {
    const kept_rows<F> own(q_, first_, rows_);
    const block_layout layout = q_.layout();
    const index_t begin = first_ / layout.height(), count = (first_ + rows_ - 1) / layout.height() - begin + 1;
    exec_.bulk(count, [&](index_t i) {
      for (index_t g = 0; g < layout.per_row(); ++g) encode_block(w_, begin + i, g, q_);
    });
    if (auto s = descent_.try_start(); !s) return s;
    for (index_t r = 0; r < rows_; ++r) nearest_loss_.push_back(descent_.loss(r));
    nearest_codes_.push_back(kept_rows<F>(q_, first_, rows_));
    own.restore_codes(0, rows_);
    return {};
  }

  // Units of rows in which any row loses more than the nearest codes go back to what was kept. → rows that did.
  result<index_t> try_return_to(const kept_rows<F>& kept, index_t unit) {
    index_t returned = 0;
    for (index_t r = 0; r < rows_; r += unit) {
      const index_t count = std::min(unit, rows_ - r);
      bool worse = false;
      for (index_t i = r; i < r + count; ++i) worse = worse || !(descent_.loss(i) <= nearest_loss_[i]);
      if (!worse) continue;
      kept.restore_codes(r, count);
      if (unit != tiles::height) kept.restore_parameters(r, count);
      returned += count;
    }
    if (returned > 0)
      if (auto s = descent_.try_start(); !s) return s.error();
    return returned;
  }

  status try_sweeps() {
    for (int s = 0; s < options_.sweeps; ++s) {
      auto changed = descent_.try_sweep();
      if (!changed) return changed.error();
      q_.outcome.changed_codes += *changed;
      q_.outcome.sweeps = std::max(q_.outcome.sweeps, s + 1);
      if (*changed == 0) break;
    }
    return {};
  }

  B& exec_;
  matrix_view<const float> w_;
  refine_options options_;
  quantized<F>& q_;
  index_t first_, rows_;
  descent<B, F> descent_;
  array<double> nearest_loss_;
  array<kept_rows<F>> nearest_codes_;  // one, where they are asked for
};

// All rows, about a thousand at a time.
template <class B, static_format F>
status refine(B& exec, matrix_view<const float> w, const moment_view& h, const refine_options& o, quantized<F>& q) {
  const index_t band = code_tiles<F>(q).band(), at_once = (1024 + band - 1) / band * band;
  q.outcome.loss = 0;
  if (o.keep_best) q.outcome.nearest_loss = 0;
  for (index_t r = 0; r < w.rows; r += at_once)
    if (auto s = row_refiner<B, F>(exec, w, h, o, q, r, std::min(at_once, w.rows - r)).try_run(); !s) return s;
  return {};
}

}  // namespace RESECT_NAMESPACE::quant::detail
