// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// D = mean square error over variance of standard normal weights, beside what published comparisons and other tools reach.
#include <resect/quant.hpp>
#include <support/catch.hpp>

#include "groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::index_t;

namespace {

// D of 2²⁰ weights, 1024 a row.
template <class F, class S = min_max>
double distortion(const F& format, const S& search = {}) {
  static const floats w = gaussian(1 << 20, 1);
  resect::inline_executor here;
  const resect::matrix_view<const float> W{w.data(), 1024, 1024};
  return loss(here, W, quantize(here, W, format, nearest{}, search)).mean_square;
}

template <int Bits>
using symmetric = affine_symmetric<Bits, f16_store>;
template <int Bits>
using integer = affine<Bits, zero_point::integer, f16_store>;

}  // namespace

TEST_CASE("the distortion of formats whose scales hold the extent is the published one, within a hundredth") {
  CHECK(distortion(integer<4>{.group = 128}) == Approx(0.01011).epsilon(0.01));
  CHECK(distortion(integer<4>{.group = 32}) == Approx(0.00651).epsilon(0.01));
  CHECK(distortion(symmetric<4>{.group = 128}) < 0.01229);                             // GPTQ's reference scale
  CHECK(distortion(symmetric<4>{.group = 32}) == Approx(0.00739).epsilon(0.01));       // Q4_0
  CHECK(distortion(affine_minimum<4>{.group = 32}) == Approx(0.00611).epsilon(0.01));  // Q4_1
  CHECK(distortion(integer<3>{.group = 128}) == Approx(0.0464).epsilon(0.01));
  CHECK(distortion(integer<2>{.group = 64}) == Approx(0.208).epsilon(0.01));
  CHECK(distortion(integer<2>{.group = 16}) == Approx(0.122).epsilon(0.01));
  CHECK(distortion(symmetric<8>{.group = 32}) < 2.9e-5 * 1.01);  // Q8_0
  CHECK(distortion(nf4{}) == Approx(0.00847).epsilon(0.01));
  CHECK(distortion(fp4{}) == Approx(0.01487).epsilon(0.01));
  CHECK(distortion(mxfp4{}, ocp_floor{}) == Approx(0.01322).epsilon(0.01));
  CHECK(distortion(nvfp4{}) == Approx(0.00905).epsilon(0.01));
  CHECK(distortion(e8{}) < 0.0918 * 1.01);
}

TEST_CASE("searched scales reach the published distortion or less") {
  CHECK(distortion(integer<4>{.group = 128}, mse_scale{}) < 0.00901 * 1.01);
  CHECK(distortion(integer<3>{.group = 128}, mse_scale{}) < 0.0348 * 1.01);
  CHECK(distortion(integer<2>{.group = 64}, mse_scale{}) < 0.126 * 1.01);
  CHECK(distortion(mxfp4{}, exact{}) < 0.01245 * 1.01);
  CHECK(distortion(symmetric<4>{.group = 128}, exact{}) < 0.0095);
}

// Cases of their own, because they take seconds and tests run side by side.
TEST_CASE("NVFP4 over every scale that exists loses less than the better of two scales") {
  CHECK(distortion(nvfp4{}, exact{}) < 0.0067);  // the better of two: 0.00756
}
TEST_CASE("float minimums from a sweep reach their distortion") {
  CHECK(distortion(affine_minimum<4>{.group = 128}, exact{}) < 0.0083);
}
TEST_CASE("two levels reach the distortion of Q4_K") { CHECK(distortion(two_level<4>{}, exact{}) < 0.00508); }

}  // namespace tests
