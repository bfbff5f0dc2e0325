// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/residual/plan.hpp>

// Steering: adds a direction v to rows of the stream, holds their component along v at a value, or removes it.
namespace RESECT_NAMESPACE::residual {

// The steering modes: the new value of a row h for strength c; u = v/‖v‖.
namespace steering {
struct add {};          // adds v: h + c·v
struct relative {};     // adds u relative to the row: h + c·‖h‖·u
struct keep_norm {};    // adds v, keeps the norm: (h + c·v)·‖h‖/‖h + c·v‖; a sum of 0 stays 0
struct clamp {};        // sets the component along v to c: h + (c − ⟨h, u⟩)·u
struct project_out {};  // removes the component along v: h − ⟨h, u⟩·u
}  // namespace steering

// The tag types of the steering modes: add, relative, keep_norm, clamp, project_out.
template <class M>
concept steering_mode =
    std::same_as<M, steering::add> || std::same_as<M, steering::relative> || std::same_as<M, steering::keep_norm> ||
    std::same_as<M, steering::clamp> || std::same_as<M, steering::project_out>;

namespace detail {

// w is c·v for add and keep_norm, u for the others. One visit of the row, two where a norm or inner product is needed
// first.
template <steering_mode Mode>
void steer_row(std::span<float> h, std::span<const float> w, double c) noexcept {
  const std::size_t n = h.size();
  if constexpr (std::same_as<Mode, steering::add>) {
    for (std::size_t i = 0; i < n; ++i) h[i] += w[i];
  } else if constexpr (std::same_as<Mode, steering::keep_norm>) {
    const double before = dot(h, h);
    for (std::size_t i = 0; i < n; ++i) h[i] += w[i];
    const double after = dot(h, h);
    if (!(after > 0)) return;
    const auto back = static_cast<float>(math::sqrt(before / after));
    for (std::size_t i = 0; i < n; ++i) h[i] *= back;
  } else {
    double by = 0;
    if constexpr (std::same_as<Mode, steering::relative>) by = c * math::sqrt(dot(h, h));
    else by = (std::same_as<Mode, steering::clamp> ? c : 0.0) - dot(h, w);
    for (std::size_t i = 0; i < n; ++i)
      h[i] = static_cast<float>(static_cast<double>(h[i]) + by * static_cast<double>(w[i]));
  }
}

template <class Mode>
constexpr std::string_view steering_id() noexcept {
  if constexpr (std::same_as<Mode, steering::add>) return "resect.steer.add/1";
  else if constexpr (std::same_as<Mode, steering::relative>) return "resect.steer.relative/1";
  else if constexpr (std::same_as<Mode, steering::keep_norm>) return "resect.steer.keep_norm/1";
  else if constexpr (std::same_as<Mode, steering::clamp>) return "resect.steer.clamp/1";
  else return "resect.steer.project_out/1";
}

// Whether the mode adds c·v; the others use u = v/‖v‖.
template <class Mode>
inline constexpr bool adds_scaled = std::same_as<Mode, steering::add> || std::same_as<Mode, steering::keep_norm>;

}  // namespace detail

namespace operators {

// The new value of a row by one mode of steering.
template <steering_mode Mode>
struct steer {
  static constexpr std::string_view id = detail::steering_id<Mode>();
  array<float> direction;  // v
  float strength = 0;      // c
  array<float> addend;     // c·v for add and keep_norm, u for the others

  operator_facts facts() const noexcept { return {.width = direction.size()}; }
  void fields(field_visitor& v) const {
    v.values("direction", direction.span());
    v.number("strength", static_cast<double>(strength));
  }
  status apply(const tap&, matrix_view<const float>, matrix_view<float> h) const noexcept {
    constexpr bool idle_at_zero = detail::adds_scaled<Mode> || std::same_as<Mode, steering::relative>;
    if (idle_at_zero && strength == 0.0f) return {};
    for (index_t r = 0; r < h.rows; ++r)
      detail::steer_row<Mode>(h.row_span(r), addend.span(), static_cast<double>(strength));
    return {};
  }
};

}  // namespace operators

// Steers the rows at a site of the layers along v (d_model) with strength c; Mode is the formula:
//   steer(steering::add{}, layer(12), site::resid_post, v, 4.0f)
// Norms and inner products in double; at most three roundings an element (add: one). With c = 0, add, relative and
// keep_norm change no bit. No allocation a row; a pure function of the row.
// Errors: invalid_argument where v is empty; not_finite where v, c or (add, keep_norm) c·v is not finite in fp32; for all
// modes but add, invalid_argument where v is zero.
template <steering_mode Mode>
result<step> try_steer(Mode, layer_range where, site at, std::span<const float> v, float c = 0.0f) {
  const auto name = plain_name(detail::steering_id<Mode>());
  if (v.empty()) return error{errc::invalid_argument, text("direction of ", name), "no element", "d_model elements"};
  const double norm = math::sqrt(dot(v, v));
  if (!(norm - norm == 0) || !(c - c == 0))  // NaN or infinite
    return error{errc::not_finite, text("direction or strength of ", name), "NaN or infinity", "finite values"};
  if (!std::same_as<Mode, steering::add> && norm == 0)
    return error{errc::invalid_argument, text("direction of ", name), "a zero vector", "a vector that is not zero"};

  constexpr bool scaled = detail::adds_scaled<Mode>;
  array<float> w;
  for (const float x : v) {
    const double element = scaled ? static_cast<double>(x) * static_cast<double>(c) : static_cast<double>(x) / norm;
    if (math::fabs(element) > static_cast<double>(std::numeric_limits<float>::max()))
      return error{errc::not_finite, text("direction times strength of ", name),
                   text(element, " in element ", w.size()), "finite values in fp32"};
    w.push_back(static_cast<float>(element));
  }
  return step{where, at, operators::steer<Mode>{array<float>(v), c, std::move(w)}};
}

#if RESECT_EXCEPTIONS
template <steering_mode Mode>
step steer(Mode mode, layer_range where, site at, std::span<const float> v, float c = 0.0f) {
  return value_or_throw(try_steer(mode, where, at, v, c));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
