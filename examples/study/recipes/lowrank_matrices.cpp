// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/lowrank.hpp>

#include <algorithm>
#include <cmath>
#include <map>

#include <resect/factor/truncated_svd.hpp>
#include <resect/factor/weighted_low_rank.hpp>
#include <resect/linalg/symmetric_values.hpp>
#include <resect/quant/h_loss.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/random/distributions.hpp>

namespace studies {

namespace {

using resect::array;
using resect::index_t;
using resect::matrix;
using resect::matrix_view;

// σ² of a matrix, descending: eigenvalues of the Gram matrix of its smaller side.
array<double> squared_singular_values(backend& exec, matrix_view<const float> w) {
  const auto narrow = w.rows <= w.cols ? w : w.transposed();
  matrix<double> wide(narrow.rows, narrow.cols), gram(narrow.rows, narrow.rows);
  for (index_t r = 0; r < narrow.rows; ++r)
    for (index_t c = 0; c < narrow.cols; ++c) wide(r, c) = static_cast<double>(narrow(r, c));
  const matrix_view<const double> x = wide.view();
  need(exec.try_gemm(1.0, x, x.transposed(), 0.0, gram.view()));
  array<double> out = need(resect::linalg::try_symmetric_values(exec, matrix_view<const double>(gram.view()))).values;
  for (double& s : out) s = std::max(s, 0.0);
  return out;
}

double tail_share(const array<double>& squares, index_t rank) {
  double all = 0, rest = 0;
  for (index_t i = squares.size(); i-- > 0;) {
    all += squares[i];
    if (i >= rank) rest += squares[i];
  }
  return all > 0 ? rest / all : 0;
}

// The pair's first components, balanced: columns of L and rows of R have equal norms.
resect::factor::low_rank<float> leading(const resect::factor::low_rank<float>& whole, index_t rank) {
  resect::factor::low_rank<float> out{matrix<float>(whole.rows(), rank), matrix<float>(rank, whole.cols())};
  for (index_t k = 0; k < rank; ++k) {
    double left = 0, right = 0;
    for (index_t i = 0; i < whole.rows(); ++i) left += std::pow(static_cast<double>(whole.l(i, k)), 2);
    for (index_t j = 0; j < whole.cols(); ++j) right += std::pow(static_cast<double>(whole.r(k, j)), 2);
    const double by = left > 0 && right > 0 ? std::sqrt(std::sqrt(right / left)) : 1;
    for (index_t i = 0; i < whole.rows(); ++i)
      out.l(i, k) = static_cast<float>(static_cast<double>(whole.l(i, k)) * by);
    for (index_t j = 0; j < whole.cols(); ++j)
      out.r(k, j) = static_cast<float>(static_cast<double>(whole.r(k, j)) / by);
  }
  return out;
}

struct difference {
  double error, cosine;
};
difference compare(const matrix<float>& w, const matrix<float>& v) {
  double lost = 0, ww = 0, vv = 0, wv = 0;
  for (index_t i = 0; i < w.data.size(); ++i) {
    const double a = w.data[i], b = v.data[i];
    lost += (a - b) * (a - b);
    ww += a * a;
    vv += b * b;
    wv += a * b;
  }
  return {ww > 0 ? std::sqrt(lost / ww) : 0, ww > 0 && vv > 0 ? wv / std::sqrt(ww * vv) : 0};
}

}  // namespace

index_t low_rank_matrix::rank_of(double share) const noexcept {
  return std::clamp<index_t>(static_cast<index_t>(share * static_cast<double>(smaller()) + 0.5), 1, smaller());
}
double low_rank_matrix::forecast_error(index_t rank) const noexcept { return std::sqrt(tail_share(squares, rank)); }
double low_rank_matrix::forecast_loss(index_t rank) const noexcept {
  double kept = 0;
  for (index_t i = 0; i < std::min(rank, captured.size()); ++i) kept += captured[i];
  return total > 0 ? std::max(0.0, 1 - kept / total) : 0;
}

low_rank_matrix factorize(backend& exec, const resect::model::weight_desc& w, matrix_view<const float> values,
                          const resect::quant::hessian& h, double largest_share) {
  low_rank_matrix out;
  need(h.check_owner({0, w.layer, w.name.view()}));
  out.w = w;
  const index_t rank = out.rank_of(largest_share);
  out.squares = squared_singular_values(exec, values);
  out.svd = resect::factor::balanced_factors(
      need(resect::factor::try_truncated_svd(exec, values,
                                             {.rank = rank,
                                              .oversampling = rank,
                                              .power_iterations = 4,
                                              .error_probes = 0,
                                              .method = resect::factor::svd_method::subspace_iteration})));
  auto weighted = need(resect::factor::try_weighted_low_rank(exec, values, h, {.rank = rank}));
  out.weighted = std::move(weighted.factors);
  out.captured = std::move(weighted.spectrum);
  out.captured.resize(std::min(out.captured.size(), rank));
  out.total = weighted.quality.total;
  return out;
}

resect::result<resect::compress::quantized_factors<factors_8>> try_round_pair(backend& exec, const low_rank_matrix& m,
                                                                              pair_kind kind, index_t rank) {
  const auto pair = leading(kind == pair_kind::svd ? m.svd : m.weighted, rank);
  const matrix_view<const float> l = pair.l.view(), r = pair.r.view();
  auto left = resect::quant::try_quantize(exec, l.transposed(), factors_8{});
  if (!left) return left.error();
  auto right = resect::quant::try_quantize(exec, r, factors_8{});
  if (!right) return right.error();
  return resect::compress::quantized_factors<factors_8>{std::move(*left), std::move(*right)};
}

std::vector<matrix_loss> losses_of(backend& exec, const std::vector<low_rank_matrix>& matrices,
                                   const array<resect::quant::hessian>& h, const std::vector<matrix<float>>& values,
                                   const std::vector<double>& shares, std::uint64_t seed) {
  std::map<std::pair<index_t, index_t>, array<double>> null;  // σ² of a Gaussian matrix, by extents
  std::vector<matrix_loss> out;
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const auto& m = matrices[i];
    auto& random = null[{m.w.rows, m.w.cols}];
    if (random.empty()) {
      matrix<float> g(m.w.rows, m.w.cols);
      resect::random::fill_gaussian(g.data.span(), seed, 0, 0, 1.0);
      random = squared_singular_values(exec, g.view());
    }
    matrix<float> v(m.w.rows, m.w.cols);
    matrix<double> wide(m.w.rows, m.w.cols);
    for (const pair_kind kind : {pair_kind::svd, pair_kind::weighted})
      for (const double share : shares) {
        matrix_loss one{.matrix = i, .kind = kind, .share = share, .rank = m.rank_of(share)};
        need(leading(kind == pair_kind::svd ? m.svd : m.weighted, one.rank).try_to_dense(exec, v.view()));
        one.truncated = compare(values[i], v).error;
        need(need(try_round_pair(exec, m, kind, one.rank)).try_to_dense(exec, wide.view()));
        for (index_t k = 0; k < v.data.size(); ++k) v.data[k] = static_cast<float>(wide.data[k]);
        const auto d = compare(values[i], v);
        one.error = d.error;
        one.cosine = d.cosine;
        need(h[static_cast<index_t>(i)].check_owner({0, m.w.layer, m.w.name.view()}));
        const matrix_view<const float> was = values[i].view(), is = v.view();
        one.loss = need(resect::quant::try_h_loss(exec, was, is, h[static_cast<index_t>(i)])).relative();
        one.forecast = kind == pair_kind::svd ? m.forecast_error(one.rank) : m.forecast_loss(one.rank);
        one.null = std::sqrt(tail_share(random, one.rank));
        out.push_back(one);
      }
  }
  return out;
}

}  // namespace studies
