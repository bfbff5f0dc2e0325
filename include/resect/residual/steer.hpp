// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <limits>
#include <span>

#include <resect/core/array.hpp>
#include <resect/core/finite.hpp>
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
constexpr std::string_view steering_name() noexcept {
  if constexpr (std::same_as<Mode, steering::add>) return "steer.add";
  else if constexpr (std::same_as<Mode, steering::relative>) return "steer.relative";
  else if constexpr (std::same_as<Mode, steering::keep_norm>) return "steer.keep_norm";
  else if constexpr (std::same_as<Mode, steering::clamp>) return "steer.clamp";
  else return "steer.project_out";
}

template <class Mode>
constexpr std::string_view steering_id() noexcept {
  if constexpr (std::same_as<Mode, steering::add>) return "resect.steer.add/1";
  else if constexpr (std::same_as<Mode, steering::relative>) return "resect.steer.relative/1";
  else if constexpr (std::same_as<Mode, steering::keep_norm>) return "resect.steer.keep_norm/1";
  else if constexpr (std::same_as<Mode, steering::clamp>) return "resect.steer.clamp/1";
  else return "resect.steer.project_out/1";
}

}  // namespace detail

// Steers the rows at a site of the layers along v (d_model) with strength c; Mode is the formula:
//   steer(steering::add{}, layer(12), site::resid_post, v, 4.0f)
// Norms and inner products in double; at most three roundings an element (add: one). With c = 0, add, relative and
// keep_norm change no bit. No allocation a row; a pure function of the row.
// Errors: invalid_argument where v is empty; not_finite where v, c or (add, keep_norm) c·v is not finite in fp32; for all
// modes but add, invalid_argument where v is zero.
template <steering_mode Mode>
result<step> try_steer(Mode, layer_range where, site at, std::span<const float> v, float c = 0.0f) {
  const auto name = detail::steering_name<Mode>();
  if (v.empty()) return error{errc::invalid_argument, text("direction of ", name), "no element", "d_model elements"};
  const double norm = math::sqrt(dot(v, v));
  if (!is_finite(norm) || !is_finite(c))
    return error{errc::not_finite, text("direction or strength of ", name), "NaN or infinity", "finite values"};
  if (!std::same_as<Mode, steering::add> && norm == 0)
    return error{errc::invalid_argument, text("direction of ", name), "a zero vector", "a vector that is not zero"};

  constexpr bool scaled = std::same_as<Mode, steering::add> || std::same_as<Mode, steering::keep_norm>;
  constexpr bool idle_at_zero = scaled || std::same_as<Mode, steering::relative>;
  array<float> w;
  for (const float x : v) {
    const double element = scaled ? static_cast<double>(x) * static_cast<double>(c) : static_cast<double>(x) / norm;
    if (math::fabs(element) > static_cast<double>(std::numeric_limits<float>::max()))
      return error{errc::not_finite, text("direction times strength of ", name),
                   text(element, " in element ", w.size()), "finite values in fp32"};
    w.push_back(static_cast<float>(element));
  }
  step s;
  s.what = step::kind::rows;
  s.range = where;
  s.where = at;
  s.overwrites = false;
  s.width = static_cast<index_t>(v.size());
  s.name = name;
  s.id = detail::steering_id<Mode>();
  s.fields.add("strength", static_cast<double>(c)).add("site", model::name(at));
  s.hash = fingerprint{}.add(v).add(static_cast<double>(c)).value();
  s.on_rows = [w = std::move(w), c](const tap&, matrix_view<float> h) {
    if (idle_at_zero && c == 0.0f) return;
    for (index_t r = 0; r < h.rows; ++r) detail::steer_row<Mode>(h.row_span(r), w.span(), static_cast<double>(c));
  };
  return s;
}

#if RESECT_EXCEPTIONS
template <steering_mode Mode>
step steer(Mode mode, layer_range where, site at, std::span<const float> v, float c = 0.0f) {
  return value_or_throw(try_steer(mode, where, at, v, c));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
