// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Packing and register kernels of products for one instruction set: product_kernels.hpp includes this in a namespace
// that has its lanes (f32, f64, add_product), the shape of its register tile (tile_rows, tile_vectors) and
// RESECT_KERNEL, the attribute that its functions carry. No lambda and no std call, as in metrics/detail/row_kernels.inl.
// Operands are packed in strips: tile_rows rows of A, or tile_vectors registers of columns of B, k deep, each k side by
// side. The last strip is as wide as its rows need, rounded up to row_step or to one register, filled with zeros.

template <class T>
struct vector_of;
template <>
struct vector_of<float> {
  using type = f32;
};
template <>
struct vector_of<double> {
  using type = f64;
};
template <class T>
using vector = typename vector_of<T>::type;
template <class T>
inline constexpr index_t vector_width = static_cast<index_t>(sizeof(vector<T>) / sizeof(T));
template <class T>
inline constexpr index_t tile_cols = vector_width<T> * tile_vectors;

template <class T>
using four [[gnu::vector_size(4 * sizeof(T))]] = T;

// out[p·strip + i] ← in[i·across + p] for i < 4, p < 4.
template <class T>
[[RESECT_KERNEL gnu::always_inline]] inline void transpose_four(const T* in, index_t across, T* out,
                                                                index_t strip) noexcept {
  four<T> a, b, c, d;
  __builtin_memcpy(&a, in, sizeof a);
  __builtin_memcpy(&b, in + across, sizeof b);
  __builtin_memcpy(&c, in + 2 * across, sizeof c);
  __builtin_memcpy(&d, in + 3 * across, sizeof d);
  const four<T> ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const four<T> ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
  __builtin_memcpy(out, &a, sizeof a);
  __builtin_memcpy(out + strip, &b, sizeof b);
  __builtin_memcpy(out + 2 * strip, &c, sizeof c);
  __builtin_memcpy(out + 3 * strip, &d, sizeof d);
}

// One strip: out[p·strip + i] ← in[i·across + p·along], zeros for count ≤ i < strip. Rows go through registers four by
// four, a cache line of each at a time, so that both sides stay in the first cache whatever their strides.
template <class T>
[[RESECT_KERNEL]] inline void pack_strip(const T* in, index_t across, index_t along, index_t count, index_t strip,
                                         index_t k, T* out) noexcept {
  constexpr index_t line = static_cast<index_t>(64 / sizeof(T));
  const index_t fours = count / 4 * 4;
  index_t done = 0;  // of k, for the rows in `fours`
  if (along == 1) {
    for (; done + line <= k; done += line)
      for (index_t i = 0; i < fours; i += 4)
        for (index_t p = done; p < done + line; p += 4)
          transpose_four(in + i * across + p, across, out + p * strip + i, strip);
  } else if (across == 1) {
    for (; done < k; ++done)
      for (index_t i = 0; i < fours; i += 4)
        __builtin_memcpy(out + done * strip + i, in + done * along + i, 4 * sizeof(T));
  }
  for (index_t p = done; p < k; ++p)
    for (index_t i = 0; i < fours; ++i) out[p * strip + i] = in[i * across + p * along];
  for (index_t i = fours; i < strip; ++i)
    for (index_t p = 0; p < k; ++p) out[p * strip + i] = i < count ? in[i * across + p * along] : T{0};
}

// All strips of `count` rows, `full` wide each and the last a multiple of `step`.
template <class T>
[[RESECT_KERNEL]] inline void pack(const T* in, index_t across, index_t along, index_t count, index_t full,
                                   index_t step, index_t k, T* out) noexcept {
  for (index_t first = 0; first < count; first += full) {
    const index_t rows = count - first < full ? count - first : full;
    const index_t strip = (rows + step - 1) / step * step;
    pack_strip(in + first * across, across, along, rows, strip, k, out + first * k);
  }
}

// sum (Rows, Vectors) += a column of A times a row of B.
template <class T, unsigned Rows, unsigned Vectors>
[[RESECT_KERNEL gnu::always_inline]] inline void add_outer_product(const T* a, const T* b,
                                                                   vector<T> (&sum)[Rows][Vectors]) noexcept {
  vector<T> column[Vectors];
#pragma GCC unroll 4
  for (unsigned j = 0; j < Vectors; ++j) __builtin_memcpy(&column[j], b + j * vector_width<T>, sizeof column[j]);
#pragma GCC unroll 16
  for (unsigned i = 0; i < Rows; ++i) {
    const vector<T> row = a[i] - vector<T>{};
#pragma GCC unroll 4
    for (unsigned j = 0; j < Vectors; ++j) sum[i][j] = add_product(sum[i][j], row, column[j]);
  }
}

// C (Rows, Vectors registers) from s = one strip of A times one of B, k deep: running sums in registers, k in order.
template <class T, unsigned Rows, unsigned Vectors>
[[RESECT_KERNEL]] inline void multiply_strips(const T* a, const T* b, index_t k, T alpha, into how, T* c,
                                              index_t stride) noexcept {
  constexpr index_t b_step = Vectors * vector_width<T>;
  vector<T> sum[Rows][Vectors];
#pragma GCC unroll 16
  for (unsigned i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (unsigned j = 0; j < Vectors; ++j) {
      sum[i][j] = vector<T>{};
      __builtin_prefetch(c + i * stride + j * vector_width<T>, 1);
    }
  index_t p = 0;
  if constexpr (Rows == tile_rows &&
                Vectors == tile_vectors) {  // the others are for edges: not worth what they cost to compile
    for (; p + 4 <= k; p += 4)
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u, a += Rows, b += b_step) add_outer_product<T, Rows, Vectors>(a, b, sum);
  }
  for (; p < k; ++p, a += Rows, b += b_step) add_outer_product<T, Rows, Vectors>(a, b, sum);
  const vector<T> factor = alpha - vector<T>{};
#pragma GCC unroll 16
  for (unsigned i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (unsigned j = 0; j < Vectors; ++j) {
      T* at = c + i * stride + j * vector_width<T>;
      vector<T> kept{};
      if (how == into::add) __builtin_memcpy(&kept, at, sizeof kept);
      kept = add_product(kept, factor, sum[i][j]);
      __builtin_memcpy(at, &kept, sizeof kept);
    }
}

template <class T, unsigned Vectors>
[[RESECT_KERNEL gnu::always_inline]] inline void multiply_rows(index_t rows, const T* a, const T* b, index_t k, T alpha,
                                                               into how, T* c, index_t stride) noexcept {
  if (rows > tile_rows - row_step) return multiply_strips<T, tile_rows, Vectors>(a, b, k, alpha, how, c, stride);
  if constexpr (tile_rows > 2 * row_step) {
    if (rows > row_step) return multiply_strips<T, 2 * row_step, Vectors>(a, b, k, alpha, how, c, stride);
  }
  if constexpr (tile_rows > row_step) multiply_strips<T, row_step, Vectors>(a, b, k, alpha, how, c, stride);
}

// C (rows, cols) of one register tile; where C ends inside of it, by way of a whole one.
template <class T>
[[RESECT_KERNEL gnu::always_inline]] inline void multiply_whole(index_t rows, index_t cols, const T* a, const T* b,
                                                                index_t k, T alpha, into how, T* c,
                                                                index_t stride) noexcept {
  if (cols > 2 * vector_width<T>) multiply_rows<T, tile_vectors>(rows, a, b, k, alpha, how, c, stride);
  else if (cols > vector_width<T>) multiply_rows<T, 2>(rows, a, b, k, alpha, how, c, stride);
  else multiply_rows<T, 1>(rows, a, b, k, alpha, how, c, stride);
}
template <class T>
[[RESECT_KERNEL]] inline void multiply_part(index_t rows, index_t cols, const T* a, const T* b, index_t k, T alpha,
                                            into how, T* c, index_t stride) noexcept {
  T whole[tile_rows * tile_cols<T>] = {};
  const auto row = static_cast<std::size_t>(cols) * sizeof(T);
  for (index_t i = 0; i < rows; ++i) __builtin_memcpy(whole + i * tile_cols<T>, c + i * stride, row);
  multiply_whole(rows, cols, a, b, k, alpha, how, whole, tile_cols<T>);
  for (index_t i = 0; i < rows; ++i) __builtin_memcpy(c + i * stride, whole + i * tile_cols<T>, row);
}

// C (m, n) from packed blocks of A (m, k) and B (k, n). All strips of A pass by one of B.
template <class T>
[[RESECT_KERNEL]] inline void multiply_packed(index_t m, index_t n, index_t k, T alpha, const T* a, const T* b,
                                              into how, T* c, index_t stride) noexcept {
  for (index_t j = 0; j < n; j += tile_cols<T>)
    for (index_t i = 0; i < m; i += tile_rows) {
      const index_t rows = m - i < tile_rows ? m - i : tile_rows;
      const index_t cols = n - j < tile_cols<T> ? n - j : tile_cols<T>;
      T* at = c + i * stride + j;
      if (rows % row_step == 0 && cols % vector_width<T> == 0)
        multiply_whole(rows, cols, a + i * k, b + j * k, k, alpha, how, at, stride);
      else multiply_part(rows, cols, a + i * k, b + j * k, k, alpha, how, at, stride);
    }
}

// C (direct_rows, Vectors registers) from rows of A as they lie, a[i·across + p·along], and one strip of B, k deep: for
// products with so few columns that packing A would cost as much as the rest. The same sums as from a packed A. Where a
// row of C takes a column of A, every p is on a line of its own, which is fetched ahead.
template <class T, unsigned Vectors>
[[RESECT_KERNEL]] inline void multiply_direct_strip(const T* a, index_t across, index_t along, const T* b, index_t k,
                                                    T alpha, into how, T* c, index_t stride) noexcept {
  constexpr index_t ahead = 24;
  vector<T> sum[direct_rows][Vectors];
  const T* row[direct_rows];
#pragma GCC unroll 8
  for (unsigned i = 0; i < direct_rows; ++i) {
    row[i] = a + i * across;
#pragma GCC unroll 4
    for (unsigned j = 0; j < Vectors; ++j) sum[i][j] = vector<T>{};
  }
  const bool scattered = along != 1;
  index_t at = 0;
  for (index_t p = 0; p < k; ++p, at += along, b += Vectors * vector_width<T>) {
    if (scattered && p + ahead < k) __builtin_prefetch(row[0] + at + ahead * along);
    vector<T> column[Vectors];
#pragma GCC unroll 4
    for (unsigned j = 0; j < Vectors; ++j) __builtin_memcpy(&column[j], b + j * vector_width<T>, sizeof column[j]);
#pragma GCC unroll 8
    for (unsigned i = 0; i < direct_rows; ++i) {
      const vector<T> factor = row[i][at] - vector<T>{};
#pragma GCC unroll 4
      for (unsigned j = 0; j < Vectors; ++j) sum[i][j] = add_product(sum[i][j], factor, column[j]);
    }
  }
  const vector<T> factor = alpha - vector<T>{};
#pragma GCC unroll 8
  for (unsigned i = 0; i < direct_rows; ++i)
#pragma GCC unroll 4
    for (unsigned j = 0; j < Vectors; ++j) {
      T* to = c + i * stride + j * vector_width<T>;
      vector<T> kept{};
      if (how == into::add) __builtin_memcpy(&kept, to, sizeof kept);
      kept = add_product(kept, factor, sum[i][j]);
      __builtin_memcpy(to, &kept, sizeof kept);
    }
}

// C (m, n) from A as it lies and a packed block of B (k, n), m a multiple of direct_rows, n one of a register. All strips
// of B pass by one of A.
template <class T>
[[RESECT_KERNEL]] inline void multiply_direct(index_t m, index_t n, index_t k, T alpha, const T* a, index_t across,
                                              index_t along, const T* b, into how, T* c, index_t stride) noexcept {
  for (index_t i = 0; i < m; i += direct_rows)
    for (index_t j = 0; j < n; j += tile_cols<T>) {
      const T* from = a + i * across;
      T* to = c + i * stride + j;
      const index_t vectors = (n - j) / vector_width<T>;
      if (vectors >= tile_vectors)
        multiply_direct_strip<T, tile_vectors>(from, across, along, b + j * k, k, alpha, how, to, stride);
      else if (vectors == 2) multiply_direct_strip<T, 2>(from, across, along, b + j * k, k, alpha, how, to, stride);
      else multiply_direct_strip<T, 1>(from, across, along, b + j * k, k, alpha, how, to, stride);
    }
}
