// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <resect/compress/quantized_factors.hpp>
#include <resect/core/operand.hpp>

namespace RESECT_NAMESPACE::compress {

// What a decomposition starts from: what Q rounds first.
enum class starting_point : std::uint8_t {
  quantized,   // W itself
  low_rank,    // W less its best L·R in the norm of H
  outliers,    // W less its best L·R in the norm of H restricted to its `rank` columns of the largest h_jj
  split_rank,  // W less its best L·R of half the rank
};

// As tables call it.
constexpr std::string_view name(starting_point s) noexcept {
  constexpr std::string_view names[] = {"quantized first", "low rank first", "outliers first", "split rank"};
  return names[static_cast<std::size_t>(s)];
}

// Half a round, and the loss after it.
struct decompose_step {
  enum class kind : std::uint8_t { quantize, low_rank, downdated };
  kind what = kind::quantize;
  starting_point start = starting_point::quantized;
  int round = 0;
  double loss = 0;  // tr(E·H·Eᵀ) of what this half step made, in double
  double best = 0;  // of the best pair since this start: what the next half step goes on from
};

// W ≈ Q + L·R, all three of them quantized.
template <quant::static_format Q, factor_format F>
struct decomposition {
  quant::quantized<Q> q;         // (m, n)
  quantized_factors<F> factors;  // of rank r
  double loss = 0;               // tr(E·H·Eᵀ), E = W − Q − L·R, in double
  double weights = 0;            // tr(W·H·Wᵀ)
  double gaussian = 0;  // what normal weights would lose (gaussian_reference.hpp), at the bits of Q and this rank
  starting_point start = starting_point::quantized;  // of the pair that is kept
  array<decompose_step> steps;                       // all that were made, in their order

  index_t rows() const noexcept { return q.rows; }
  index_t cols() const noexcept { return q.cols; }
  index_t rank() const noexcept { return factors.rank(); }
  // 0/0 = 0
  double relative_loss() const noexcept { return loss == 0 ? 0.0 : loss / weights; }
  double over_gaussian() const noexcept { return gaussian > 0 ? loss / gaussian : 0.0; }

  // Codes, scales, zero points and headers of Q, L and R: exact, without names and extents.
  double stored_bits() const noexcept { return q.stored_bits() + factors.stored_bits(); }
  double bits_per_weight() const noexcept {
    return rows() == 0 || cols() == 0 ? 0.0
                                      : stored_bits() / (static_cast<double>(rows()) * static_cast<double>(cols()));
  }

  // out ← Q + L·R, summed in double and rounded once. Cost 2mnr flop and 8mn bytes.
  // Errors: what the parts' check finds; shape_mismatch, null_pointer or bad_stride for `out`; those of the backend.
  template <dense_backend<double> B>
    requires std::same_as<typename B::space, host_space>
  status try_to_dense(B& exec, matrix_view<float> out) const {
    matrix<double> sum(rows(), cols());
    if (rank() > 0)
      if (auto s = factors.try_to_dense(exec, sum.view()); !s) return s;
    if (auto s = quant::try_dequantize(exec, q, out); !s) return s;
    exec.bulk(rows(), [&](index_t r) {
      for (index_t c = 0; c < cols(); ++c) out(r, c) = static_cast<float>(static_cast<double>(out(r, c)) + sum(r, c));
    });
    return {};
  }
  // The same for any output of floats.
  template <dense_backend<double> B, output_of<float> W>
    requires std::same_as<typename B::space, host_space>
  status try_to_dense(B& exec, W&& out) const {
    return on_output(out, "out", [&](matrix_view<float> to) { return try_to_dense(exec, to); });
  }
#if RESECT_EXCEPTIONS
  template <dense_backend<double> B>
    requires std::same_as<typename B::space, host_space>
  matrix<float> to_dense(B& exec) const {
    matrix<float> out(rows(), cols());
    value_or_throw(try_to_dense(exec, out.view()));
    return out;
  }
#endif
};

}  // namespace RESECT_NAMESPACE::compress
