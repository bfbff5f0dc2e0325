// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/scale.hpp>

// Layers with weights drawn anew.
namespace RESECT_NAMESPACE::residual {

// Whether `reinit` keeps the gains of a layer's norms or resets them. The choice changes the result, so it has no
// default: with kept gains a random layer still writes with the trained amplitude.
enum class norm_gains : std::uint8_t { keep, reset };
// Whether `reinit` sets a layer's biases to zero or keeps them.
enum class biases : std::uint8_t { zero, keep };

// What `reinit` does with the weights of a layer that are no matrices.
struct reinit_policy {
  norm_gains gains;
  residual::biases biases = residual::biases::zero;

  constexpr reinit_policy(norm_gains g, residual::biases b = residual::biases::zero) noexcept : gains(g), biases(b) {}
};

// Options of `reinit`: standard deviation of the matrices, value of reset gains.
struct reinit_options {
  float std = 0.0f;         // standard deviation of a matrix's elements; 0: the root mean square of the trained matrix
  float reset_gain = 1.0f;  // the value of a reset gain (0 where the host's norm uses 1 + gain)
};

namespace detail {
template <class = void>
double root_mean_square(matrix_view<const float> a) noexcept {
  double squares = 0;
  for (index_t r = 0; r < a.rows; ++r) {
    squares += dot(a.row_span(r), a.row_span(r));
  }
  return a.empty() ? 0.0 : math::sqrt(squares / static_cast<double>(a.rows * a.cols));
}
}  // namespace detail

namespace operators {

// W := σ·ε.
template <norm_gains Gains>
struct reinit {
  static constexpr std::string_view id = Gains == norm_gains::keep ? "resect.reinit.keep/1" : "resect.reinit.reset/1";
  std::uint64_t seed = 0;
  residual::biases biases = residual::biases::zero;
  reinit_options options;

  operator_facts facts() const noexcept { return {.what = form::weights, .overwrites = true}; }
  void fields(field_visitor& v) const {
    v.seed(seed);
    v.number("std", static_cast<double>(options.std), 0.0);
    v.number("reset_gain", static_cast<double>(options.reset_gain), 1.0);
    if (biases == residual::biases::keep) v.word("biases", "keep");
  }
  status check() const noexcept {
    if (auto s = detail::check_number("std", id, options.std); !s) return s;
    if (options.std < 0)
      return error{errc::invalid_argument, text("std of ", plain_name(id)), text(options.std), "0 or more"};
    return detail::check_number("reset_gain", id, options.reset_gain);
  }
  weight_change change(const weight_desc& w, matrix_view<float> values, executor_ref exec) const {
    if (w.role != weight_role::matrix) {
      if (w.role == weight_role::norm_gain && Gains == norm_gains::keep) return false;
      if (w.role == weight_role::bias && biases == residual::biases::keep) return false;
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
  }
};

}  // namespace operators

// Draws every matrix W of the layers anew: W := σ·ε, ε ~ N(0, 1) by Philox at (seed, layer, weight, element), so a
// draw depends on its place alone. σ is the root mean square of W, so that random weights write with the trained
// amplitude, or `std` if it is not 0 (many trainers start with 0.02, which may be negligible beside a trained
// stream). The policy decides whether gains stay or become `reset_gain`, and whether biases become 0 or stay:
//   reinit(layer(3), 1, norm_gains::reset)            reinit(layer(3), 1, {norm_gains::keep, biases::keep})
// A plan refuses a step with options that are not finite (not_finite) or a negative `std` (invalid_argument).
template <class = void>
step reinit(layer_range where, std::uint64_t seed, reinit_policy policy, reinit_options options = {}) {
  if (policy.gains == norm_gains::keep)
    return {where, operators::reinit<norm_gains::keep>{seed, policy.biases, options}};
  return {where, operators::reinit<norm_gains::reset>{seed, policy.biases, options}};
}

}  // namespace RESECT_NAMESPACE::residual
