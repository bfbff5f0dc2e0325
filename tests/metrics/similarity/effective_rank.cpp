// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/similarity/effective_rank.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

using spectrum = std::vector<double>;

TEST_CASE("r equal singular values have rank r by every definition, zeros and scale do not count") {
  for (const double scale : {1.0, 3.7, 1e-200, 1e200})
    for (int r = 1; r <= 9; ++r) {
      spectrum s(static_cast<std::size_t>(r), scale);
      s.resize(12, 0.0);
      CHECK(entropy_rank(s) == Approx(r).epsilon(1e-14));
      CHECK(participation_ratio(s) == Approx(r).epsilon(1e-14));
      CHECK(stable_rank(s) == Approx(r).epsilon(1e-14));
      CHECK(energy_rank(s, 1.0) == r);
      CHECK(energy_rank(s, 0.5) == (r + 1) / 2);
    }
}

TEST_CASE("a spectrum of two values on paper") {
  const spectrum s{3, 1};
  // p = 3/4, 1/4: exp H = 4/3^{3/4}. Σσ² = 10, Σσ⁴ = 82.
  CHECK(entropy_rank(s) == Approx(4 / std::pow(3.0, 0.75)).epsilon(1e-15));
  CHECK(participation_ratio(s) == Approx(100.0 / 82).epsilon(1e-15));
  CHECK(stable_rank(s) == Approx(10.0 / 9).epsilon(1e-15));
  CHECK(energy_rank(s, 0.9) == 1);
  CHECK(energy_rank(s, 0.91) == 2);
  CHECK(energy_rank(s, 0) == 0);
  const std::vector<float> f{3, 1};
  CHECK(entropy_rank(f) == entropy_rank(s));
  CHECK(participation_ratio(f) == participation_ratio(s));
  CHECK(stable_rank(f) == stable_rank(s));
  CHECK(energy_rank(f, 0.91) == 2);
}

TEST_CASE("stable rank <= participation ratio <= entropy rank <= number of values") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    draws d{seed};
    spectrum s;
    for (int i = 0; i < 20; ++i) s.push_back(std::fabs(d.t3()));
    CHECK(1 <= stable_rank(s) * (1 + 1e-15));
    CHECK(stable_rank(s) <= participation_ratio(s) * (1 + 1e-14));
    CHECK(participation_ratio(s) <= entropy_rank(s) * (1 + 1e-14));
    CHECK(entropy_rank(s) <= 20 * (1 + 1e-14));
  }
}

TEST_CASE("the energy rank is the first count that reaches the share, for every share") {
  const spectrum s{8, 4, 2, 1, 0.5, 0};
  const double total = 64 + 16 + 4 + 1 + 0.25;
  double kept = 0;
  for (int r = 0; r < 5; ++r) {
    const double below = kept / total;
    kept += s[static_cast<std::size_t>(r)] * s[static_cast<std::size_t>(r)];
    CHECK(energy_rank(s, below + 1e-9) == r + 1);
    CHECK(energy_rank(s, kept / total - 1e-9) == r + 1);
  }
  CHECK(energy_rank(s, 1) == 5);
}

TEST_CASE("spectra that are none have no rank") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const spectrum& s :
       {spectrum{}, spectrum{0, 0}, spectrum{1, -1}, spectrum{1, std::nan("")}, spectrum{infinity, 1}}) {
    CHECK(std::isnan(entropy_rank(s)));
    CHECK(std::isnan(participation_ratio(s)));
    CHECK(std::isnan(stable_rank(s)));
  }
  CHECK(energy_rank(spectrum{}, 0.5) == 0);
  CHECK(energy_rank(spectrum{0, 0}, 0.5) == 0);
  for (const spectrum& s : {spectrum{1, -1}, spectrum{1, std::nan("")}, spectrum{infinity, 1}, spectrum{1, 2}})
    CHECK(energy_rank(s, 0.5) == -1);
  for (const double share : {-0.1, 1.1, std::nan("")}) CHECK(energy_rank(spectrum{2, 1}, share) == -1);
}

}  // namespace tests
