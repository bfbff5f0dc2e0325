// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <string_view>

#include <resect/conformance/certificate.hpp>
#include <resect/conformance/words.hpp>

// The level of a host's type, and the first member that it lacks for a higher level.
namespace RESECT_NAMESPACE::conformance {

// The highest level whose concept the host's type satisfies.
template <observable_host H>
constexpr host_level level_of() noexcept {
  return surgical_host<H> ? host_level::surgery : editable_host<H> ? host_level::edit : host_level::observe;
}

namespace detail {

template <class H>
concept has_state = std::movable<typename H::state>;
template <class H>
concept has_weight_override = std::movable<typename H::weight_override>;

template <class H>
constexpr std::string_view missing_for_edit() noexcept {
  using hooks_of = hooks<typename H::value, typename H::space>;
  if constexpr (!requires(H& h, batch_view b, const hooks_of& k) {
                  { h.try_forward(b, k) } -> std::same_as<status>;
                })
    return "try_forward(batch, hooks)";
  else if constexpr (!requires(const H& c) {
                       { c.cache_epoch(std::int32_t{}) } -> std::same_as<std::uint64_t>;
                     })
    return "cache_epoch(seq) const";
  else if constexpr (!requires(const H& c) {
                       { c.cached(std::int32_t{}) } -> std::convertible_to<index_t>;
                     })
    return "cached(seq) const";
  else return {};
}

template <class H>
constexpr std::string_view missing_on_states() noexcept {
  using S = typename H::state;
  using view = matrix_view<typename H::value, typename H::space>;
  using hooks_of = hooks<typename H::value, typename H::space>;
  if constexpr (!requires(H& h, batch_view b) {
                  { h.try_embed(b) } -> std::same_as<result<S>>;
                })
    return "try_embed(batch)";
  else if constexpr (!requires(H& h, S& s, const hooks_of& k) {
                       { h.try_run(s, 0, 0, k) } -> std::same_as<status>;
                     })
    return "try_run(state, first, last, hooks)";
  else if constexpr (!requires(H& h, const S& s) {
                       { h.snapshot(s) } -> std::same_as<S>;
                     })
    return "snapshot(state)";
  else if constexpr (!requires(H& h, S& s) {
                       { h.stream(s) } -> std::same_as<view>;
                     })
    return "stream(state)";
  else if constexpr (!requires(H& h, const S& s) {
                       { h.rows(s) } -> std::convertible_to<batch_view>;
                     })
    return "rows(state)";
  else if constexpr (!requires(H& h, const S& s, view v) {
                       { h.try_head(s, index_t{}, v, v) } -> std::same_as<status>;
                     })
    return "try_head(state, row, norm, logits)";
  else return {};
}

template <class H>
constexpr std::string_view missing_on_weights() noexcept {
  if constexpr (!requires(const H& c) {
                  { c.weights(0) } -> std::convertible_to<std::span<const weight_desc>>;
                })
    return "weights(layer) const";
  else if constexpr (!requires(const H& c, const weight_desc& w, matrix_view<float> v) {
                       { c.try_read_weight(w, v) } -> std::same_as<status>;
                     })
    return "try_read_weight(weight, values) const";
  else if constexpr (!requires(H& h, const weight_desc& w, matrix_view<const float> v) {
                       { h.try_override_weight(w, v) } -> std::same_as<result<typename H::weight_override>>;
                     })
    return "try_override_weight(weight, values)";
  else return {};
}

}  // namespace detail

// The name of the first member that H lacks for a level; empty where H has all members.
template <observable_host H>
constexpr std::string_view missing_member(host_level wanted) noexcept {
  if (wanted == host_level::observe || level_of<H>() >= wanted) return {};
  if constexpr (!editable_host<H>) return detail::missing_for_edit<H>();
  else if constexpr (!detail::has_state<H>) return "the type state, movable";
  else if constexpr (!detail::has_weight_override<H>) return "the type weight_override, movable";
  else if (constexpr auto of_states = detail::missing_on_states<H>(); !of_states.empty()) return of_states;
  else return detail::missing_on_weights<H>();
}

}  // namespace RESECT_NAMESPACE::conformance
