// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include <resect/backend/detail/views.hpp>
#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/finite.hpp>

// The symbols of a Fortran BLAS and LAPACK with 32-bit integers (LP64), as ELF systems name them, under names of our
// own: a program may include any cblas.h or lapacke.h beside this. Lengths of texts follow the last argument, as
// gfortran's ABI wants; libraries written in C ignore them.
namespace RESECT_NAMESPACE::detail::blas {

using flag = const char*;
using in = const int*;
using std::size_t;

void gemm(flag, flag, in, in, in, const float*, const float*, in, const float*, in, const float*, float*, in, size_t,
          size_t) __asm__("sgemm_");
void gemm(flag, flag, in, in, in, const double*, const double*, in, const double*, in, const double*, double*, in,
          size_t, size_t) __asm__("dgemm_");
void trsm(flag, flag, flag, flag, in, in, const float*, const float*, in, float*, in, size_t, size_t, size_t,
          size_t) __asm__("strsm_");
void trsm(flag, flag, flag, flag, in, in, const double*, const double*, in, double*, in, size_t, size_t, size_t,
          size_t) __asm__("dtrsm_");
void potrf(flag, in, float*, in, int*, size_t) __asm__("spotrf_");
void potrf(flag, in, double*, in, int*, size_t) __asm__("dpotrf_");
void syevd(flag, flag, in, float*, in, float*, float*, in, int*, in, int*, size_t, size_t) __asm__("ssyevd_");
void syevd(flag, flag, in, double*, in, double*, double*, in, int*, in, int*, size_t, size_t) __asm__("dsyevd_");

// Rows contiguous, and apart by at least their length: to BLAS, whose matrices are column-major, the transpose.
template <class T>
bool row_major(const matrix_view<T>& a) noexcept {
  return (a.col_stride == 1 || a.cols <= 1) && (a.row_stride >= a.cols || a.rows <= 1);
}
template <class T>
bool readable(const matrix_view<T>& a) noexcept {
  return row_major(a) || row_major(a.transposed());
}
template <class T>
int leading(const matrix_view<T>& a) noexcept {
  const bool rows = row_major(a);
  const index_t least = std::max<index_t>(1, rows ? a.cols : a.rows);
  return static_cast<int>(std::max(least, (rows ? a.rows : a.cols) > 1 ? (rows ? a.row_stride : a.col_stride) : 1));
}

template <class T>
status fits(const matrix_view<T>& a, std::string_view operand) noexcept {
  constexpr index_t most = std::numeric_limits<int>::max();
  if (a.rows <= most && a.cols <= most && (!readable(a) || (a.row_stride <= most && a.col_stride <= most))) return {};
  return error{errc::unsupported, operand, text(a.rows, " x ", a.cols, ", strides ", a.row_stride, ", ", a.col_stride),
               text("at most ", most, " each: a BLAS with 32-bit integers")};
}

}  // namespace RESECT_NAMESPACE::detail::blas

namespace RESECT_NAMESPACE {

// The host backend on any BLAS and LAPACK that the program links (OpenBLAS, MKL LP64, the reference), float
// and double. `Executor` runs resect's own tasks; how many threads a product uses is the business of the BLAS and is
// set there (OPENBLAS_NUM_THREADS and its like), and so is whether results depend on it: use `cpu` where the same bits
// are needed for any number of workers.
//   Row-major operands go in as transposes without a copy; operands without a contiguous direction are copied.
//   Errors beside those of `cpu`: unsupported, for extents and strides above 2³¹ − 1.
template <class Executor = inline_executor>
class cblas {
 public:
  using space = host_space;

  cblas() = default;
  explicit cblas(Executor e) : executor_(std::move(e)) {}

  void bulk(index_t n, function_ref<void(index_t)> f) { executor_.bulk(n, f); }

  // C ← α·A·B + β·C. |error| ≤ (k + 2)·u·|α|·(|A|·|B|) + 2u·|β·C| for a BLAS that sums in any order, times 2 for
  // kernels that cut k into panels.
  template <class T>
    requires(std::same_as<T, float> || std::same_as<T, double>)
  status try_gemm(T alpha, std::type_identity_t<matrix_view<const T>> a, std::type_identity_t<matrix_view<const T>> b,
                  T beta, matrix_view<T> c) {
    if (auto s = check_view(a, "A"); !s) return s;
    if (auto s = check_view(b, a.cols, b.cols, "B"); !s) return s;
    if (auto s = check_view(c, a.rows, b.cols, "C"); !s) return s;
    if (c.empty()) return {};
    if (!detail::blas::readable(c))
      return error{errc::bad_stride, "C", text("strides ", c.row_stride, ", ", c.col_stride), "one stride of 1"};
    if (!detail::blas::row_major(c)) return try_gemm(alpha, b.transposed(), a.transposed(), beta, c.transposed());
    array<T> a_copy, b_copy;
    if (auto s = prepare(a, a_copy, "A"); !s) return s;
    if (auto s = prepare(b, b_copy, "B"); !s) return s;
    if (auto s = detail::blas::fits(c, "C"); !s) return s;
    // Cᵀ = Bᵀ·Aᵀ, and a row-major matrix is its transpose to BLAS
    const int m = static_cast<int>(c.cols), n = static_cast<int>(c.rows), k = static_cast<int>(a.cols);
    const int lda = detail::blas::leading(b), ldb = detail::blas::leading(a), ldc = detail::blas::leading(c);
    const char* first = detail::blas::row_major(b) ? "N" : "T";
    const char* second = detail::blas::row_major(a) ? "N" : "T";
    detail::blas::gemm(first, second, &m, &n, &k, &alpha, b.data, &lda, a.data, &ldb, &beta, c.data, &ldc, 1, 1);
    return {};
  }

  // A ← L in the lower triangle (see factoring_backend), by xPOTRF.
  template <class T>
    requires(std::same_as<T, float> || std::same_as<T, double>)
  result<cholesky_outcome> try_cholesky(matrix_view<T> a) {
    if (auto s = check_view(a, a.rows, a.rows, "A"); !s) return s.error();
    if (auto s = detail::blas::fits(a, "A"); !s) return s.error();
    if (a.empty()) return cholesky_outcome{};
    detail::unit_stride_copy<T> work(a);
    const int n = static_cast<int>(a.rows), ld = detail::blas::leading(work.view());
    int info = 0;
    detail::blas::potrf(detail::blas::row_major(work.view()) ? "U" : "L", &n, work.view().data, &ld, &info, 1);
    work.write_back();
    if (info > 0) return cholesky_outcome{info - 1};
    for (index_t i = 0; i < a.rows; ++i)  // LAPACK lets an infinite pivot through
      if (!(a(i, i) <= std::numeric_limits<T>::max())) return cholesky_outcome{i};
    return cholesky_outcome{};
  }

  // X ← X·L⁻ᵀ (see factoring_backend), by xTRSM.
  template <class T>
    requires(std::same_as<T, float> || std::same_as<T, double>)
  status try_solve_right(std::type_identity_t<matrix_view<const T>> l, matrix_view<T> x) {
    if (auto s = check_view(l, l.rows, l.rows, "L"); !s) return s;
    if (auto s = check_view(x, x.rows, l.rows, "X"); !s) return s;
    if (x.empty()) return {};
    array<T> l_copy;
    if (auto s = prepare(l, l_copy, "L"); !s) return s;
    if (auto s = detail::blas::fits(x, "X"); !s) return s;
    detail::unit_stride_copy<T> work(x);
    const bool by_rows = detail::blas::row_major(work.view());  // then Xᵀ ← L⁻¹·Xᵀ
    const int m = static_cast<int>(by_rows ? x.cols : x.rows), n = static_cast<int>(by_rows ? x.rows : x.cols);
    const int ldl = detail::blas::leading(l), ldx = detail::blas::leading(work.view());
    const bool upper = detail::blas::row_major(l);  // BLAS sees Lᵀ
    const char* transpose = upper == by_rows ? "T" : "N";
    const T one{1};
    detail::blas::trsm(by_rows ? "L" : "R", upper ? "U" : "L", transpose, "N", &m, &n, &one, l.data, &ldl,
                       work.view().data, &ldx, 1, 1, 1, 1);
    work.write_back();
    return {};
  }

  // A ← eigenvectors as columns, w ← eigenvalues in ascending order (see factoring_backend), by xSYEVD.
  template <class T>
    requires(std::same_as<T, float> || std::same_as<T, double>)
  result<eigen_outcome> try_symmetric_eigen(matrix_view<T> a, std::type_identity_t<vector_view<T>> w) {
    if (auto s = check_view(a, a.rows, a.rows, "A"); !s) return s.error();
    if (auto s = check_view(matrix_view<T>{w.data, w.size, 1, w.stride, 1}, a.rows, 1, "w"); !s) return s.error();
    if (auto s = detail::blas::fits(a, "A"); !s) return s.error();
    if (a.empty()) return eigen_outcome{true};
    if (a.rows > 32000) return error{errc::unsupported, "A", text(a.rows, " rows"), "at most 32000: 2n² is an int"};
    const int n = static_cast<int>(a.rows), ask = -1;
    array<T> vectors(a.rows * a.rows), values(a.rows);
    const matrix_view<T> by_cols{vectors.data(), a.rows, a.rows, 1, a.rows};
    for (index_t i = 0; i < a.rows; ++i)
      for (index_t j = 0; j <= i; ++j) {
        if (!is_finite(a(i, j))) return eigen_outcome{false};
        by_cols(i, j) = a(i, j);
      }
    T size = 0;
    int int_size = 0, info = 0;
    detail::blas::syevd("V", "L", &n, vectors.data(), &n, values.data(), &size, &ask, &int_size, &ask, &info, 1, 1);
    // a float cannot hold every large size, so leave room
    array<T> work(static_cast<index_t>(size + size / 1024 + 1));
    array<int> int_work(int_size);
    const int length = static_cast<int>(work.size());
    detail::blas::syevd("V", "L", &n, vectors.data(), &n, values.data(), work.data(), &length, int_work.data(),
                        &int_size, &info, 1, 1);
    for (index_t c = 0; c < a.rows; ++c) w[c] = values[c];
    copy(by_cols, a);
    return eigen_outcome{info == 0};
  }

 private:
  // Copies what BLAS cannot read as it lies.
  template <class T>
  static status prepare(matrix_view<const T>& a, array<T>& storage, std::string_view operand) {
    auto s = detail::blas::fits(a, operand);
    if (!s || detail::blas::readable(a) || a.empty()) return s;
    a = materialized(a, storage);
    return {};
  }

  [[no_unique_address]] Executor executor_{};
};

}  // namespace RESECT_NAMESPACE
