// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/compress/gaussian_reference.hpp>

#include <cmath>
#include <vector>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

using resect::compress::gaussian_reference;
using resect::compress::try_gaussian_reference;

TEST_CASE("Gaussian reference: one level of h falls by a factor of four a bit") {
  const std::vector<double> h(8, 3.0);
  for (const double bits : {0.0, 0.5, 1.0, 2.25, 4.0})
    CHECK(gaussian_reference(h, 5, 0.25, bits, 0) == Approx(5 * 0.25 * 8 * 3.0 * std::pow(2.0, -2 * bits)));
}

TEST_CASE("Gaussian reference: water fills the small directions, and those of the rank cost nothing") {
  const std::vector<double> h{16, 4, 1, 0};
  // 4 weights of ½ bit: 2 bits in all; θ = 4: 1 bit on the first direction … so ½·log₂(16/θ) + ½·log₂(4/θ) = 2, θ = 2
  CHECK(gaussian_reference(h, 1, 1, 0.5, 0) == Approx(2 + 2 + 1));
  // without the first direction: ½·log₂(4/θ) = 2 would be θ = ¼ < 1, so ½·log₂(4/θ) + ½·log₂(1/θ) = 2, θ = ½
  CHECK(gaussian_reference(h, 1, 1, 0.5, 1) == Approx(0.5 + 0.5));
  CHECK(gaussian_reference(h, 1, 1, 0, 0) == Approx(21));
  CHECK(gaussian_reference(h, 1, 1, 1, 4) == 0);
  CHECK(gaussian_reference(std::vector<double>{}, 3, 1, 2, 0) == 0);
}

TEST_CASE("Gaussian reference: the rate of θ is the rate that was asked for") {
  std::vector<double> h;
  for (int j = 0; j < 40; ++j) h.push_back(std::exp(-0.3 * j));
  for (const double bits : {0.1, 0.7, 2.0, 5.0}) {
    const double loss = gaussian_reference(h, 1, 1, bits, 3);
    double lo = 0, hi = 2;  // θ by bisection on its own loss
    for (int i = 0; i < 200; ++i) {
      const double theta = 0.5 * (lo + hi);
      double sum = 0;
      for (std::size_t j = 3; j < h.size(); ++j) sum += std::fmin(theta, h[j]);
      (sum < loss ? lo : hi) = theta;
    }
    double rate = 0;
    for (std::size_t j = 3; j < h.size(); ++j) rate += std::fmax(0, 0.5 * std::log2(h[j] / lo));
    CAPTURE(bits);
    CHECK(rate == Approx(40 * bits).epsilon(1e-9));
  }
}

TEST_CASE("Gaussian reference: bad input is refused by name") {
  const std::vector<double> h(4, 1.0);
  using resect::errc;
  support::expect_error(try_gaussian_reference(h, 1, 1, -1, 0), errc::invalid_argument, {"bits", "-1"});
  support::expect_error(try_gaussian_reference(h, 1, 1, 1, 5), errc::invalid_argument, {"rank", "5", "0 to 4"});
  support::expect_error(try_gaussian_reference(h, 1, -1, 1, 0), errc::invalid_argument, {"variance", "-1"});
}
