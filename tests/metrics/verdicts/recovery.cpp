// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/verdicts/recovery.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;
using resect::matrix_view;

namespace {

constexpr index_t width = 16;

struct rows {
  std::vector<float> data;
  index_t n;

  rows(index_t count, std::uint64_t seed) : data(static_cast<std::size_t>(count * width)), n(count) {
    resect::random::fill_gaussian(data, seed, 31);
  }
  matrix_view<const float> view() const { return {data.data(), n, width, width, 1}; }
  std::span<const float> operator[](index_t r) const {
    return {data.data() + r * width, static_cast<std::size_t>(width)};
  }
};

double cosine_of(std::span<const float> a, std::span<const float> b) {
  long double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<long double>(a[i]) * static_cast<long double>(b[i]);
    aa += static_cast<long double>(a[i]) * static_cast<long double>(a[i]);
    bb += static_cast<long double>(b[i]) * static_cast<long double>(b[i]);
  }
  return static_cast<double>(ab / std::sqrt(aa * bb));
}

}  // namespace

TEST_CASE("negatives never are the own candidate, reach every other, and depend on seed, sequence and position only") {
  for (const index_t n : {index_t{2}, index_t{5}, index_t{300}})
    for (const index_t own : {index_t{0}, n / 2, n - 1}) {
      std::vector<int> seen(static_cast<std::size_t>(n));
      constexpr int places = 400;
      for (index_t position = 0; position < places; ++position)
        for (index_t j = 0; j < recovery_negatives; ++j)
          ++seen[static_cast<std::size_t>(resect::metrics::detail::negative({7, 3, position}, j, own, n))];
      CHECK(seen[static_cast<std::size_t>(own)] == 0);
      const double expected = places * 31.0 / static_cast<double>(n - 1);
      double chi = 0;
      for (index_t i = 0; i < n; ++i)
        if (i != own) chi += std::pow(seen[static_cast<std::size_t>(i)] - expected, 2) / expected;
      const double degrees = static_cast<double>(n - 2);
      CHECK(chi <= degrees + 5 * std::sqrt(2 * degrees) + 1e-9);
    }
  const auto draw = [](recovery_place at) {
    std::vector<index_t> out;
    for (index_t j = 0; j < recovery_negatives; ++j)
      out.push_back(resect::metrics::detail::negative(at, j, 0, 1 << 20));
    return out;
  };
  CHECK(draw({1, 2, 3}) == draw({1, 2, 3}));
  for (const recovery_place& other : {recovery_place{2, 2, 3}, recovery_place{1, 3, 3}, recovery_place{1, 2, 4}})
    CHECK(draw({1, 2, 3}) != draw(other));
}

TEST_CASE("recovery is the argmax over the own candidate and the 31 drawn, the margin the gap to the best negative") {
  const rows embedding{500, 1}, queries{60, 2};
  for (index_t q = 0; q < 60; ++q) {
    const recovery_place at{5, q / 10, q % 10};
    double best = -2;
    for (index_t j = 0; j < recovery_negatives; ++j)
      best = std::max(best, cosine_of(queries[q], embedding[resect::metrics::detail::negative(at, j, q, 500)]));
    const double own = cosine_of(queries[q], embedding[q]);
    const recovery r = recover_input(queries[q], embedding.view(), q, at);
    CHECK(r.margin == Approx(own - best).epsilon(1e-12));
    CHECK(r.correct == (own > best ? 1.0 : 0.0));
    CHECK_FALSE(r.tie);
  }
}

TEST_CASE("the embedding itself is recovered always, an unrelated row as often as chance") {
  const rows embedding{400, 3}, queries{20000 / width * width, 4};
  input_recoverability self{10}, unrelated{40};
  for (index_t i = 0; i < 400; ++i) self.add(i % 10, recover_input(embedding[i], embedding.view(), i, {1, i, 0}));
  for (index_t i = 0; i < 8000; ++i)
    unrelated.add(i % 40, recover_input(queries[i], embedding.view(), (i * 7) % 400, {1, i / 50, i % 50}));
  CHECK(self.estimate().value == 1);
  CHECK(self.margin().value > 0.2);
  CHECK(unrelated.estimate().lo <= recovery_chance);
  CHECK(unrelated.estimate().hi >= recovery_chance);
  CHECK(unrelated.estimate().hi - unrelated.estimate().lo < 0.012);
  CHECK(input_recoverability::chance == 1.0 / 32);
  CHECK(unrelated.ties() == 0);
}

TEST_CASE("a tie is not recovered: equal candidates and a zero row") {
  const std::vector<float> same(8 * width, 1.0f);
  const matrix_view<const float> equal{same.data(), 8, width, width, 1};
  const recovery r = recover_input({same.data(), static_cast<std::size_t>(width)}, equal, 3, {});
  CHECK(r.tie);
  CHECK(r.correct == 0);
  CHECK(r.margin == 0);
  const rows embedding{8, 1};
  const std::vector<float> zero(static_cast<std::size_t>(width));
  CHECK(recover_input(zero, embedding.view(), 3, {}).tie);
  input_recoverability m{1};
  m.add(0, r);
  CHECK(m.ties() == 1);
  input_recoverability two{1};
  two.add(0, r);
  two.add(0, r);
  REQUIRE(m.merge(two));
  CHECK(m.ties() == 3);
}

TEST_CASE("rows: negatives come from where they were asked to come from") {
  // Rows of sequence 1 are rows 10 … 19. A query that is row 15 with a marked neighbour and a marked stranger.
  rows intact{40, 6};
  const auto copy = [&](index_t to, index_t from) {
    std::copy_n(intact.data.begin() + from * width, width, intact.data.begin() + to * width);
  };
  copy(12, 15);  // same sequence: a twin
  bool same = false, other = false, anywhere = false;
  for (index_t p = 0; p < 20; ++p) {
    const recovery_place at{1, 0, p};
    same |= recover_row(intact[15], intact.view(), 15, negatives_from::same_sequence, {10, 20}, at).tie;
    other |= recover_row(intact[15], intact.view(), 15, negatives_from::other_sequences, {10, 20}, at).tie;
    anywhere |= recover_row(intact[15], intact.view(), 15, negatives_from::anywhere, {}, at).tie;
  }
  CHECK(same);
  CHECK_FALSE(other);
  CHECK(anywhere);
  // Twins in rows 0, 9, 20 and 39 are strangers, next to the sequence on both sides.
  for (const index_t twin : {index_t{0}, index_t{9}, index_t{20}, index_t{39}}) {
    rows fresh{40, 6};
    std::copy_n(fresh.data.begin() + 15 * width, width, fresh.data.begin() + twin * width);
    int in_other = 0, in_same = 0, in_any = 0;
    for (index_t p = 0; p < 40; ++p) {
      in_other += recover_row(fresh[15], fresh.view(), 15, negatives_from::other_sequences, {10, 20}, {2, 0, p}).tie;
      in_same += recover_row(fresh[15], fresh.view(), 15, negatives_from::same_sequence, {10, 20}, {2, 0, p}).tie;
      in_any += recover_row(fresh[15], fresh.view(), 15, negatives_from::anywhere, {}, {2, 0, p}).tie;
    }
    CHECK(in_any > 10);
    CHECK(in_other > 10);
    CHECK(in_same == 0);
  }
}

TEST_CASE("void questions have no answer and spoil the estimate") {
  const rows e{8, 1};
  const std::vector<float> shorter(3, 1.0f);
  std::vector<float> bad(static_cast<std::size_t>(width), std::numeric_limits<float>::quiet_NaN());
  const auto is_void = [](const recovery& r) { return std::isnan(r.correct) && !r.tie; };
  CHECK(is_void(recover_input(shorter, e.view(), 0, {})));
  CHECK(is_void(recover_input(bad, e.view(), 0, {})));
  CHECK(is_void(recover_input(e[0], e.view(), 8, {})));
  CHECK(is_void(recover_input(e[0], e.view(), -1, {})));
  CHECK(is_void(recover_input(e[0], {e.data.data(), 1, width, width, 1}, 0, {})));
  CHECK(is_void(recover_input(e[0], {nullptr, 8, width, width, 1}, 0, {})));
  CHECK(is_void(recover_row(e[0], e.view(), 0, negatives_from::same_sequence, {0, 1}, {})));
  CHECK(is_void(recover_row(e[0], e.view(), 0, negatives_from::same_sequence, {1, 5}, {})));
  CHECK(is_void(recover_row(e[0], e.view(), 0, negatives_from::other_sequences, {0, 8}, {})));
  CHECK(is_void(recover_row(e[0], e.view(), 0, negatives_from::other_sequences, {0, 9}, {})));
  rows with_nan{8, 1};
  std::fill_n(with_nan.data.begin() + width, 7 * width, std::numeric_limits<float>::quiet_NaN());
  CHECK(is_void(recover_input(with_nan[0], with_nan.view(), 0, {})));
  input_recoverability m{6};
  for (index_t c = 0; c < 6; ++c) m.add(c, recover_input(e[0], e.view(), 0, {1, c, 0}));
  CHECK(m.estimate().has_interval());
  m.add(0, recover_input(bad, e.view(), 0, {}));
  CHECK(std::isnan(m.estimate().value));
}

template <class A, class B>
concept merges_with = requires(A a, const B& b) { a.merge(b); };

TEST_CASE("rates merge to one pass; answers to different questions do not merge") {
  const rows e{50, 8}, q{120, 9};
  const auto make = [] { return input_recoverability{6}; };
  const auto feed = [&](input_recoverability& m, index_t i) {
    m.add(i % 6, recover_input(q[i], e.view(), i % 50, {3, i, 1}));
  };
  const auto whole = one_pass(120, make, feed);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const auto merged = merged_from_parts(seed, 3, 120, make, feed);
    CHECK(same_estimate(merged.estimate(), whole.estimate()));
    CHECK(same_estimate(merged.margin(), whole.margin()));
  }
  auto other = whole;
  CHECK(other.merge(input_recoverability{5}).error().code == resect::errc::shape_mismatch);
  using near = reconstruction_fidelity<negatives_from::same_sequence>;
  using far = reconstruction_fidelity<negatives_from::other_sequences>;
  STATIC_REQUIRE(merges_with<near, near>);
  STATIC_REQUIRE_FALSE(merges_with<near, far>);
  STATIC_REQUIRE_FALSE(merges_with<near, input_recoverability>);
}

}  // namespace tests
