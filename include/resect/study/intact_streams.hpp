// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>
#include <vector>

#include <resect/core/copy.hpp>
#include <resect/core/matrix.hpp>
#include <resect/metrics/accumulators/amplification.hpp>
#include <resect/metrics/accumulators/explained_variance.hpp>
#include <resect/residual/row_store.hpp>
#include <resect/student/span_moments.hpp>
#include <resect/study/detail/layer_walk.hpp>

// How far an altered model's stream is from the intact one's, at a splice and after every later layer.
namespace RESECT_NAMESPACE::study {

// The intact model's stream before every layer and before the head, over evaluated windows. Judged are the counted rows
// but first positions and rows that stand apart at any layer (above ten medians, student::apart_limit): a few massive
// rows would make every FVU small.
//   Memory: rows·(n_layers + 1)·d floats.
class intact_streams {
 public:
  // Runs the intact model once. Errors: what windows.check says; what the host reports.
  template <model::surgical_host H>
    requires std::same_as<typename H::value, float>
  static result<intact_streams> try_make(H& host, const token_windows& windows) {
    intact_streams out;
    out.windows_ = &windows;
    const auto keep = [&](matrix_view<const float> h) {
      out.at_.emplace_back(h.rows, h.cols);
      copy(h, out.at_.back().view());
    };
    auto walked =
        detail::try_walk_layers(host, windows, "windows",
                                [&](int l, matrix_view<const float> before, matrix_view<const float> after) -> status {
                                  if (l == 0) keep(before);
                                  keep(after);
                                  return {};
                                });
    if (!walked) return walked.error();
    out.judge();
    return out;
  }

  int layers() const noexcept { return static_cast<int>(at_.size()) - 1; }
  // The stream before layer l; of l = layers() what the head reads.
  matrix_view<const float> before(int l) const noexcept { return at_[static_cast<std::size_t>(l)].view(); }
  // Whether a row counts in FVU, and how many do.
  bool judged(index_t row) const noexcept { return judged_[static_cast<std::size_t>(row)]; }
  index_t judged_rows() const noexcept { return n_judged_; }

  // The deltas of some layers' blocks, which residual::try_resample_delta exchanges between the windows. Errors: those of
  // row_store.
  result<residual::row_store> try_deltas(residual::layer_range of) const {
    const model::batch_view rows = windows_->rows;
    auto out = residual::row_store::try_block_deltas(of, before(0).cols, static_cast<index_t>(rows.size()));
    if (!out) return out.error();
    for (int l = of.first; l < of.last; ++l)
      for (const auto where : {model::site::resid_pre, model::site::resid_post})
        if (auto s = out->try_add({where, l, rows}, before(where == model::site::resid_pre ? l : l + 1)); !s)
          return s.error();
    return out;
  }

  // FVU of another stream before layer l, over the judged rows. Errors: shape_mismatch.
  result<metrics::explained_variance> try_compare(int l, matrix_view<const float> other) const {
    const auto own = before(l);
    if (auto s = check_view(other, own.rows, own.cols, text("stream before layer ", l).view()); !s) return s.error();
    metrics::explained_variance out(windows_->n_clusters, own.cols);
    array<float> row(own.cols);
    for (index_t r = 0; r < own.rows; ++r) {
      if (!judged(r)) continue;
      for (index_t c = 0; c < own.cols; ++c) row[c] = other(r, c);
      out.add(windows_->cluster[static_cast<std::size_t>(r)], own.row_span(r), std::as_const(row).span());
    }
    return out;
  }

 private:
  void judge() {
    std::vector<double> limits;
    for (const auto& h : at_) limits.push_back(student::apart_limit(windows_->rows, h.view()));
    for (std::size_t r = 0; r < windows_->rows.size(); ++r) {
      bool ok = windows_->cluster[r] >= 0 && windows_->rows[r].pos > 0;
      for (std::size_t l = 0; ok && l < at_.size(); ++l)
        ok = student::row_norm(at_[l].view(), static_cast<index_t>(r)) <= limits[l];
      judged_.push_back(ok);
      n_judged_ += ok;
    }
  }

  const token_windows* windows_ = nullptr;
  std::vector<matrix<float>> at_;
  std::vector<bool> judged_;
  index_t n_judged_ = 0;
};

// The error of an altered model's stream from its splice on: FVU before layers first, first + 1, …, n_layers (what the
// head reads), and how many times that of the splice it is.
struct stream_errors {
  int first = 0;
  std::vector<metrics::estimate> fvu;
  std::vector<metrics::estimate> amplification;  // A_k; the first is 1

  bool empty() const noexcept { return fvu.empty(); }
};

// Measures the stream of an altered model (what a visitor of study::runner gets) before layer `first` and every later
// one. Errors: invalid_argument (a layer that the model has passed); what the pass reports.
template <class Altered>
result<stream_errors> try_stream_errors(Altered& model, const intact_streams& intact, int first) {
  stream_errors out;
  out.first = first;
  metrics::explained_variance splice;
  for (int l = first; l <= intact.layers(); ++l) {
    if (auto s = model.try_run_to(l); !s) return s.error();
    if (model.twin()) return stream_errors{};
    auto here = intact.try_compare(l, model.stream());
    if (!here) return here.error();
    if (l == first) splice = *here;
    auto growth = metrics::try_amplification(*here, splice);
    if (!growth) return growth.error();
    out.fvu.push_back(here->fvu());
    out.amplification.push_back(*growth);
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::study
