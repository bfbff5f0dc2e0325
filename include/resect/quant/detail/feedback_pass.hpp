// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <numeric>

#include <resect/quant/detail/code_tiles.hpp>
#include <resect/quant/detail/elimination.hpp>

// Rounding with feedback, by blocks of columns: within a block on rows side by side, between blocks by products.
namespace RESECT_NAMESPACE::quant::detail {

template <class T, static_format F>
class feedback_pass {
  using tiles = code_tiles<F>;
  static constexpr index_t side = 16;      // rows that one instruction takes
  static constexpr index_t columns = 128;  // of a block, at least
  static constexpr index_t lanes = std::lcm(side, tiles::height);
  static constexpr auto room = static_cast<std::size_t>(lanes);

 public:
  feedback_pass(matrix_view<const float> w, const elimination& e, double ridge, quantized<F>& q)
      : w_(w),
        e_(e),
        ridge_(ridge),
        tiles_(q),
        feedback_(w.rows, w.cols),
        error_(w.rows, columns + tiles::width),
        factor_((columns + tiles::width) * w.cols),
        loss_(w.rows) {}

  // Codes of all weights. → Σ d_k·z_k² − ridge·‖w − ŵ‖² of each row: its loss without the ridge, up to rounding.
  template <class B>
  result<array<double>> try_run(B& exec) {
    for (index_t last = e_.blocks(); last > 0;) {
      index_t first = last;
      while (first > 0 && e_.first[last] - e_.first[first] < columns) --first;
      const index_t begin = e_.first[first], end = e_.first[last];
      narrow_rows(exec, begin, end);
      exec.bulk(row_tasks(), [&](index_t task) { round_rows(task * lanes, first, last); });
      if (begin > 0) {
        const matrix_view<const T> error = error_.view().block(0, 0, w_.rows, end - begin);
        const matrix_view<const T> factor{factor_.data(), end - begin, begin, end};
        const T keep = end == w_.cols ? T{0} : T{1};
        if (auto s = exec.try_gemm(T{1}, error, factor, keep, feedback_.view().block(0, 0, w_.rows, begin)); !s)
          return s.error();
      }
      last = first;
    }
    return std::move(loss_);
  }

 private:
  index_t row_tasks() const noexcept { return (w_.rows + lanes - 1) / lanes; }

  // Rows [begin, end) of L, up to the block's end, as T: row t at (t − begin)·end.
  template <class E>
  void narrow_rows(E& exec, index_t begin, index_t end) {
    constexpr index_t rows_a_task = 8;
    exec.bulk((end - begin + rows_a_task - 1) / rows_a_task, [&](index_t task) {
      for (index_t t = begin + task * rows_a_task; t < std::min(end, begin + (task + 1) * rows_a_task); ++t)
        for (index_t k = 0; k < t; ++k) factor_[(t - begin) * end + k] = static_cast<T>(e_.l(t, k));
    });
  }

  // Blocks [first, last) of columns of up to `lanes` rows.
  void round_rows(index_t row, index_t first, index_t last) noexcept {
    const index_t rows = std::min(lanes, w_.rows - row), begin = e_.first[first], end = e_.first[last];
    T goal[(columns + tiles::width) * lanes];
    for (index_t r = 0; r < lanes; ++r)
      for (index_t k = begin; k < end; ++k) {
        const T got = r < rows && end < w_.cols ? feedback_(row + r, k) : T{0};
        goal[(k - begin) * lanes + r] = r < rows ? static_cast<T>(w_(row + r, e_.column[k])) + got : T{0};
      }
    double loss[room] = {};
    index_t group[lanes / tiles::height];  // the first of each row of codes
    for (index_t y = 0; y < lanes / tiles::height; ++y)
      group[y] = (row + y * tiles::height) / tiles_.layout().height() * tiles_.layout().per_row();
    for (index_t b = last - 1; b >= first; --b) {
      const index_t at = e_.first[b], wide = e_.first[b + 1] - at;
      T error[tiles::width * lanes];
      round_block(row, rows, b, group, goal + (at - begin) * lanes, error, loss);
      for (index_t i = 0; i < wide; ++i) {
        const T* const factor = factor_.data() + (at + i - begin) * end;
        const T* const from = error + i * lanes;
        for (index_t k = begin; k < at; ++k) {
          T* const to = goal + (k - begin) * lanes;
          for (index_t r = 0; r < lanes; ++r) to[r] += factor[k] * from[r];
        }
        for (index_t r = 0; r < rows; ++r) error_(row + r, at + i - begin) = from[r];
      }
    }
    for (index_t r = 0; r < rows; ++r) loss_[row + r] += loss[r];
  }

  // The codes of one block of columns; error (width × lanes) ← w − ŵ.
  void round_block(index_t row, index_t rows, index_t b, const index_t* group, const T* goal, T* error,
                   double* loss) noexcept {
    const index_t at = e_.first[b], wide = e_.first[b + 1] - at, col = e_.column[at];
    const index_t group_col = col / tiles_.layout().width();
    double difference[tiles::width * lanes] = {};
    for (index_t r = 0; r < lanes; r += tiles::height) {
      float in[tiles::size] = {}, out[tiles::size];
      if (r < rows) {
        for (index_t y = 0; y < std::min(tiles::height, rows - r); ++y)
          for (index_t x = 0; x < wide; ++x) in[y * tiles::width + x] = limited(goal[x * lanes + r + y]);
        const auto& p = tiles_.of(group[r / tiles::height] + group_col);
        const auto code = tiles_.encoded(in, p);
        tiles_.at((row + r) / tiles::height, col / tiles::width) = code;
        tiles_.decode(code, p, out);
      }
      for (index_t y = 0; y < tiles::height; ++y)
        for (index_t x = 0; x < wide; ++x) {
          const bool inside = r + y < rows;
          const T value = inside ? static_cast<T>(out[y * tiles::width + x]) : T{0};
          error[x * lanes + r + y] = inside ? static_cast<T>(w_(row + r + y, col + x)) - value : T{0};
          difference[x * lanes + r + y] = inside ? static_cast<double>(goal[x * lanes + r + y] - value) : 0.0;
        }
    }
    for (index_t k = 0; k < wide; ++k)
      for (index_t r = 0; r < lanes; ++r) {
        double z = difference[k * lanes + r];
        for (index_t p = k + 1; p < wide; ++p) z += difference[p * lanes + r] * e_.l(at + p, at + k);
        const double e = static_cast<double>(error[k * lanes + r]);
        loss[r] += e_.d[at + k] * z * z - ridge_ * e * e;
      }
  }
  // Errors that pile up on a nearly singular H must not leave what a grid can encode.
  static float limited(T x) noexcept {
    constexpr T most = T{largest_weight};
    return static_cast<float>(x > most ? most : x < -most ? -most : x == x ? x : T{0});
  }

  matrix_view<const float> w_;
  const elimination& e_;
  double ridge_;
  tiles tiles_;
  resect::matrix<T> feedback_, error_;  // what weights got of errors, by position
  array<T> factor_;
  array<double> loss_;
};

}  // namespace RESECT_NAMESPACE::quant::detail
