// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/sae/architectures/topk.hpp>
#include <resect/sae/detail/latent_lists.hpp>
#include <resect/sae/detail/latent_ranges.hpp>
#include <resect/sae/options.hpp>
#include <resect/student/detail/row_kernels.hpp>

namespace RESECT_NAMESPACE::sae::detail {

// The forward pass of a batch and what its rows do to each latent's gradient. Keeps its memory from batch to batch.
template <class T, class A>
class batch_pass {
 public:
  struct input {
    const dictionary<T>& weights;
    const A& how;
    std::span<const T> norms;       // ‖w_j‖ where they are folded, else empty
    std::span<const index_t> dead;  // ascending
    const trainer_options& options;
    double variance = 1;  // σ²
    step_context context;
  };

  // Rows (B, d), which `scale` takes to the units of the weights. → the report but for what the gradient is asked for.
  template <class B>
  result<step_report> try_run(B& exec, const input& in, matrix_view<const float> x, double scale) {
    const index_t rows = x.rows, width = x.cols;
    loops_ = in.context.loops;
    const bool aux = in.options.aux_coefficient > 0 && !in.dead.empty();
    for (matrix<T>* table : {&centred_, &errors_, aux ? &aux_ : &errors_}) {
      reserve_in_huge_pages(table->data, rows * width);
      table->resize(rows, width);
    }
    rows_.resize(rows);
    aux_rows_.resize(aux ? rows : 0);
    exec.bulk(rows, [&](index_t r) {
      for (index_t c = 0; c < width; ++c)
        centred_(r, c) = static_cast<T>(static_cast<double>(x(r, c)) * scale) - in.weights.bias[c];
      rows_[r].clear();
      if (aux) aux_rows_[r].clear();
    });
    if (auto s = select(exec, in, aux); !s) return s.error();

    array<double> lost(rows);
    to_errors_ = static_cast<T>(-2 / (static_cast<double>(rows) * in.variance));
    exec.bulk(rows, [&](index_t r) { lost[r] = reconstruct(in, r); });
    step_report report{.step = in.context.step, .penalty = in.context.penalty};
    index_t kept = 0;
    for (index_t r = 0; r < rows; ++r) {
      report.fvu += lost[r];
      for (const entry<T>& e : rows_[r]) kept += e.value != 0 ? 1 : 0;
    }
    report.fvu /= static_cast<double>(rows) * in.variance;
    report.mean_latents = static_cast<double>(kept) / static_cast<double>(rows);
    const double spread = aux ? spread_of_errors(exec) : 0;
    if (spread > 0) report.aux = auxiliary(exec, in, spread);
    else aux_rows_.resize(0);
    sum_errors(exec);
    report.loss = report.fvu + in.options.aux_coefficient * report.aux + in.context.penalty * report.mean_latents;
    report.dead = static_cast<index_t>(in.dead.size());
    make_lists(in.weights.latents());
    return report;
  }

  // The gradient of one latent's parameters, added to what decoder and encoder (d each) hold.
  struct scalars {
    T encoder_bias = 0, threshold = 0;
  };
  scalars add_gradient(index_t latent, T* decoder, T* encoder) const noexcept {
    scalars out;
    const index_t width = errors_.cols;
    const auto list = lists_.of(latent);
    for (std::size_t i = 0; i < list.size(); ++i) {
      const contribution<T>& c = list[i];
      if (i + 1 < list.size()) {
        loops_.prefetch(gradient_of(list[i + 1]), width);
        loops_.prefetch(&centred_(list[i + 1].row, 0), width);
      }
      if (c.value != 0) loops_.add_scaled(c.value, gradient_of(c), decoder, width);
      if (c.pre != 0) loops_.add_scaled(c.pre, &centred_(c.row, 0), encoder, width);
      out.encoder_bias += c.pre;
      out.threshold += c.threshold;
    }
    return out;
  }
  // Asks for the first rows that the latent's gradient reads.
  void prefetch(index_t latent) const noexcept {
    const auto list = lists_.of(latent);
    if (list.empty()) return;
    loops_.prefetch(gradient_of(list[0]), errors_.cols);
    loops_.prefetch(&centred_(list[0].row, 0), errors_.cols);
  }
  bool reached(index_t latent) const noexcept { return !lists_.of(latent).empty(); }
  bool fired(index_t latent) const noexcept {
    for (const contribution<T>& c : lists_.of(latent))
      if (!c.aux && c.value != 0) return true;
    return false;
  }
  // Σ_b ∂loss/∂x̂_b
  const array<double>& bias_gradient() const noexcept { return bias_gradient_; }
  std::span<const row_entries<T>> entries() const noexcept { return rows_.span(); }

 private:
  template <class B>
  status select(B& exec, const input& in, bool aux) {
    step_context ctx = in.context;
    const index_t most =
        algo::min(in.options.aux_latents > 0 ? in.options.aux_latents : algo::max(centred_.cols / 2, index_t{1}),
                  static_cast<index_t>(in.dead.size()));
    const T* const threshold = in.weights.threshold.empty() ? nullptr : in.weights.threshold.data();
    return offer_latents<T>(
        exec, in.weights, centred_.view(), in.norms, memory_,
        [&](index_t r, const latent_range<T>& range) {
          in.how.select(range, threshold, ctx, rows_[r]);
          if (aux) offer_dead(range, in.dead, most, aux_rows_[r]);
        },
        [&](index_t rows) { ctx.bound = in.how.select_batch(rows_.span().first(static_cast<std::size_t>(rows)), ctx); },
        [&](index_t r) {
          in.how.finish(rows_[r]);
          if (aux) sort_by_latent(aux_rows_[r]);
        });
  }
  static void offer_dead(const latent_range<T>& range, std::span<const index_t> dead, index_t most,
                         row_entries<T>& out) {
    auto at = algo::lower_bound(dead.begin(), dead.end(), range.first);
    offer_largest(
        range, most,
        [&](index_t from, T bound) {
          while (at != dead.end() && *at < range.first + from) ++at;
          for (; at != dead.end() && *at < range.first + range.size(); ++at)
            if (range.score[static_cast<std::size_t>(*at - range.first)] > bound) return *at - range.first;
          return range.size();
        },
        out);
  }

  // errors_ row ← x − x̂, and while the decoder's rows are near: gradients of the row's entries, which take the place of
  // scores and pre-activations. → the error's squared norm.
  double reconstruct(const input& in, index_t r) noexcept {
    const dictionary<T>& w = in.weights;
    const index_t width = errors_.cols;
    T* const e = &errors_(r, 0);
    row_entries<T>& row = rows_[r];
    for (index_t c = 0; c < width; ++c) e[c] = centred_(r, c);
    for (index_t i = 0; i < row.size(); ++i) {
      if (i + 1 < row.size()) loops_.prefetch(&w.decoder(row[i + 1].latent, 0), width);
      if (row[i].value != 0) loops_.add_scaled(-row[i].value, &w.decoder(row[i].latent, 0), e, width);
    }
    for (entry<T>& a : row) {
      const T theta = w.threshold.empty() ? T{0} : w.threshold[a.latent];
      const auto g = in.how.pull_back(a, theta, to_errors_ * loops_.dot(e, &w.decoder(a.latent, 0), width), in.context);
      a.pre = g.pre;
      a.score = g.threshold;
    }
    return static_cast<double>(loops_.dot(e, e, width));
  }
  template <class B>
  void sum_errors(B& exec) {
    constexpr index_t part = 64;
    const index_t width = errors_.cols;
    bias_gradient_.assign(width, 0.0);
    exec.bulk((width + part - 1) / part, [&](index_t task) {
      for (index_t r = 0; r < errors_.rows; ++r)
        for (index_t c = task * part; c < algo::min(width, (task + 1) * part); ++c)
          bias_gradient_[c] += static_cast<double>(to_errors_) * static_cast<double>(errors_(r, c));
    });
  }
  // Σ_b ‖e_b − ē‖²
  template <class B>
  double spread_of_errors(B& exec) {
    const index_t rows = errors_.rows, width = errors_.cols;
    array<double> mean(width);
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < width; ++c) mean[c] += static_cast<double>(errors_(r, c)) / static_cast<double>(rows);
    array<double> parts(rows);
    exec.bulk(rows, [&](index_t r) {
      for (index_t c = 0; c < width; ++c) {
        const double x = static_cast<double>(errors_(r, c)) - mean[c];
        parts[r] += x * x;
      }
    });
    double sum = 0;
    for (const double x : parts) sum += x;
    return sum;
  }
  // aux_ ← ∂(coefficient·aux)/∂ê with e held, and from it the gradients of the entries. → aux.
  template <class B>
  double auxiliary(B& exec, const input& in, double spread) {
    const index_t width = errors_.cols;
    const T g = static_cast<T>(2 * in.options.aux_coefficient / spread);
    array<double> parts(errors_.rows);
    exec.bulk(errors_.rows, [&](index_t r) {
      T* const gap = &aux_(r, 0);
      row_entries<T>& row = aux_rows_[r];
      for (index_t c = 0; c < width; ++c) gap[c] = -errors_(r, c);
      for (index_t i = 0; i < row.size(); ++i) {
        if (i + 1 < row.size()) loops_.prefetch(&in.weights.decoder(row[i + 1].latent, 0), width);
        loops_.add_scaled(row[i].value, &in.weights.decoder(row[i].latent, 0), gap, width);
      }
      parts[r] = static_cast<double>(loops_.dot(gap, gap, width));
      for (index_t c = 0; c < width; ++c) gap[c] *= g;
      for (entry<T>& a : row) a.pre = loops_.dot(gap, &in.weights.decoder(a.latent, 0), width);
    });
    double sum = 0;
    for (const double x : parts) sum += x;
    return sum / spread;
  }

  const T* gradient_of(const contribution<T>& c) const noexcept { return c.aux ? &aux_(c.row, 0) : &errors_(c.row, 0); }
  void make_lists(index_t latents) {
    lists_.resize(latents);
    lists_.clear();
    const auto each = [&](auto&& f) {
      for (index_t r = 0; r < errors_.rows; ++r) {
        for (const entry<T>& e : rows_[r]) f(r, e, false);
        if (r < aux_rows_.size())
          for (const entry<T>& e : aux_rows_[r]) f(r, e, true);
      }
    };
    each([&](index_t, const entry<T>& e, bool) { lists_.count(e.latent); });
    lists_.counted();
    each([&](index_t r, const entry<T>& e, bool aux) {
      const auto row = static_cast<std::int32_t>(r);
      lists_.place(e.latent, aux ? contribution<T>{row, true, e.value, e.pre, T{0}}
                                 : contribution<T>{row, false, to_errors_ * e.value, e.pre, e.score});
    });
  }

  matrix<T> centred_, errors_, aux_;  // x − b_d; x − x̂; ∂/∂ê
  T to_errors_ = 0;                   // ∂loss/∂x̂ is that times the errors
  array<double> bias_gradient_;
  array<row_entries<T>> rows_, aux_rows_;
  latent_lists<T> lists_;
  array<T> memory_;
  student::detail::row_loops loops_;
};

}  // namespace RESECT_NAMESPACE::sae::detail
