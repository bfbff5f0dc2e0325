// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>

#include <resect/linalg/ldl.hpp>
#include <resect/quant/detail/code_tiles.hpp>
#include <resect/quant/moment_view.hpp>

// Descent on (w − ŵ)·H·(w − ŵ)ᵀ in double, code by code and scale by scale, for some rows of a matrix.
namespace RESECT_NAMESPACE::quant::detail {

// What a change has to gain, of the change's own size z·H·zᵀ: gradients are exact to much less, so the loss falls.
inline constexpr double least_gain = 0x1p-30;

// H of the columns of one code, small: solves x·H = g, with 0 where a pivot vanishes and beyond the matrix.
template <index_t Width>
class small_moment {
  static constexpr auto width_ = static_cast<std::size_t>(Width);

 public:
  // From rows of H (stride apart), at the code's first column.
  void set(const double* h, index_t stride, index_t width) noexcept {
    const auto at = [&](index_t i, index_t j) { return i < width ? h[i * stride + j] : 0.0; };
    for (index_t j = 0; j < Width && j < width; ++j) {
      double pivot = at(j, j);
      const double least = linalg::least_pivot(Width) * pivot;
      for (index_t p = 0; p < j; ++p) pivot -= l(j, p) * l(j, p) * d_[p];
      d_[j] = pivot > least && pivot > 0 ? pivot : 0.0;
      for (index_t i = j + 1; i < Width; ++i) {
        double s = at(i, j);
        for (index_t p = 0; p < j; ++p) s -= l(i, p) * l(j, p) * d_[p];
        l(i, j) = d_[j] > 0 ? s / d_[j] : 0.0;
      }
    }
  }
  void solve(double (&g)[width_]) const noexcept {
    for (index_t i = 0; i < Width; ++i)
      for (index_t p = 0; p < i; ++p) g[i] -= l(i, p) * g[p];
    for (index_t i = 0; i < Width; ++i) g[i] = d_[i] > 0 ? g[i] / d_[i] : 0.0;
    for (index_t i = Width; i-- > 0;)
      for (index_t p = i + 1; p < Width; ++p) g[i] -= l(p, i) * g[p];
  }

 private:
  double& l(index_t i, index_t j) noexcept { return l_[i * Width + j]; }
  double l(index_t i, index_t j) const noexcept { return l_[i * Width + j]; }

  double l_[width_ * width_] = {}, d_[width_] = {};
};

template <class B, static_format F>
class descent {
  using tiles = code_tiles<F>;
  using code = typename tiles::code;
  using parameters = typename tiles::parameters;
  static constexpr index_t columns = (128 + tiles::width - 1) / tiles::width * tiles::width;  // of a block

 public:
  // For rows [first, first + rows), which share no codes and no parameters with other rows.
  descent(B& exec, matrix_view<const float> w, const moment_view& h, quantized<F>& q, index_t first, index_t rows)
      : exec_(exec),
        w_(w),
        h_(h),
        tiles_(q),
        first_(first),
        rows_(rows),
        error_(rows, w.cols),
        gradient_(rows, w.cols),
        change_(rows, columns),
        h_rows_(columns, w.cols) {}

  // E = W − Ŵ and E·H of the codes as they are now. Cost 2mn² flop.
  status try_start() {
    each_band([&](index_t row) {
      for (index_t r = row; r < std::min(rows_, row + band_); r += tiles::height)
        for (index_t c = 0; c < w_.cols; c += tiles::width) read_error(r, c);
    });
    for (index_t c = 0; c < w_.cols; c += columns) {
      const index_t n = std::min(columns, w_.cols - c);
      read_h(c, n);
      if (auto s = multiply(error_.view().block(0, c, rows_, n), 1.0, c == 0 ? 0.0 : 1.0, 0, w_.cols); !s) return s;
    }
    return {};
  }

  // (w − ŵ)·H·(w − ŵ)ᵀ of a row, without the ridge.
  double loss(index_t row) const noexcept {
    double sum = 0;
    for (index_t c = 0; c < w_.cols; ++c) sum += error_(row, c) * (gradient_(row, c) - h_.ridge() * error_(row, c));
    return sum > 0 ? sum : 0.0;
  }

  // Every code once, to the nearest of where the loss of its row is least, if that lessens the loss. → codes changed.
  result<index_t> try_sweep() {
    array<index_t> changed(tasks());
    index_t before = 0, after = 0;
    for (index_t c = 0; c < w_.cols; c += columns) {
      const index_t n = std::min(columns, w_.cols - c);
      read_h(c, n);
      array<small_moment<tiles::width>> blocks((n + tiles::width - 1) / tiles::width);
      for (index_t b = 0; b < blocks.size(); ++b)
        blocks[b].set(&h_rows_(b * tiles::width, c + b * tiles::width), w_.cols,
                      std::min(tiles::width, n - b * tiles::width));
      each_band([&](index_t row) {
        for (index_t r = row; r < std::min(rows_, row + band_); r += tiles::height) {
          for (index_t y = r; y < std::min(rows_, r + tiles::height); ++y)
            for (index_t k = 0; k < n; ++k) change_(y, k) = 0;
          for (index_t b = 0; b < blocks.size(); ++b)
            changed[row / band_] += improve(r, c, b * tiles::width, n, blocks[b]);
        }
      });
      after = 0;
      for (const index_t count : changed) after += count;
      if (after == before) continue;
      before = after;
      const auto change = change_.view().block(0, 0, rows_, n);
      if (auto s = multiply(change, -1.0, 1.0, 0, c); !s) return s.error();
      if (auto s = multiply(change, -1.0, 1.0, c + n, w_.cols); !s) return s.error();
    }
    return after;
  }

  // The scale of every group once, to the nearest that exists of where the loss is least for its codes, if that lessens
  // the loss. → groups changed.
  result<index_t> try_refit() {
    const block_layout& layout = tiles_.layout();
    index_t count = 0;
    for (index_t g = 0; g < layout.per_row(); ++g) {
      auto changed = refit_groups(g);
      if (!changed) return changed;
      count += *changed;
    }
    return count;
  }

 private:
  static constexpr index_t band_ = std::max<index_t>(16, tiles::height) / tiles::height * tiles::height;

  index_t tasks() const noexcept { return (rows_ + band_ - 1) / band_; }
  template <class Work>
  void each_band(Work work) {
    exec_.bulk(tasks(), [&](index_t task) { work(task * band_); });
  }
  void read_h(index_t col, index_t n) {
    exec_.bulk(n, [&](index_t i) { read_row(h_, col + i, 0, w_.cols, &h_rows_(i, 0)); });
  }
  // gradient(:, begin … end) ← α·X·H(rows that were read, the same columns) + β·gradient.
  status multiply(matrix_view<const double> x, double alpha, double beta, index_t begin, index_t end) {
    if (begin == end) return {};
    const matrix_view<const double> h = h_rows_.view().block(0, begin, x.cols, end - begin);
    return exec_.try_gemm(alpha, x, h, beta, gradient_.view().block(0, begin, rows_, end - begin));
  }

  // Whether a change of size z·H·zᵀ gains with the ridge and without it.
  bool lessens(double gain, double size, double shrink) const noexcept {
    const double least = least_gain * size, without = gain - h_.ridge() * shrink;
    return gain > least && gain > 0 && without > least && without > 0;
  }
  index_t code_row(index_t r) const noexcept { return (first_ + r) / tiles::height; }
  void values(index_t r, index_t c, const parameters& p, float* out) const noexcept {
    tiles_.decode(tiles_.at(code_row(r), c / tiles::width), p, out);
  }
  const parameters& parameters_of(index_t r, index_t c) const noexcept {
    return tiles_.of(tiles_.layout().block_of(first_ + r, c));
  }
  void read_error(index_t r, index_t c) noexcept {
    float value[tiles::size];
    values(r, c, parameters_of(r, c), value);
    for (index_t y = 0; y < std::min(tiles::height, rows_ - r); ++y)
      for (index_t x = 0; x < std::min(tiles::width, w_.cols - c); ++x)
        error_(r + y, c + x) =
            static_cast<double>(w_(first_ + r + y, c + x)) - static_cast<double>(value[y * tiles::width + x]);
  }

  // One code of rows from r on, at column `col + at` of the block [col, col + n). → 1 if it changed.
  index_t improve(index_t r, index_t col, index_t at, index_t n, const small_moment<tiles::width>& moment) noexcept {
    const index_t c = col + at, high = std::min(tiles::height, rows_ - r), wide = std::min(tiles::width, n - at);
    const parameters& p = parameters_of(r, c);
    code& here = tiles_.at(code_row(r), c / tiles::width);
    float old[tiles::size], goal[tiles::size] = {}, now[tiles::size];
    tiles_.decode(here, p, old);
    for (index_t y = 0; y < high; ++y) {
      double step[tiles::width] = {};
      for (index_t x = 0; x < wide; ++x) step[x] = gradient_(r + y, c + x);
      moment.solve(step);
      for (index_t x = 0; x < wide; ++x) {
        const double to = static_cast<double>(old[y * tiles::width + x]) + step[x];
        const double most = largest_weight;
        goal[y * tiles::width + x] = static_cast<float>(std::min(std::max(to, -most), most));
      }
    }
    const code candidate = tiles_.encoded(goal, p);
    tiles_.decode(candidate, p, now);
    double z[tiles::size] = {}, gain = 0, size = 0, shrink = 0;  // shrink: of ‖w − ŵ‖²
    for (index_t y = 0; y < high; ++y) {
      double* const of_row = z + y * tiles::width;
      for (index_t x = 0; x < wide; ++x)
        of_row[x] = static_cast<double>(now[y * tiles::width + x]) - static_cast<double>(old[y * tiles::width + x]);
      for (index_t x = 0; x < wide; ++x) {
        double zh = 0;
        for (index_t i = 0; i < wide; ++i) zh += of_row[i] * h_rows_(at + i, c + x);
        gain += of_row[x] * (2 * gradient_(r + y, c + x) - zh);
        size += of_row[x] * zh;
        shrink += of_row[x] * (2 * error_(r + y, c + x) - of_row[x]);
      }
    }
    if (!lessens(gain, size, shrink)) return 0;
    here = candidate;
    for (index_t y = 0; y < high; ++y)
      for (index_t x = 0; x < wide; ++x) {
        const double change = z[y * tiles::width + x];
        if (change == 0) continue;
        error_(r + y, c + x) -= change;
        change_(r + y, at + x) += change;
        for (index_t k = 0; k < n; ++k) gradient_(r + y, col + k) -= change * h_rows_(at + x, col + k);
      }
    return 1;
  }

  // Groups at place g of every row of groups.
  result<index_t> refit_groups(index_t g) {
    const block_layout& layout = tiles_.layout();
    const index_t c0 = layout.first(g), n = layout.size(g);
    matrix<double> value(rows_, n), value_h(rows_, n);
    each_band([&](index_t row) {
      for (index_t r = row; r < std::min(rows_, row + band_); ++r)
        for (index_t x = 0; x < n; ++x) value(r, x) = static_cast<double>(w_(first_ + r, c0 + x)) - error_(r, c0 + x);
    });
    if (auto s = times_h(value.view(), c0, value_h.view(), c0); !s) return s.error();
    const index_t begin = first_ / layout.height(), groups = (first_ + rows_ - 1) / layout.height() - begin + 1;
    array<parameters> candidate(groups);
    array<bool> accepted(groups, false);
    const auto rows_of = [&](index_t i) {
      return std::pair{(begin + i) * layout.height() - first_,
                       std::min(rows_, (begin + i + 1) * layout.height() - first_)};
    };
    exec_.bulk(groups, [&](index_t i) {
      const auto [top, bottom] = rows_of(i);
      double along = 0, size = 0;
      for (index_t r = top; r < bottom; ++r)
        for (index_t x = 0; x < n; ++x) {
          along += value(r, x) * gradient_(r, c0 + x);
          size += value(r, x) * value_h(r, x);
        }
      const auto& f = tiles_.format();
      const parameters& p = tiles_.of((begin + i) * layout.per_row() + g);
      candidate[i] = p;
      accepted[i] = size > 0 && along * along > 0;
      if (accepted[i])
        candidate[i] = f.store.nearest(f.grid.scaled(p, 1 + along / size), tiles_.matrix().header_at(begin + i, g));
      accepted[i] = accepted[i] && finite_parameters(f.grid, candidate[i]);
      for (index_t r = top; r < bottom; r += tiles::height)
        put_change(r, bottom, c0, n, candidate[i], accepted[i], value);
    });
    if (auto s = times_h(value.view(), c0, value_h.view(), c0); !s) return s.error();
    exec_.bulk(groups, [&](index_t i) {
      const auto [top, bottom] = rows_of(i);
      double gain = 0, size = 0, shrink = 0;
      for (index_t r = top; r < bottom; ++r)
        for (index_t x = 0; x < n; ++x) {
          shrink += value(r, x) * (2 * error_(r, c0 + x) - value(r, x));
          gain += value(r, x) * (2 * gradient_(r, c0 + x) - value_h(r, x));
          size += value(r, x) * value_h(r, x);
        }
      accepted[i] = accepted[i] && lessens(gain, size, shrink);
      if (accepted[i]) tiles_.matrix().parameters[(begin + i) * layout.per_row() + g] = candidate[i];
      for (index_t r = top; r < bottom; ++r)
        for (index_t x = 0; x < n; ++x) {
          if (!accepted[i]) value(r, x) = 0;
          else error_(r, c0 + x) -= value(r, x);
        }
    });
    index_t count = 0;
    for (const bool a : accepted) count += a;
    if (count > 0)
      if (auto s = subtract_times_h(value.view(), c0); !s) return s.error();
    return count;
  }
  // out ← what decoding with `p` in place of the group's parameters would add to the values; 0 where it is not wanted.
  void put_change(index_t r, index_t bottom, index_t c0, index_t n, const parameters& p, bool wanted,
                  matrix<double>& out) noexcept {
    for (index_t c = 0; c < n; c += tiles::width) {
      float value[tiles::size];
      values(r, c0 + c, p, value);
      for (index_t y = 0; y < std::min(tiles::height, bottom - r); ++y)
        for (index_t x = 0; x < std::min(tiles::width, n - c); ++x) {
          const double now = value[y * tiles::width + x];
          out(r + y, c + x) = wanted ? now - out(r + y, c + x) : 0.0;
        }
    }
  }
  // out ← X·H(columns from c0 on, columns from d0 on).
  status times_h(matrix_view<const double> x, index_t c0, matrix_view<double> out, index_t d0) {
    for (index_t k = 0; k < x.cols; k += columns) {
      const index_t n = std::min(columns, x.cols - k);
      read_h(c0 + k, n);
      const matrix_view<const double> h = h_rows_.view().block(0, d0, n, out.cols);
      if (auto s = exec_.try_gemm(1.0, x.block(0, k, x.rows, n), h, k == 0 ? 0.0 : 1.0, out); !s) return s;
    }
    return {};
  }
  status subtract_times_h(matrix_view<const double> x, index_t c0) {
    for (index_t k = 0; k < x.cols; k += columns) {
      const index_t n = std::min(columns, x.cols - k);
      read_h(c0 + k, n);
      if (auto s = multiply(x.block(0, k, x.rows, n), -1.0, 1.0, 0, w_.cols); !s) return s;
    }
    return {};
  }

  B& exec_;
  matrix_view<const float> w_;
  moment_view h_;
  tiles tiles_;
  index_t first_, rows_;
  matrix<double> error_, gradient_, change_, h_rows_;
};

}  // namespace RESECT_NAMESPACE::quant::detail
