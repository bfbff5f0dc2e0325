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
    store(p + i, s.keep * load(p + i) - s.rate * mean / (square_root(square) * s.root + s.epsilon));
  }
  for (; i < n; ++i) {
    const float x = s.scale * g[i];
    m[i] = s.beta1 * m[i] + s.rest1 * x;
    v[i] = s.beta2 * v[i] + s.rest2 * (x * x);
    p[i] = s.keep * p[i] - s.rate * m[i] / (__builtin_sqrtf(v[i]) * s.root + s.epsilon);
  }
}

// --- elementwise ------------------------------------------------------------------------------------------------------

// The n < floats elements at x, filled up with zeros.
[[RESECT_KERNEL gnu::always_inline]] inline f32 load_rest(const float* x, index_t n) noexcept {
  float v[floats] = {};
  for (index_t k = 0; k < n; ++k) v[k] = x[k];
  return load(v);
}
[[RESECT_KERNEL gnu::always_inline]] inline void store_rest(float* to, const f32& v, index_t n) noexcept {
  float all[floats];
  store(all, v);
  for (index_t k = 0; k < n; ++k) to[k] = all[k];
}

// e^x of x within ±87: 2ᵏ·p(x − k·ln 2), p the series to degree 7; what is beyond becomes e^±87. Relative error ≤ 2⁻²².
[[RESECT_KERNEL gnu::always_inline]] inline f32 exp_of(f32 x) noexcept {
  x = x < -87.0f ? f32{} - 87.0f : x;
  x = x > 87.0f ? f32{} + 87.0f : x;
  const f32 scaled = x * 1.44269504f;
  const i32 k = __builtin_convertvector(scaled + (scaled < 0.0f ? f32{} - 0.5f : f32{} + 0.5f), i32);
  const f32 whole = __builtin_convertvector(k, f32);
  const f32 r = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;  // ln 2 in two parts, the first of 10 bits
  f32 p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return p * reinterpret_cast<f32>((k + 127) << 23);
}
[[RESECT_KERNEL gnu::always_inline]] inline f32 sigmoid(f32 x) noexcept { return 1.0f / (1.0f + exp_of(-x)); }
[[RESECT_KERNEL gnu::always_inline]] inline float total(const f32& s) noexcept {
  float part[floats];
  store(part, s);
  RESECT_UNROLL(8)
  for (int half = floats / 2; half > 0; half /= 2) {
    for (int k = 0; k < half; ++k) part[k] += part[k + half];
  }
  return part[0];
}

// x ← e^(x − top). → Σ
[[RESECT_KERNEL gnu::noinline]] inline float exp_below(float* x, float top, index_t n) noexcept {
  f32 sum = {};
  index_t i = 0;
  for (; i + floats <= n; i += floats) {
    const f32 e = exp_of(load(x + i) - top);
    store(x + i, e);
    sum += e;
  }
  float all = total(sum);
  if (i < n) {
    store_rest(x + i, exp_of(load_rest(x + i, n - i) - top), n - i);
    for (; i < n; ++i) all += x[i];
  }
  return all;
}
// y ← a·x
[[RESECT_KERNEL gnu::noinline]] inline void scale(float a, const float* x, float* y, index_t n) noexcept {
  index_t i = 0;
  for (; i + floats <= n; i += floats) store(y + i, a * load(x + i));
  for (; i < n; ++i) y[i] = a * x[i];
}
// y ← a·x ∘ g
[[RESECT_KERNEL gnu::noinline]] inline void scaled_product(float a, const float* x, const float* g, float* y,
                                                           index_t n) noexcept {
  index_t i = 0;
  for (; i + floats <= n; i += floats) store(y + i, a * load(x + i) * load(g + i));
  for (; i < n; ++i) y[i] = a * x[i] * g[i];
}
// y += a·x ∘ g
[[RESECT_KERNEL gnu::noinline]] inline void add_scaled_product(float a, const float* x, const float* g, float* y,
                                                               index_t n) noexcept {
  index_t i = 0;
  for (; i + floats <= n; i += floats) store(y + i, load(y + i) + a * load(x + i) * load(g + i));
  for (; i < n; ++i) y[i] += a * x[i] * g[i];
}
// h ← silu(gate) ∘ up
[[RESECT_KERNEL gnu::noinline]] inline void swiglu(const float* gate, const float* up, float* h, index_t n) noexcept {
  index_t i = 0;
  for (; i + floats <= n; i += floats) {
    const f32 g = load(gate + i);
    store(h + i, g * sigmoid(g) * load(up + i));
  }
  if (i == n) return;
  const f32 g = load_rest(gate + i, n - i);
  store_rest(h + i, g * sigmoid(g) * load_rest(up + i, n - i), n - i);
}
// gate ← ∂/∂gate, up ← ∂/∂up
[[RESECT_KERNEL gnu::always_inline]] inline void swiglu_back_lane(const f32& dh, f32& gate, f32& up) noexcept {
  const f32 s = sigmoid(gate), silu = gate * s;
  gate = dh * up * (s + silu * (1.0f - s));
  up = dh * silu;
}
[[RESECT_KERNEL gnu::noinline]] inline void swiglu_back(const float* dh, float* gate, float* up, index_t n) noexcept {
  index_t i = 0;
  for (; i + floats <= n; i += floats) {
    f32 g = load(gate + i), u = load(up + i);
    swiglu_back_lane(load(dh + i), g, u);
    store(gate + i, g);
    store(up + i, u);
  }
  if (i == n) return;
  f32 g = load_rest(gate + i, n - i), u = load_rest(up + i, n - i);
  swiglu_back_lane(load_rest(dh + i, n - i), g, u);
  store_rest(gate + i, g, n - i);
  store_rest(up + i, u, n - i);
}

// --- a vector and many rows -------------------------------------------------------------------------------------------

// out_j ← a·⟨x, row j⟩
[[RESECT_KERNEL gnu::noinline]] inline void dots(float a, const float* x, const float* rows, index_t stride,
                                                 index_t count, index_t n, float* out) noexcept {
  for (index_t j = 0; j < count; ++j) {
    const float* const row = rows + j * stride;
    f32 s0 = {}, s1 = {};
    index_t i = 0;
    for (; i + 2 * floats <= n; i += 2 * floats) {
      s0 += load(x + i) * load(row + i);
      s1 += load(x + i + floats) * load(row + i + floats);
    }
    for (; i + floats <= n; i += floats) s0 += load(x + i) * load(row + i);
    float sum = total(s0 + s1);
    for (; i < n; ++i) sum += x[i] * row[i];
    out[j] = a * sum;
  }
}
// y += Σ_j w_j·row j
[[RESECT_KERNEL gnu::noinline]] inline void add_rows(const float* weights, index_t step, const float* rows,
                                                     index_t stride, index_t count, index_t n, float* y) noexcept {
  index_t i = 0;
  for (; i + 4 * floats <= n; i += 4 * floats) {
    f32 s0 = load(y + i), s1 = load(y + i + floats), s2 = load(y + i + 2 * floats), s3 = load(y + i + 3 * floats);
    for (index_t j = 0; j < count; ++j) {
      const float w = weights[j * step];
      const float* const row = rows + j * stride + i;
      s0 += w * load(row);
      s1 += w * load(row + floats);
      s2 += w * load(row + 2 * floats);
      s3 += w * load(row + 3 * floats);
    }
    store(y + i, s0);
    store(y + i + floats, s1);
    store(y + i + 2 * floats, s2);
    store(y + i + 3 * floats, s3);
  }
  for (; i + floats <= n; i += floats) {
    f32 s = load(y + i);
    for (index_t j = 0; j < count; ++j) s += weights[j * step] * load(rows + j * stride + i);
    store(y + i, s);
  }
  for (; i < n; ++i)
    for (index_t j = 0; j < count; ++j) y[i] += weights[j * step] * rows[j * stride + i];
}
