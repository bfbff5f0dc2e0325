// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/sae/architectures/topk.hpp>
#include <resect/sae/detail/encode_blocks.hpp>
#include <resect/sae/detail/latent_lists.hpp>
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

  // x (B, d) in the units of the weights. → the report but for what the gradient is asked for.
  template <class B>
  result<step_report> try_run(B& exec, const input& in, matrix_view<const T> x) {
    const index_t rows = x.rows, width = x.cols;
    loops_ = in.context.loops;
    const bool aux = in.options.aux_coefficient > 0 && !in.dead.empty();
    centred_.resize(rows, width);
    main_.resize(rows, width);
    if (aux) aux_.resize(rows, width);
    rows_.resize(rows);
    aux_rows_.resize(aux ? rows : 0);
    exec.bulk(rows, [&](index_t r) {
      for (index_t c = 0; c < width; ++c) centred_(r, c) = x(r, c) - in.weights.bias[c];
    });
    if (auto s = select(exec, in, aux); !s) return s.error();

    array<double> lost(rows);
    exec.bulk(rows, [&](index_t r) { lost[r] = reconstruct(in.weights, r); });
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
    const double g = -2 / (static_cast<double>(rows) * in.variance);  // main_: errors become ∂/∂x̂
    exec.bulk(rows, [&](index_t r) {
      for (index_t c = 0; c < width; ++c) main_(r, c) *= static_cast<T>(g);
    });
    report.loss = report.fvu + in.options.aux_coefficient * report.aux + in.context.penalty * report.mean_latents;
    report.dead = static_cast<index_t>(in.dead.size());
    make_lists(exec, in);
    return report;
  }

  // The gradient of one latent's parameters, added to what decoder and encoder (d each) hold.
  struct scalars {
    T encoder_bias = 0, threshold = 0;
  };
  scalars add_gradient(index_t latent, T* decoder, T* encoder) const noexcept {
    scalars out;
    const index_t width = main_.cols;
    for (const contribution<T>& c : lists_.of(latent)) {
      const T* const g = c.aux ? &aux_(c.row, 0) : &main_(c.row, 0);
      if (c.value != 0) loops_.add_scaled(c.value, g, decoder, width);
      if (c.pre != 0) loops_.add_scaled(c.pre, &centred_(c.row, 0), encoder, width);
      out.encoder_bias += c.pre;
      out.threshold += c.threshold;
    }
    return out;
  }
  bool reached(index_t latent) const noexcept { return !lists_.of(latent).empty(); }
  bool fired(index_t latent) const noexcept {
    for (const contribution<T>& c : lists_.of(latent))
      if (!c.aux && c.value != 0) return true;
    return false;
  }
  // Σ_b ∂loss/∂x̂_b
  void add_bias_gradient(double* out) const noexcept {
    for (index_t r = 0; r < main_.rows; ++r)
      for (index_t c = 0; c < main_.cols; ++c) out[c] += static_cast<double>(main_(r, c));
  }
  std::span<const row_entries<T>> entries() const noexcept { return rows_.span(); }

 private:
  template <class B>
  status select(B& exec, const input& in, bool aux) {
    step_context ctx = in.context;
    const index_t most =
        algo::min(in.options.aux_latents > 0 ? in.options.aux_latents : algo::max(centred_.cols / 2, index_t{1}),
                  static_cast<index_t>(in.dead.size()));
    const T* const threshold = in.weights.threshold.empty() ? nullptr : in.weights.threshold.data();
    return encode_blocks<T>(
        exec, in.weights, centred_.view(), in.norms, memory_,
        [&](index_t r, std::span<const T> h, std::span<const T> score) {
          rows_[r].clear();
          in.how.select(h, score, threshold, ctx, rows_[r]);
          if (!aux) return;
          aux_rows_[r].clear();
          keep_largest(
              h, score, most,
              [&](index_t from, T bound) {
                for (auto at = algo::lower_bound(in.dead.begin(), in.dead.end(), from); at != in.dead.end(); ++at)
                  if (score[static_cast<std::size_t>(*at)] > bound) return *at;
                return static_cast<index_t>(h.size());
              },
              aux_rows_[r]);
        },
        [&](index_t rows) {
          ctx.bound = in.how.select_batch(rows_.span().first(static_cast<std::size_t>(rows)), ctx);
        });
  }

  // main_ row ← x − x̂. → its squared norm.
  double reconstruct(const dictionary<T>& w, index_t r) noexcept {
    const index_t width = main_.cols;
    T* const e = &main_(r, 0);
    for (index_t c = 0; c < width; ++c) e[c] = centred_(r, c);
    for (const entry<T>& a : rows_[r])
      if (a.value != 0) loops_.add_scaled(-a.value, &w.decoder(a.latent, 0), e, width);
    return static_cast<double>(loops_.dot(e, e, width));
  }
  // Σ_b ‖e_b − ē‖²
  template <class B>
  double spread_of_errors(B& exec) {
    const index_t rows = main_.rows, width = main_.cols;
    array<double> mean(width);
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < width; ++c) mean[c] += static_cast<double>(main_(r, c)) / static_cast<double>(rows);
    array<double> parts(rows);
    exec.bulk(rows, [&](index_t r) {
      for (index_t c = 0; c < width; ++c) {
        const double x = static_cast<double>(main_(r, c)) - mean[c];
        parts[r] += x * x;
      }
    });
    double sum = 0;
    for (const double x : parts) sum += x;
    return sum;
  }
  // aux_ ← ∂(coefficient·aux)/∂ê with e held. → aux.
  template <class B>
  double auxiliary(B& exec, const input& in, double spread) {
    const index_t width = main_.cols;
    const T g = static_cast<T>(2 * in.options.aux_coefficient / spread);
    array<double> parts(main_.rows);
    exec.bulk(main_.rows, [&](index_t r) {
      T* const gap = &aux_(r, 0);
      for (index_t c = 0; c < width; ++c) gap[c] = -main_(r, c);
      for (const entry<T>& a : aux_rows_[r]) loops_.add_scaled(a.value, &in.weights.decoder(a.latent, 0), gap, width);
      parts[r] = static_cast<double>(loops_.dot(gap, gap, width));
      for (index_t c = 0; c < width; ++c) gap[c] *= g;
    });
    double sum = 0;
    for (const double x : parts) sum += x;
    return sum / spread;
  }

  template <class B>
  void make_lists(B& exec, const input& in) {
    const index_t width = main_.cols;
    // scores and pre-activations of entries are not needed any more: they take the gradients
    exec.bulk(main_.rows, [&](index_t r) {
      for (entry<T>& e : rows_[r]) {
        const T theta = in.weights.threshold.empty() ? T{0} : in.weights.threshold[e.latent];
        const T df = loops_.dot(&main_(r, 0), &in.weights.decoder(e.latent, 0), width);
        const auto g = in.how.pull_back(e, theta, df, in.context);
        e.pre = g.pre;
        e.score = g.threshold;
      }
      if (r < aux_rows_.size())
        for (entry<T>& e : aux_rows_[r]) e.pre = loops_.dot(&aux_(r, 0), &in.weights.decoder(e.latent, 0), width);
    });
    lists_.resize(in.weights.latents());
    lists_.clear();
    const auto each = [&](auto&& f) {
      for (index_t r = 0; r < main_.rows; ++r) {
        for (const entry<T>& e : rows_[r]) f(r, e, false);
        if (r < aux_rows_.size())
          for (const entry<T>& e : aux_rows_[r]) f(r, e, true);
      }
    };
    each([&](index_t, const entry<T>& e, bool) { lists_.count(e.latent); });
    lists_.counted();
    each([&](index_t r, const entry<T>& e, bool aux) {
      lists_.place(e.latent, {static_cast<std::int32_t>(r), aux, e.value, e.pre, aux ? T{0} : e.score});
    });
  }

  matrix<T> centred_, main_, aux_;  // x − b_d; errors, then ∂/∂x̂; ∂/∂ê
  array<row_entries<T>> rows_, aux_rows_;
  latent_lists<T> lists_;
  array<T> memory_;
  student::detail::row_loops loops_;
};

}  // namespace RESECT_NAMESPACE::sae::detail
