// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loops of the tridiagonal eigensolver for one instruction set: eigen_kernels.hpp includes this in a namespace that has
// its lanes (f64, width, product, add_product) and RESECT_KERNEL, the attribute that its functions carry. No lambda and
// no std call. Ranges begin and end at multiples of eight.

[[RESECT_KERNEL gnu::always_inline]] inline f64 lanes_at(const double* x) noexcept {
  f64 v;
  __builtin_memcpy(&v, x, sizeof v);
  return v;
}

[[RESECT_KERNEL gnu::always_inline]] inline double sum_of_lanes(f64 a, f64 b, f64 c, f64 d) noexcept {
  const f64 lanes = (a + c) + (b + d);
  double sum = 0;
  for (int i = 0; i < width; ++i) sum += lanes[i];
  return sum;
}

// Σ a_i·b_i for first ≤ i < last.
[[RESECT_KERNEL]] inline double dot(const double* a, const double* b, index_t first, index_t last) noexcept {
  f64 sum[4] = {};
  index_t i = first;
  for (; i + 4 * width <= last; i += 4 * width)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sum[j] = add_product(sum[j], lanes_at(a + i + j * width), lanes_at(b + i + j * width));
  for (; i < last; i += width) sum[0] = add_product(sum[0], lanes_at(a + i), lanes_at(b + i));
  return sum_of_lanes(sum[0], sum[1], sum[2], sum[3]);
}

// Rows side by side, so that what they share is loaded once: row_r ← row_r − x_r·w − y_r·v and out_r ← row_r·u, for
// first ≤ i < last.
template <unsigned Rows>
[[RESECT_KERNEL gnu::always_inline]] inline void update_few(double* rows, index_t stride, const double* x,
                                                            const double* w, const double* y, const double* v,
                                                            const double* u, index_t first, index_t last,
                                                            double* out) noexcept {
  f64 minus_x[Rows], minus_y[Rows], sum[Rows] = {};
#pragma GCC unroll 4
  for (unsigned r = 0; r < Rows; ++r) minus_x[r] = all(-x[r]), minus_y[r] = all(-y[r]);
  for (index_t i = first; i < last; i += width) {
    const f64 along_w = lanes_at(w + i), along_v = lanes_at(v + i), along_u = lanes_at(u + i);
#pragma GCC unroll 4
    for (unsigned r = 0; r < Rows; ++r) {
      double* const at = rows + index_t{r} * stride + i;
      const f64 z = add_product(add_product(lanes_at(at), minus_x[r], along_w), minus_y[r], along_v);
      __builtin_memcpy(at, &z, sizeof z);
      sum[r] = add_product(sum[r], z, along_u);
    }
  }
#pragma GCC unroll 4
  for (unsigned r = 0; r < Rows; ++r) out[r] = sum_of_lanes(sum[r], f64{}, f64{}, f64{});
}
[[RESECT_KERNEL]] inline void update_and_multiply(double* rows, index_t stride, index_t count, const double* x,
                                                  const double* w, const double* y, const double* v, const double* u,
                                                  index_t first, index_t last, double* out) noexcept {
  index_t r = 0;
  for (; r + 4 <= count; r += 4) update_few<4>(rows + r * stride, stride, x + r, w, y + r, v, u, first, last, out + r);
  for (; r < count; ++r) update_few<1>(rows + r * stride, stride, x + r, w, y + r, v, u, first, last, out + r);
}

// row_r ← row_r − scale·(row_r·v)·v, for first ≤ i < last.
template <unsigned Rows>
[[RESECT_KERNEL gnu::always_inline]] inline void reflect_few(double* rows, index_t stride, const double* v,
                                                             double scale, index_t first, index_t last) noexcept {
  f64 sum[Rows] = {}, minus[Rows];
  for (index_t i = first; i < last; i += width) {
    const f64 along_v = lanes_at(v + i);
#pragma GCC unroll 4
    for (unsigned r = 0; r < Rows; ++r) sum[r] = add_product(sum[r], lanes_at(rows + index_t{r} * stride + i), along_v);
  }
#pragma GCC unroll 4
  for (unsigned r = 0; r < Rows; ++r) minus[r] = all(-scale * sum_of_lanes(sum[r], f64{}, f64{}, f64{}));
  for (index_t i = first; i < last; i += width) {
    const f64 along_v = lanes_at(v + i);
#pragma GCC unroll 4
    for (unsigned r = 0; r < Rows; ++r) {
      double* const at = rows + index_t{r} * stride + i;
      const f64 z = add_product(lanes_at(at), minus[r], along_v);
      __builtin_memcpy(at, &z, sizeof z);
    }
  }
}
[[RESECT_KERNEL]] inline void reflect(double* rows, index_t stride, index_t count, const double* v, double scale,
                                      index_t first, index_t last) noexcept {
  index_t r = 0;
  for (; r + 4 <= count; r += 4) reflect_few<4>(rows + r * stride, stride, v, scale, first, last);
  for (; r < count; ++r) reflect_few<1>(rows + r * stride, stride, v, scale, first, last);
}

// Applies rotations to rows of rotated_columns elements, one behind the other. A rotation of rows i − 1 and i that
// follows one of i and i + 1 finds row i in registers.
[[RESECT_KERNEL]] inline void rotate(double* rows, const plane_rotation* rotations, index_t count) noexcept {
  constexpr int vectors = rotated_columns / width;
  f64 held[vectors] = {};
  for (index_t k = 0; k < count;) {
    double* above = rows + rotations[k].row * rotated_columns;
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) held[j] = lanes_at(above + rotated_columns + j * width);
    index_t row = rotations[k].row;
    for (; k < count && rotations[k].row == row; ++k, --row, above -= rotated_columns) {
      const f64 c = all(rotations[k].cosine), s = all(rotations[k].sine), minus_s = all(-rotations[k].sine);
#pragma GCC unroll 8
      for (int j = 0; j < vectors; ++j) {
        const f64 x = lanes_at(above + j * width), down = add_product(product(c, held[j]), s, x);
        __builtin_memcpy(above + rotated_columns + j * width, &down, sizeof down);
        held[j] = add_product(product(c, x), minus_s, held[j]);
      }
    }
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) __builtin_memcpy(above + rotated_columns + j * width, &held[j], sizeof held[j]);
  }
}
