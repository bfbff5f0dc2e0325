// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/compress/decomposition.hpp>
#include <resect/model/host.hpp>
#include <resect/quant/apply.hpp>

// Q + L·R as bytes, and what a layer does with it.
namespace RESECT_NAMESPACE::compress {

// W ≈ Q + L·R, packed: an immutable object that is moved and not copied. L is stored by its columns.
template <quant::static_format Q, factor_format F>
class packed_decomposition {
 public:
  // Errors: what the parts' check finds; shape_mismatch (factors of another matrix).
  static result<packed_decomposition> try_make(const decomposition<Q, F>& from) {
    packed_decomposition out;
    out.rank_ = from.rank();
    if (auto s = out.try_take(from.q, out.q_bytes_, out.q_); !s) return s.error();
    if (out.rank_ == 0) return out;
    if (auto s = from.factors.check(); !s) return s.error();
    if (from.factors.rows() != from.rows() || from.factors.cols() != from.cols())
      return error{errc::shape_mismatch, "L·R", text(from.factors.rows(), " x ", from.factors.cols()),
                   text(from.rows(), " x ", from.cols(), ", as Q")};
    if (auto s = out.try_take(from.factors.l, out.l_bytes_, out.l_); !s) return s.error();
    if (auto s = out.try_take(from.factors.r, out.r_bytes_, out.r_); !s) return s.error();
    return out;
  }
  packed_decomposition(packed_decomposition&&) noexcept = default;
  packed_decomposition& operator=(packed_decomposition&&) noexcept = default;

  index_t rows() const noexcept { return q_.rows(); }
  index_t cols() const noexcept { return q_.cols(); }
  index_t rank() const noexcept { return rank_; }
  // Bytes of Q, of L, of R as artifacts store them; the last two are empty at rank 0.
  quant::packed_view q() const noexcept { return q_bytes_.view(); }
  quant::packed_view l() const noexcept { return l_bytes_.view(); }
  quant::packed_view r() const noexcept { return r_bytes_.view(); }
  index_t bytes() const noexcept { return q_bytes_.bytes.size() + l_bytes_.bytes.size() + r_bytes_.bytes.size(); }

  // Y ← X·Qᵀ + (X·Rᵀ)·Lᵀ: what the layer does to rows of activations. X (t, in), Y (t, out) of floats, any strides of an
  // operand and an output. Class `exact` of quant/apply.hpp: weights are dequantized in tiles, 64 rows of Q and of R and 64
  // columns of L at a time.
  //   Cost 2t·(mn + r(m + n)) flop and a decode a weight. Working memory 64·max(m, n) + t·r floats of `memory`, which grows
  //   once: later calls with no more rows allocate nothing. |error| ≤ that of try_gemm for each product. The same bits for
  //   any number of workers, if the backend's products have that. Y must not overlap X.
  //   Errors: shape_mismatch, null_pointer, bad_stride; nothing is written then.
  template <dense_backend<float> B>
    requires std::same_as<typename B::space, host_space>
  status try_apply(B& exec, matrix_view<const float> x, matrix_view<float> y, scratch& memory) const {
    if (auto s = quant::detail::check_activations(x, y, rows(), cols()); !s) return s;
    if (auto s = quant::try_apply(exec, q_, x, y, memory); !s || rank_ == 0) return s;
    scratch_frame frame(&memory);
    const matrix_view<float> hidden{frame.take<float>(x.rows * rank_).data(), x.rows, rank_};
    if (auto s = quant::try_apply(exec, r_, x, hidden, memory); !s) return s;
    constexpr index_t at_once = quant::detail::apply_rows;
    const auto tile = frame.take<float>((rank_ < at_once ? rank_ : at_once) * rows());
    for (index_t first = 0; first < rank_; first += at_once) {
      const index_t count = rank_ - first < at_once ? rank_ - first : at_once;
      exec.bulk(count, [&](index_t i) { l_.decode_rows(first + i, {tile.data() + i * rows(), 1, rows()}); });
      const matrix_view<const float> some = hidden.block(0, first, x.rows, count);
      const matrix_view<const float> columns{tile.data(), count, rows()};
      if (auto s = exec.try_gemm(1.0f, some, columns, 1.0f, y); !s) return s;
    }
    return {};
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

  // `view` refers to the bytes, which stay where they are when this object moves.
  template <quant::static_format Any>
  static status try_take(const quant::quantized<Any>& from, quant::packed& bytes, quant::packed_matrix<Any>& view) {
    auto packed = quant::try_pack(from);
    if (!packed) return packed.error();
    bytes = std::move(*packed);
    auto made = quant::packed_matrix<Any>::try_make(bytes.view());
    if (!made) return made.error();
    view = std::move(*made);
    return {};
  }

  index_t rank_ = 0;
  quant::packed q_bytes_, l_bytes_, r_bytes_;
  quant::packed_matrix<Q> q_;
  quant::packed_matrix<F> l_, r_;
};

// A function for product_host::try_override_product: y := Q·x + L·(R·x), nothing of the host's own product. The function
// owns the weights; `exec` and `memory` outlive it, and one pass at a time uses them.
template <class B, quant::static_format Q, factor_format F>
  requires(dense_backend<B, float> && std::same_as<typename B::space, host_space>)
model::product_function<float> product_of(B& exec, packed_decomposition<Q, F> weights, scratch& memory) {
  return [&exec, &memory, weights = std::move(weights)](const model::weight_desc&, matrix_view<const float> x,
                                                        matrix_view<float> y, model::own_product<float>) -> status {
    return weights.try_apply(exec, x, y, memory);
  };
}

}  // namespace RESECT_NAMESPACE::compress
