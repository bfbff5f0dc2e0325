// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernels on groups of one instruction set: group_kernels.hpp includes this in a namespace that has its lanes (width,
// f32, i32) and RESECT_KERNEL, the attribute that its functions carry. No lambda and no std call: they would be compiled
// without the attribute, or leave code of this set in symbols that others share.

inline constexpr int floats = 2 * width;       // of a register
inline constexpr int registers = 16 / floats;  // of 16 floats

// Four registers in turn, because one comparison waits for the one before it.
struct extremes {
  f32 low, high;
};
[[RESECT_KERNEL gnu::always_inline]] inline void take(extremes& e, const float* x) noexcept {
  f32 v;
  __builtin_memcpy(&v, x, sizeof v);
  e.low = v < e.low ? v : e.low;
  e.high = v > e.high ? v : e.high;
}

// The smallest and the largest of n ≥ `floats` numbers. No NaN.
[[RESECT_KERNEL gnu::noinline]] inline value_range range(const float* x, index_t n) noexcept {
  extremes a;
  __builtin_memcpy(&a.low, x, sizeof a.low);
  a.high = a.low;
  extremes b = a, c = a, d = a;
  index_t i = 0;
  for (; i + 4 * floats <= n; i += 4 * floats) {
    take(a, x + i);
    take(b, x + i + floats);
    take(c, x + i + 2 * floats);
    take(d, x + i + 3 * floats);
  }
  for (; i + floats <= n; i += floats) take(a, x + i);
  if (i < n) take(b, x + (n - floats));  // some of them again
  a.low = b.low < a.low ? b.low : a.low;
  c.low = d.low < c.low ? d.low : c.low;
  a.high = b.high > a.high ? b.high : a.high;
  c.high = d.high > c.high ? d.high : c.high;
  a.low = c.low < a.low ? c.low : a.low;
  a.high = c.high > a.high ? c.high : a.high;
  float low[floats], high[floats];
  __builtin_memcpy(low, &a.low, sizeof low);
  __builtin_memcpy(high, &a.high, sizeof high);
#pragma GCC unroll 4
  for (int half = width; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int j = 0; j < half; ++j) {
      low[j] = low[j + half] < low[j] ? low[j + half] : low[j];
      high[j] = high[j + half] > high[j] ? high[j + half] : high[j];
    }
  return {low[0], high[0]};
}

// The largest magnitude of n ≥ `floats` numbers, as the bits of a float: above those of infinity where one is NaN.
[[RESECT_KERNEL gnu::noinline]] inline std::int32_t largest_bits(const float* x, index_t n) noexcept {
  i32 most = {};
  for (index_t i = 0; i + floats <= n; i += floats) {
    i32 v;
    __builtin_memcpy(&v, x + i, sizeof v);
    v &= 0x7fffffff;
    most = v > most ? v : most;
  }
  i32 v;
  __builtin_memcpy(&v, x + (n - floats), sizeof v);
  v &= 0x7fffffff;
  most = v > most ? v : most;
  std::int32_t parts[floats], out = 0;
  __builtin_memcpy(parts, &most, sizeof parts);
  for (int j = 0; j < floats; ++j) out = parts[j] > out ? parts[j] : out;
  return out;
}

// codes[i] = (the integer nearest to x[i]·inverse within first … last) − first, of n numbers, n a multiple of 16.
// Returns the largest distance from an integer that was met, at most ½: near that the choice may be the other one.
[[RESECT_KERNEL gnu::noinline]] inline float integer_codes(const float* x, index_t n, float inverse, float first,
                                                           float last, std::uint8_t* codes) noexcept {
  constexpr float magic = 0x1.8p23f;  // adding it rounds to an integer, which the lowest bits then hold
  const std::int32_t zero = -static_cast<std::int32_t>(first);
  f32 farthest = {};
  for (index_t i = 0; i < n; i += 16) {
    i32 c[registers];
#pragma GCC unroll 4
    for (int k = 0; k < registers; ++k) {
      f32 q;
      __builtin_memcpy(&q, x + i + k * floats, sizeof q);
      q *= inverse;
      q = q > first ? q : f32{} + first;
      q = q < last ? q : f32{} + last;
      const f32 t = q + magic;
      f32 off = q - (t - magic);
      off = reinterpret_cast<f32>(reinterpret_cast<i32>(off) & 0x7fffffff);
      farthest = off > farthest ? off : farthest;
      c[k] = (reinterpret_cast<i32>(t) + zero) & 0xff;
    }
    put_bytes(codes + i, c);
  }
  float offs[floats], out = 0;
  __builtin_memcpy(offs, &farthest, sizeof offs);
  for (int j = 0; j < floats; ++j) out = offs[j] > out ? offs[j] : out;
  return out;
}
