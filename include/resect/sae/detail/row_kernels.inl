// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernels on rows of floats of one instruction set: row_kernels.hpp includes this in a namespace that has its lanes
// (width, f32, i32), square_root and RESECT_KERNEL, the attribute that its functions carry. No lambda and no std call.

inline constexpr int floats = 2 * width;  // of a register

[[RESECT_KERNEL gnu::always_inline]] inline f32 load(const float* x) noexcept {
  f32 v;
  __builtin_memcpy(&v, x, sizeof v);
  return v;
}
[[RESECT_KERNEL gnu::always_inline]] inline void store(float* to, const f32& v) noexcept {
  __builtin_memcpy(to, &v, sizeof v);
}

[[RESECT_KERNEL gnu::noinline]] inline float dot(const float* a, const float* b, index_t n) noexcept {
  f32 s0 = {}, s1 = {}, s2 = {}, s3 = {};
  index_t i = 0;
  for (; i + 4 * floats <= n; i += 4 * floats) {
    s0 += load(a + i) * load(b + i);
    s1 += load(a + i + floats) * load(b + i + floats);
    s2 += load(a + i + 2 * floats) * load(b + i + 2 * floats);
    s3 += load(a + i + 3 * floats) * load(b + i + 3 * floats);
  }
  for (; i + floats <= n; i += floats) s0 += load(a + i) * load(b + i);
  const f32 s = (s0 + s1) + (s2 + s3);
  float part[floats], sum = 0;
  store(part, s);
  RESECT_UNROLL(8)
  for (int half = floats / 2; half > 0; half /= 2) {
    for (int k = 0; k < half; ++k) part[k] += part[k + half];
  }
  sum = part[0];
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// y += a·x
[[RESECT_KERNEL gnu::noinline]] inline void add_scaled(float a, const float* x, float* y, index_t n) noexcept {
  index_t i = 0;
  for (; i + 2 * floats <= n; i += 2 * floats) {
    store(y + i, load(y + i) + a * load(x + i));
    store(y + i + floats, load(y + i + floats) + a * load(x + i + floats));
  }
  for (; i < n; ++i) y[i] += a * x[i];
}
// y += x
[[RESECT_KERNEL gnu::noinline]] inline void add(const float* x, float* y, index_t n) noexcept {
  index_t i = 0;
  for (; i + floats <= n; i += floats) store(y + i, load(y + i) + load(x + i));
  for (; i < n; ++i) y[i] += x[i];
}

// The first i ≥ from with x_i > bound; n where there is none.
[[RESECT_KERNEL gnu::noinline]] inline index_t next_above(const float* x, index_t from, index_t n,
                                                          float bound) noexcept {
  index_t i = from;
  for (; i + 4 * floats <= n; i += 4 * floats) {
    const f32 a = load(x + i), b = load(x + i + floats), c = load(x + i + 2 * floats), d = load(x + i + 3 * floats);
    const f32 ab = a > b ? a : b, cd = c > d ? c : d, most = ab > cd ? ab : cd;
    const i32 above = most > f32{} + bound;
    long long words[sizeof above / 8], any = 0;
    __builtin_memcpy(words, &above, sizeof above);
    for (const long long word : words) any |= word;
    if (any != 0) break;
  }
  for (; i < n && !(x[i] > bound); ++i) {
  }
  return i;
}

[[RESECT_KERNEL gnu::noinline]] inline void adam(const adam_numbers& s, const float* g, float* m, float* v, float* p,
                                                 index_t n) noexcept {
  index_t i = 0;
  for (; i + floats <= n; i += floats) {
    const f32 x = s.scale * load(g + i);
    const f32 mean = s.beta1 * load(m + i) + s.rest1 * x, square = s.beta2 * load(v + i) + s.rest2 * (x * x);
    store(m + i, mean);
    store(v + i, square);
    store(p + i, load(p + i) - s.rate * mean / (square_root(square) * s.root + s.epsilon));
  }
  for (; i < n; ++i) {
    const float x = s.scale * g[i];
    m[i] = s.beta1 * m[i] + s.rest1 * x;
    v[i] = s.beta2 * v[i] + s.rest2 * (x * x);
    p[i] -= s.rate * m[i] / (__builtin_sqrtf(v[i]) * s.root + s.epsilon);
  }
}
