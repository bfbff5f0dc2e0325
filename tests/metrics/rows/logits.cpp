// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/rows/logits.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/rows/sharded.hpp>
#include <support/catch.hpp>
#include <support/instruction_sets.hpp>
#include <support/small_rows.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;
using resect::instruction_set;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float quiet = std::numeric_limits<float>::quiet_NaN();

std::vector<float> row(int n, std::uint64_t seed, double sd, double mean = 0) {
  std::vector<float> x(static_cast<std::size_t>(n));
  resect::random::fill_gaussian(x, seed, 0, 0, sd);
  for (float& v : x) v += static_cast<float>(mean);
  return x;
}

std::vector<float> plus(std::vector<float> x, const std::vector<float>& y) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  return x;
}

bool same_bits(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

long double log_sum(const std::vector<float>& x) {
  const long double top = *std::max_element(x.begin(), x.end());
  long double sum = 0;
  for (const float v : x) sum += std::exp(static_cast<long double>(v) - top);
  return top + std::log(sum);
}

// Σ p·(ln p − ln q), the definition, in long double.
long double divergence(const std::vector<float>& x, const std::vector<float>& y) {
  const long double a = log_sum(x), b = log_sum(y);
  long double kl = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const long double p = std::exp(static_cast<long double>(x[i]) - a);
    if (p > 0) kl += p * ((static_cast<long double>(x[i]) - a) - (static_cast<long double>(y[i]) - b));
  }
  return kl;
}

// The documented bound; the bar of the project (1e-7 + 1e-6·KL) is wider.
double bound(long double kl) { return 1e-8 + 1e-8 * static_cast<double>(kl); }

void check_pair(instruction_set set, const std::vector<float>& x, const std::vector<float>& y, long double kl,
                long double lse_x) {
  const index_t n = static_cast<index_t>(x.size());
  const index_t target = n / 3;
  const logit_comparison c = compare_logits(set, x, y, target);
  INFO(resect::name(set) << " n " << n << " kl " << static_cast<double>(kl));
  CHECK(std::fabs(static_cast<double>(c.kl - kl)) <= bound(kl));
  CHECK(c.kl >= 0);
  const auto at = static_cast<std::size_t>(target);
  const double lse_bound = 3e-9 + 4e-16 * std::fabs(static_cast<double>(lse_x));
  CHECK(std::fabs(static_cast<double>(c.nll_full - (lse_x - x[at]))) <= lse_bound);
  CHECK(std::fabs(static_cast<double>(c.nll_edited - (log_sum(y) - y[at]))) <= lse_bound);
  CHECK(c.nll_full >= 0);
  CHECK(c.nll_full == nll(set, x, target));
  CHECK(c.nll_edited == nll(set, y, target));
  CHECK(c.nll_full == log_sum_exp(set, x) - static_cast<double>(x[at]));
  const float top_x = *std::max_element(x.begin(), x.end()), top_y = *std::max_element(y.begin(), y.end());
  CHECK(c.top1_full == std::find(x.begin(), x.end(), top_x) - x.begin());
  CHECK(c.top1_edited == std::find(y.begin(), y.end(), top_y) - y.begin());
  CHECK(c.tie_full == (std::count(x.begin(), x.end(), top_x) > 1));
  CHECK(row_argmax(set, x).id == c.top1_full);
  CHECK(row_argmax(set, y).tie == c.tie_edited);
  const logit_comparison same = compare_logits(set, x, x, target);
  CHECK(same.kl == 0);
  CHECK(same.nll_full == same.nll_edited);
  CHECK(same.top1_agrees());
}

void check_pair(const std::vector<float>& x, const std::vector<float>& y) {
  const long double kl = divergence(x, y), lse_x = log_sum(x);
  for (const instruction_set set : tests::instruction_sets()) check_pair(set, x, y, kl, lse_x);
}

}  // namespace

TEST_CASE("KL, nll and argmax of random rows are within the bound of long double, for every length") {
  for (int n = 1; n <= 70; ++n) check_pair(row(n, 1, 3), plus(row(n, 1, 3), row(n, 2, 0.5)));
  for (const int n : {255, 256, 257, 511, 512, 513, 1000, 4096, 32000, 49152, 50257})
    check_pair(row(n, 3, 3), plus(row(n, 3, 3), row(n, 4, 1)));
}

TEST_CASE("KL keeps its bound from identical to unrelated, from flat to peaked") {
  for (const double spread : {0.01, 0.1, 1.0, 3.0, 10.0, 40.0})
    for (const double edit : {0.0, 1e-4, 1e-2, 0.1, 1.0, 5.0})
      check_pair(row(3001, 7, spread), plus(row(3001, 7, spread), row(3001, 8, edit)));
}

TEST_CASE("KL does not see a constant added to either row, and logits may be far from zero") {
  const auto x = row(5000, 9, 3), y = plus(row(5000, 9, 3), row(5000, 10, 0.3));
  const double kl = compare_logits(x, y).kl;
  for (const float shift : {-900.0f, -64.0f, 32.0f, 1024.0f}) {
    auto a = x, b = y;
    for (float& v : a) v = std::ldexp(std::nearbyint(std::ldexp(v, 8)), -8) + shift;
    for (float& v : b) v = std::ldexp(std::nearbyint(std::ldexp(v, 8)), -8) - 2 * shift;
    check_pair(a, b);
    CHECK(compare_logits(a, b).kl == Approx(kl).epsilon(1e-2));
  }
  check_pair(std::vector<float>{3e38f, 0, -3e38f}, std::vector<float>{3e38f, 1, -3e38f});
  check_pair(std::vector<float>(3, -3e38f), std::vector<float>(3, -3e38f));
}

TEST_CASE("differences of logits are not rounded to float: a constant that no float grid holds") {
  for (const float shift : {37.3f, -211.7f}) {
    auto x = row(4096, 17, 3), y = plus(row(4096, 17, 3), row(4096, 18, 1e-3));
    for (float& v : y) v += shift;
    check_pair(x, y);
    // One value nearly everywhere, so that a rounding of x - y would not average out.
    std::vector<float> a(4096, 0.1f), b(4096, 0.1f + shift);
    a[7] = 9.7f;
    b[7] = 9.9f + shift;
    check_pair(a, b);
    a[9] = -inf;
    b[9] = -inf;
    std::vector<float> a_kept = a, b_kept = b;
    a_kept.erase(a_kept.begin() + 9);
    b_kept.erase(b_kept.begin() + 9);
    const long double kl = divergence(a_kept, b_kept);
    CHECK(std::fabs(static_cast<double>(compare_logits(a, b).kl - kl)) <= bound(kl));
  }
}

TEST_CASE("rows made to break a float exponential: many equal logits far below the maximum") {
  for (const float depth : {0.013f, 1.7f, 8.1f, 10.9f, 11.3f, 17.77f}) {
    std::vector<float> x(49152, 20.3f - depth), y(49152, 20.3f - depth * 0.9f);
    x[100] = 20.3f;
    y[40000] = 20.3f;
    check_pair(x, y);
  }
  // Ascending: every block moves the reference.
  std::vector<float> x(8192), y(8192);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i) * 0.01f;
    y[i] = static_cast<float>(x.size() - i) * 0.01f;
  }
  check_pair(x, y);
  for (float& v : x) v *= 30;
  check_pair(x, y);
}

TEST_CASE("KL of two Bernoulli distributions is the textbook number") {
  const auto check = [](double p, double q) {
    const std::vector<float> x{static_cast<float>(std::log(p / (1 - p))), 0},
        y{static_cast<float>(std::log(q / (1 - q))), 0};
    const double kl = p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q));
    CHECK(compare_logits(x, y).kl == Approx(kl).margin(3e-7));
  };
  check(0.5, 0.25);
  check(0.9, 0.1);
  check(0.01, 0.02);
  CHECK(log_sum_exp(std::vector<float>{0, 0, 0, 0}) == Approx(std::log(4.0)).epsilon(1e-15));
  CHECK(std::fabs(nll(std::vector<float>(1000, 5.5f), 17) - std::log(1000.0)) <= 3e-9);
}

TEST_CASE("the order of the vocabulary changes KL by rounding only, the roles of the rows by much more") {
  const auto x = row(4096, 11, 2), y = plus(row(4096, 11, 2), row(4096, 12, 1));
  auto a = x, b = y;
  std::reverse(a.begin(), a.end());
  std::reverse(b.begin(), b.end());
  CHECK(compare_logits(a, b).kl == Approx(compare_logits(x, y).kl).epsilon(1e-7));
  CHECK(std::fabs(compare_logits(y, x).kl - compare_logits(x, y).kl) > 1e-3);
}

TEST_CASE("argmax: the lowest id wins, ties are flagged inside a block, across blocks and in the tail") {
  for (const instruction_set set : tests::instruction_sets()) {
    for (const int n : {3, 8, 17, 256, 300, 1000, 5000})
      for (const auto& [first, second] :
           {std::pair{0, 1}, std::pair{1, n - 1}, std::pair{0, n - 1}, std::pair{n - 2, n - 1}}) {
        if (first >= second) continue;
        std::vector<float> x(static_cast<std::size_t>(n), -1.0f);
        x[static_cast<std::size_t>(first)] = x[static_cast<std::size_t>(second)] = 2.5f;
        INFO("n " << n << " at " << first << " and " << second);
        CHECK(row_argmax(set, x).id == first);
        CHECK(row_argmax(set, x).tie);
        CHECK(compare_logits(set, x, x).top1_full == first);
        CHECK(compare_logits(set, x, x).tie_edited);
        x[static_cast<std::size_t>(second)] = std::nextafter(2.5f, 3.0f);
        CHECK(row_argmax(set, x).id == second);
        CHECK_FALSE(row_argmax(set, x).tie);
        CHECK_FALSE(compare_logits(set, x, x).tie_full);
      }
    // A tie below a maximum that comes later is none; zeros of both signs are one value.
    CHECK_FALSE(row_argmax(set, std::vector<float>{1, 1, 2}).tie);
    CHECK(row_argmax(set, std::vector<float>{-1, -0.0f, 0.0f}).id == 1);
    CHECK(row_argmax(set, std::vector<float>{-1, -0.0f, 0.0f}).tie);
    CHECK(row_argmax(set, {}).id == -1);
  }
}

TEST_CASE("masked logits: probability zero counts nothing, q = 0 where p > 0 is infinite") {
  for (const instruction_set set : tests::instruction_sets()) {
    for (const int n : {5, 40, 300, 1000, 5000}) {
      auto x = row(n, 13, 2), y = plus(row(n, 13, 2), row(n, 14, 1));
      std::vector<float> x_kept, y_kept;
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (i % 3 == 1) {
          x[i] = y[i] = -inf;
        } else {
          x_kept.push_back(x[i]);
          y_kept.push_back(y[i]);
        }
      }
      const long double kl = divergence(x_kept, y_kept);
      CHECK(std::fabs(static_cast<double>(compare_logits(set, x, y).kl - kl)) <= bound(kl));
      CHECK(std::fabs(static_cast<double>(log_sum_exp(set, x) - log_sum(x_kept))) <= 3e-9);
      // Masked in the intact model only: p = 0, finite. Masked in the edited one only: infinite.
      y[1] = 0;
      CHECK(std::isfinite(compare_logits(set, x, y).kl));
      CHECK(compare_logits(set, y, x).kl == std::numeric_limits<double>::infinity());
      CHECK(nll(set, x, 1) == std::numeric_limits<double>::infinity());
      // Masks by a large negative number say the same as far as they can.
      auto low_x = x, low_y = y;
      for (float& v : low_x) v = std::max(v, -1e30f);
      for (float& v : low_y) v = std::max(v, -1e30f);
      CHECK(log_sum_exp(set, low_x) == Approx(log_sum_exp(set, x)).epsilon(1e-12));
      CHECK(compare_logits(set, low_x, low_x).kl == 0);
      CHECK(compare_logits(set, low_y, low_x).kl > 1e20);
    }
    std::vector<float> whole_blocks(6000, -inf);
    whole_blocks[700] = 1.5f;
    CHECK(log_sum_exp(set, whole_blocks) == 1.5);
    CHECK(compare_logits(set, whole_blocks, whole_blocks, 700).kl == 0);
    CHECK(compare_logits(set, whole_blocks, whole_blocks, 700).nll_full == 0);
    CHECK(log_sum_exp(set, std::vector<float>(3000, -inf)) == -std::numeric_limits<double>::infinity());
    CHECK(log_sum_exp(set, {}) == -std::numeric_limits<double>::infinity());
  }
}

TEST_CASE("a logit that the edited row masks gives an infinite KL, however small its share turns out to be") {
  for (const instruction_set set : tests::instruction_sets()) {
    for (const std::size_t masked : {0u, 255u, 300u, 5999u})
      for (const std::size_t largest : {1u, 256u, 3001u, 5998u}) {
        std::vector<float> full(6000, 0.5f), edited(6000, 0.25f);
        edited[masked] = -inf;
        full[largest] = edited[largest] = 3000.0f;  // e^-2999.5 is 0 in double
        CHECK(compare_logits(set, full, edited).kl == std::numeric_limits<double>::infinity());
      }
  }
}

TEST_CASE("NaN and plus infinity anywhere in a row give NaN, never a number") {
  for (const instruction_set set : tests::instruction_sets()) {
    for (const int n : {5, 300, 1024, 5000})
      for (const int at : {0, 3, n / 2, n - 1})
        for (const float bad : {quiet, -quiet, inf}) {
          INFO("n " << n << " at " << at << " value " << bad);
          const auto good = row(n, 15, 2);
          auto broken = good;
          broken[static_cast<std::size_t>(at)] = bad;
          CHECK(std::isnan(log_sum_exp(set, broken)));
          CHECK(std::isnan(nll(set, broken, 1)));
          const logit_comparison first = compare_logits(set, broken, good, 1),
                                 second = compare_logits(set, good, broken, 1);
          CHECK(std::isnan(first.kl));
          CHECK(std::isnan(second.kl));
          CHECK(std::isnan(first.nll_full));
          CHECK_FALSE(std::isnan(first.nll_edited));
          CHECK(std::isnan(second.nll_edited));
          CHECK(first.top1_full == -1);
          CHECK(second.top1_edited == -1);
          CHECK_FALSE(first.top1_agrees());
          CHECK_FALSE(compare_logits(set, broken, broken).top1_agrees());
          if (bad != bad) CHECK(row_argmax(set, broken).id == -1);
        }
  }
}

TEST_CASE("rows that do not fit and targets outside the row give NaN") {
  for (const instruction_set set : tests::instruction_sets()) {
    const auto x = row(10, 16, 1), y = row(9, 16, 1);
    CHECK(std::isnan(compare_logits(set, x, y).kl));
    CHECK(compare_logits(set, x, y).top1_full == -1);
    CHECK(std::isnan(compare_logits(set, {}, {}).kl));
    CHECK(std::isnan(nll(set, x, -1)));
    CHECK(std::isnan(nll(set, x, 10)));
    CHECK(std::isnan(compare_logits(set, x, x, 10).nll_full));
    CHECK(std::isnan(compare_logits(set, x, x).nll_full));
  }
}

TEST_CASE("a row may spread over hundreds, in any order, and begin with anything") {
  const auto noise = row(5000, 19, 1);
  for (const float slope : {0.1f, 0.3f, 0.6f, -0.1f, -0.6f}) {
    // 5,000 · 0.6: more than one unit of the kernels holds, climbing and falling
    std::vector<float> x(5000), y(5000);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = slope * static_cast<float>(i);
      y[i] = x[i] + noise[i];
    }
    check_pair(x, y);
  }
  auto x = row(3000, 20, 3), y = plus(row(3000, 20, 3), row(3000, 21, 0.5));
  for (const float first : {-1000.0f, 900.0f, -1e30f, 4e5f}) {
    x[0] = y[0] = first;
    check_pair(x, y);
    std::swap(x[0], x[2999]);
    std::swap(y[0], y[2999]);
    check_pair(x, y);
  }
}

TEST_CASE("logits around huge numbers, in one row or in both, next to ordinary ones") {
  for (const float centre : {66000.0f, -66000.0f, 1e6f, -1e6f, 65536.0f, 65530.0f}) {
    auto x = row(4100, 22, 3), y = plus(row(4100, 22, 3), row(4100, 23, 1));
    const auto ordinary = x;
    for (float& v : x) v += centre;
    for (float& v : y) v += centre;
    check_pair(x, y);
    check_pair(x, ordinary);
    check_pair(ordinary, x);
    auto mixed = ordinary;
    mixed[3000] = std::fabs(centre);
    check_pair(mixed, ordinary);
    check_pair(mixed, mixed);
  }
}

TEST_CASE("avx2 and avx512 have the same bits, portable the same numbers, and the plain forms are the best set's") {
  const auto x = row(50257, 24, 3), y = plus(row(50257, 24, 3), row(50257, 25, 0.7));
  const auto best = resect::best_instruction_set();
  CHECK(compare_logits(x, y, 5).kl == compare_logits(best, x, y, 5).kl);
  CHECK(log_sum_exp(x) == log_sum_exp(best, x));
  CHECK(nll(x, 9) == nll(best, x, 9));
  CHECK(row_argmax(x).id == row_argmax(best, x).id);
  const logit_comparison portable = compare_logits(instruction_set::portable, x, y, 5);
  CHECK(compare_logits(x, y, 5).kl == Approx(portable.kl).epsilon(1e-9));
  if (!resect::supported(instruction_set::avx512)) {
    WARN("skipped: this machine has no AVX-512");
    // What the machine lacks is lowered.
    CHECK(compare_logits(instruction_set::avx512, x, y, 5).kl == compare_logits(best, x, y, 5).kl);
    return;
  }
  const logit_comparison a = compare_logits(instruction_set::avx2, x, y, 5),
                         b = compare_logits(instruction_set::avx512, x, y, 5);
  CHECK(a.kl == b.kl);
  CHECK(a.nll_full == b.nll_full);
  CHECK(a.nll_edited == b.nll_edited);
}

TEST_CASE("KL of logits of any size keeps its stated bound and is never below 0") {
  const std::vector<float> shape = row(300, 5, 1), other = row(300, 6, 1);
  for (const instruction_set set : tests::instruction_sets())
    for (const double size : {1e3, 1e5, 1e6, 1e7, 1e8, 1e10, 1e12, 1e20, 3.4e38})
      for (const double sign : {1.0, -1.0}) {
        const float b = static_cast<float>(sign * size);
        const double most = size > 1e7 ? std::ldexp(size, -50) : 0.0;
        for (const std::size_t n : {std::size_t{3}, std::size_t{300}, std::size_t{5000}}) {
          const std::vector<float> flat(n, b), low(n, 0.1F);
          for (const auto& [x, y] : {std::pair(flat, low), std::pair(low, flat)}) {  // true KL 0
            const double kl = compare_logits(set, x, y).kl;
            CHECK(kl >= 0);
            CHECK(kl <= 1e-8 + most);
            logit_shard whole;
            whole.merge({set, std::span(x).first(2), std::span(y).first(2), 0});
            whole.merge({set, std::span(x).subspan(2), std::span(y).subspan(2), 2});
            CHECK(whole.finish().kl >= 0);
            CHECK(whole.finish().kl <= 1e-8 + most);
          }
        }
        if (size > 1e7) continue;
        auto x = shape, y = other;
        for (float& v : x) v += b;
        const long double wanted = divergence(x, y);
        CHECK(std::fabs(compare_logits(set, x, y).kl - static_cast<double>(wanted)) <= bound(wanted));
        CHECK(std::fabs(compare_logits(set, y, x).kl - static_cast<double>(divergence(y, x))) <=
              bound(divergence(y, x)));
      }
}

TEST_CASE("logits of small types have the bits of the floats that they stand for, also beside rows of another type") {
  support::for_every_small_type([]<class S>(S) {
    // the last two leave the unit of their first chunk: masked and far logits are done again with care
    auto masked = row(6000, 31, 3), far = row(6000, 32, 3);
    for (std::size_t i = 2100; i < 2600; ++i) masked[i] = -inf;
    for (std::size_t i = 4500; i < 4600; ++i) far[i] = -440.0f, far[i + 400] = 400.0f;
    for (const auto& exact : {row(1, 33, 2), row(300, 34, 2), row(2049, 35, 2), row(6000, 36, 2), masked, far}) {
      const support::small_row<S> full{exact}, edited{plus(exact, row(static_cast<int>(exact.size()), 37, 0.5))};
      const support::small_row<resect::f16> other{edited.widened};
      const auto target = static_cast<index_t>(exact.size()) - 1;
      const auto same = [](const logit_comparison& a, const logit_comparison& b) {
        return same_bits(a.kl, b.kl) && same_bits(a.nll_full, b.nll_full) && same_bits(a.nll_edited, b.nll_edited) &&
               a.top1_full == b.top1_full && a.top1_edited == b.top1_edited && a.tie_full == b.tie_full &&
               a.tie_edited == b.tie_edited;
      };
      for (const auto set : instruction_sets()) {
        const auto expected = compare_logits(set, full.widened, edited.widened, target);
        CHECK(same(compare_logits(set, full.stored, edited.stored, target), expected));
        CHECK(same(compare_logits(set, full.stored, edited.widened, target), expected));
        CHECK(same(compare_logits(set, std::span{std::as_const(full.widened)}, edited.stored, target), expected));
        CHECK(same(compare_logits(set, full.stored, other.stored, target),
                   compare_logits(set, full.widened, other.widened, target)));
        CHECK(same_bits(nll(set, full.stored, target), nll(set, full.widened, target)));
        CHECK(same_bits(log_sum_exp(set, full.stored), log_sum_exp(set, full.widened)));
        const row_top top = row_argmax(set, full.stored), expected_top = row_argmax(set, full.widened);
        CHECK((top.id == expected_top.id && top.tie == expected_top.tie));
      }
      CHECK(same(compare_logits(full.stored, edited.stored), compare_logits(full.widened, edited.widened)));
      CHECK(same_bits(nll(full.stored, 0), nll(full.widened, 0)));
      CHECK(same_bits(log_sum_exp(full.stored), log_sum_exp(full.widened)));
      CHECK(row_argmax(full.stored).id == row_argmax(full.widened).id);
      CHECK(std::isnan(nll(full.stored, target + 1)));
      CHECK(std::isnan(compare_logits(full.stored, std::vector<S>(exact.size() + 1)).kl));
    }
  });
}

}  // namespace tests
