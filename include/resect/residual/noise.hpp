// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/math.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/plan.hpp>

namespace RESECT_NAMESPACE::residual {

namespace detail {

// h := h + s·RMS(h)·ε for one row; ε_c is the number at (seq, pos, c) of the stream. One rounding a column.
template <class = void>
void add_noise(vector_view<float> h, double s, const random::philox_stream& stream, const row_meta& at) noexcept {
  double squares = 0;  // of floats: exact in double, so that only the order of the sum matters
  for (index_t c = 0; c < h.size; ++c) squares += static_cast<double>(h[c]) * static_cast<double>(h[c]);
  const double amplitude = mul_rn(s, math::sqrt(div_rn(squares, static_cast<double>(h.size))));
  if (amplitude == 0) return;
  const std::uint64_t where = at.place().key();
  random::philox_words block;
  for (index_t c = 0; c < h.size; ++c) {
    if (c % 2 == 0) block = stream.block(where, static_cast<std::uint64_t>(c / 2));
    const double epsilon = random::gaussian(random::uniform_open_f64(block.pair(static_cast<int>(c % 2))));
    h[c] = static_cast<float>(fma_rn(amplitude, epsilon, static_cast<double>(h[c])));
  }
}

}  // namespace detail

namespace operators {

// h_t := h_t + s·RMS(h_t)·ε_t.
struct noise {
  static constexpr std::string_view id = "resect.noise/1";
  float relative_size = 0;
  std::uint64_t seed = 0;

  void fields(field_visitor& v) const {
    v.number("relative_size", static_cast<double>(relative_size));
    v.seed(seed);
  }
  status apply(const tap& at, matrix_view<const float>, matrix_view<float> h) const noexcept {
    if (relative_size == 0.0f) return {};
    const random::philox_stream stream{seed, static_cast<std::uint64_t>(static_cast<std::uint32_t>(at.layer)) << 32 |
                                                 static_cast<std::uint64_t>(at.where)};
    for (index_t r = 0; r < h.rows; ++r) {
      const row_meta& row = at.rows[static_cast<std::size_t>(r)];
      if ((row.flags & row_meta::pad) == 0)
        detail::add_noise(h.row(r), static_cast<double>(relative_size), stream, row);
    }
    return {};
  }
};

}  // namespace operators

// Adds Gaussian noise to rows at one site of each layer: h_t := h_t + s·RMS(h_t)·ε_t, with ε_t ~ N(0, I) and RMS(h_t)
// = ‖h_t‖₂/√d before the step. The noise is relative to the size of each row, so doses compare over depths and
// between rows: it turns a row by about arctan(s). At a delta's site RMS is the delta's.
// ε is drawn by Philox at (seed, layer, site, sequence, position, column), whatever the row's number in a batch: a
// prefill, single decoded rows and any company give the same noise. resid_post of a layer and resid_pre of the next are
// different sites and draw different numbers. Pads keep their bits; so does every row where s = 0, and a row of zeros
// for any s.
// The sum of squares is in double, the update rounded to float once: the same bits on every machine.
// Cost: about 30 ns a value, no allocation. Two noises at one place are independent only if their seeds differ. NaN
// or infinity in one element makes the whole row NaN or infinite.
// Errors: invalid_argument for s that is negative or not finite. A plan refuses sites outside layers.
template <class = void>
result<step> try_noise(layer_range where, site at_site, float s, std::uint64_t seed) {
  if (!(s >= 0 && s - s == 0))
    return error{errc::invalid_argument, "dose of noise", text(s), "a finite number, at least 0"};
  return step{where, at_site, operators::noise{s, seed}};
}

#if RESECT_EXCEPTIONS
template <class = void>
step noise(layer_range where, site at_site, float s, std::uint64_t seed) {
  return value_or_throw(try_noise(where, at_site, s, seed));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
