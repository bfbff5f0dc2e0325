// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/plan.hpp>

// The operators: functions that make a step of a plan. Every step acts on all rows and is a pure function, so a plan
// gives the same bits in any order of calls and on any number of threads.
namespace RESECT_NAMESPACE::residual {

// The delta that an operator changes: the whole block's, the attention's or the MLP's.
enum class delta : std::uint8_t { block, attention, mlp };

namespace detail {
constexpr site site_of(delta d) noexcept { return d == delta::attention ? site::attn_delta : site::mlp_delta; }
template <class = void>
double root_mean_square(matrix_view<const float> a) noexcept {
  double squares = 0;
  for (index_t r = 0; r < a.rows; ++r) {
    squares += dot(a.row_span(r), a.row_span(r));
  }
  return a.empty() ? 0.0 : math::sqrt(squares / static_cast<double>(a.rows * a.cols));
}
template <class = void>
status check_number(const char* what, const step& s, float x) noexcept {
  if (is_finite(x)) return {};
  return error{errc::not_finite, text(what, " of ", s.name.view()), text(static_cast<double>(x)), "a finite number"};
}
constexpr std::string_view suffix(delta d) noexcept {
  return d == delta::block ? "" : d == delta::attention ? ".attention" : ".mlp";
}
}  // namespace detail

// Multiplies the delta of each layer by g: h_{l+1} := (1 − g)·h_l + g·h_{l+1} = h_l + g·Δ_l. g = 0 skips the layer (a
// host of the surgery level does not run it), g = 1 changes no bit, values between are doses. With delta::attention
// or delta::mlp the step scales that delta at its own site. At most three roundings an element. A plan refuses a step
// whose g is not finite (not_finite).
template <class = void>
step scale_delta(layer_range where, float g, delta which = delta::block) {
  step s;
  s.range = where;
  s.name = text<48>("scale_delta", detail::suffix(which));
  s.id = which == delta::block       ? "resect.scale_delta/1"
         : which == delta::attention ? "resect.scale_delta.attention/1"
                                     : "resect.scale_delta.mlp/1";
  s.hash = fingerprint{}.add(static_cast<double>(g)).value();
  s.fields.add("factor", static_cast<double>(g)).complete();
  s.outcome = detail::check_number("factor", s, g);
  if (which == delta::block) {
    s.what = step::kind::block;
    s.overwrites = g == 0.0f;
    s.reads_output = g != 0.0f;
    s.on_block = [g](const tap&, matrix_view<const float> before, matrix_view<float> h) {
      if (g == 0.0f || g == 1.0f) return;
      for (index_t r = 0; r < h.rows; ++r)
        for (index_t c = 0; c < h.cols; ++c) h(r, c) = (1.0f - g) * before(r, c) + g * h(r, c);
    };
  } else {
    s.what = step::kind::rows;
    s.where = detail::site_of(which);
    s.overwrites = g == 0.0f;
    s.on_rows = [g](const tap&, matrix_view<float> d) {
      for (index_t r = 0; r < d.rows; ++r)
        for (index_t c = 0; c < d.cols; ++c) d(r, c) *= g;
    };
  }
  return s;
}

// Leaves layers out: Δ_l := 0, so h_{l+1} = h_l. Equal to scale_delta(where, 0) under its own name; zero_stream is
// another operator. (Zero ablation of a block's output, in the field's words.)
template <class = void>
step skip(layer_range where) {
  step s = scale_delta(where, 0.0f);
  s.name = "skip";
  s.id = "resect.skip/1";
  s.fields = field_list{}.complete();
  return s;
}

// Sets the whole stream after each layer to zero: h_{l+1} := 0. An off-distribution control; `skip` leaves one layer
// out.
template <class = void>
step zero_stream(layer_range where) {
  step s;
  s.what = step::kind::rows;
  s.where = site::resid_post;
  s.range = where;
  s.name = "zero_stream";
  s.id = "resect.zero_stream/1";
  s.fields.complete();
  s.on_rows = [](const tap&, matrix_view<float> h) {
    for (index_t r = 0; r < h.rows; ++r)
      for (index_t c = 0; c < h.cols; ++c) h(r, c) = 0.0f;
  };
  return s;
}

// The mean delta of every layer over reference rows, stored with fingerprints of the model and of these rows.
struct delta_means {
  int n_layers = 0;
  index_t width = 0;
  index_t rows = 0;             // number of averaged rows
  std::uint64_t model = 0;      // fingerprint of the model
  std::uint64_t reference = 0;  // fingerprint of the reference rows (sequence, position, token)
  array<float> mean;            // (n_layers, width)

  template <class = void>
  std::span<const float> of(int l) const noexcept {
    return {mean.data() + static_cast<index_t>(l) * width, static_cast<std::size_t>(width)};
  }
};

// Replaces the delta of each layer by its mean over the reference rows: Δ_l := μ_l; the layer does not run. Errors:
// invalid_argument where `means` does not cover the range; shape_mismatch where the extents of `means` do not fit the
// number of its values.
template <class = void>
result<step> try_mean_delta(layer_range where, const delta_means& means) {
  if (where.first < 0 || where.last > means.n_layers || where.first >= where.last)
    return error{errc::invalid_argument, "layers of mean_delta", text("[", where.first, ", ", where.last, ")"),
                 text("layers 0 to ", means.n_layers - 1, " of the means")};
  if (means.width < 1 || means.mean.size() != means.n_layers * means.width)
    return error{errc::shape_mismatch, "means of mean_delta", text(means.mean.size(), " values"),
                 text(means.n_layers, " x ", means.width)};
  step s;
  s.what = step::kind::block;
  s.reads_output = false;
  s.range = where;
  s.width = means.width;
  s.name = "mean_delta";
  s.id = "resect.mean_delta/1";
  s.fields.complete();  // reports name the reference rows beside their table
  array<float> mu;
  fingerprint f;
  f.add(means.model).add(means.reference);
  for (int l = where.first; l < where.last; ++l) {
    const auto row = means.of(l);
    f.add(row);
    for (const float x : row) mu.push_back(x);
  }
  s.hash = f.value();
  s.on_block = [mu = std::move(mu), first = where.first, width = means.width](
                   const tap& at, matrix_view<const float> before, matrix_view<float> h) {
    const float* m = mu.data() + (at.layer - first) * width;
    for (index_t r = 0; r < h.rows; ++r)
      for (index_t c = 0; c < h.cols; ++c) h(r, c) = before(r, c) + m[c];
  };
  return s;
}

#if RESECT_EXCEPTIONS
template <class = void>
step mean_delta(layer_range where, const delta_means& means) {
  return value_or_throw(try_mean_delta(where, means));
}
#endif

// Whether `reinit` keeps the gains of a layer's norms or resets them. The choice changes the result, so it has no
// default: with kept gains a random layer still writes with the trained amplitude.
enum class norm_gains : std::uint8_t { keep, reset };

// Options of `reinit`: standard deviation of the matrices, value of reset gains.
struct reinit_options {
  float std = 0.0f;         // standard deviation of a matrix's elements; 0: the root mean square of the trained matrix
  float reset_gain = 1.0f;  // the value of a reset gain (0 where the host's norm uses 1 + gain)
};

// Draws every matrix W of the layers anew: W := σ·ε, ε ~ N(0, 1) by Philox at (seed, layer, weight, element), so a
// draw depends on its place alone. σ is the root mean square of W, so that random weights write with the trained
// amplitude, or `std` if it is not 0 (many trainers start with 0.02, which may be negligible beside a trained
// stream). `gains` decides whether gains stay or become `reset_gain`; biases become 0. A plan refuses a step with
// options that are not finite (not_finite).
template <class = void>
step reinit(layer_range where, std::uint64_t seed, norm_gains gains, reinit_options options = {}) {
  step s;
  s.what = step::kind::weights;
  s.range = where;
  s.name = gains == norm_gains::keep ? "reinit.keep" : "reinit.reset";
  s.id = gains == norm_gains::keep ? "resect.reinit.keep/1" : "resect.reinit.reset/1";
  s.seed = seed;
  if (options.std > 0.0f) s.fields.add("std", static_cast<double>(options.std));
  if (options.reset_gain != 1.0f) s.fields.add("reset_gain", static_cast<double>(options.reset_gain));
  s.fields.complete();
  s.hash = fingerprint{}
               .add(seed)
               .add(static_cast<double>(options.std))
               .add(static_cast<double>(options.reset_gain))
               .value();
  s.outcome = detail::check_number("std", s, options.std);
  if (s.outcome) s.outcome = detail::check_number("reset_gain", s, options.reset_gain);
  s.on_weight = [seed, gains, options](const weight_desc& w, matrix_view<float> values, executor_ref exec) {
    if (w.role != weight_role::matrix) {
      if (w.role == weight_role::norm_gain && gains == norm_gains::keep) return false;
      const float constant = w.role == weight_role::bias ? 0.0f : options.reset_gain;
      for (index_t r = 0; r < values.rows; ++r)
        for (index_t c = 0; c < values.cols; ++c) values(r, c) = constant;
      return true;
    }
    const auto stream =
        static_cast<std::uint64_t>(w.layer) << 32 | static_cast<std::uint64_t>(static_cast<std::uint32_t>(w.id));
    const double sigma = options.std > 0.0f ? static_cast<double>(options.std) : detail::root_mean_square(values);
    exec.bulk(values.rows, [&](index_t r) {
      random::fill_gaussian(values.row_span(r), seed, stream, static_cast<std::uint64_t>(r * values.cols), sigma);
    });
    return true;
  };
  return s;
}

// Replaces layers [i, j) by a function: h_j := S(h_i); the layers do not run. S(tap, h_i, h_j) → status (or void)
// gets the meta data of the rows in the tap; `identity` must differ between functions that do different things.
//   replace_span(layers(3, 6), [&](const tap& at, matrix_view<const float> in, matrix_view<float> out) { … }, 1)
template <class F>
step replace_span(layer_range where, F student, std::uint64_t identity, index_t width = 0) {
  step s;
  s.what = step::kind::replace;
  s.range = where;
  s.name = "replace_span";
  s.id = "resect.replace_span/1";
  s.hash = identity;
  s.width = width;
  s.on_replace = [student = std::move(student)](const tap& at, matrix_view<const float> in,
                                                matrix_view<float> out) -> status {
    if constexpr (std::is_void_v<decltype(student(at, in, out))>) {
      student(at, in, out);
      return {};
    } else {
      return student(at, in, out);
    }
  };
  return s;
}

// A function for replace_span that runs the host's own layers: a splice that must change no bit. It keeps a reference
// to the host.
template <surgical_host H>
auto own_layers(H& host, layer_range where) {
  return [&host, where](const tap& at, matrix_view<const float> in, matrix_view<float> out) -> status {
    auto state = host.try_embed(at.rows);
    if (!state) return state.error();
    auto h = host.stream(*state);
    copy(in, h);
    if (auto s = host.try_run(*state, where.first, where.last, no_hooks<typename H::value, typename H::space>()); !s)
      return s;
    copy(host.stream(*state), out);
    return {};
  };
}

}  // namespace RESECT_NAMESPACE::residual
