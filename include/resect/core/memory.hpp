// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/matrix.hpp>

// Memory of a backend's space, for algorithms that run in any: a panel is made by try_make_matrix, and every number that
// crosses between host and space goes through the named copies here.
namespace RESECT_NAMESPACE {

// A matrix in the memory of a backend.
template <class T, class B>
using matrix_of = matrix<T, typename B::space>;
// Views of it.
template <class T, class B>
using view_of = matrix_view<T, typename B::space>;

// m × n elements in the backend's space, zero in host memory, unspecified elsewhere. Errors: those of try_allocate;
// std::bad_alloc in host memory.
template <class T, class B>
  requires memory_backend<B, T>
result<matrix_of<T, B>> try_make_matrix(B& exec, index_t m, index_t n) {
  if constexpr (std::same_as<typename B::space, host_space>) {
    return matrix<T>(m, n);
  } else {
    auto elements = exec.template try_allocate<T>(m * n);
    if (!elements) return elements.error();
    return matrix_of<T, B>(m, n, *std::move(elements));
  }
}

// to ← from, into the space, out of it, within it; returns when it is done. The caller has checked that the extents are
// equal; any strides.
template <class B, class U, class From, class T, class To>
status try_transfer(B& exec, const matrix_view<U, From>& from, const matrix_view<T, To>& to) {
  if (to.empty()) return {};
  if constexpr (std::same_as<typename B::space, host_space>) {
    copy(exec, from, to);
    return {};
  } else {
    if (auto s = exec.try_copy(matrix_view<const T, From>(from), to); !s) return s;
    if constexpr (std::same_as<From, To>) return {};
    else return exec.try_wait();
  }
}

// A core of the host, rounded to T, in the backend's space.
template <class T, class B>
  requires memory_backend<B, T>
result<matrix_of<T, B>> try_place(B& exec, matrix_view<const double> core) {
  matrix<T> narrow(core.rows, core.cols);
  copy(core, narrow.view());
  if constexpr (std::same_as<typename B::space, host_space>) {
    return narrow;
  } else {
    auto out = try_make_matrix<T>(exec, core.rows, core.cols);
    if (!out) return out;
    if (auto s = try_transfer(exec, narrow.view(), out->view()); !s) return s.error();
    return out;
  }
}

// A small matrix of the backend's space, as doubles on the host.
template <class B, class T>
result<matrix<double>> try_fetch(B& exec, const matrix_view<T, typename B::space>& from) {
  matrix<double> out(from.rows, from.cols);
  if constexpr (std::same_as<typename B::space, host_space>) {
    copy(from, out.view());
  } else {
    matrix<std::remove_const_t<T>> narrow(from.rows, from.cols);
    if (auto s = try_transfer(exec, from, narrow.view()); !s) return s.error();
    copy(narrow.view(), out.view());
  }
  return out;
}

}  // namespace RESECT_NAMESPACE
