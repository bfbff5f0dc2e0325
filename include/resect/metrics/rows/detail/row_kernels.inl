// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The row kernels of one instruction set: row_kernels.hpp includes this in a namespace that has its lanes (width, f64,
// f32, load, product, multiply_add, add_product) and RESECT_KERNEL, the attribute that its functions carry. No lambda
// and no std call: they would be compiled without the attribute, or leave code of this set in symbols that others share.
// Lane j of eight takes elements j, j + 8, …, whatever the registers hold.

inline constexpr int parts = lanes / width;  // registers that hold eight doubles
inline constexpr int group_parts = group / (2 * width);

// e^x = 2ᵏ·p(x − k·ln 2) in units of 2^power, p of degree 6 with p(0) = 1. Relative error ≤ 2.0e-9 + |x|·2⁻⁵³. It depends
// on x alone: another power scales it exactly. NaN stays NaN.
[[RESECT_KERNEL gnu::always_inline]] inline f64 exp_lane(f64 x, f64 magic) noexcept {
  const f64 kd = multiply_add(all(1.4426950408889634), x, magic);  // rounds to k, left in the low bits less the power
  const f64 k = kd - magic;
  const f64 r = multiply_add(k, all(-0.6931471805599453), x);
  f64 p = multiply_add(all(0.0013843642989822943129), r, all(0.0083741636550730402868));
  p = multiply_add(p, r, all(0.041668002611434519354));
  p = multiply_add(p, r, all(0.16666431165905045537));
  p = multiply_add(p, r, all(0.49999994205299303889));
  p = multiply_add(p, r, all(1.0000000321850615549));
  p = multiply_add(p, r, all(1.0));
  return reinterpret_cast<f64>(reinterpret_cast<u64>(p) + (reinterpret_cast<u64>(kd) << 52));
}

// Σ over the lanes in the order that core/reduce.hpp has.
[[RESECT_KERNEL gnu::always_inline]] inline double total(const f64 (&sum)[parts]) noexcept {
  double lane[lanes];
  __builtin_memcpy(lane, sum, sizeof lane);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// Smallest and largest of what went in, lane by lane. NaN is passed over, but the sums keep it.
struct extremes {
  f32 low, high;
};
[[RESECT_KERNEL gnu::always_inline]] inline extremes no_extremes() noexcept {
  return {f32{} + __builtin_inff(), f32{} - __builtin_inff()};
}
[[RESECT_KERNEL gnu::always_inline]] inline void take_extremes(extremes& e, const float* x) noexcept {
#pragma GCC unroll 8
  for (int p = 0; p < group_parts; ++p) {
    f32 v;
    __builtin_memcpy(&v, x + p * 2 * width, sizeof v);
    e.low = v < e.low ? v : e.low;
    e.high = v > e.high ? v : e.high;
  }
}
[[RESECT_KERNEL gnu::always_inline]] inline float_range range_of(const extremes& e) noexcept {
  float low[2 * width], high[2 * width];
  __builtin_memcpy(low, &e.low, sizeof low);
  __builtin_memcpy(high, &e.high, sizeof high);
  for (int half = width; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) {
      low[j] = low[j + half] < low[j] ? low[j + half] : low[j];
      high[j] = high[j + half] > high[j] ? high[j + half] : high[j];
    }
  return {low[0], high[0]};
}

// The last n < group floats at x, filled up.
[[RESECT_KERNEL gnu::always_inline]] inline void load_rest(const float* x, index_t n, float fill, float* out) noexcept {
  for (index_t j = 0; j < group; ++j) out[j] = j < n ? x[j] : fill;
}
// Rows are read in order, but the arithmetic fills the machine's window, so it does not see far enough ahead by itself.
[[RESECT_KERNEL gnu::always_inline]] inline void prefetch(const void* p) noexcept {
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(p) + 3072));
}

// --- Σe^x ----------------------------------------------------------------------------------------------------------

struct exp_lanes {
  f64 sum[parts];
  extremes seen;
};
[[RESECT_KERNEL gnu::always_inline]] inline void take(exp_lanes& s, const float* x, f64 magic) noexcept {
#pragma GCC unroll 8
  for (int p = 0; p < 2 * parts; ++p) s.sum[p % parts] += exp_lane(load(x + p * width), magic);
  take_extremes(s.seen, x);
}
[[RESECT_KERNEL]] inline exp_result exp_sum(const float* x, index_t n, const exp_unit& unit) noexcept {
  exp_lanes s{{}, no_extremes()};
  const f64 magic = all(unit.magic);
  index_t i = 0;
  for (; i + group <= n; i += group) {
    prefetch(x + i);
    take(s, x + i, magic);
  }
  if (i < n) {
    float rest[group];
    load_rest(x + i, n - i, unit.low, rest);
    take(s, rest, magic);
  }
  return {total(s.sum), range_of(s.seen)};
}

// --- Σe^x, Σe^y, Σe^x·(x − y) ----------------------------------------------------------------------------------------

struct exp_pair_lanes {
  f64 x[parts], y[parts], cross[parts];
  extremes seen_x, seen_y;
};
[[RESECT_KERNEL gnu::always_inline]] inline void take(exp_pair_lanes& s, const float* x, const float* y, f64 magic_x,
                                                      f64 magic_y) noexcept {
  for (int half = 0; half < 2; ++half) {  // not unrolled: sixteen registers hold no more
#pragma GCC unroll 8
    for (int p = 0; p < parts; ++p) {
      const int at = half * lanes + p * width;
      const f64 a = load(x + at), b = load(y + at);
      const f64 e = exp_lane(a, magic_x);
      s.x[p] += e;
      s.cross[p] = add_product(s.cross[p], e, a - b);
      s.y[p] += exp_lane(b, magic_y);
    }
  }
  take_extremes(s.seen_x, x);
  take_extremes(s.seen_y, y);
}
[[RESECT_KERNEL]] inline exp_pair_result exp_pair(const float* x, const float* y, index_t n, const exp_unit& unit_x,
                                                  const exp_unit& unit_y) noexcept {
  exp_pair_lanes s{{}, {}, {}, no_extremes(), no_extremes()};
  const f64 magic_x = all(unit_x.magic), magic_y = all(unit_y.magic);
  index_t i = 0;
  for (; i + group <= n; i += group) {
    prefetch(x + i);
    prefetch(y + i);
    take(s, x + i, y + i, magic_x, magic_y);
  }
  if (i < n) {
    float rest_x[group], rest_y[group];
    load_rest(x + i, n - i, unit_x.low, rest_x);
    load_rest(y + i, n - i, unit_y.low, rest_y);
    take(s, rest_x, rest_y, magic_x, magic_y);
  }
  return {{total(s.x), range_of(s.seen_x)}, {total(s.y), range_of(s.seen_y)}, total(s.cross)};
}

// --- maximum, and where it is -----------------------------------------------------------------------------------------

[[RESECT_KERNEL]] inline peak_result peak(const float* x, index_t n) noexcept {
  extremes seen = no_extremes();
  i32 nan{};
  index_t i = 0;
  for (; i + group <= n; i += group) {
    take_extremes(seen, x + i);
    for (int p = 0; p < group_parts; ++p) {
      f32 v;
      __builtin_memcpy(&v, x + i + p * 2 * width, sizeof v);
      nan |= v != v;
    }
  }
  float_range r = range_of(seen);
  std::int32_t found[2 * width];
  __builtin_memcpy(found, &nan, sizeof found);
  bool has_nan = false;
  for (int j = 0; j < 2 * width; ++j) has_nan |= found[j] != 0;
  for (; i < n; ++i) {
    has_nan |= x[i] != x[i];
    r.high = x[i] > r.high ? x[i] : r.high;
  }
  return {r.high, has_nan};
}

// Where `value` stands first (−1: nowhere) and whether it stands twice; n < 2³¹.
[[RESECT_KERNEL]] inline place_result place(const float* x, index_t n, float value) noexcept {
  constexpr int step = 2 * width;
  constexpr std::int32_t nowhere = 0x7fffffff;
  std::int32_t id[step], hits[step];
  for (int j = 0; j < step; ++j) id[j] = j;
  i32 at, first = i32{} + nowhere, count{};
  __builtin_memcpy(&at, id, sizeof at);
  index_t i = 0;
  for (; i + step <= n; i += step) {
    f32 v;
    __builtin_memcpy(&v, x + i, sizeof v);
    const i32 hit = v == f32{} + value;
    const i32 candidate = (at & hit) | (nowhere & ~hit);
    first = candidate < first ? candidate : first;
    count -= hit;
    at += step;
  }
  __builtin_memcpy(id, &first, sizeof id);
  __builtin_memcpy(hits, &count, sizeof hits);
  place_result r{nowhere, 0};
  for (int j = 0; j < step; ++j) {
    r.first = id[j] < r.first ? id[j] : r.first;
    r.count += hits[j];
  }
  for (; i < n; ++i) {
    if (x[i] != value) continue;
    if (r.count == 0) r.first = i;
    ++r.count;
  }
  if (r.count == 0) r.first = -1;
  return r;
}

// --- ⟨a, b⟩, |a|², |b|², |a − b|² ---------------------------------------------------------------------------------------

struct product_lanes {
  f64 dot[parts], aa[parts], bb[parts], dd[parts];
};
// Products of floats are exact, fused or not. (a − b)² is not, so it is rounded before it is added, on every set.
template <class T>
[[RESECT_KERNEL gnu::always_inline]] inline void take(product_lanes& s, const T* a, const T* b) noexcept {
#pragma GCC unroll 8
  for (int p = 0; p < 2 * parts; ++p) {
    const f64 x = load(a + p * width), y = load(b + p * width), d = x - y;
    s.dot[p % parts] = add_product(s.dot[p % parts], x, y);
    s.aa[p % parts] = add_product(s.aa[p % parts], x, x);
    s.bb[p % parts] = add_product(s.bb[p % parts], y, y);
    s.dd[p % parts] += product(d, d);
  }
}
template <class T>
[[RESECT_KERNEL]] inline product_result products(const T* a, const T* b, index_t n) noexcept {
  product_lanes s{};
  index_t i = 0;
  for (; i + group <= n; i += group) {
    prefetch(a + i);
    prefetch(b + i);
    take(s, a + i, b + i);
  }
  if (i < n) {
    T rest_a[group] = {}, rest_b[group] = {};
    for (index_t j = 0; j < n - i; ++j) {
      rest_a[j] = a[i + j];
      rest_b[j] = b[i + j];
    }
    take(s, rest_a, rest_b);
  }
  return {total(s.dot), total(s.aa), total(s.bb), total(s.dd)};
}
