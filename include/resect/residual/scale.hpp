// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/residual/plan.hpp>

// Doses of a delta, layers left out, and the stream set to zero.
namespace RESECT_NAMESPACE::residual {

// The delta that an operator changes: the whole block's, the attention's or the MLP's.
enum class delta : std::uint8_t { block, attention, mlp };

namespace detail {
constexpr site site_of(delta d) noexcept { return d == delta::attention ? site::attn_delta : site::mlp_delta; }

// An error where a parameter of an operator is NaN or infinite.
template <class = void>
status check_number(const char* what, std::string_view id, float x) noexcept {
  if (x - x == 0) return {};  // neither NaN nor infinite
  return error{errc::not_finite, text(what, " of ", plain_name(id)), text(static_cast<double>(x)), "a finite number"};
}
}  // namespace detail

namespace operators {

// h_{l+1} := h_l + g·Δ_l of a block, or d := g·d at the site of a delta.
template <delta Which>
struct scale_delta {
  static constexpr std::string_view id = Which == delta::block       ? "resect.scale_delta/1"
                                         : Which == delta::attention ? "resect.scale_delta.attention/1"
                                                                     : "resect.scale_delta.mlp/1";
  float factor = 1;

  operator_facts facts() const noexcept {
    if (Which != delta::block) return {.overwrites = factor == 0.0f, .sites = {detail::site_of(Which)}};
    return {.what = form::block, .overwrites = factor == 0.0f, .reads_output = factor != 0.0f};
  }
  void fields(field_visitor& v) const { v.number("factor", static_cast<double>(factor)); }
  status check() const noexcept { return detail::check_number("factor", id, factor); }
  status apply(const tap&, matrix_view<const float> in, matrix_view<float> h) const noexcept {
    const float g = factor;
    if (Which == delta::block && (g == 0.0f || g == 1.0f)) return {};
    for (index_t r = 0; r < h.rows; ++r)
      for (index_t c = 0; c < h.cols; ++c)
        h(r, c) = Which == delta::block ? (1.0f - g) * in(r, c) + g * h(r, c) : g * h(r, c);
    return {};
  }
};

// Δ_l := 0 of a block.
struct skip {
  static constexpr std::string_view id = "resect.skip/1";
  operator_facts facts() const noexcept { return {.what = form::block, .overwrites = true, .reads_output = false}; }
  void fields(field_visitor&) const noexcept {}
  status apply(const tap&, matrix_view<const float>, matrix_view<float>) const noexcept { return {}; }
};

// h := 0.
struct zero_stream {
  static constexpr std::string_view id = "resect.zero_stream/1";
  operator_facts facts() const noexcept { return {.overwrites = true, .sites = {site::resid_post}}; }
  void fields(field_visitor&) const noexcept {}
  status apply(const tap&, matrix_view<const float>, matrix_view<float> h) const noexcept {
    for (index_t r = 0; r < h.rows; ++r)
      for (index_t c = 0; c < h.cols; ++c) h(r, c) = 0.0f;
    return {};
  }
};

}  // namespace operators

// Multiplies the delta of each layer by g: h_{l+1} := (1 − g)·h_l + g·h_{l+1} = h_l + g·Δ_l. g = 0 skips the layer (a
// host of the surgery level does not run it), g = 1 changes no bit, values between are doses. With delta::attention
// or delta::mlp the step scales that delta at its own site. At most three roundings an element. A plan refuses a step
// whose g is not finite (not_finite).
template <class = void>
step scale_delta(layer_range where, float g, delta which = delta::block) {
  switch (which) {
    case delta::attention: return {where, site::attn_delta, operators::scale_delta<delta::attention>{g}};
    case delta::mlp: return {where, site::mlp_delta, operators::scale_delta<delta::mlp>{g}};
    default: return {where, operators::scale_delta<delta::block>{g}};
  }
}

// Leaves layers out: Δ_l := 0, so h_{l+1} = h_l. Equal to scale_delta(where, 0) under its own name; zero_stream is
// another operator. (Zero ablation of a block's output, in the field's words.)
template <class = void>
step skip(layer_range where) {
  return {where, operators::skip{}};
}

// Sets the whole stream after each layer to zero: h_{l+1} := 0. An off-distribution control; `skip` leaves one layer
// out.
template <class = void>
step zero_stream(layer_range where) {
  return {where, site::resid_post, operators::zero_stream{}};
}

}  // namespace RESECT_NAMESPACE::residual
