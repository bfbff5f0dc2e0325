// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>
#include <vector>

#include <resect/quant/affine.hpp>
#include <resect/quant/formats/common.hpp>
#include <support/catch.hpp>

#include "groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::bf16;
using resect::f16;
using resect::fp8_e4m3;
using resect::index_t;

namespace {

using six_scale = six_bit_store<scale_parameters>;
using six_minimum = six_bit_store<minimum_parameters>;
using fp8_of_matrix = tensor_scaled_store<fp8_e4m3>;

static_assert(store_of<f32_store, scale_parameters> && store_of<f16_store, minimum_parameters> &&
              store_of<bf16_store, zero_parameters<4>> && store_of<e8m0_store, scale_parameters> &&
              store_of<six_minimum, minimum_parameters> && store_of<fp8_of_matrix, scale_parameters>);
static_assert(!store_of<e8m0_store, minimum_parameters> && !store_of<six_scale, minimum_parameters>);
static_assert(!listing_store<f16_store> && listing_store<e8m0_store> && listing_store<six_scale>);

// Scales of every size, and the ends of what stores have.
floats scales() {
  floats out{0.0f, 1.0f, -1.0f, 6.0e4f, 1e30f, -1e30f, 0x1p-126f, 0x1p-24f, 0x1p-9f, 447.0f, 449.0f};
  for (const float x : gaussian(400, 3)) {
    out.push_back(x);
    out.push_back(x * 0x1p-12f);
    out.push_back(x * 0x1p20f);
  }
  return out;
}

}  // namespace

TEST_CASE("of the scales that a store lists, nearest takes one at the least distance") {
  const auto check = [](const auto& store, const auto& header) {
    for (const float x : scales()) {
      double least = std::numeric_limits<double>::infinity();
      for (int i = 0; i < store.scale_count; ++i) {
        const double s = store.scale_at(i, header);
        least = std::min(least, std::fabs(double{x} - s));
      }
      const auto p = store.nearest(scale_parameters{x}, header);
      CAPTURE(x, p.scale);
      CHECK(std::fabs(double{x} - double{p.scale}) <= least * (1 + 1e-6));
    }
  };
  check(e8m0_store{}, no_header{});
  check(fp8_of_matrix{}, matrix_scale{0.01f});
  check(six_scale{}, six_bit_units{0.03125f, 0.0f});
  check(six_scale{}, six_bit_units{-0.5f, 0.0f});
}

TEST_CASE("what is nearest exists: it is nearest to itself, and comes back from its bits") {
  const auto check = [](const auto& store, const auto& header, auto make) {
    bool itself = true, back = true, short_enough = true;
    for (const float x : scales()) {
      const auto p = store.nearest(make(x), header);
      using P = std::remove_cvref_t<decltype(p)>;
      const auto bits = static_cast<unsigned>(store.template bits<P>());
      const auto same = [&](const P& q) {
        bool equal = q.scale == p.scale;
        if constexpr (requires { p.minimum; }) equal = equal && q.minimum == p.minimum;
        if constexpr (requires { p.zero; }) equal = equal && q.zero == p.zero;
        return equal;
      };
      const std::uint64_t packed = store.pack(p, header);
      itself = itself && same(store.nearest(p, header));
      short_enough = short_enough && (bits == 64 || packed >> (bits % 64) == 0);
      back = back && same(store.template unpack<P>(packed, header));
    }
    CHECK(itself);
    CHECK(back);
    CHECK(short_enough);
  };
  const auto scale = [](float x) { return scale_parameters{x}; };
  const auto zero = [](float x) { return zero_parameters<4>{x, static_cast<std::uint8_t>(x > 0 ? 13 : 2)}; };
  const auto minimum = [](float x) { return minimum_parameters{x < 0 ? -x : x, -0.7f * x}; };
  check(f32_store{}, no_header{}, minimum);
  check(f32_store{}, no_header{}, zero);
  check(f16_store{}, no_header{}, zero);
  check(bf16_store{}, no_header{}, minimum);
  check(float_store<fp8_e4m3>{}, no_header{}, scale);
  check(e8m0_store{}, no_header{}, scale);
  check(fp8_of_matrix{}, matrix_scale{0.013f}, scale);
  check(fp8_of_matrix{}, matrix_scale{0.0f}, scale);
  check(six_scale{}, six_bit_units{0.011f, 0.0f}, scale);
  check(six_minimum{}, six_bit_units{0.25f, 0.125f}, minimum);
  check(six_minimum{}, six_bit_units{0.0f, 0.0f}, minimum);
}

TEST_CASE("headers hold the largest parameters of their super-block, and come back from their bits") {
  const std::vector<minimum_parameters> groups{{0.5f, -1.0f}, {2.0f, 0.25f}, {1.0f, -3.0f}};
  const six_minimum two;
  const auto h = two.header_of(std::span<const minimum_parameters>(groups), 1.0);
  CHECK(h.scale == static_cast<float>(f16(2.0 / 63)));
  CHECK(h.minimum == static_cast<float>(f16(3.0 / 63)));
  const auto back = six_minimum::unpack_header(six_minimum::pack_header(h));
  CHECK((back.scale == h.scale && back.minimum == h.minimum));
  CHECK(two.nearest(groups[1], h).minimum == 0.0f);  // none above 0
  CHECK(two.nearest(groups[1], h).scale == 63 * h.scale);

  const std::vector<scale_parameters> signs{{0.5f}, {-3.2f}, {3.0f}};
  const auto s = six_scale::header_of(std::span<const scale_parameters>(signs), 1.0);
  CHECK(s.scale == static_cast<float>(f16(0.1)));
  CHECK(six_scale{}.nearest(signs[1], s).scale == -32 * s.scale);
  CHECK(six_scale{}.nearest(signs[2], s).scale == 30 * s.scale);

  const auto t = fp8_of_matrix::header_of(std::span<const scale_parameters>(signs), 1.0);
  CHECK(t.scale == static_cast<float>(3.2f / 448.0));
  CHECK(fp8_of_matrix::unpack_header(fp8_of_matrix::pack_header(t)).scale == t.scale);
  CHECK(fp8_of_matrix{}.nearest(scale_parameters{3.2f}, t).scale == Approx(3.2f));
  CHECK(fp8_of_matrix{}.nearest(scale_parameters{-1.0f}, t).scale == 0.0f);
}

TEST_CASE("known scales: powers of two round at three quarters, f16 saturates and loses what is small") {
  CHECK(e8m0_store{}.nearest(scale_parameters{0.7499f}, {}).scale == 0.5f);
  CHECK(e8m0_store{}.nearest(scale_parameters{0.75f}, {}).scale == 1.0f);
  CHECK(e8m0_store{}.nearest(scale_parameters{0.0f}, {}).scale == 0x1p-127f);
  CHECK(e8m0_store{}.nearest(scale_parameters{3e38f}, {}).scale == 0x1p127f);
  CHECK(e8m0_store::pack(scale_parameters{1.0f}, {}) == 127);
  CHECK(f16_store::nearest(scale_parameters{1e6f}, {}).scale == 65504.0f);
  CHECK(f16_store::nearest(scale_parameters{-1e-9f}, {}).scale == 0.0f);
}

TEST_CASE("a format's bits are those of its parts") {
  CHECK(stored_bits(mxfp4{}, 10, 320) == 3200 * 4.25);
  CHECK(stored_bits(nvfp4{}, 10, 320) == 3200 * 4.5 + 32);
  CHECK(stored_bits(two_level<4>{}, 10, 512) == 5120 * 4.5);
  CHECK(stored_bits(two_level<4>{}, 1, 300) == 300 * 4 + 10 * 12 + 2 * 32);  // tails in full
  CHECK(stored_bits(two_level_symmetric<3>{}, 2, 256) == 512 * 3 + 32 * 6 + 4 * 16);
  CHECK(stored_bits(e8{}, 3, 20) == 3 * (3 * 16 + 16));
  CHECK(stored_bits(nf4{}, 4, 128) == 512 * 4.25);
  const floats levels{-1, 0, 2};
  CHECK(stored_bits(codebook_format{.group = 8, .grid = codebook_grid(levels)}, 2, 8) == 16 * 2 + 2 * 16 + 32 + 96);
  CHECK(mxfp4::name() == "e2m1/e8m0");
  CHECK(affine<4>::name() == "int4z/f32");
}

}  // namespace tests
