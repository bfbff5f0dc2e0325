// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/compress/decomposition.hpp>
#include <resect/core/operand.hpp>
#include <resect/model/host.hpp>
#include <resect/quant/apply.hpp>

// L·R and Q + L·R as bytes, and what a layer does with them.
namespace RESECT_NAMESPACE::compress {

namespace detail {
// The bytes of a quantized matrix and a view that refers to them; the bytes stay where they are when both move.
template <quant::static_format F>
struct packed_part {
  quant::packed bytes;
  quant::packed_matrix<F> view;

  status try_take(const quant::quantized<F>& from) {
    auto packed = quant::try_pack(from);
    if (!packed) return packed.error();
    bytes = std::move(*packed);
    auto made = quant::packed_matrix<F>::try_make(bytes.view());
    if (!made) return made.error();
    view = std::move(*made);
    return {};
  }
};
}  // namespace detail

// L·R, packed: an immutable object that is moved and not copied. L is stored by its columns.
template <factor_format F>
class packed_factors {
 public:
  // Errors: what the factors' check finds.
  static result<packed_factors> try_make(const quantized_factors<F>& from) {
    packed_factors out;
    if (auto s = from.check(); !s) return s.error();
    if (auto s = out.l_.try_take(from.l); !s) return s.error();
    if (auto s = out.r_.try_take(from.r); !s) return s.error();
    return out;
  }
  packed_factors(packed_factors&&) noexcept = default;
  packed_factors& operator=(packed_factors&&) noexcept = default;

  index_t rows() const noexcept { return l_.view.cols(); }
  index_t cols() const noexcept { return r_.view.cols(); }
  index_t rank() const noexcept { return r_.view.rows(); }
  // Bytes of L and of R as artifacts store them.
  quant::packed_view l() const noexcept { return l_.bytes.view(); }
  quant::packed_view r() const noexcept { return r_.bytes.view(); }
  index_t bytes() const noexcept { return l_.bytes.bytes.size() + r_.bytes.bytes.size(); }

  // Y ← β·Y + (X·Rᵀ)·Lᵀ: X (t, in), Y (t, out) of floats, any strides of an operand and an output; β = 0 ignores what Y
  // held. Class `exact` of quant/apply.hpp: 64 components at a time are dequantized.
  //   Cost 2tr(m + n) flop and a decode a number. Working memory 64·max(m, n) + t·r floats of `memory`, which grows once:
  //   later calls with no more rows take no memory but what the backend's products do. |error| ≤ that of try_gemm for each product. The same bits for any
  //   number of workers, if the backend's products have that. Y must not overlap X.
  //   Errors: shape_mismatch, null_pointer, bad_stride; nothing is written then.
  template <dense_backend<float> B>
    requires std::same_as<typename B::space, host_space>
  status try_apply(B& exec, matrix_view<const float> x, matrix_view<float> y, scratch& memory, float beta = 0) const {
    if (auto s = quant::detail::check_activations(x, y, rows(), cols()); !s) return s;
    scratch_frame frame(&memory);
    const matrix_view<float> hidden{frame.take<float>(x.rows * rank()).data(), x.rows, rank()};
    if (auto s = quant::try_apply(exec, r_.view, x, hidden, memory); !s) return s;
    constexpr index_t at_once = quant::detail::apply_rows;
    const auto tile = frame.take<float>((rank() < at_once ? rank() : at_once) * rows());
    for (index_t first = 0; first < rank(); first += at_once) {
      const index_t count = rank() - first < at_once ? rank() - first : at_once;
      exec.bulk(count, [&](index_t i) { l_.view.decode_rows(first + i, {tile.data() + i * rows(), 1, rows()}); });
      const matrix_view<const float> some = hidden.block(0, first, x.rows, count);
      const matrix_view<const float> columns{tile.data(), count, rows()};
      if (auto s = exec.try_gemm(1.0f, some, columns, first == 0 ? beta : 1.0f, y); !s) return s;
    }
    return {};
  }
  // The same of any operand and any output of floats.
  template <dense_backend<float> B, operand_of<float> X, output_of<float> Y>
    requires std::same_as<typename B::space, host_space>
  status try_apply(B& exec, const X& x, Y&& y, scratch& memory, float beta = 0) const {
    return on_view(x, "X", [&](matrix_view<const float> from) {
      return on_output(y, "Y", [&](matrix_view<float> to) { return try_apply(exec, from, to, memory, beta); });
    });
  }

 private:
  packed_factors() = default;
  template <quant::static_format, factor_format>
  friend class packed_decomposition;

  detail::packed_part<F> l_, r_;
};

// W ≈ Q + L·R, packed: an immutable object that is moved and not copied.
template <quant::static_format Q, factor_format F>
class packed_decomposition {
 public:
  // Errors: what the parts' check finds; shape_mismatch (factors of another matrix).
  static result<packed_decomposition> try_make(const decomposition<Q, F>& from) {
    packed_decomposition out;
    out.rank_ = from.rank();
    if (auto s = out.q_.try_take(from.q); !s) return s.error();
    if (out.rank_ == 0) return out;
    if (from.factors.rows() != from.rows() || from.factors.cols() != from.cols())
      return error{errc::shape_mismatch, "L·R", text(from.factors.rows(), " x ", from.factors.cols()),
                   text(from.rows(), " x ", from.cols(), ", as Q")};
    auto factors = packed_factors<F>::try_make(from.factors);
    if (!factors) return factors.error();
    out.factors_ = std::move(*factors);
    return out;
  }
  packed_decomposition(packed_decomposition&&) noexcept = default;
  packed_decomposition& operator=(packed_decomposition&&) noexcept = default;

  index_t rows() const noexcept { return q_.view.rows(); }
  index_t cols() const noexcept { return q_.view.cols(); }
  index_t rank() const noexcept { return rank_; }
  // Bytes of Q as artifacts store them; those of L and R are `factors`' (of rank 0: empty).
  quant::packed_view q() const noexcept { return q_.bytes.view(); }
  const packed_factors<F>& factors() const noexcept { return factors_; }
  index_t bytes() const noexcept { return q_.bytes.bytes.size() + factors_.bytes(); }

  // Y ← X·Qᵀ + (X·Rᵀ)·Lᵀ: what the layer does to rows of activations; as packed_factors::try_apply, 64 rows of Q are
  // dequantized at a time. Cost 2t·(mn + r(m + n)) flop and a decode a weight.
  template <dense_backend<float> B>
    requires std::same_as<typename B::space, host_space>
  status try_apply(B& exec, matrix_view<const float> x, matrix_view<float> y, scratch& memory) const {
    if (auto s = quant::try_apply(exec, q_.view, x, y, memory); !s || rank_ == 0) return s;
    return factors_.try_apply(exec, x, y, memory, 1.0f);
  }
  // The same of any operand and any output of floats.
  template <dense_backend<float> B, operand_of<float> X, output_of<float> Y>
    requires std::same_as<typename B::space, host_space>
  status try_apply(B& exec, const X& x, Y&& y, scratch& memory) const {
    return on_view(x, "X", [&](matrix_view<const float> from) {
      return on_output(y, "Y", [&](matrix_view<float> to) { return try_apply(exec, from, to, memory); });
    });
  }
#if RESECT_EXCEPTIONS
  template <dense_backend<float> B>
    requires std::same_as<typename B::space, host_space>
  void apply(B& exec, matrix_view<const float> x, matrix_view<float> y, scratch& memory) const {
    value_or_throw(try_apply(exec, x, y, memory));
  }
#endif

 private:
  packed_decomposition() = default;

  index_t rank_ = 0;
  detail::packed_part<Q> q_;
  packed_factors<F> factors_;
};

// A function for product_host::try_override_product: y := Q·x + L·(R·x), or L·(R·x), nothing of the host's own product. It
// owns the weights, packed_decomposition or packed_factors; `exec` and `memory` outlive it, and one pass at a time uses them.
template <class B, class Packed>
  requires(dense_backend<B, float> && std::same_as<typename B::space, host_space> &&
           requires(const Packed& p, B& exec, matrix_view<const float> x, matrix_view<float> y, scratch& memory) {
             { p.try_apply(exec, x, y, memory) } -> std::same_as<status>;
           })
model::product_function<float> product_of(B& exec, Packed weights, scratch& memory) {
  return [&exec, &memory, weights = std::move(weights)](const model::weight_desc&, matrix_view<const float> x,
                                                        matrix_view<float> y, model::own_product<float>) -> status {
    return weights.try_apply(exec, x, y, memory);
  };
}

}  // namespace RESECT_NAMESPACE::compress
