// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/random/distributions.hpp>

#include <cmath>
#include <vector>

#include <resect/core/hash.hpp>
#include <support/catch.hpp>

namespace draw = resect::random;

static_assert(draw::uniform_f32(0) == 0 && draw::uniform_f32(~0u) == 1 - 0x1p-24f);
static_assert(draw::uniform_f64(0) == 0 && draw::uniform_f64(~std::uint64_t{0}) == 1 - 0x1p-53);
static_assert(draw::uniform_open_f32(0) == 0x1p-24f && draw::uniform_open_f32(~0u) == 1 - 0x1p-24f);
static_assert(draw::uniform_open_f64(0) == 0x1p-53 && draw::uniform_open_f64(~std::uint64_t{0}) == 1 - 0x1p-53);

// The same programs as on a device and in every build mode: the bits are part of the format.
TEST_CASE("gaussian and integer draws have the committed bits in every build mode") {
  resect::fingerprint gauss, integers, uniform;
  for (std::uint64_t i = 0; i < 100000; ++i) gauss.add(draw::gaussian(7, 3, i));
  const draw::philox_stream s{11, 4};
  for (std::uint64_t i = 0; i < 20000; ++i) {
    integers.add(draw::integer_below(s, i, 3 * i + 1));
    uniform.add(draw::uniform(s, i)).add(draw::uniform_open(s, i));
  }
  CHECK(gauss.value() == 0x0d73b1504acd162fu);
  CHECK(integers.value() == 0xcffd444c4e4c6df8u);
  CHECK(uniform.value() == 0x4e0deb044f884132u);
}

TEST_CASE("the tails and the centre of the inverse normal have the committed bits") {
  resect::fingerprint f;
  for (double u = 1e-300; u < 0.5; u *= 1.7) f.add(draw::gaussian(u)).add(draw::log_rn(u));
  for (int i = 1; i < 1000; ++i) f.add(draw::gaussian(i / 1000.0));
  CHECK(f.value() == 0x1acc5a6a80ba95b6u);
}

TEST_CASE("normal(inverse normal(u)) is u to a few roundings, from 1e-300 to 1 - 1e-15") {
  const auto lower = [](double x) { return 0.5 * std::erfc(-x * 0.70710678118654752440); };
  for (double u = 1e-300; u < 0.5; u *= 1.31) {
    const double x = draw::gaussian(u);
    // The tail is steep: a relative error e of x is x²·e of the tail; erfc itself is good to about 1e-15·x².
    const double bound = 4e-16 * (4 + 3 * x * x);
    CHECK(std::fabs(lower(x) / u - 1) <= bound);
  }
  for (int i = 1; i < 4000; ++i) {
    const double u = i / 4000.0;
    CHECK(std::fabs(lower(draw::gaussian(u)) - u) <= 5e-16);
    CHECK(draw::gaussian(1 - u) == -draw::gaussian(1 - (1 - u)));
  }
  CHECK(draw::gaussian(0.5) == 0);
  CHECK(draw::gaussian(0.975) == Approx(1.95996398454005423552).epsilon(2e-15));
  CHECK(draw::gaussian(1e-10) == Approx(-6.36134090240406199).epsilon(2e-15));
  CHECK(draw::gaussian(1e-300) == Approx(-37.0470962994).epsilon(1e-11));
}

TEST_CASE("log_rn is within one rounding of the logarithm") {
  for (double x = 1e-300; x < 1e300; x *= 1.0371) {
    const long double exact = std::log(static_cast<long double>(x));
    CHECK(std::fabs(draw::log_rn(x) - exact) <= 2.3e-16L * std::fabs(exact));
  }
  CHECK(draw::log_rn(1.0) == 0);
}

TEST_CASE("a million draws have the moments of the uniform and of the normal distribution") {
  const draw::philox_stream s{2024, 1};
  constexpr int n = 1000000;
  double m[5] = {}, u1 = 0, u2 = 0, lag = 0, last = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    const double x = draw::gaussian(s, i), u = draw::uniform(s, i);
    double power = 1;
    for (double& sum : m) {
      sum += power / n;
      power *= x;
    }
    u1 += u / n;
    u2 += u * u / n;
    lag += x * last / n;
    last = x;
  }
  // Five standard errors each.
  CHECK(std::fabs(m[1]) < 5 * 1e-3);
  CHECK(std::fabs(m[2] - 1) < 5 * std::sqrt(2.0) * 1e-3);
  CHECK(std::fabs(m[3]) < 5 * std::sqrt(15.0) * 1e-3);
  CHECK(std::fabs(m[4] - 3) < 5 * std::sqrt(96.0) * 1e-3);
  CHECK(std::fabs(lag) < 5 * 1e-3);
  CHECK(std::fabs(u1 - 0.5) < 5 * std::sqrt(1.0 / 12) * 1e-3);
  CHECK(std::fabs(u2 - 1.0 / 3) < 5 * std::sqrt(4.0 / 45) * 1e-3);
}

TEST_CASE("integers below n are uniform, also where a modulus would favour small ones") {
  const draw::philox_stream s{3};
  std::vector<int> seen(7);
  for (std::uint64_t i = 0; i < 70000; ++i) ++seen[draw::integer_below(s, i, 7)];
  double chi2 = 0;
  for (const int k : seen) chi2 += (k - 10000.0) * (k - 10000.0) / 10000.0;
  CHECK(chi2 < 22.5);  // 6 degrees of freedom, p = 0.001
  CHECK(draw::integer_below(s, 0, 0) == 0);
  CHECK(draw::integer_below(s, 0, 1) == 0);
  // n = 3·2⁶²: a plain modulus would put half of the draws into the first third.
  const std::uint64_t n = std::uint64_t{3} << 62;
  int low = 0;
  for (std::uint64_t i = 0; i < 30000; ++i) {
    const std::uint64_t k = draw::integer_below(s, i, n);
    REQUIRE(k < n);
    low += k < n / 3;
  }
  CHECK(std::abs(low - 10000) < 5 * 82);
  // The rejected draws (a quarter of them) come from further blocks: had they been kept, half of all would be low here.
  int even = 0;
  for (std::uint64_t i = 0; i < 30000; ++i) even += draw::integer_below(s, i, n) % 3 == 0;
  CHECK(std::abs(even - 10000) < 5 * 82);
}

TEST_CASE("fill_gaussian gives the same numbers however a range is split") {
  std::vector<float> whole(1001);
  draw::fill_gaussian(whole, 5, 6, 13, 0.02);
  for (std::size_t i = 0; i < whole.size(); ++i)
    REQUIRE(whole[i] == static_cast<float>(0.02 * draw::gaussian(5, 6, 13 + i)));
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{500}, std::size_t{1001}}) {
    std::vector<float> parts(1001, 99.0f);
    const std::span<float> all{parts};
    draw::fill_gaussian(all.first(cut), 5, 6, 13, 0.02);
    draw::fill_gaussian(all.subspan(cut), 5, 6, 13 + cut, 0.02);
    CHECK(parts == whole);
  }
}
