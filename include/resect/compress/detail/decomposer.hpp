// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <limits>
#include <utility>

#include <resect/compress/decomposition.hpp>
#include <resect/compress/factor_rounder.hpp>
#include <resect/core/copy.hpp>
#include <resect/factor/weighted_low_rank.hpp>

// The alternation of try_decompose, for one matrix: half steps that keep a pair only where its loss falls.
namespace RESECT_NAMESPACE::compress::detail {

// How Q is rounded.
struct q_rounding {
  code_choice codes = code_choice::feedback;
  quant::gptq_options feedback;
  bool downdate = true;  // with feedback alone
};

template <class B, quant::static_format Q, factor_format F, class S>
class decomposer {
 public:
  decomposer(B& exec, matrix_view<const float> w, matrix_view<const double> h, const Q& format, const S& search,
             const q_rounding& rounding, factor_rounder<B, F>& factors, index_t rank)
      : exec_(exec),
        h_(h),
        format_(format),
        search_(search),
        rounding_(rounding),
        factors_(factors),
        rank_(rank),
        w_(w.rows, w.cols) {
    for (index_t r = 0; r < w.rows; ++r)
      for (index_t c = 0; c < w.cols; ++c) w_(r, c) = static_cast<double>(w(r, c));
  }

  // Eliminates H, and finds the leading directions of W. Errors: those of prepared_gptq, of the backend.
  status try_prepare() {
    if (rounding_.codes == code_choice::feedback) {
      auto rule = quant::prepared_gptq::try_make(exec_, h_, rounding_.feedback,
                                                 quant::grid_shape{Q::grid_type::shape}.cols, format_.group);
      if (!rule) return rule.error();
      rule_ = std::move(*rule);
    }
    const matrix<double> nothing(w_.rows, w_.cols);
    const auto weights = try_loss(nothing, nothing);
    if (!weights) return weights.error();
    weights_ = *weights;
    if (rank_ == 0) return {};
    auto top = factor::try_weighted_low_rank(exec_, w_.view(), h_, {.rank = rank_, .seed = seed()});
    if (!top) return top.error();
    top_ = std::move(top->factors.l);
    return {};
  }

  // The pair of a start: Q of what it says, then L·R. Forgets the pair before it.
  status try_start(starting_point start, array<decompose_step>& steps) {
    start_ = start;
    round_ = 0;
    downdates_ = rounding_.downdate && rounding_.codes == code_choice::feedback && rank_ > 0;
    loss_ = std::numeric_limits<double>::infinity();
    pair_ = {};
    q_values_.resize(0, 0);
    lr_values_ = matrix<double>(w_.rows, w_.cols);
    if (auto s = try_first_part(start); !s) return s;
    if (auto s = try_quantize(steps, lr_values_); !s) return s;
    return try_low_rank(steps);
  }
  // Half steps with Q, then with L·R. → whether the loss fell by more than a share of itself.
  result<bool> try_round(double least_gain, array<decompose_step>& steps) {
    ++round_;
    const double before = loss_;
    if (auto s = try_quantize(steps, lr_values_); !s) return s.error();
    if (auto s = try_low_rank(steps); !s) return s.error();
    if (downdates_) {
      const double regular = loss_;
      if (auto s = try_downdated(steps); !s) return s.error();
      downdates_ = loss_ < regular * (1 - least_gain);
    }
    return loss_ < before * (1 - least_gain);
  }

  double loss() const noexcept { return loss_; }
  double weights() const noexcept { return weights_; }
  decomposition<Q, F>& pair() noexcept { return pair_; }

  // Everything that a start has made, to go on with it later.
  struct state {
    starting_point start;
    int round;
    double loss;
    decomposition<Q, F> pair;
    matrix<double> q_values, lr_values;
    bool downdates;
  };
  state take() {
    return {start_, round_, loss_, std::move(pair_), std::move(q_values_), std::move(lr_values_), downdates_};
  }
  void put(state s) {
    start_ = s.start;
    round_ = s.round;
    loss_ = s.loss;
    pair_ = std::move(s.pair);
    q_values_ = std::move(s.q_values);
    lr_values_ = std::move(s.lr_values);
    downdates_ = s.downdates;
  }

 private:
  std::uint64_t seed() const noexcept { return factors_.options().seed; }

  // lr_values ← the part of W that Q leaves out at first; a pair of factors is not made of it.
  status try_first_part(starting_point start) {
    if (rank_ == 0 || start == starting_point::quantized) return {};
    if (start == starting_point::outliers) return try_outliers();
    const index_t used = start == starting_point::split_rank ? (rank_ + 1) / 2 : rank_;
    return try_project(top_.view().block(0, 0, w_.rows, used));
  }
  // lr_values ← U·Uᵀ·W.
  status try_project(matrix_view<const double> u) {
    matrix<double> right(u.cols, w_.cols);
    if (auto s = exec_.try_gemm(1.0, u.transposed(), w_.view(), 0.0, right.view()); !s) return s;
    return exec_.try_gemm(1.0, u, right.view(), 0.0, lr_values_.view());
  }
  // H restricted to columns S has rank |S| = rank: U spans W_S·H_S^½.
  status try_outliers() {
    array<index_t> order(w_.cols);
    for (index_t i = 0; i < w_.cols; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](index_t a, index_t b) { return h_(a, a) > h_(b, b); });
    matrix<double> some(w_.rows, rank_), moment(rank_, rank_);
    for (index_t j = 0; j < rank_; ++j) {
      for (index_t r = 0; r < w_.rows; ++r) some(r, j) = w_(r, order[j]);
      for (index_t i = 0; i < rank_; ++i) moment(i, j) = h_(order[i], order[j]);
    }
    const auto top = factor::try_weighted_low_rank(
        exec_, some.view(), moment.view(), {.rank = rank_, .seed = seed(), .loss = factor::loss_report::left_out});
    if (!top) return top.error();
    return try_project(top->factors.l.view());
  }

  // E = W − Q − L·R → tr(E·H·Eᵀ), in double.
  result<double> try_loss(const matrix<double>& q, const matrix<double>& lr) {
    matrix<double> e(w_.rows, w_.cols), eh(w_.rows, w_.cols);
    exec_.bulk(w_.rows, [&](index_t r) {
      for (index_t c = 0; c < w_.cols; ++c) e(r, c) = w_(r, c) - q(r, c) - lr(r, c);
    });
    if (auto s = exec_.try_gemm(1.0, e.view(), h_, 0.0, eh.view()); !s) return s.error();
    return std::max(0.0, dot_all(e, eh));
  }
  void note(array<decompose_step>& steps, decompose_step::kind what, double loss) const {
    steps.push_back({what, start_, round_, loss, loss_});
  }

  // Q of W − L·R: rounded afresh, and what it has improved; the better one, where it is better than the pair's.
  status try_quantize(array<decompose_step>& steps, const matrix<double>& lr) {
    matrix<float> goal(w_.rows, w_.cols);
    exec_.bulk(w_.rows, [&](index_t r) {
      for (index_t c = 0; c < w_.cols; ++c) goal(r, c) = static_cast<float>(w_(r, c) - lr(r, c));
    });
    const bool first = q_values_.empty();
    double best = std::numeric_limits<double>::infinity();
    auto fresh = rounding_.codes == code_choice::nearest
                     ? quant::try_quantize(exec_, goal.view(), format_, quant::nearest{}, search_)
                     : quant::try_quantize(exec_, goal.view(), format_, rule_, search_);
    if (!fresh) return fresh.error();
    if (auto s = try_accept(std::move(*fresh), lr, best); !s) return s;
    if (!first && rounding_.codes == code_choice::feedback && rounding_.feedback.sweeps > 0) {
      quant::quantized<Q> improved = pair_.q;
      if (auto s = rule_.try_improve(exec_, goal.view(), improved); !s) return s;
      if (auto s = try_accept(std::move(improved), lr, best); !s) return s;
    }
    note(steps, decompose_step::kind::quantize, best);
    return {};
  }
  // Before there are factors (the first half step) every Q is accepted.
  status try_accept(quant::quantized<Q> q, const matrix<double>& lr, double& best) {
    matrix<float> narrow(w_.rows, w_.cols);
    if (auto s = quant::try_dequantize(exec_, q, narrow.view()); !s) return s;
    matrix<double> values(w_.rows, w_.cols);
    for (index_t i = 0; i < values.data.size(); ++i) values.data[i] = static_cast<double>(narrow.data[i]);
    const bool first = pair_.factors.rank() == 0 && rank_ > 0;
    const auto loss = try_loss(values, first ? matrix<double>(w_.rows, w_.cols) : lr);
    if (!loss) return loss.error();
    best = std::min(best, *loss);
    if (!first && !(*loss < loss_)) return {};
    loss_ = *loss;
    pair_.q = std::move(q);
    q_values_ = std::move(values);
    return {};
  }

  // L·R of W − Q: from its leading directions, and from the factors that there are.
  status try_low_rank(array<decompose_step>& steps) {
    if (rank_ == 0) return {};
    auto made = try_fit(q_values_);
    if (!made) return made.error();
    if (made->loss < loss_ || pair_.factors.rank() == 0) {
      loss_ = made->loss;
      pair_.factors = std::move(made->factors);
      lr_values_ = std::move(made->values);
    }
    note(steps, decompose_step::kind::low_rank, made->loss);
    return {};
  }
  struct fitted {
    quantized_factors<F> factors;
    matrix<double> values;  // L·R
    double loss = 0;
  };
  result<fitted> try_fit(const matrix<double>& q) {
    matrix<double> a(w_.rows, w_.cols), l, r;
    for (index_t i = 0; i < a.data.size(); ++i) a.data[i] = w_.data[i] - q.data[i];
    const auto top = factor::try_weighted_low_rank(exec_, a.view(), h_, {.rank = rank_, .seed = seed()});
    if (!top) return top.error();
    const double whole = top->quality.total;
    if (auto s = factors_.try_basis(a.view(), top->factors.l, top->spectrum.span(), l, r); !s) return s.error();
    auto made = factors_.try_round(a.view(), whole, std::move(l), std::move(r));
    if (!made) return made.error();
    if (pair_.factors.rank() > 0) {
      auto again = try_refit(a.view(), whole);
      if (!again) return again.error();
      if (again->loss < made->loss) *made = std::move(*again);
    }
    fitted out{std::move(made->factors), matrix<double>(w_.rows, w_.cols)};
    if (auto s = out.factors.try_to_dense(exec_, out.values.view()); !s) return s.error();
    const auto loss = try_loss(q, out.values);
    if (!loss) return loss.error();
    out.loss = *loss;
    return out;
  }

  // A pair whose Q leaves to L what R reads: Q rounded in the norm of the downdated H, then L·R of W − Q. The pair is
  // taken where its loss is less.
  status try_downdated(array<decompose_step>& steps) {
    auto norm = try_downdate();
    if (!norm) return norm.error();
    auto rule = quant::prepared_gptq::try_make(exec_, norm->view(), rounding_.feedback,
                                               quant::grid_shape{Q::grid_type::shape}.cols, format_.group);
    if (!rule) return rule.error();
    matrix<float> goal(w_.rows, w_.cols);
    for (index_t i = 0; i < goal.data.size(); ++i) goal.data[i] = static_cast<float>(w_.data[i] - lr_values_.data[i]);
    auto q = quant::try_quantize(exec_, goal.view(), format_, *rule, search_);
    if (!q) return q.error();
    if (auto s = quant::try_dequantize(exec_, *q, goal.view()); !s) return s;
    matrix<double> values(w_.rows, w_.cols);
    for (index_t i = 0; i < values.data.size(); ++i) values.data[i] = static_cast<double>(goal.data[i]);
    auto made = try_fit(values);
    if (!made) return made.error();
    if (made->loss < loss_) {
      loss_ = made->loss;
      pair_.q = std::move(*q);
      pair_.factors = std::move(made->factors);
      q_values_ = std::move(values);
      lr_values_ = std::move(made->values);
    }
    note(steps, decompose_step::kind::downdated, made->loss);
    return {};
  }
  // H − H·Rᵀ·(R·H·Rᵀ)⁺·R·H: tr(A·that·Aᵀ) is the least of tr((A − L·R)·H·(A − L·R)ᵀ) over L.
  result<matrix<double>> try_downdate() {
    const auto r = quantized_factors<F>::try_values(exec_, pair_.factors.r);
    if (!r) return r.error();
    matrix<double> read(rank_, h_.cols), moment(rank_, rank_), part(rank_, h_.cols), out(h_.rows, h_.cols);
    if (auto s = exec_.try_gemm(1.0, r->view(), h_, 0.0, read.view()); !s) return s.error();
    if (auto s = exec_.try_gemm(1.0, read.view(), r->view().transposed(), 0.0, moment.view()); !s) return s.error();
    for (index_t i = 0; i < rank_; ++i)
      for (index_t j = 0; j < i; ++j) moment(i, j) = moment(j, i) = 0.5 * (moment(i, j) + moment(j, i));
    const auto inverse = try_pseudo_inverse(exec_, moment);
    if (!inverse) return inverse.error();
    if (auto s = exec_.try_gemm(1.0, inverse->view(), read.view(), 0.0, part.view()); !s) return s.error();
    copy(h_, out.view());
    if (auto s = exec_.try_gemm(-1.0, read.view().transposed(), part.view(), 1.0, out.view()); !s) return s.error();
    for (index_t i = 0; i < out.rows; ++i) {
      for (index_t j = 0; j < i; ++j) out(i, j) = out(j, i) = 0.5 * (out(i, j) + out(j, i));
      out(i, i) = std::max(0.0, out(i, i));
    }
    return out;
  }
  // Factors that go on from those of the pair.
  result<rounded_factors<F>> try_refit(matrix_view<const double> a, double whole) {
    auto components = quantized_factors<F>::try_values(exec_, pair_.factors.l);
    if (!components) return components.error();
    matrix<double> l(w_.rows, rank_), gram(rank_, rank_), la(rank_, w_.cols), r(rank_, w_.cols);
    for (index_t i = 0; i < w_.rows; ++i)
      for (index_t c = 0; c < rank_; ++c) l(i, c) = (*components)(c, i);
    if (auto s = exec_.try_gemm(1.0, l.view().transposed(), l.view(), 0.0, gram.view()); !s) return s.error();
    auto inverse = try_pseudo_inverse(exec_, gram);
    if (!inverse) return inverse.error();
    if (auto s = exec_.try_gemm(1.0, l.view().transposed(), a, 0.0, la.view()); !s) return s.error();
    if (auto s = exec_.try_gemm(1.0, inverse->view(), la.view(), 0.0, r.view()); !s) return s.error();
    return factors_.try_round(a, whole, std::move(l), std::move(r));
  }

  B& exec_;
  matrix_view<const double> h_;
  const Q& format_;
  const S& search_;
  q_rounding rounding_;
  factor_rounder<B, F>& factors_;
  index_t rank_;
  matrix<double> w_;
  quant::prepared_gptq rule_;
  matrix<double> top_;  // leading directions of W
  double weights_ = 0;

  starting_point start_ = starting_point::quantized;
  int round_ = 0;
  bool downdates_ = true;  // until a round gains nothing by it
  double loss_ = 0;
  decomposition<Q, F> pair_;
  matrix<double> q_values_, lr_values_;
};

}  // namespace RESECT_NAMESPACE::compress::detail
