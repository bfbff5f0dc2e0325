// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include <resect/core/view.hpp>

// Converts matrices and vectors of other libraries to views. It recognizes them by their members and includes none of
// their headers.
//
//   what                                               how it is recognized
//   matrix_view, vector_view                           itself
//   resect's matrix, and what else has it              a member view() that gives one of them
//   Eigen Matrix, Array, Map, Ref, Block, transpose    data, rows, cols, rowStride, colStride, PlainObject
//   xtensor xtensor, xarray, adaptors, strided views   data, data_offset, dimension, shape, strides
//   mdspan (std, Kokkos)                               data_handle, extent, stride, rank
//   array, std::vector, std::array, span, C arrays     data, size, begin, end
//   a pointer with extents                             as_view(p, …)
//   DLPack's DLTensor                                  dlpack.hpp (its element type is known at run time only)
//
// A view points at the elements of its source. An rvalue is accepted only if its type is known not to own its
// elements (Map, Ref, Block, span, mdspan, xt::view of an lvalue); other overloads are deleted, since the view would
// dangle.
namespace RESECT_NAMESPACE {

namespace detail {

template <class P>
concept object_pointer = std::is_pointer_v<P> && std::is_object_v<std::remove_pointer_t<P>>;

template <class X>
concept eigen_like = requires(X& x) {
  { x.data() } -> object_pointer;
  { x.rows() } -> std::convertible_to<index_t>;
  { x.cols() } -> std::convertible_to<index_t>;
  { x.rowStride() } -> std::convertible_to<index_t>;
  { x.colStride() } -> std::convertible_to<index_t>;
  typename X::PlainObject;
  X::IsVectorAtCompileTime;
};

template <class X>
concept mdspan_like = requires(X& x) {
  { x.data_handle() } -> object_pointer;
  { x.extent(0) } -> std::convertible_to<index_t>;
  { x.stride(0) } -> std::convertible_to<index_t>;
  { std::integral_constant<int, static_cast<int>(X::rank())>{} };
};

template <class X>
concept xtensor_like = requires(X& x) {
  { x.data() } -> object_pointer;
  { x.data_offset() } -> std::convertible_to<std::size_t>;
  { x.dimension() } -> std::convertible_to<std::size_t>;
  { x.shape()[0] } -> std::convertible_to<index_t>;
  { x.strides()[0] } -> std::convertible_to<index_t>;
  typename X::shape_type;
};

template <class X>
concept contiguous_like = !eigen_like<X> && !mdspan_like<X> && !xtensor_like<X> && requires(X& x) {
  { x.data() } -> object_pointer;
  { x.size() } -> std::convertible_to<std::size_t>;
  { x.end() - x.begin() } -> std::convertible_to<std::ptrdiff_t>;
  requires std::same_as<std::remove_cvref_t<decltype(*x.begin())>, std::remove_cvref_t<decltype(*x.data())>>;
};

template <class X>
inline constexpr int view_rank = 0;
template <class T, class Space>
inline constexpr int view_rank<matrix_view<T, Space>> = 2;
template <class T, class Space>
inline constexpr int view_rank<vector_view<T, Space>> = 1;

template <class X>
concept has_view = requires(X& x) { requires(view_rank<decltype(x.view())> > 0); };

// Dimensions of a foreign type: 1, 2, …, or one of these.
inline constexpr int unknown_rank = -1;  // known at run time
inline constexpr int not_viewable = -2;

template <class X>
constexpr int foreign_rank() noexcept {
  if constexpr (has_view<X>) return view_rank<decltype(std::declval<X&>().view())>;
  else if constexpr (eigen_like<X>) return X::IsVectorAtCompileTime ? 1 : 2;
  else if constexpr (mdspan_like<X>) return static_cast<int>(X::rank());
  else if constexpr (xtensor_like<X>) {
    if constexpr (requires { std::tuple_size<typename X::shape_type>::value; })
      return static_cast<int>(std::tuple_size<typename X::shape_type>::value);
    else return unknown_rank;
  } else if constexpr (contiguous_like<X>) return 1;
  else return not_viewable;
}

// xt::view names what it looks into first; a reference there means that it owns nothing.
template <class X>
inline constexpr bool first_argument_is_reference = false;
template <template <class, class...> class View, class First, class... Slices>
inline constexpr bool first_argument_is_reference<View<First, Slices...>> = std::is_lvalue_reference_v<First>;

// Whether an rvalue of X leaves its elements behind when it dies. What Eigen can build from a const matrix may have
// copied it: Matrix itself, and Ref<const Matrix>.
template <class X>
constexpr bool owns_nothing() noexcept {
  if constexpr (has_view<X>) return false;
  else if constexpr (eigen_like<X>)
    return !std::is_constructible_v<std::remove_cv_t<X>, const typename X::PlainObject&>;
  else if constexpr (mdspan_like<X>) return true;
  else if constexpr (xtensor_like<X>) return first_argument_is_reference<std::remove_cv_t<X>>;
  else return std::ranges::enable_borrowed_range<std::remove_cv_t<X>>;
}

// X as deduced by X&&: a reference for lvalues.
template <class X>
concept foreign = view_rank<std::remove_cvref_t<X>><1 && foreign_rank<std::remove_reference_t<X>>()> not_viewable;
template <class X>
concept outlives_call = std::is_lvalue_reference_v<X> || owns_nothing<X>();

// Constrained, because some compilers make return types before they look at a function's constraints.
template <class X>
concept matrix_members = has_view<X> || eigen_like<X> || mdspan_like<X> || xtensor_like<X>;
template <class X>
concept vector_members = matrix_members<X> || contiguous_like<X>;

template <matrix_members X>
constexpr auto foreign_matrix(X& x) noexcept {
  if constexpr (has_view<X>) {
    return x.view();
  } else if constexpr (eigen_like<X>) {
    return matrix_view{x.data(), static_cast<index_t>(x.rows()), static_cast<index_t>(x.cols()),
                       static_cast<index_t>(x.rowStride()), static_cast<index_t>(x.colStride())};
  } else if constexpr (mdspan_like<X>) {
    return matrix_view{x.data_handle(), static_cast<index_t>(x.extent(0)), static_cast<index_t>(x.extent(1)),
                       static_cast<index_t>(x.stride(0)), static_cast<index_t>(x.stride(1))};
  } else {
    const auto offset = static_cast<std::ptrdiff_t>(x.data_offset());
    return matrix_view{x.data() + offset, static_cast<index_t>(x.shape()[0]), static_cast<index_t>(x.shape()[1]),
                       static_cast<index_t>(x.strides()[0]), static_cast<index_t>(x.strides()[1])};
  }
}

template <vector_members X>
constexpr auto foreign_vector(X& x) noexcept {
  if constexpr (has_view<X>) {
    return x.view();
  } else if constexpr (eigen_like<X>) {
    const index_t stride = X::RowsAtCompileTime == 1 ? x.colStride() : x.rowStride();
    return vector_view{x.data(), static_cast<index_t>(x.size()), stride};
  } else if constexpr (mdspan_like<X>) {
    return vector_view{x.data_handle(), static_cast<index_t>(x.extent(0)), static_cast<index_t>(x.stride(0))};
  } else if constexpr (xtensor_like<X>) {
    const auto offset = static_cast<std::ptrdiff_t>(x.data_offset());
    return vector_view{x.data() + offset, static_cast<index_t>(x.shape()[0]), static_cast<index_t>(x.strides()[0])};
  } else {
    return vector_view{x.data(), static_cast<index_t>(x.size())};
  }
}

}  // namespace detail

// Converts x to a view if its number of dimensions is known at compile time: two give a matrix_view, one (Eigen's
// vectors too) gives a vector_view. It cannot fail. The element is const where x gives const access. Strides are not
// checked here: the function that takes the view checks them. O(1), no allocation.
template <class T, class Space>
constexpr matrix_view<T, Space> as_view(matrix_view<T, Space> x) noexcept {
  return x;
}
template <class T, class Space>
constexpr vector_view<T, Space> as_view(vector_view<T, Space> x) noexcept {
  return x;
}
template <detail::foreign X>
  requires(detail::outlives_call<X> && detail::foreign_rank<std::remove_reference_t<X>>() == 2)
constexpr auto as_view(X&& x) noexcept {
  return detail::foreign_matrix(x);
}
template <detail::foreign X>
  requires(detail::outlives_call<X> && detail::foreign_rank<std::remove_reference_t<X>>() == 1)
constexpr auto as_view(X&& x) noexcept {
  return detail::foreign_vector(x);
}
// A temporary that owns its elements: the view would dangle.
template <detail::foreign X>
  requires(!detail::outlives_call<X>)
void as_view(X&& x) = delete;

// C arrays.
template <class T, std::size_t Rows, std::size_t Cols>
constexpr matrix_view<T> as_view(T (&x)[Rows][Cols]) noexcept {
  return {x[0], static_cast<index_t>(Rows), static_cast<index_t>(Cols)};
}
template <class T, std::size_t Size>
  requires(!std::is_array_v<T>)
constexpr vector_view<T> as_view(T (&x)[Size]) noexcept {
  return {x, static_cast<index_t>(Size)};
}

// A pointer with extents and, counted in elements, strides; row-major and contiguous without them.
template <class T>
constexpr matrix_view<T> as_view(T* data, index_t rows, index_t cols) noexcept {
  return {data, rows, cols};
}
template <class T>
constexpr matrix_view<T> as_view(T* data, index_t rows, index_t cols, index_t row_stride,
                                 index_t col_stride = 1) noexcept {
  return {data, rows, cols, row_stride, col_stride};
}
template <class T>
constexpr vector_view<T> as_view(T* data, index_t size) noexcept {
  return {data, size};
}

// Converts an operand to a matrix_view and checks its strides; also of types whose number of dimensions is known at
// run time only (xarray, its views and adaptors). Algorithms call it on their operands.
//   Errors, with `operand` as the name: shape_mismatch (not two dimensions), null_pointer, bad_stride (see check_view).
template <class T, class Space>
result<matrix_view<T, Space>> try_as_matrix(matrix_view<T, Space> x, std::string_view operand = "matrix") noexcept {
  if (auto s = check_view(x, operand); !s) return s.error();
  return x;
}
template <detail::foreign X>
  requires(detail::outlives_call<X> && (detail::foreign_rank<std::remove_reference_t<X>>() == 2 ||
                                        detail::foreign_rank<std::remove_reference_t<X>>() == detail::unknown_rank))
auto try_as_matrix(X&& x, std::string_view operand = "matrix") noexcept -> result<decltype(detail::foreign_matrix(x))> {
  if constexpr (detail::foreign_rank<std::remove_reference_t<X>>() == detail::unknown_rank)
    if (x.dimension() != 2)
      return error{errc::shape_mismatch, operand, text(x.dimension(), " dimensions"), "2 dimensions"};
  return try_as_matrix(detail::foreign_matrix(x), operand);
}
template <detail::foreign X>
  requires(!detail::outlives_call<X>)
void try_as_matrix(X&& x, std::string_view operand = "matrix") = delete;

// A contiguous range as a row-major matrix of the given extents, which it must fill exactly.
//   Errors: shape_mismatch.
template <class X>
  requires(detail::contiguous_like<std::remove_reference_t<X>> && detail::outlives_call<X>)
auto try_as_matrix(X&& x, index_t rows, index_t cols,
                   std::string_view operand = "matrix") noexcept -> result<decltype(as_view(x.data(), rows, cols))> {
  const auto size = static_cast<index_t>(x.size());
  const bool fits =
      rows >= 0 && cols >= 0 && (cols == 0 || rows == 0 ? size == 0 : size / cols == rows && size % cols == 0);
  if (!fits) return error{errc::shape_mismatch, operand, text(size, " elements"), text(rows, " x ", cols)};
  return try_as_matrix(as_view(x.data(), rows, cols), operand);
}
template <class X>
  requires(detail::contiguous_like<std::remove_reference_t<X>> && !detail::outlives_call<X>)
void try_as_matrix(X&& x, index_t rows, index_t cols, std::string_view operand = "matrix") = delete;

// Converts an operand of one dimension to a vector_view and checks it. Errors: shape_mismatch (not one dimension),
// null_pointer, bad_stride.
template <class T, class Space>
result<vector_view<T, Space>> try_as_vector(vector_view<T, Space> x, std::string_view operand = "vector") noexcept {
  if (x.size < 0) return error{errc::shape_mismatch, operand, text(x.size, " elements"), "a size that is not negative"};
  if (auto s = check_view(matrix_view<T, Space>{x.data, 1, x.size, x.size, x.stride}, operand); !s) return s.error();
  return x;
}
template <detail::foreign X>
  requires(detail::outlives_call<X> && (detail::foreign_rank<std::remove_reference_t<X>>() == 1 ||
                                        detail::foreign_rank<std::remove_reference_t<X>>() == detail::unknown_rank))
auto try_as_vector(X&& x, std::string_view operand = "vector") noexcept -> result<decltype(detail::foreign_vector(x))> {
  if constexpr (detail::foreign_rank<std::remove_reference_t<X>>() == detail::unknown_rank)
    if (x.dimension() != 1)
      return error{errc::shape_mismatch, operand, text(x.dimension(), " dimensions"), "1 dimension"};
  return try_as_vector(detail::foreign_vector(x), operand);
}
template <detail::foreign X>
  requires(!detail::outlives_call<X>)
void try_as_vector(X&& x, std::string_view operand = "vector") = delete;

#if RESECT_EXCEPTIONS
// try_as_matrix and try_as_vector that throw.
template <class X>
  requires requires(X&& x) { try_as_matrix(std::forward<X>(x)).value(); }
auto as_matrix(X&& x, std::string_view operand = "matrix") {
  return value_or_throw(try_as_matrix(std::forward<X>(x), operand));
}
template <class X>
  requires requires(X&& x) { try_as_matrix(std::forward<X>(x), index_t{}, index_t{}).value(); }
auto as_matrix(X&& x, index_t rows, index_t cols, std::string_view operand = "matrix") {
  return value_or_throw(try_as_matrix(std::forward<X>(x), rows, cols, operand));
}
template <class X>
  requires requires(X&& x) { try_as_vector(std::forward<X>(x)).value(); }
auto as_vector(X&& x, std::string_view operand = "vector") {
  return value_or_throw(try_as_vector(std::forward<X>(x), operand));
}
#endif

// A type that algorithms accept as a matrix. They begin with try_as_matrix(w, "W"), which returns the view or an
// error:
//   template <matrix_like W> status try_f(const W& w)        (W&& out) for what is written to
template <class X>
concept matrix_like = requires(std::remove_reference_t<X>& x) { try_as_matrix(x).value(); };
// A type that algorithms accept as a vector, by try_as_vector.
template <class X>
concept vector_like = requires(std::remove_reference_t<X>& x) { try_as_vector(x).value(); };

// The element type of a matrix_like type, without const.
template <matrix_like X>
using matrix_element =
    typename decltype(try_as_matrix(std::declval<std::remove_reference_t<X>&>()))::value_type::value_type;
// The element type of a vector_like type, without const.
template <vector_like X>
using vector_element =
    typename decltype(try_as_vector(std::declval<std::remove_reference_t<X>&>()))::value_type::value_type;

}  // namespace RESECT_NAMESPACE
