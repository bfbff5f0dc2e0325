// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/array.hpp>

// Paley's Hadamard matrices, computed: squares of a finite field decide every sign.
//   q ≡ 3 mod 4 a prime power: order q + 1;  q ≡ 1 mod 4: order 2(q + 1).
// Source: Paley, "On orthogonal matrices", J. Math. Phys. 12 (1933).
namespace RESECT_NAMESPACE::quant::detail {

// q = p^e for a prime p; e = 0 where q is no power of an odd prime.
struct prime_power {
  index_t p = 0;
  int e = 0;
};

constexpr prime_power as_prime_power(index_t q) noexcept {
  if (q < 3 || q % 2 == 0) return {};
  index_t p = 3;
  while (p * p <= q && q % p != 0) p += 2;
  if (q % p != 0) return {q, 1};
  prime_power power{p, 0};
  for (; q % p == 0; q /= p) ++power.e;
  return q == 1 ? power : prime_power{};
}

// The q of Paley's matrix of an order, of the first kind where both exist; 0 where there is none.
constexpr index_t paley_field(index_t order) noexcept {
  if (order < 4 || order % 4 != 0) return 0;
  if (as_prime_power(order - 1).e > 0) return order - 1;  // ≡ 3 mod 4
  const index_t q = order / 2 - 1;
  return q % 4 == 1 && as_prime_power(q).e > 0 ? q : 0;
}

// The field of q elements, as far as signs need it. An element is a number whose digits in base p are the coefficients of
// a polynomial.
class finite_field {
 public:
  explicit finite_field(index_t q) : q_(q), p_(as_prime_power(q).p), square_(q) {
    // x^e = c with x of order q − 1: then the powers of x are all elements but 0, and even ones are the squares
    for (index_t c = 1; c < q; ++c)
      if (c % p_ != 0 && powers_of_x_cover(c)) break;
  }

  // 1 for squares, −1 for other elements, 0 for 0.
  int character(index_t a) const noexcept { return square_[a]; }
  index_t difference(index_t a, index_t b) const noexcept {
    index_t out = 0;
    for (index_t unit = 1; unit < q_; unit *= p_) out += (a / unit % p_ + p_ - b / unit % p_) % p_ * unit;
    return out;
  }

 private:
  index_t times_x(index_t a, index_t c) const noexcept {
    const index_t top = a / (q_ / p_);
    const index_t shifted = a % (q_ / p_) * p_;
    index_t out = 0;
    for (index_t unit = 1; unit < q_; unit *= p_) out += (shifted / unit + top * (c / unit % p_)) % p_ * unit;
    return out;
  }
  bool powers_of_x_cover(index_t c) noexcept {
    index_t a = 1, power = 0;
    do {
      square_[a] = static_cast<std::int8_t>(power % 2 == 0 ? 1 : -1);
      a = times_x(a, c);
      ++power;
    } while (a != 1 && power < q_);
    return a == 1 && power == q_ - 1;
  }

  index_t q_, p_;
  array<std::int8_t> square_;
};

// The signs of Paley's matrix, row-major; an order for which paley_field is not 0.
inline array<float> paley_signs(index_t order) {
  const index_t q = paley_field(order);
  const finite_field field{q};
  array<float> out(order * order);
  const auto character = [&](index_t a, index_t b) { return field.character(field.difference(a, b)); };
  if (q + 1 == order) {  // I + S, S skew
    for (index_t i = 0; i < order; ++i)
      for (index_t j = 0; j < order; ++j) {
        const int sign = i == j || i == 0 ? 1 : j == 0 ? -1 : character(i - 1, j - 1);
        out[i * order + j] = static_cast<float>(sign);
      }
    return out;
  }
  for (index_t i = 0; i < order; ++i)  // C ⊗ (1 1; 1 −1) + I ⊗ (1 −1; −1 −1), C symmetric
    for (index_t j = 0; j < order; ++j) {
      const index_t a = i / 2, b = j / 2;
      const int within = i % 2 == 1 && j % 2 == 1 ? -1 : 1;
      int sign = 0;
      if (a != b) sign = (a == 0 || b == 0 ? 1 : character(a - 1, b - 1)) * within;
      else sign = i % 2 == 0 && j % 2 == 0 ? 1 : -1;
      out[i * order + j] = static_cast<float>(sign);
    }
  return out;
}

}  // namespace RESECT_NAMESPACE::quant::detail
