// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <optional>
#include <utility>

#include <resect/compress/decomposition.hpp>
#include <resect/compress/detail/decomposer.hpp>
#include <resect/compress/gaussian_reference.hpp>
#include <resect/core/finite.hpp>
#include <resect/linalg/symmetric_values.hpp>

// W ≈ Q + L·R, in the norm of what the matrix reads.
namespace RESECT_NAMESPACE::compress {

// How a matrix is decomposed.
struct decompose_options {
  index_t rank = 0;          // 0 … min(m, n); 0: Q alone
  int rounds = 20;           // of Q, then L·R, after the first pair; fewer where a round gains less than least_gain
  int trial_rounds = 2;      // of every start, before the best goes on
  double least_gain = 1e-4;  // share of the loss
  array<starting_point> starts{starting_point::quantized, starting_point::low_rank, starting_point::outliers,
                               starting_point::split_rank};
  code_choice codes = code_choice::feedback;  // of Q
  quant::gptq_options feedback{.sweeps = 4};  // where Q is rounded with feedback
  bool downdate = true;  // pairs whose Q is rounded in the norm of H less what R reads are tried, too
  factor_options factors;
};

namespace detail {

inline status check_decompose(const decompose_options& o, index_t rows, index_t cols) {
  const index_t most = rows < cols ? rows : cols;
  if (o.rank < 0 || o.rank > most)
    return error{errc::invalid_argument, "rank", text(o.rank), text("0 to ", most, ", the smaller extent of W")};
  if (o.rounds < 0 || o.trial_rounds < 0)
    return error{errc::invalid_argument, "rounds of decompose", text(o.rounds, ", trials of ", o.trial_rounds),
                 "at least 0"};
  if (!(o.least_gain >= 0 && o.least_gain < 1))
    return error{errc::invalid_argument, "least gain of a round", text(o.least_gain), "at least 0, less than 1"};
  if (o.starts.empty()) return error{errc::invalid_argument, "starts of decompose", "none", "at least one"};
  return {};
}

// The whole of H, in double.
inline matrix<double> whole_moment(const quant::moment_view& h) {
  matrix<double> out(h.size(), h.size());
  for (index_t i = 0; i < h.size(); ++i)
    for (index_t j = 0; j <= i; ++j) out(i, j) = out(j, i) = h(i, j);
  return out;
}

template <executor E>
result<double> try_reference(E& exec, matrix_view<const float> w, matrix_view<const double> h, double bits,
                             index_t rank) {
  const auto spectrum = linalg::try_symmetric_values(exec, h);
  if (!spectrum) return spectrum.error();
  double squares = 0;
  for (index_t r = 0; r < w.rows; ++r)
    for (index_t c = 0; c < w.cols; ++c) squares += static_cast<double>(w(r, c)) * static_cast<double>(w(r, c));
  const double count = static_cast<double>(w.rows) * static_cast<double>(w.cols);
  return try_gaussian_reference(spectrum->values.span(), w.rows, count > 0 ? squares / count : 0.0, bits, rank);
}

}  // namespace detail

// W (m, n) as Q + L·R with a small tr(E·H·Eᵀ), E = W − Q − L·R.
//   H (n, n): a hessian, or any symmetric positive semi-definite matrix; never inverted or damped but for the feedback of Q
//   (gptq_options::damping). Q in any format, its scales by any search; L and R in a format of their own.
//   From each start (starting_point) Q, then L·R are made `trial_rounds` times; the best start goes on for `rounds`.
//     Q:    W − L·R rounded afresh, and the codes there are improved by sweeps: the better of both.
//     L·R:  of A = W − Q the leading directions U of A·H·Aᵀ, L·R = U·Uᵀ·A, rounded by factor_rounder; and the rounded
//           factors there are, refitted to A: the better of both.
//     Both: Q rounded in the norm of H − H·Rᵀ(R·H·Rᵀ)⁺·R·H, what the best L leaves for this R, then L·R of W − Q; until
//           a round of the start gains less than least_gain by it (`downdate`).
//   A half step that does not lessen tr(E·H·Eᵀ), computed in double from the values that are stored, is not taken: the
//   loss of the pair never rises from one half step to the next, and the result is the pair of least loss of all.
//   Element types: W in float; H, sums and losses in double. `gaussian` is the reference of normal weights at the bits of Q.
//   Cost of a round: rounding W twice (gptq, with its sweeps), 8mn² + 16mnr + rn²·rounds of factors flop in double; with
//   the downdated pair about twice that, and 2n³/3.
//   Memory 8n²·3 + 8mn·8 bytes. Deterministic: the same bits for any number of workers, if the backend's products have that.
//   B rounds on the host (host_rounding_backend).
//   Errors: invalid_argument (rank, options, format), shape_mismatch, null_pointer, bad_stride, not_finite (W, H), those of
//   the search and of the backend.
//   Source: Saha, Sagan, Srivastava, Goldsmith & Pilanci, "Compressing LLMs using low rank and low precision decomposition"
//   (CALDERA), NeurIPS 2024, Alg. 1; Cho et al., "Outlier-driven low-rank initialization" (ODLRI; the start `outliers` is
//   of its kind). Keeping the loss from rising, the refit and the choice of starts are ours.
template <class B, quant::static_format Q, factor_format F, class S = quant::min_max>
  requires(host_rounding_backend<B> && quant::scale_search<S, typename Q::grid_type, typename Q::store_type>)
result<decomposition<Q, F>> try_decompose(B& exec, matrix_view<const float> w, const quant::moment_view& h,
                                          const Q& format, const F& factors, const decompose_options& options,
                                          const S& search = {}) {
  if (auto s = check_view(w, "W"); !s) return s.error();
  if (auto s = detail::check_decompose(options, w.rows, w.cols); !s) return s.error();
  if (auto s = h.check(exec, w.cols); !s) return s.error();
  if (auto s = quant::check_format(format, w.rows, w.cols); !s) return s.error();
  if (auto s = quant::detail::check_weights(exec, w, quant::largest_weight); !s) return s.error();
  const matrix<double> moment = detail::whole_moment(h);
  auto rounder = factor_rounder<B, F>::try_make(exec, moment.view(), factors, options.factors);
  if (!rounder) return rounder.error();
  using alternation = detail::decomposer<B, Q, F, S>;
  alternation at(exec, w, moment.view(), format, search, {options.codes, options.feedback, options.downdate}, *rounder,
                 options.rank);
  if (auto s = at.try_prepare(); !s) return s.error();

  array<decompose_step> steps;
  std::optional<typename alternation::state> best;
  for (const starting_point start : options.starts) {
    if (auto s = at.try_start(start, steps); !s) return s.error();
    const bool alone = options.starts.size() == 1 || options.rank == 0;
    for (int i = 0; !alone && i < options.trial_rounds; ++i)
      if (auto gained = at.try_round(options.least_gain, steps); !gained) return gained.error();
    if (!best || at.loss() < best->loss) best = at.take();
    if (options.rank == 0) break;
  }
  at.put(std::move(*best));
  for (int i = 0; i < options.rounds && options.rank > 0; ++i) {
    const auto gained = at.try_round(options.least_gain, steps);
    if (!gained) return gained.error();
    if (!*gained) break;
  }
  auto last = at.take();
  decomposition<Q, F> out = std::move(last.pair);
  out.loss = last.loss;
  out.weights = at.weights();
  out.start = last.start;
  out.steps = std::move(steps);
  const auto reference = detail::try_reference(exec, w, moment.view(), out.q.bits_per_weight(), options.rank);
  if (!reference) return reference.error();
  out.gaussian = *reference;
  return out;
}

// The same of any operand of floats.
template <class B, operand_of<float> W, quant::static_format Q, factor_format F, class S = quant::min_max>
  requires host_rounding_backend<B>
result<decomposition<Q, F>> try_decompose(B& exec, const W& w, const quant::moment_view& h, const Q& format,
                                          const F& factors, const decompose_options& options, const S& search = {}) {
  return on_view(w, "W", [&](matrix_view<const float> view) {
    return try_decompose(exec, view, h, format, factors, options, search);
  });
}

#if RESECT_EXCEPTIONS
template <class B, class W, quant::static_format Q, factor_format F, class S = quant::min_max>
  requires host_rounding_backend<B>
decomposition<Q, F> decompose(B& exec, const W& w, const quant::moment_view& h, const Q& format, const F& factors,
                              const decompose_options& options, const S& search = {}) {
  return value_or_throw(try_decompose(exec, w, h, format, factors, options, search));
}
#endif

}  // namespace RESECT_NAMESPACE::compress
