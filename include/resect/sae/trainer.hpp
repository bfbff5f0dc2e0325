// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <concepts>
#include <utility>

#include <resect/core/finite.hpp>
#include <resect/core/operand.hpp>
#include <resect/random/distributions.hpp>
#include <resect/sae/architectures/batch_topk.hpp>
#include <resect/sae/detail/batch_pass.hpp>
#include <resect/student/detail/adam.hpp>

// Training of sparse autoencoders: one trainer, architectures as policies, Adam with sparse gradients.
namespace RESECT_NAMESPACE::sae {

// All that a run needs to go on: what checkpoints hold.
template <class T>
struct trainer_state {
  dictionary<T> weights, mean, square;  // parameters, Adam's running means of g and g²; in units of rows times `scale`
  array<std::int64_t> since_fired;      // rows since each latent was kept last
  double scale = 1;                     // rows are multiplied by it: variance 1 an element
  double penalty = 0;                   // of the architecture
  index_t step = 0;
  std::int64_t rows = 0;  // that were trained on
};

// Trains a sparse autoencoder of an architecture on batches of rows (B, d) of float.
//   loss = Σ‖x − x̂‖²/(B·σ²) + aux_coefficient·AuxK + penalty·L̄0,   σ² of the first rows, once and for all.
//   AuxK = Σ‖ê − e‖²/Σ‖e − ē‖², e = x − x̂ held, ê = Σ z_j·w_j (no bias) over the row's largest positive dead latents z:
//   gradients go to their decoder and encoder rows (Gao et al. 2024, §A.2).
//   Gradients are exact but for those of thresholds (jump_relu.hpp). Those of tables are sparse; each row of a table has one
//   owner, which sums contributions in the order of rows, projects, updates by Adam and norms in one pass.
//   T: parameters, moments and arithmetic; float, or double to check it. Losses in double.
//   Cost of a step: 2BFd flop for the encoder, 6Bkd beside it; 12Fd elements read and written by Adam. Memory: 6Fd + 3Bd
//   elements, 256·F of pre-activations (never B·F), and 32 bytes an entry.
//   Same bits for any number of workers, if the backend's products have that.
//   Errors of try_make and try_step: shape_mismatch, not_finite (the row and column), invalid_argument (options), those of
//   the backend; the state is as before.
template <class T, architecture<T> A>
class trainer {
 public:
  // A dictionary for rows like `sample` (N, d), N ≥ 2: b_d their mean, which leaves no latent dead from the start (mean-centred
  // rows), random unit decoder rows, encoder rows the same, thresholds where four times the latents are kept.
  template <dense_backend<T> B, operand_of<float> X>
  static result<trainer> try_make(B& exec, const A& how, const trainer_options& options, const X& sample) {
    return on_view(sample, "sample", [&](matrix_view<const float> x) { return try_make(exec, how, options, x); });
  }
  template <dense_backend<T> B>
  static result<trainer> try_make(B& exec, const A& how, const trainer_options& options,
                                  matrix_view<const float> sample) {
    if (auto s = options.check(); !s) return s.error();
    if (auto s = how.check(options.latents); !s) return s.error();
    if (auto s = check_rows(exec, sample, sample.cols); !s) return s.error();
    if (sample.rows < 2 || sample.cols < 1)
      return error{errc::shape_mismatch, "sample", text(sample.rows, " x ", sample.cols), "at least 2 rows"};
    trainer t(how, options, sample.cols);
    if (auto s = t.set_mean_and_scale(sample); !s) return s.error();
    t.draw_rows(exec);
    if (auto s = t.set_thresholds(exec, sample); !s) return s.error();
    return t;
  }
  // One that goes on from a state. Errors: shape_mismatch.
  static result<trainer> try_resume(const A& how, const trainer_options& options, trainer_state<T> state) {
    if (auto s = options.check(); !s) return s.error();
    if (auto s = how.check(options.latents); !s) return s.error();
    const index_t f = options.latents, d = state.weights.width();
    for (const dictionary<T>* part : {&state.weights, &state.mean, &state.square})
      if (part->latents() != f || part->width() != d || part->decoder.rows != f || part->decoder.cols != d ||
          part->encoder_bias.size() != f || part->bias.size() != d ||
          part->threshold.size() != (A::has_threshold ? f : 0))
        return error{errc::shape_mismatch, "state of a trainer",
                     text(part->latents(), " x ", part->width(), ", ", part->threshold.size(), " thresholds"),
                     text(f, " x ", d, ", ", A::has_threshold ? f : 0)};
    if (state.since_fired.size() != f)
      return error{errc::shape_mismatch, "counters of a trainer", text(state.since_fired.size()), text(f)};
    trainer t(how, options, d);
    t.state_ = std::move(state);
    t.set_norms();
    return t;
  }

  // One step of training.
  template <dense_backend<T> B, operand_of<float> X>
  result<step_report> try_step(B& exec, const X& rows) {
    return on_view(rows, "rows", [&](matrix_view<const float> x) { return try_step(exec, x); });
  }
  template <dense_backend<T> B>
  result<step_report> try_step(B& exec, matrix_view<const float> rows) {
    auto report = try_pass(exec, rows);
    if (!report) return report;
    double scale = 1;
    if (options_.clip > 0) {
      report->gradient_norm = gradient_norm(exec);
      if (report->gradient_norm > options_.clip) scale = options_.clip / report->gradient_norm;
    }
    update(exec, static_cast<T>(scale));
    count_fired(rows.rows);
    state_.penalty = how_.adapt(state_.penalty, report->mean_latents);
    ++state_.step;
    state_.rows += rows.rows;
    return report;
  }

  // The loss of a batch and its gradient by all parameters, in the units of the state; before projection and clipping.
  template <dense_backend<T> B>
  result<step_report> try_gradient(B& exec, matrix_view<const float> rows, dictionary<T>& gradient) {
    auto report = try_pass(exec, rows);
    if (!report) return report;
    gradient = dictionary<T>(latents(), width(), A::has_threshold);
    parts_.assign(chunks * width(), 0.0);
    for (index_t j = 0; j < latents(); ++j) {
      const auto s = pass_.add_gradient(j, &gradient.decoder(j, 0), &gradient.encoder(j, 0));
      gradient.encoder_bias[j] = s.encoder_bias;
      if constexpr (A::has_threshold) gradient.threshold[j] = s.threshold;
      add_to_parts(j / chunk_size(), j, s.encoder_bias);
    }
    const array<double> bias = bias_gradient();
    for (index_t c = 0; c < width(); ++c) gradient.bias[c] = static_cast<T>(bias[c]);
    return report;
  }

  // The dictionary in the units of rows: ‖w_j‖ = 1, latents in those units.
  dictionary<T> weights() const {
    dictionary<T> out = state_.weights;
    const double scale = state_.scale;
    for (index_t j = 0; j < latents(); ++j) {
      const double norm = norms_.empty() ? 1.0 : static_cast<double>(norms_[j]), by = norm > 0 ? norm : 1.0;
      out.encoder_bias[j] = static_cast<T>(static_cast<double>(out.encoder_bias[j]) * by / scale);
      for (index_t c = 0; c < width() && by != 1.0; ++c) {
        out.encoder(j, c) = static_cast<T>(static_cast<double>(out.encoder(j, c)) * by);
        out.decoder(j, c) = static_cast<T>(static_cast<double>(out.decoder(j, c)) / by);
      }
      if constexpr (A::has_threshold)
        out.threshold[j] = static_cast<T>(algo::max(0.0, static_cast<double>(out.threshold[j])) / scale);
    }
    for (T& b : out.bias) b = static_cast<T>(static_cast<double>(b) / scale);
    return out;
  }

  index_t latents() const noexcept { return state_.weights.latents(); }
  index_t width() const noexcept { return state_.weights.width(); }
  const A& how() const noexcept { return how_; }
  const trainer_options& options() const noexcept { return options_; }
  const trainer_state<T>& state() const noexcept { return state_; }
  // For tests that move a parameter. Norms that are folded are those of the last step.
  trainer_state<T>& mutable_state() noexcept { return state_; }

 private:
  static constexpr index_t chunks = 64;  // of latents, fixed: partial sums do not depend on workers

  trainer(const A& how, const trainer_options& options, index_t width) : how_(how), options_(options) {
    for (dictionary<T>* part : {&state_.weights, &state_.mean, &state_.square})
      *part = dictionary<T>(options.latents, width, A::has_threshold);
    state_.since_fired = array<std::int64_t>(options.latents);
    state_.penalty = how.first_penalty();
  }

  template <class B>
  static status check_rows(B& exec, matrix_view<const float> x, index_t width) {
    if (auto s = check_view(x, x.rows, width, "rows"); !s) return s;
    if (const auto at = first_not_finite(exec, x))
      return error{errc::not_finite, text("rows, row ", at.row, ", column ", at.col), text(x(at.row, at.col)),
                   "finite elements"};
    return {};
  }

  status set_mean_and_scale(matrix_view<const float> x) {
    const index_t d = x.cols;
    array<double> mean(d);
    for (index_t r = 0; r < x.rows; ++r)
      for (index_t c = 0; c < d; ++c) mean[c] += static_cast<double>(x(r, c)) / static_cast<double>(x.rows);
    double variance = 0;
    for (index_t r = 0; r < x.rows; ++r)
      for (index_t c = 0; c < d; ++c) {
        const double gap = static_cast<double>(x(r, c)) - mean[c];
        variance += gap * gap / static_cast<double>(x.rows);
      }
    if (!(variance > 0))
      return error{errc::invalid_argument, "sample", "rows that are all the same", "rows that differ"};
    state_.scale = std::sqrt(static_cast<double>(d) / variance);
    for (index_t c = 0; c < d; ++c) state_.weights.bias[c] = static_cast<T>(mean[c] * state_.scale);
    return {};
  }
  template <class B>
  void draw_rows(B& exec) {
    auto& w = state_.weights;
    exec.bulk(latents(), [&](index_t j) {
      const random::philox_stream draws{options_.seed, 0x736165u + (static_cast<std::uint64_t>(j) << 24)};
      double squares = 0;
      for (index_t c = 0; c < width(); ++c) {
        const double x = random::gaussian(draws, static_cast<std::uint64_t>(c));
        squares += x * x;
        w.decoder(j, c) = static_cast<T>(x);
      }
      const double norm = squares > 0 ? std::sqrt(squares) : 1.0;
      for (index_t c = 0; c < width(); ++c) {
        w.decoder(j, c) = static_cast<T>(static_cast<double>(w.decoder(j, c)) / norm);
        w.encoder(j, c) = w.decoder(j, c);
      }
    });
    set_norms();
  }
  void set_norms() {
    if (options_.norm != decoder_norm::folded) return;
    norms_.resize(latents());
    for (index_t j = 0; j < latents(); ++j) norms_[j] = norm_of(j);
  }
  T norm_of(index_t j, student::detail::row_loops loops = {}) const noexcept {
    const T* const w = &state_.weights.decoder(j, 0);
    return static_cast<T>(std::sqrt(static_cast<double>(loops.dot(w, w, width()))));
  }

  template <class B>
  status set_thresholds(B& exec, matrix_view<const float> sample) {
    if constexpr (A::has_threshold) {
      const auto x = sample.middle_rows(0, algo::min(sample.rows, index_t{1024}));
      matrix<T> centred(x.rows, x.cols);
      for (index_t r = 0; r < x.rows; ++r)
        for (index_t c = 0; c < x.cols; ++c)
          centred(r, c) = static_cast<T>(static_cast<double>(x(r, c)) * state_.scale) - state_.weights.bias[c];
      array<row_entries<T>> rows(x.rows);
      array<T> memory;
      const auto kept = static_cast<index_t>(
          algo::min(4 * how_.latents, static_cast<double>(latents()) / 4) * static_cast<double>(x.rows) + 1);
      T bound = 0;
      const student::detail::row_loops loops{instructions_of(exec)};
      const auto take = [&](index_t r, const latent_range<T>& range) {
        detail::keep_above(range, bound, loops, rows[r]);
      };
      const auto done = [&](index_t n) {
        bound = detail::keep_largest_of_batch(rows.span().first(static_cast<std::size_t>(n)), kept);
      };
      if (auto s = detail::offer_latents<T>(exec, state_.weights, centred.view(), norms_.span(), memory, take, done,
                                            [](index_t) {});
          !s)
        return s;
      for (T& theta : state_.weights.threshold) theta = bound;
    }
    return {};
  }

  template <class B>
  result<step_report> try_pass(B& exec, matrix_view<const float> rows) {
    if (auto s = check_rows(exec, rows, width()); !s) return s.error();
    if (rows.rows < 1) return error{errc::shape_mismatch, "rows", "0", "at least 1"};
    dead_.clear();
    if (options_.aux_coefficient > 0)
      for (index_t j = 0; j < latents(); ++j)
        if (state_.since_fired[j] >= options_.dead_after) dead_.push_back(j);
    const typename detail::batch_pass<T, A>::input in{
        state_.weights,
        how_,
        norms_.span(),
        dead_.span(),
        options_,
        static_cast<double>(width()),
        {.step = state_.step, .rows = rows.rows, .penalty = state_.penalty, .loops = {instructions_of(exec)}}};
    return pass_.try_run(exec, in, rows, state_.scale);
  }

  index_t chunk_size() const noexcept { return (latents() + chunks - 1) / chunks; }
  // Calls f(chunk, j, decoder, encoder) for each latent, with room for a gradient that is 0.
  template <class B, class F>
  void for_latents(B& exec, F&& f) {
    const index_t size = chunk_size(), d = width();
    room_.resize(chunks * 2 * d);
    exec.bulk(chunks, [&](index_t chunk) {
      T* const decoder = room_.data() + chunk * 2 * d;
      for (index_t j = chunk * size; j < algo::min(latents(), (chunk + 1) * size); ++j) {
        for (index_t c = 0; c < 2 * d; ++c) decoder[c] = 0;
        if (j + 1 < latents()) pass_.prefetch(j + 1);
        f(chunk, j, decoder, decoder + d);
      }
    });
  }
  void project(index_t j, T* decoder, const student::detail::row_loops& loops) const noexcept {
    if (options_.norm != decoder_norm::projected) return;
    const T* const w = &state_.weights.decoder(j, 0);
    loops.add_scaled(-loops.dot(decoder, w, width()), w, decoder, width());
  }

  // What one latent's encoder adds to ∂loss/∂b_d: −∂loss/∂b_e·W_e, into the sums of its chunk.
  void add_to_parts(index_t chunk, index_t j, T encoder_bias) noexcept {
    if (encoder_bias == 0) return;
    for (index_t c = 0; c < width(); ++c)
      parts_[chunk * width() + c] -=
          static_cast<double>(encoder_bias) * static_cast<double>(state_.weights.encoder(j, c));
  }
  // ∂loss/∂b_d, when every latent has been added to the parts.
  array<double> bias_gradient() const {
    array<double> out = pass_.bias_gradient();
    for (index_t c = 0; c < width(); ++c)
      for (index_t chunk = 0; chunk < chunks; ++chunk) out[c] += parts_[chunk * width() + c];
    return out;
  }

  // Of all parameters, decoder rows as projected.
  template <class B>
  double gradient_norm(B& exec) {
    const index_t d = width();
    array<double> squares(chunks);
    parts_.assign(chunks * d, 0.0);
    const student::detail::row_loops loops{instructions_of(exec)};
    for_latents(exec, [&](index_t chunk, index_t j, T* decoder, T* encoder) {
      if (!pass_.reached(j)) return;
      const auto s = pass_.add_gradient(j, decoder, encoder);
      add_to_parts(chunk, j, s.encoder_bias);
      project(j, decoder, loops);
      squares[chunk] += static_cast<double>(loops.dot(decoder, decoder, d)) +
                        static_cast<double>(loops.dot(encoder, encoder, d)) +
                        static_cast<double>(s.encoder_bias) * static_cast<double>(s.encoder_bias) +
                        static_cast<double>(s.threshold) * static_cast<double>(s.threshold);
    });
    double sum = 0;
    for (const double x : squares) sum += x;
    for (const double x : bias_gradient()) sum += x * x;
    return std::sqrt(sum);
  }

  // Asks for a latent's rows of all tables.
  void prefetch(index_t j, const student::detail::row_loops& loops) const noexcept {
    for (const dictionary<T>* part : {&state_.weights, &state_.mean, &state_.square}) {
      loops.prefetch(&part->encoder(j, 0), width());
      loops.prefetch(&part->decoder(j, 0), width());
    }
  }
  template <class B>
  void update(B& exec, T scale) {
    const index_t d = width();
    dictionary<T>&w = state_.weights, &mean = state_.mean, &square = state_.square;
    const student::detail::adam_step adam(
        {options_.beta1, options_.beta2, options_.epsilon, options_.rate_at(state_.step)}, state_.step,
        static_cast<double>(scale));
    const student::detail::row_loops loops{instructions_of(exec)};
    parts_.assign(chunks * d, 0.0);
    for_latents(exec, [&](index_t chunk, index_t j, T* decoder, T* encoder) {
      if (j + 1 < latents()) prefetch(j + 1, loops);
      const auto s = pass_.add_gradient(j, decoder, encoder);
      add_to_parts(chunk, j, s.encoder_bias);
      project(j, decoder, loops);
      adam.apply(loops, encoder, &mean.encoder(j, 0), &square.encoder(j, 0), &w.encoder(j, 0), d);
      adam.apply(loops, decoder, &mean.decoder(j, 0), &square.decoder(j, 0), &w.decoder(j, 0), d);
      adam.apply(loops, &s.encoder_bias, &mean.encoder_bias[j], &square.encoder_bias[j], &w.encoder_bias[j], 1);
      if constexpr (A::has_threshold)
        adam.apply(loops, &s.threshold, &mean.threshold[j], &square.threshold[j], &w.threshold[j], 1);
      const T norm = norm_of(j, loops);
      if (options_.norm == decoder_norm::folded) norms_[j] = norm;
      else if (norm > 0)
        for (index_t c = 0; c < d; ++c) w.decoder(j, c) /= norm;
    });
    const array<double> bias = bias_gradient();
    array<T> g(d);
    for (index_t c = 0; c < d; ++c) g[c] = static_cast<T>(bias[c]);
    adam.apply(loops, g.data(), mean.bias.data(), square.bias.data(), w.bias.data(), d);
  }

  void count_fired(index_t rows) noexcept {
    for (index_t j = 0; j < latents(); ++j) state_.since_fired[j] = pass_.fired(j) ? 0 : state_.since_fired[j] + rows;
  }

  A how_;
  trainer_options options_;
  trainer_state<T> state_;
  array<T> norms_;  // where they are folded
  array<index_t> dead_;
  detail::batch_pass<T, A> pass_;
  array<T> room_;
  array<double> parts_;
};

}  // namespace RESECT_NAMESPACE::sae
