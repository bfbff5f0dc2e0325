// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/rows/sharded.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>
#include <support/instruction_sets.hpp>
#include <support/small_rows.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;
using resect::instruction_set;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

std::vector<float> row(index_t n, std::uint64_t seed, double sd) {
  std::vector<float> x(static_cast<std::size_t>(n));
  resect::random::fill_gaussian(x, seed, 0, 0, sd);
  return x;
}
std::vector<float> edited(const std::vector<float>& x, std::uint64_t seed, double sd) {
  auto y = row(static_cast<index_t>(x.size()), seed, sd);
  for (std::size_t i = 0; i < x.size(); ++i) y[i] += x[i];
  return y;
}

// The row cut at random into `parts` slices (some of them empty), merged in a random tree.
logit_comparison merged(const std::vector<float>& x, const std::vector<float>& y, index_t target, int parts,
                        std::uint64_t seed, instruction_set set) {
  draws d{seed};
  const index_t n = static_cast<index_t>(x.size());
  std::vector<index_t> cuts{0, n};
  for (int p = 1; p < parts; ++p) cuts.push_back(d.below(n + 1));
  std::sort(cuts.begin(), cuts.end());
  std::vector<logit_shard> shards;
  for (std::size_t p = 0; p + 1 < cuts.size(); ++p) {
    const auto size = static_cast<std::size_t>(cuts[p + 1] - cuts[p]);
    shards.emplace_back(set, std::span{x.data() + cuts[p], size}, std::span{y.data() + cuts[p], size}, cuts[p], target);
  }
  while (shards.size() > 1) {
    const auto into = static_cast<std::size_t>(d.below(static_cast<index_t>(shards.size())));
    const auto from = static_cast<std::size_t>(d.below(static_cast<index_t>(shards.size())));
    if (into == from) continue;
    shards[into].merge(shards[from]);
    shards.erase(shards.begin() + static_cast<std::ptrdiff_t>(from));
  }
  return shards.front().finish();
}

bool near(double a, double b) { return a == b || (a != a && b != b) || std::fabs(a - b) <= 1e-12; }

void check_partitions(const std::vector<float>& x, const std::vector<float>& y, index_t target) {
  for (const auto set : tests::instruction_sets()) {
    const logit_comparison whole = compare_logits(set, x, y, target);
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      const logit_comparison parts = merged(x, y, target, 1 + static_cast<int>(seed), seed, set);
      INFO(resect::name(set) << " n " << x.size() << " seed " << seed << " kl " << whole.kl << " and " << parts.kl);
      CHECK(near(parts.kl, whole.kl));
      CHECK(near(parts.nll_full, whole.nll_full));
      CHECK(near(parts.nll_edited, whole.nll_edited));
      CHECK(parts.top1_full == whole.top1_full);
      CHECK(parts.top1_edited == whole.top1_edited);
      CHECK(parts.tie_full == whole.tie_full);
      CHECK(parts.tie_edited == whole.tie_edited);
    }
  }
}

}  // namespace

TEST_CASE("slices of the vocabulary, merged in any tree, give the one-pass comparison to 1e-12 nats") {
  for (const index_t n : {2, 9, 300, 2048, 5001, 49152})
    for (const double spread : {0.5, 3.0, 12.0}) {
      const auto x = row(n, 1, spread);
      check_partitions(x, edited(x, 2, 0.5), n / 2);
    }
  const auto x = row(3000, 3, 2);
  check_partitions(x, x, 0);
}

TEST_CASE("slices far apart: climbing rows, a slice thousands below the maximum, masked slices") {
  std::vector<float> x(6000), y(6000);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i) * 0.25f;
    y[i] = x[i] + (i % 7 == 0 ? 0.5f : 0.0f);
  }
  check_partitions(x, y, 5990);
  std::reverse(x.begin(), x.end());
  std::reverse(y.begin(), y.end());
  check_partitions(x, y, 3);
  auto masked_x = row(6000, 4, 2), masked_y = edited(masked_x, 5, 1);
  for (std::size_t i = 0; i < 4500; ++i)
    if (i < 2000 || i % 3 == 0) masked_x[i] = masked_y[i] = -inf;
  check_partitions(masked_x, masked_y, 5000);
  masked_y[4501] = -inf;
  CHECK(compare_logits(masked_x, masked_y).kl == std::numeric_limits<double>::infinity());
  check_partitions(masked_x, masked_y, 5000);
  masked_x[10] = std::numeric_limits<float>::quiet_NaN();
  check_partitions(masked_x, masked_y, 5000);
  check_partitions(std::vector<float>(40, -inf), std::vector<float>(40, -inf), 3);
}

TEST_CASE("the lowest id of the maximum wins, whichever slice is merged first; ties across slices are seen") {
  const std::vector<float> a{1, 5, 2}, b{5, 0, 0}, flat{1, 1, 1};
  const logit_shard low{a, flat, 100}, high{b, flat, 103};
  for (const bool low_first : {true, false}) {
    logit_shard s = low_first ? low : high;
    s.merge(low_first ? high : low);
    const logit_comparison c = s.finish();
    CHECK(c.top1_full == 101);
    CHECK(c.tie_full);
    CHECK(c.top1_edited == 100);
    CHECK(c.tie_edited);
  }
  CHECK(low.finish().top1_full == 101);
  CHECK_FALSE(low.finish().tie_full);
  logit_shard s = low;
  s.merge(logit_shard{std::vector<float>{7}, std::vector<float>{0}, 200});
  CHECK(s.finish().top1_full == 200);
  CHECK_FALSE(s.finish().tie_full);
}

TEST_CASE("empty slices change nothing, a target nobody holds has no nll, slices that do not fit give NaN") {
  STATIC_REQUIRE(std::is_trivially_copyable_v<logit_shard>);
  const auto x = row(700, 6, 2), y = edited(x, 7, 1);
  const logit_comparison whole = compare_logits(x, y, 9);
  logit_shard s;
  CHECK(std::isnan(s.finish().kl));
  CHECK(s.finish().top1_full == -1);
  s.merge(logit_shard{});
  s.merge(logit_shard{x, y, 0, 9});
  s.merge(logit_shard{{}, {}, 700, 9});
  CHECK(s.finish().kl == whole.kl);
  CHECK(s.finish().nll_full == whole.nll_full);
  CHECK(s.finish().top1_edited == whole.top1_edited);
  for (const index_t target : {index_t{-1}, index_t{49}, index_t{750}}) {
    const logit_shard t{x, y, 50, target};
    CHECK(std::isnan(t.finish().nll_full));
    CHECK(std::isnan(t.finish().nll_edited));
  }
  CHECK(std::isfinite(logit_shard{x, y, 50, 50}.finish().nll_full));
  CHECK(std::isfinite(logit_shard{x, y, 50, 749}.finish().nll_full));
  s.merge(logit_shard{x, std::span{y}.first(699), 700});
  CHECK(std::isnan(s.finish().kl));
  CHECK(std::isnan(s.finish().nll_full));
  CHECK(s.finish().top1_full == -1);
}

TEST_CASE("slices of small types give what those of the floats give that they stand for") {
  support::for_every_small_type([]<class S>(S) {
    const auto exact = row(5000, 51, 2);
    const support::small_row<S> x{exact}, y{edited(exact, 52, 0.5)};
    const auto slice = [](const auto& v, std::size_t first, std::size_t n) { return std::span{v}.subspan(first, n); };
    for (const auto set : {instruction_set::portable, resect::best_instruction_set()}) {
      logit_shard small{set, slice(x.stored, 0, 3000), slice(y.stored, 0, 3000), 0, 4000};
      logit_shard wide{set, slice(x.widened, 0, 3000), slice(y.widened, 0, 3000), 0, 4000};
      small.merge({set, slice(x.stored, 3000, 2000), slice(y.widened, 3000, 2000), 3000, 4000});
      wide.merge({set, slice(x.widened, 3000, 2000), slice(y.widened, 3000, 2000), 3000, 4000});
      const auto a = small.finish(), b = wide.finish();
      CHECK((a.kl == b.kl && a.nll_full == b.nll_full && a.nll_edited == b.nll_edited));
      CHECK((a.top1_full == b.top1_full && a.top1_edited == b.top1_edited && a.kl > 0));
    }
    const auto whole = logit_shard{x.stored, y.stored, 0, 4000}.finish();
    CHECK((whole.kl == compare_logits(x.widened, y.widened, 4000).kl && whole.nll_full == nll(x.widened, 4000)));
  });
}

}  // namespace tests
