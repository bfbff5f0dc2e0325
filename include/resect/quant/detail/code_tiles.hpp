// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <numeric>

#include <resect/quant/quantized.hpp>

namespace RESECT_NAMESPACE::quant::detail {

// The codes of a quantized matrix, one at a time: which weights each stands for and which parameters it has.
template <static_format F>
class code_tiles {
 public:
  using grid = typename F::grid_type;
  using code = typename grid::code;
  using parameters = typename grid::parameters;
  static constexpr index_t height = grid_shape{grid::shape}.rows, width = grid_shape{grid::shape}.cols;
  static constexpr index_t size = height * width;

  explicit code_tiles(quantized<F>& q) noexcept : q_(q), layout_(q.layout()), per_row_((q.cols + width - 1) / width) {}

  index_t down() const noexcept { return (q_.rows + height - 1) / height; }
  index_t per_row() const noexcept { return per_row_; }
  const block_layout& layout() const noexcept { return layout_; }
  const F& format() const noexcept { return q_.format; }
  quantized<F>& matrix() const noexcept { return q_; }

  code& at(index_t row, index_t col) const noexcept { return q_.codes[row * per_row_ + col]; }
  // The group of a code.
  index_t group(index_t row, index_t col) const noexcept { return layout_.block_of(row * height, col * width); }
  const parameters& of(index_t group) const noexcept { return q_.parameters[group]; }

  // Rows of weights that share codes or parameters: what may be changed without changing another row. The matrix is
  // cut into bands of so many rows.
  index_t band() const noexcept {
    const index_t rows = std::max<index_t>(1, q_.rows);
    return layout_.height() >= q_.rows ? rows : std::min(rows, std::lcm(layout_.height(), height));
  }

  code encoded(const float* in, const parameters& p) const noexcept {
    return q_.format.grid.encode(std::span<const float>(in, static_cast<std::size_t>(size)), p);
  }
  void decode(const code& c, const parameters& p, float* out) const noexcept {
    q_.format.grid.decode(c, p, std::span<float>(out, static_cast<std::size_t>(size)));
  }

 private:
  quantized<F>& q_;
  block_layout layout_;
  index_t per_row_;
};

}  // namespace RESECT_NAMESPACE::quant::detail
