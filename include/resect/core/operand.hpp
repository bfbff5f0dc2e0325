// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <type_traits>

#include <resect/core/adapt.hpp>

// How a public entry point takes any matrix: a front with an explicit return type turns the operand into a view, a core
// works on views. Whether a call is well-formed can then be asked without instantiating the core.
//   template <executor E, operand_of<float> W>
//   result<quantized> try_quantize(E& exec, const W& w, …) {
//     return on_view(w, "W", [&](matrix_view<const float> view) { return try_quantize(exec, view, …); });
//   }
namespace RESECT_NAMESPACE {

namespace detail {
template <class X>
inline constexpr bool is_view = false;
template <class T, class Space>
inline constexpr bool is_view<matrix_view<T, Space>> = true;
}  // namespace detail

// A matrix in host memory of a type other than a view: Eigen, xtensor, mdspan, resect's own matrix, DLPack.
template <class X>
concept operand = !detail::is_view<std::remove_cvref_t<X>> && matrix_like<X>;
// An operand with elements of type T.
template <class X, class T>
concept operand_of = operand<X> && std::same_as<matrix_element<X>, T>;
// An operand with elements of type T that can be written.
template <class X, class T>
concept output_of = operand_of<X, T> && requires(X& x) {
  { *try_as_matrix(x) } -> std::convertible_to<matrix_view<T>>;
};
// An operand of floats or doubles.
template <class X>
concept floating_operand = operand_of<X, float> || operand_of<X, double>;

// An operand of floats or doubles that can be written.
template <class X>
concept floating_output = output_of<X, float> || output_of<X, double>;

// Calls f with the view of an operand that is read, or returns the operand's error. f returns a status or a result.
template <operand W, class F>
auto on_view(const W& w, std::string_view name,
             F f) -> std::invoke_result_t<F&, matrix_view<const matrix_element<const W&>>> {
  const auto view = try_as_matrix(w, name);
  if (!view) return view.error();
  return f(matrix_view<const matrix_element<const W&>>(*view));
}
// Calls f with the view of an operand that is written, or returns the operand's error.
template <operand W, class F>
auto on_output(W& w, std::string_view name, F f) -> std::invoke_result_t<F&, matrix_view<matrix_element<W&>>> {
  const auto view = try_as_matrix(w, name);
  if (!view) return view.error();
  return f(*view);
}

}  // namespace RESECT_NAMESPACE
