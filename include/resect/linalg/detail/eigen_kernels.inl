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

// row ← row − x·w − y·v, and the product of the new row with u, for first ≤ i < last.
[[RESECT_KERNEL]] inline double update_and_dot(double* row, double x, const double* w, double y, const double* v,
                                               const double* u, index_t first, index_t last) noexcept {
  const f64 minus_x = all(-x), minus_y = all(-y);
  f64 sum[4] = {};
  index_t i = first;
  for (; i + 4 * width <= last; i += 4 * width)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const index_t at = i + j * width;
      const f64 z = add_product(add_product(lanes_at(row + at), minus_x, lanes_at(w + at)), minus_y, lanes_at(v + at));
      __builtin_memcpy(row + at, &z, sizeof z);
      sum[j] = add_product(sum[j], z, lanes_at(u + at));
    }
  for (; i < last; i += width) {
    const f64 z = add_product(add_product(lanes_at(row + i), minus_x, lanes_at(w + i)), minus_y, lanes_at(v + i));
    __builtin_memcpy(row + i, &z, sizeof z);
    sum[0] = add_product(sum[0], z, lanes_at(u + i));
  }
  return sum_of_lanes(sum[0], sum[1], sum[2], sum[3]);
}

// row ← row − x·v, for first ≤ i < last.
[[RESECT_KERNEL]] inline void subtract(double* row, double x, const double* v, index_t first, index_t last) noexcept {
  const f64 minus_x = all(-x);
  for (index_t i = first; i < last; i += width) {
    const f64 z = add_product(lanes_at(row + i), minus_x, lanes_at(v + i));
    __builtin_memcpy(row + i, &z, sizeof z);
  }
}

// Applies rotations to columns of rows `stride` apart. A rotation of rows i − 1 and i that follows one of i and i + 1
// finds row i in registers.
[[RESECT_KERNEL]] inline void rotate(double* rows, index_t stride, const plane_rotation* rotations,
                                     index_t count) noexcept {
  constexpr int vectors = rotated_columns / width;
  f64 held[vectors] = {};
  index_t held_row = -1;
  for (index_t k = 0; k < count; ++k) {
    const plane_rotation& r = rotations[k];
    double* const above = rows + r.row * stride;
    double* const below = above + stride;
    if (held_row != r.row + 1) {
      if (held_row >= 0) __builtin_memcpy(rows + held_row * stride, held, sizeof held);
      __builtin_memcpy(held, below, sizeof held);
    }
    const f64 c = all(r.cosine), s = all(r.sine), minus_s = all(-r.sine);
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) {
      const f64 x = lanes_at(above + j * width), y = held[j], down = add_product(product(c, y), s, x);
      __builtin_memcpy(below + j * width, &down, sizeof down);
      held[j] = add_product(product(c, x), minus_s, y);
    }
    held_row = r.row;
  }
  if (held_row >= 0) __builtin_memcpy(rows + held_row * stride, held, sizeof held);
}
