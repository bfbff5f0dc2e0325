// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/intervals/special_functions.hpp>
#include <resect/metrics/intervals/student_t.hpp>

#include <cmath>
#include <limits>

#include <resect/metrics/intervals/wilson.hpp>
#include <support/catch.hpp>

using namespace resect::metrics;

namespace {
struct known {
  double nu, p, t;
};
}  // namespace

TEST_CASE("student_t_quantile and its inverse equal values of 60-digit arithmetic to 1e-10") {
  constexpr known table[] = {
      {0.5, 1e-12, -1.0284911563163400532e+23},
      {0.5, 0.0005, -411396.46252617137582},
      {0.5, 0.025, -164.55767348048851485},
      {0.5, 0.2, -2.5127179536659186357},
      {0.5, 0.4999, -0.00037081496095445097566},
      {0.5, 0.75, 1.5537739740300373073},
      {0.5, 0.975, 164.5576734804882408},
      {0.5, 0.995, 4113.9645888041738438},
      {1, 1e-12, -318309886183.79067794},
      {1, 0.0005, -636.61924876871960296},
      {1, 0.025, -12.706204736174703938},
      {1, 0.2, -1.3763819204711734373},
      {1, 0.4999, -0.00031415927569437069231},
      {1, 0.75, 1.0},
      {1, 0.975, 12.706204736174693314},
      {1, 0.995, 63.656741162871524447},
      {2, 1e-12, -707106.78118548687134},
      {2, 0.0005, -31.599054576443620403},
      {2, 0.025, -4.3026527297494637234},
      {2, 0.2, -1.0606601717798212253},
      {2, 0.4999, -0.00028284271813144227832},
      {2, 0.75, 0.81649658092772603273},
      {2, 0.975, 4.3026527297494617894},
      {2, 0.995, 9.9248432009182886403},
      {3, 1e-12, -10331.108244292486204},
      {3, 0.0005, -12.923978636687482975},
      {3, 0.025, -3.1824463052837095204},
      {3, 0.2, -0.97847231236330438961},
      {3, 0.4999, -0.00027206990911047338186},
      {3, 0.75, 0.76489232840434528066},
      {3, 0.975, 3.1824463052837084359},
      {3, 0.995, 5.8409093097333554113},
      {4, 1e-12, -1316.0727465592565424},
      {4, 0.0005, -8.6103015813792750499},
      {4, 0.025, -2.7764451051977943036},
      {4, 0.2, -0.9409645772351811203},
      {4, 0.4999, -0.00026666667061725468335},
      {4, 0.75, 0.74069708411268263298},
      {4, 0.975, 2.7764451051977934898},
      {4, 0.995, 4.6040948713499920459},
      {5, 1e-12, -393.95695957760377025},
      {5, 0.0005, -6.8688266258811102162},
      {5, 0.025, -2.570581835636315469},
      {5, 0.2, -0.91954378024082597933},
      {5, 0.4999, -0.00026343055607018551454},
      {5, 0.75, 0.72668684380042265302},
      {5, 0.975, 2.5705818356363147828},
      {5, 0.995, 4.0321429835552271793},
      {7, 1e-12, -104.02182926264720445},
      {7, 0.0005, -5.4078825208617252209},
      {7, 0.025, -2.3646242515927853039},
      {7, 0.2, -0.89602964431376490985},
      {7, 0.4999, -0.00025974603090254503631},
      {7, 0.75, 0.71114177808178630563},
      {7, 0.975, 2.3646242515927847379},
      {7, 0.995, 3.4994832973504932609},
      {9, 1e-12, -51.414916023282230501},
      {9, 0.0005, -4.7809125859311390514},
      {9, 0.025, -2.2621571627982055086},
      {9, 0.2, -0.88340385968553449233},
      {9, 0.4999, -0.00025770877553428197299},
      {9, 0.75, 0.70272214675132636718},
      {9, 0.975, 2.2621571627982049992},
      {9, 0.995, 3.2498355415921257205},
      {15, 1e-12, -20.638607310216085279},
      {15, 0.0005, -4.0727651959037917101},
      {15, 0.025, -2.1314495455597756528},
      {15, 0.2, -0.86624497319495154163},
      {15, 0.4999, -0.00025487242266883988844},
      {15, 0.75, 0.69119694895848982395},
      {15, 0.975, 2.1314495455597752123},
      {15, 0.995, 2.9467128834752384808},
      {31, 1e-12, -11.200207192884789206},
      {31, 0.0005, -3.6334563497583310428},
      {31, 0.025, -2.0395134463964084616},
      {31, 0.2, -0.85337029569694369465},
      {31, 0.4999, -0.00025269212473261043207},
      {31, 0.75, 0.68248630600257217688},
      {31, 0.975, 2.0395134463964080672},
      {31, 0.995, 2.7440419192942689588},
      {63, 1e-12, -8.7175104375626651058},
      {63, 0.0005, -3.4517689449609980856},
      {63, 0.025, -1.9983405425207415533},
      {63, 0.2, -0.84736391227564598945},
      {63, 0.4999, -0.00025165945821058974969},
      {63, 0.75, 0.67840396105785756179},
      {63, 0.975, 1.9983405425207411788},
      {63, 0.995, 2.6561450250998613587},
      {100, 1e-12, -8.0258255944932530634},
      {100, 0.0005, -3.3904913111642299131},
      {100, 0.025, -1.9839715185235522621},
      {100, 0.2, -0.84523042449101604133},
      {100, 0.4999, -0.00025129026070821304451},
      {100, 0.75, 0.67695104301147147794},
      {100, 0.975, 1.9839715185235518946},
      {100, 0.995, 2.625890521438017607},
      {1000, 1e-12, -7.1242289253144091385},
      {1000, 0.0005, -3.3002826484239129039},
      {1000, 0.025, -1.9623390808264084612},
      {1000, 0.2, -0.84198082216242851704},
      {1000, 0.4999, -0.00025072550362288888789},
      {1000, 0.75, 0.67473516460700943738},
      {1000, 0.975, 1.9623390808264081039},
      {1000, 0.995, 2.5807546980659507706},
      {12345, 1e-12, -7.041681848288578713},
      {12345, 0.0005, -3.291315054529828282},
      {12345, 0.025, -1.9601561676005672114},
      {12345, 0.2, -0.84165035085785741982},
      {12345, 0.4999, -0.00025066790634122098401},
      {12345, 0.75, 0.67450962393971613687},
      {12345, 0.975, 1.9601561676005668551},
      {12345, 0.995, 2.5762276237865190734},
      {1000000.0, 1e-12, -7.034572608411256618},
      {1000000.0, 0.0005, -3.290536461248691125},
      {1000000.0, 0.025, -1.9599663568141070115},
      {1000000.0, 0.2, -0.84162159301398397242},
      {1000000.0, 0.4999, -0.000250662892753726785},
      {1000000.0, 0.75, 0.67448999553108737862},
      {1000000.0, 0.975, 1.9599663568141066553},
      {1000000.0, 0.995, 2.5758342201053338472},
  };
  for (const known& k : table) {
    INFO("nu " << k.nu << " p " << k.p);
    const double t = student_t_quantile(k.p, k.nu);
    CHECK(std::fabs(t - k.t) <= 1e-11 * std::fmax(1.0, std::fabs(k.t)));
    const double tail = k.p < 0.5 ? k.p : 1 - k.p;
    CHECK(std::fabs(student_t_cdf(k.t, k.nu) - k.p) <= 1e-12 * (k.p < 0.5 ? tail : 1.0));
  }
}

TEST_CASE("student's t is Cauchy for one degree of freedom, algebraic for two, normal for infinitely many") {
  constexpr double pi = 3.14159265358979323846;
  for (double t = -50; t <= 50; t += 0.37) {
    CHECK(student_t_cdf(t, 1) == Approx(0.5 + std::atan(t) / pi).epsilon(1e-13));
    CHECK(student_t_cdf(t, 2) == Approx(0.5 + t / (2 * std::sqrt(2 + t * t))).epsilon(1e-12));
  }
  for (double p = 0.001; p < 1; p += 0.0137) {
    CHECK(student_t_quantile(p, 1) == Approx(std::tan(pi * (p - 0.5))).epsilon(1e-11).margin(1e-11));
    CHECK(student_t_quantile(p, 2) == Approx((2 * p - 1) / std::sqrt(2 * p * (1 - p))).epsilon(1e-11).margin(1e-11));
    CHECK(student_t_quantile(p, 1e300) == normal_quantile(p));
  }
}

TEST_CASE("student's t is symmetric, monotone and continuous where its formula changes") {
  for (const double nu : {0.3, 1.0, 5.0, 31.0, 9999.0, 10001.0, 1e7}) {
    double last = 0;
    for (double t = -30; t <= 30; t += 0.01) {
      const double f = student_t_cdf(t, nu);
      REQUIRE(f >= last);
      REQUIRE(f + student_t_cdf(-t, nu) == Approx(1.0).epsilon(1e-14));
      last = f;
    }
    for (double p = 1e-9; p < 0.5; p *= 3)
      CHECK(student_t_cdf(student_t_quantile(p, nu), nu) == Approx(p).epsilon(1e-11));
  }
  for (double t = -12; t < 12; t += 0.1)
    CHECK(student_t_cdf(t, 1e4) / student_t_cdf(t, std::nextafter(1e4, 2e4)) == Approx(1).epsilon(1e-12));
}

TEST_CASE("student's t answers NaN outside its domain and infinity at its ends") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(std::isnan(student_t_cdf(1, 0)));
  CHECK(std::isnan(student_t_cdf(1, -1)));
  CHECK(std::isnan(student_t_cdf(resect::metrics::nan, 3)));
  CHECK(std::isnan(student_t_quantile(0.5, 0)));
  CHECK(std::isnan(student_t_quantile(-0.1, 3)));
  CHECK(std::isnan(student_t_quantile(1.1, 3)));
  CHECK(std::isnan(student_t_quantile(resect::metrics::nan, 3)));
  CHECK(student_t_quantile(0, 3) == -inf);
  CHECK(student_t_quantile(1, 3) == inf);
  CHECK(student_t_cdf(inf, 3) == 1);
  CHECK(student_t_cdf(-inf, 3) == 0);
  CHECK(student_t_cdf(-1e200, 1) == Approx(1e-200 / 3.14159265358979323846).epsilon(1e-12));
  CHECK(normal_quantile(0) == -inf);
  CHECK(normal_quantile(1) == inf);
  CHECK(std::isnan(normal_quantile(2)));
}

TEST_CASE("log_gamma and log_beta equal factorials and large ratios") {
  double log_factorial = 0;
  for (int n = 1; n < 170; ++n) {
    CHECK(log_gamma(n) == Approx(log_factorial).epsilon(2e-14).margin(1e-14));
    log_factorial += std::log(n);
  }
  CHECK(log_gamma(0.5) == Approx(0.5 * std::log(3.14159265358979323846)).epsilon(1e-14));
  CHECK(log_gamma(1e-8) == Approx(std::log(1e8) - 0.5772156649e-8).epsilon(1e-14));
  // B(a, 1) = 1/a and B(a, 2) = 1/(a(a + 1)) for any a.
  for (double a = 0.1; a < 1e9; a *= 3.7) {
    CHECK(log_beta(a, 1) == Approx(-std::log(a)).epsilon(1e-13).margin(1e-13));
    CHECK(log_beta(2, a) == Approx(-std::log(a) - std::log1p(a)).epsilon(1e-13).margin(1e-13));
  }
  CHECK(std::isnan(log_gamma(0)));
  CHECK(std::isnan(log_gamma(-1.5)));
}

TEST_CASE("the incomplete beta function satisfies its closed forms and its reflection") {
  for (double x = 0.01; x < 1; x += 0.03) {
    CHECK(regularized_beta(1, 1, x, 1 - x) == Approx(x).epsilon(1e-13));
    CHECK(regularized_beta(2.5, 1, x, 1 - x) == Approx(std::pow(x, 2.5)).epsilon(1e-13));
    CHECK(regularized_beta(1, 3.5, x, 1 - x) == Approx(1 - std::pow(1 - x, 3.5)).epsilon(1e-12));
    CHECK(regularized_beta(0.7, 4.2, x, 1 - x) + regularized_beta(4.2, 0.7, 1 - x, x) == Approx(1).epsilon(1e-13));
  }
  CHECK(regularized_beta(2, 3, 0, 1) == 0);
  CHECK(regularized_beta(2, 3, 1, 0) == 1);
  CHECK(std::isnan(regularized_beta(0, 1, 0.5, 0.5)));
}

TEST_CASE("wilson's interval equals published values and stays inside [0, 1]") {
  const auto check = [](resect::index_t k, resect::index_t n, double lo, double hi) {
    const estimate e = wilson(k, n);
    CHECK(e.value == static_cast<double>(k) / static_cast<double>(n));
    CHECK(std::fabs(e.lo - lo) <= 5e-3);
    CHECK(std::fabs(e.hi - hi) <= 5e-3);
    CHECK(e.n == n);
  };
  check(3, 7, 0.16, 0.75);
  check(4, 7, 0.25, 0.84);
  check(6, 7, 0.49, 0.97);
  check(0, 10, 0, 0.28);
  check(0, 20, 0, 0.16);
  check(1, 20, 0.01, 0.24);
  // To the last digit: 15 of 148 (Newcombe 1998, table I: 0.0624 to 0.1605).
  CHECK(wilson(15, 148).lo == Approx(0.0624).epsilon(1e-3));
  CHECK(wilson(15, 148).hi == Approx(0.1605).epsilon(1e-3));
  CHECK(wilson(0, 10).lo == 0);
  CHECK(wilson(10, 10).hi == 1);
  for (resect::index_t n = 1; n < 30; ++n)
    for (resect::index_t k = 0; k <= n; ++k) {
      const estimate e = wilson(k, n);
      CHECK((0 <= e.lo && e.lo <= e.value && e.value <= e.hi && e.hi <= 1));
      CHECK(e.hi == Approx(1 - wilson(n - k, n).lo).epsilon(1e-13));
    }
  CHECK_FALSE(wilson(0, 0).has_interval());
  CHECK(std::isnan(wilson(3, 2).value));
}
