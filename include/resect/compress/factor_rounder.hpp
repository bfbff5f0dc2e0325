// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <utility>

#include <resect/compress/quantized_factors.hpp>
#include <resect/linalg/ldl.hpp>
#include <resect/quant/incoherence.hpp>
#include <resect/quant/prepared_gptq.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/quant/search/mse.hpp>

// Rounding the factors of L·R in the norm of what the matrix reads.
namespace RESECT_NAMESPACE::compress {

// The basis of rank space in which factors are rounded: (L·Tᵀ)·(T·R), T orthogonal.
enum class rank_basis : std::uint8_t {
  spectral,  // singular directions: each component has a size of its own
  rotated,   // a seeded rotation of them: all components have about the same size, and no entry stands out
};
// How codes are chosen.
enum class code_choice : std::uint8_t {
  nearest,   // each the nearest to its own value
  feedback,  // errors are passed on in the norm of H (gptq)
};

// How factors are rounded.
struct factor_options {
  rank_basis basis = rank_basis::rotated;
  code_choice codes = code_choice::feedback;
  int rounds = 5;          // of rounding R, refitting and rounding L, refitting R; they end after two that gain nothing
  std::uint64_t seed = 1;  // of the rotation
};

// A backend that rounds: codes are chosen on the host, so its operands lie there. A backend of another space is refused by
// this concept; a decomposition on a device has its rounding steps on a host backend.
template <class B>
concept host_rounding_backend = factoring_backend<B, float> && std::same_as<typename B::space, host_space>;

// Rounded factors and tr((A − L·R)·H·(A − L·R)ᵀ).
template <factor_format F>
struct rounded_factors {
  quantized_factors<F> factors;
  double loss = 0;
  int rounds = 0;
};

namespace detail {

// S⁺ of a symmetric positive semi-definite S (r, r), read whole. Eigenvalues up to r·2⁻⁴⁸ of the largest count as 0.
template <factoring_backend<double> B>
result<matrix<double>> try_pseudo_inverse(B& exec, const matrix<double>& s) {
  const index_t n = s.rows;
  matrix<double> v = s, scaled(n, n), out(n, n);
  array<double> w(n);
  const auto eigen = exec.try_symmetric_eigen(v.view(), vector_view<double>{w.data(), n});
  if (!eigen) return eigen.error();
  const double least = n > 0 ? static_cast<double>(n) * 0x1p-48 * w[n - 1] : 0;
  for (index_t r = 0; r < n; ++r)
    for (index_t c = 0; c < n; ++c) scaled(r, c) = w[c] > least && w[c] > 0 ? v(r, c) / w[c] : 0.0;
  if (auto st = exec.try_gemm(1.0, scaled.view(), v.view().transposed(), 0.0, out.view()); !st) return st.error();
  return out;
}

inline double dot_all(const matrix<double>& a, const matrix<double>& b) noexcept {
  double sum = 0;
  for (index_t r = 0; r < a.rows; ++r) {
    double row = 0;
    for (index_t c = 0; c < a.cols; ++c) row += a(r, c) * b(r, c);
    sum += row;
  }
  return sum;
}

inline matrix<float> narrowed(matrix_view<const double> a) {
  matrix<float> out(a.rows, a.cols);
  for (index_t r = 0; r < a.rows; ++r)
    for (index_t c = 0; c < a.cols; ++c) out(r, c) = static_cast<float>(a(r, c));
  return out;
}

}  // namespace detail

// Rounds factors of matrices (m, n) that read rows with one H (n, n); H is eliminated once.
//   Given L, the best R is L⁺·A, and what rounding it by Δ costs is tr(LᵀL·Δ·H·Δᵀ): with LᵀL = M·D·Mᵀ (unit lower) row i
//   gets the errors of the rows after it by M, and passes its own on among its columns as gptq does. Given R, the best L is
//   A·H·Rᵀ·(R·H·Rᵀ)⁺, and rounding it costs tr(Δ·(R·H·Rᵀ)·Δᵀ): gptq with that r × r matrix, exactly. Both alternate, and
//   the best pair is kept.
//   All sums in double. Cost of a round 2n²r + 4mnr + n²r flop, and r eigenvalue problems of order r.
//   Same bits for any number of workers, if the backend's products have that.
//   Source: Saha, Srivastava & Pilanci, "Matrix Compression via Randomized Low Rank and Low Precision Factorization",
//   NeurIPS 2023 (LPLR: factors refitted to each other's rounded values); Saha, Sagan, Srivastava, Goldsmith & Pilanci,
//   "Compressing LLMs using low rank and low precision decomposition" (CALDERA), NeurIPS 2024, Alg. 2. The rotation of rank
//   space and the feedback across both factors are ours.
template <class B, factor_format F>
  requires host_rounding_backend<B>
class factor_rounder {
 public:
  // H (n, n) symmetric, whole; `exec` and H are kept by reference. Errors: invalid_argument (rounds, group_rows of the
  // format), those of prepared_gptq::try_make.
  static result<factor_rounder> try_make(B& exec, matrix_view<const double> h, const F& format,
                                         const factor_options& options = {}) {
    if (options.rounds < 1)
      return error{errc::invalid_argument, "rounds of factors", text(options.rounds), "at least 1"};
    if (format.group_rows != 1)
      return error{errc::invalid_argument, "rows of a group of factors", text(format.group_rows),
                   "1: components do not share parameters"};
    factor_rounder out(exec, h, format, options);
    auto rule = quant::prepared_gptq::try_make(exec, h, {}, 1, format.group);
    if (!rule) return rule.error();
    out.rule_ = std::move(*rule);
    out.importance_.resize(h.rows);
    for (index_t i = 0; i < h.rows; ++i) out.importance_[i] = static_cast<float>(h(i, i));
    return out;
  }

  const factor_options& options() const noexcept { return options_; }
  const F& format() const noexcept { return format_; }

  // Factors near L (m, r) and R (r, n), a pair for A (m, n): `whole` is tr(A·H·Aᵀ). The pair may be in any basis of rank
  // space (see balanced_basis).
  result<rounded_factors<F>> try_round(matrix_view<const double> a, double whole, matrix<double> l, matrix<double> r) {
    rounded_factors<F> best;
    int idle = 0;  // rounds in a row that gained next to nothing: the loss moves up and down
    for (int round = 0; round < options_.rounds; ++round) {
      quantized_factors<F> now;
      auto right = try_round_right(l, r, now.r);
      if (!right) return right.error();
      auto fit = try_fit_left(a, *right);
      if (!fit) return fit.error();
      auto left = try_round_left(*fit, now.l);
      if (!left) return left.error();
      matrix<double> gram(left->cols, left->cols);
      if (auto s = exec_->try_gemm(1.0, left->view().transposed(), left->view(), 0.0, gram.view()); !s)
        return s.error();
      const double loss = whole - 2 * detail::dot_all(*left, fit->crossed) + detail::dot_all(gram, fit->moment);
      idle = round == 0 || loss < best.loss - 1e-4 * std::fabs(best.loss) ? 0 : idle + 1;
      if (round == 0 || loss < best.loss) best = {std::move(now), loss, round + 1};
      if (idle == 2 || round + 1 == options_.rounds) break;
      auto inverse = detail::try_pseudo_inverse(*exec_, gram);
      if (!inverse) return inverse.error();
      matrix<double> la(left->cols, a.cols), next(left->cols, a.cols);
      if (auto s = exec_->try_gemm(1.0, left->view().transposed(), a, 0.0, la.view()); !s) return s.error();
      if (auto s = exec_->try_gemm(1.0, inverse->view(), la.view(), 0.0, next.view()); !s) return s.error();
      l = std::move(*left);
      r = std::move(next);
    }
    best.loss = best.loss > 0 ? best.loss : 0.0;
    return best;
  }

  // The pair L = U·diag(√s)·Tᵀ, R = T·diag(1/√s)·Uᵀ·A for orthonormal U (m, r) and s = √λ, the sizes of U's directions
  // in A·H·Aᵀ (λ: its eigenvalues); T as the basis says. Directions of size 0 become zeros.
  //   Columns of L and rows of R weigh the same then: the square of what rounding both by a share δ costs is about
  //   δ²·(Σs)²/r in a rotated basis and δ²·Σs² in the spectral one.
  status try_basis(matrix_view<const double> a, const matrix<double>& u, std::span<const double> lambda,
                   matrix<double>& l, matrix<double>& r) {
    const index_t rank = u.cols;
    l.resize(u.rows, rank);
    r.resize(rank, a.cols);
    matrix<double> scaled(u.rows, rank);
    for (index_t c = 0; c < rank; ++c) {
      const double s = std::sqrt(std::sqrt(std::fmax(lambda[static_cast<std::size_t>(c)], 0.0)));
      for (index_t i = 0; i < u.rows; ++i) {
        l(i, c) = u(i, c) * s;
        scaled(i, c) = s > 0 ? u(i, c) / s : 0.0;
      }
    }
    if (auto st = exec_->try_gemm(1.0, scaled.view().transposed(), a, 0.0, r.view()); !st) return st;
    if (options_.basis == rank_basis::spectral) return {};
    const auto t = quant::rotation::try_make(rank, options_.seed);
    if (!t) return t.error();
    if (auto st = t->try_rotate_rows(*exec_, l.view()); !st) return st;
    return t->try_rotate_columns(*exec_, r.view());
  }

 private:
  struct left_fit {
    matrix<double> l;        // the best L for R
    matrix<double> crossed;  // A·H·Rᵀ
    matrix<double> moment;   // R·H·Rᵀ
  };

  factor_rounder(B& exec, matrix_view<const double> h, const F& format, const factor_options& options)
      : exec_(&exec), h_(h), format_(format), options_(options) {}

  // Rows of R from the last to the first. → R as it was rounded.
  result<matrix<double>> try_round_right(const matrix<double>& l, const matrix<double>& r, quant::quantized<F>& out) {
    out.format = format_;
    if (auto s = out.try_resize(r.rows, r.cols); !s) return s.error();
    const quant::mse_scale search{.importance = importance_.span()};
    if (options_.codes == code_choice::nearest) {
      const matrix<float> w = detail::narrowed(r.view());
      if (auto s = quant::nearest::round(*exec_, w.view(), search, out); !s) return s.error();
      return quantized_factors<F>::try_values(*exec_, out);
    }
    matrix<double> gram(r.rows, r.rows);
    if (auto s = exec_->try_gemm(1.0, l.view().transposed(), l.view(), 0.0, gram.view()); !s) return s.error();
    const auto ldl = linalg::try_ldl(*exec_, gram.view(), {}, linalg::least_pivot(r.rows));
    if (!ldl) return ldl.error();
    matrix<double> error(r.rows, r.cols), rounded(r.rows, r.cols);
    matrix<float> goal(1, r.cols), value(1, r.cols);
    const quant::part_counts parts = out.parts();
    const index_t groups = parts.groups / std::max<index_t>(1, r.rows);
    for (index_t i = r.rows; i-- > 0;) {
      for (index_t c = 0; c < r.cols; ++c) {
        double to = r(i, c);
        for (index_t j = i + 1; j < r.rows; ++j) to += ldl->l(j, i) * error(j, c);
        goal(0, c) = static_cast<float>(to);
      }
      const auto q = quant::try_quantize(*exec_, goal.view(), format_, rule_, search);
      if (!q) return q.error();
      if (auto s = quant::try_dequantize(*exec_, *q, value.view()); !s) return s.error();
      for (index_t c = 0; c < r.cols; ++c) {
        out.codes[i * r.cols + c] = q->codes[c];
        rounded(i, c) = static_cast<double>(value(0, c));
        error(i, c) = r(i, c) - rounded(i, c);
      }
      for (index_t g = 0; g < groups; ++g) out.parameters[i * groups + g] = q->parameters[g];
    }
    return rounded;
  }

  result<left_fit> try_fit_left(matrix_view<const double> a, const matrix<double>& r) {
    const index_t rank = r.rows;
    matrix<double> rh(rank, r.cols);
    left_fit out{matrix<double>(a.rows, rank), matrix<double>(a.rows, rank), matrix<double>(rank, rank)};
    if (auto s = exec_->try_gemm(1.0, r.view(), h_, 0.0, rh.view()); !s) return s.error();
    if (auto s = exec_->try_gemm(1.0, rh.view(), r.view().transposed(), 0.0, out.moment.view()); !s) return s.error();
    for (index_t i = 0; i < rank; ++i)
      for (index_t j = 0; j < i; ++j) out.moment(i, j) = out.moment(j, i) = 0.5 * (out.moment(i, j) + out.moment(j, i));
    if (auto s = exec_->try_gemm(1.0, a, rh.view().transposed(), 0.0, out.crossed.view()); !s) return s.error();
    auto inverse = detail::try_pseudo_inverse(*exec_, out.moment);
    if (!inverse) return inverse.error();
    if (auto s = exec_->try_gemm(1.0, out.crossed.view(), inverse->view(), 0.0, out.l.view()); !s) return s.error();
    return out;
  }

  // → L (m, r) as it was rounded.
  result<matrix<double>> try_round_left(const left_fit& fit, quant::quantized<F>& out) {
    F across = format_;  // groups down the columns of L
    across.group = 1;
    across.group_rows = format_.group;
    const matrix<float> w = detail::narrowed(fit.l.view());
    const quant::mse_scale search{};
    const auto q =
        options_.codes == code_choice::nearest
            ? quant::try_quantize(*exec_, w.view(), across, quant::nearest{}, search)
            : quant::try_quantize(
                  *exec_, w.view(), across,
                  quant::gptq{fit.moment, {.sweeps = 4, .damping = 0, .precision = quant::feedback_precision::f64}},
                  search);
    if (!q) return q.error();
    out.format = format_;
    if (auto s = out.try_resize(w.cols, w.rows); !s) return s.error();
    const index_t groups = out.layout().per_row();
    matrix<float> value(w.rows, w.cols);
    if (auto s = quant::try_dequantize(*exec_, *q, value.view()); !s) return s.error();
    matrix<double> rounded(w.rows, w.cols);
    for (index_t i = 0; i < w.rows; ++i)
      for (index_t c = 0; c < w.cols; ++c) {
        out.codes[c * w.rows + i] = q->codes[i * w.cols + c];
        rounded(i, c) = static_cast<double>(value(i, c));
      }
    for (index_t g = 0; g < groups; ++g)
      for (index_t c = 0; c < w.cols; ++c) out.parameters[c * groups + g] = q->parameters[g * w.cols + c];
    return rounded;
  }

  B* exec_;
  matrix_view<const double> h_;
  F format_;
  factor_options options_;
  quant::prepared_gptq rule_;
  array<float> importance_;
};

}  // namespace RESECT_NAMESPACE::compress
