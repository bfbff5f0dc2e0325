// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/matrix.hpp>
#include <resect/residual/replace.hpp>
#include <resect/student/span_moments.hpp>

// A closed-form map in the place of layers.
namespace RESECT_NAMESPACE::student {

namespace detail {

// Checks the extents and the values of an array of a map.
template <class = void>
status check_values(const array<float>& x, index_t size, std::string_view operand) {
  if (x.size() != size) return error{errc::shape_mismatch, operand, text(x.size()), text(size)};
  for (index_t i = 0; i < size; ++i)
    if (!is_finite(x[i])) return error{errc::not_finite, operand, text(x[i], " at ", i), "finite values"};
  return {};
}
// The same of a matrix.
template <class = void>
status check_values(const matrix<float>& x, index_t rows, index_t cols, std::string_view operand) {
  if (auto s = check_view(x.view(), rows, cols, operand); !s) return s;
  return check_finite(x.view(), operand);
}

// Checks the members of a closed-form map that it has: factors, weights, bias.
template <class Map>
status check_map(const Map& map) {
  const index_t width = map.width();
  if (width < 1) return error{errc::shape_mismatch, "width of the map", text(width), "1 or more"};
  if constexpr (requires { map.factor; })
    if (!is_finite(map.factor))
      return error{errc::not_finite, "factor of the map", text(map.factor), "a finite number"};
  if constexpr (requires { map.factors.l; }) {
    if (auto s = check_values(map.factors.l, width, map.rank(), "L of the map"); !s) return s;
    if (auto s = check_values(map.factors.r, map.rank(), width, "R of the map"); !s) return s;
  } else if constexpr (requires { map.factors; }) {
    if (auto s = check_values(map.factors, width, "factors of the map"); !s) return s;
  }
  if constexpr (requires { map.basis.size(); })
    if (map.basis.size() != width)
      return error{errc::shape_mismatch, "basis of the map", text(map.basis.size()), text(width)};
  if constexpr (requires { map.weights; })
    if (auto s = check_values(map.weights, width, width, "weights of the map"); !s) return s;
  if constexpr (requires { map.bias; })
    if (auto s = check_values(map.bias, width, "bias of the map"); !s) return s;
  return {};
}

}  // namespace detail

// What replaces the span for rows apart, of which the moments hold the mean delta alone: y = x + δ̄.
struct apart_rows {
  apart_rule rule;
  array<float> shift;  // δ̄ (width); empty where the moments held no such row, and then the map serves them, too

  bool is_apart(const model::row_meta& row, double norm) const noexcept {
    return !shift.empty() && rule.is_apart(row, norm);
  }
  // Y ← X + δ̄ where a row of X stands apart; other rows of Y stay. X, Y (rows, width).
  void write(model::batch_view rows, matrix_view<const float> x, matrix_view<float> y) const noexcept {
    for (index_t r = 0; r < x.rows && !shift.empty(); ++r) {
      if (!is_apart(rows[static_cast<std::size_t>(r)], row_norm(x, r))) continue;
      for (index_t c = 0; c < x.cols; ++c) y(r, c) = x(r, c) + shift[c];
    }
  }
};

// The rows apart of a span as its moments saw them.
template <class = void>
apart_rows apart_rows_of(const span_moments& m) {
  apart_rows out{m.rule(), {}};
  if (m.rows_apart() > 0)
    for (const double sum : m.apart_delta())
      out.shift.push_back(static_cast<float>(sum / static_cast<double>(m.rows_apart())));
  return out;
}

// Nothing in the place of the span but what rows apart get: y = x. The control that tells what a map adds to it.
struct identity_map {
  static constexpr std::string_view id = "resect.map.identity/1";
  index_t columns = 0;

  index_t width() const noexcept { return columns; }
  double flop() const noexcept { return 0; }
  std::uint64_t hash() const noexcept { return fingerprint{}.add(id).add(static_cast<std::uint64_t>(columns)).value(); }
  template <executor E>
  status try_apply(E&, matrix_view<const float> x, matrix_view<float> y) const {
    if (auto s = check_view(x, x.rows, columns, "x"); !s) return s;
    if (auto s = check_view(y, x.rows, columns, "y"); !s) return s;
    copy(x, y);
    return {};
  }
};

// A map with the rows apart: what stands in a plan. `Map` has id, width(), flop(), hash() and try_apply(exec, x, y).
template <class Map>
struct span_map {
  static constexpr std::string_view id = Map::id;
  Map map;
  apart_rows apart;

  index_t width() const noexcept { return map.width(); }
  double flop() const noexcept { return map.flop(); }
  std::uint64_t hash() const noexcept {
    return fingerprint{}
        .add(map.hash())
        .add(apart.shift.span())
        .add(apart.shift.empty() ? 0.0 : apart.rule.limit_x)
        .value();
  }

  // Checks extents and values: shape_mismatch, not_finite.
  status check() const {
    if (auto s = detail::check_map(map); !s) return s;
    return apart.shift.empty() ? status{} : detail::check_values(apart.shift, width(), "shift of rows apart");
  }

  // Y ← the map of X, and X + δ̄ for rows apart; `rows` says what each row is. Errors: those of the map; shape_mismatch
  // (rows, or a shift of another width).
  template <class B>
  status try_apply(B& exec, model::batch_view rows, matrix_view<const float> x, matrix_view<float> y) const {
    if (static_cast<index_t>(rows.size()) != x.rows)
      return error{errc::shape_mismatch, "rows of a span map", text(rows.size()), text(x.rows)};
    if (!apart.shift.empty() && apart.shift.size() != width())
      return error{errc::shape_mismatch, "shift of rows apart", text(apart.shift.size()), text(width())};
    if (auto s = map.try_apply(exec, x, y); !s) return s;
    apart.write(rows, x, y);
    return {};
  }
};

// A span map as an operator of plans, its products those of a backend that it keeps a reference to.
//   fields: what the map lists, and the rows apart. Reports name the calibration text that a map was fitted on in another
//   place, so that arms are told apart by operator and layers.
template <class B, class Map>
struct map_operator {
  static constexpr std::string_view id = Map::id;
  B* exec = nullptr;
  span_map<Map> map;

  residual::operator_facts facts() const noexcept {
    return {.what = residual::form::replace, .overwrites = true, .width = map.width()};
  }
  void fields(field_visitor& v) const {
    if constexpr (requires { map.map.rank(); }) v.number("rank", static_cast<double>(map.map.rank()));
    v.key("map", map.hash(), listed_by::source);
  }
  status check() const {
    if (exec == nullptr)
      return error{errc::null_pointer, text("backend of ", residual::plain_name(id)), "null", "a backend"};
    if (auto s = map.check(); !s) return s.error().within(residual::plain_name(id));
    return {};
  }
  status apply(const residual::tap& at, matrix_view<const float> in, matrix_view<float> out) const {
    return map.try_apply(*exec, at.rows, in, out);
  }
};

// The operator of a map on a backend, which outlives every plan that holds it.
//   plan{} | residual::replace_span(layers(3, 6), student::on(exec, student::span_map{fit.map, apart_rows_of(moments)}))
template <class B, class Map>
map_operator<B, Map> on(B& exec, span_map<Map> map) {
  return {&exec, std::move(map)};
}

}  // namespace RESECT_NAMESPACE::student
