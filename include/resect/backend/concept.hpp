// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

#include <resect/core/executor.hpp>
#include <resect/core/view.hpp>

namespace resect::inline RESECT_NAMESPACE_TAG {

// Where dense linear algebra is done. A backend is an object that goes first into every algorithm; its
// type decides memory space and code at compile time. An engine brings its own by giving it these members.
//   space                       memory that its operands live in
//   bulk(n, f)                  runs tasks (see `executor`)
//   try_gemm(α, A, B, β, C)     C ← α·A·B + β·C;  A (m, k), B (k, n), C (m, n), any strides
//                               (a transpose is a view); β = 0 ignores what C held, NaN included
template <class B, class T>
concept dense_backend = executor<B> && requires(B& b, matrix_view<const T, typename B::space> a, matrix_view<T, typename B::space> c, T s) {
  typename B::space;
  { b.try_gemm(s, a, a, s, c) } -> std::same_as<status>;
};

}  // namespace resect::inline RESECT_NAMESPACE_TAG
