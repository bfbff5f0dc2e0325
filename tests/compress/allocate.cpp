// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <resect/compress/allocate.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;
using namespace resect::compress;

namespace {

// Curves as matrices have them: bits of 2 to 6 at one of three sizes, a loss that falls by about 4 a bit, with noise.
array<allocation_matrix> random_matrices(index_t n, index_t options, std::uint64_t seed) {
  const random::philox_stream draws{seed, 0};
  array<allocation_matrix> out;
  std::uint64_t at = 0;
  const auto uniform = [&] { return random::uniform(draws, at++); };
  for (index_t m = 0; m < n; ++m) {
    allocation_matrix one;
    one.name = text<48>("matrix ", m);
    const double size = 1024 * std::floor(1 + 3 * uniform()), scale = std::exp(4 * uniform());
    for (index_t o = 0; o < options; ++o) {
      const double bits = 2 + 4.0 * static_cast<double>(o) / static_cast<double>(options);
      one.options.push_back({o, std::floor(size * bits / 8), scale * std::exp2(-2 * bits) * (0.5 + uniform())});
    }
    out.push_back(std::move(one));
  }
  return out;
}

// The least loss of all combinations; ids of one group are equal, options below the least one are left out.
double exhaustive(const array<allocation_matrix>& matrices, double budget) {
  double best = std::numeric_limits<double>::infinity();
  array<index_t> ids(matrices.size());
  const auto go = [&](auto& self, index_t m, double bytes, double loss) -> void {
    if (bytes > budget) return;
    if (m == matrices.size()) {
      best = std::min(best, loss);
      return;
    }
    double least = 0;
    for (const auto& o : matrices[m].options)
      if (o.id == matrices[m].least) least = o.bytes;
    for (const auto& o : matrices[m].options) {
      bool fits = o.bytes >= least;
      for (index_t k = 0; k < m; ++k)
        fits = fits && (matrices[m].group < 0 || matrices[k].group != matrices[m].group || ids[k] == o.id);
      ids[m] = o.id;
      if (fits) self(self, m + 1, bytes + o.bytes, loss + o.loss);
    }
  };
  go(go, 0, 0, 0);
  return best;
}

double bytes_at(const array<allocation_matrix>& matrices, double share) {
  double least = 0, most = 0;
  for (const auto& m : matrices) {
    least += m.options.front().bytes;
    most += m.options.back().bytes;
  }
  return std::floor(least + share * (most - least));
}

}  // namespace

TEST_CASE("allocate: within 1 % of exhaustive search on small cases, and the bound is below it") {
  int optimal = 0, cases = 0;
  double worst = 1;
  for (std::uint64_t seed = 1; seed <= 40; ++seed)
    for (const double share : {0.0, 0.1, 0.37, 0.6, 0.95}) {
      auto matrices = random_matrices(6, 5, seed);
      if (seed % 2 == 0) matrices[1].group = matrices[4].group = 7;
      if (seed % 3 == 0) matrices[2].least = 2;
      double budget = bytes_at(matrices, share);
      if (seed % 3 == 0) budget += matrices[2].options[2].bytes;
      const auto from = make_allocator(matrices.span());
      const double best = exhaustive(matrices, budget);
      const auto found = allocate(from, budget), quick = allocate(from, budget, {.work = 0});
      CAPTURE(seed, share, found.loss, quick.loss, best);
      CHECK(found.bytes <= budget);
      CHECK(found.loss <= 1.01 * best);
      CHECK(found.loss >= best * (1 - 1e-12));
      CHECK(quick.loss >= best * (1 - 1e-12));
      CHECK(quick.bound <= best * (1 + 1e-12));
      CHECK(found.bound <= best * (1 + 1e-12));
      CHECK(quick.gap() >= 0);
      if (seed % 2 == 0) CHECK(found.ids[1] == found.ids[4]);
      if (seed % 3 == 0) CHECK(found.ids[2] >= 2);
      allocation again = found;
      REQUIRE(from.try_add_up(again));
      CHECK(again.loss == found.loss);
      worst = std::max(worst, quick.loss / best);
      optimal += found.optimal;
      ++cases;
    }
  INFO("without the search the worst ratio to the optimum is " << worst);
  CHECK(optimal == cases);
  CHECK(worst > 1.01);  // these cases need the search
}

TEST_CASE(
    "allocate: bytes that are no whole numbers keep to the budget in every order of summation, and to the optimum") {
  int grouped = 0, tight = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    auto matrices = random_matrices(5, 4, seed);
    for (auto& m : matrices)
      for (auto& o : m.options) o.bytes *= 0.1 / 3;
    if (seed % 2 == 0) matrices[1].group = matrices[3].group = 7;
    const auto from = make_allocator(matrices.span());
    // budgets that some allocation fills to the last bit
    allocation full;
    for (index_t m = 0; m < 5; ++m)
      full.ids.push_back(static_cast<index_t>((seed + static_cast<std::uint64_t>(m * m)) % 4));
    full.ids[3] = full.ids[1];
    REQUIRE(from.try_add_up(full));
    for (const double budget : {full.bytes, from.least_bytes()}) {
      const auto found = value_or_throw(from.try_solve(budget)),
                 quick = value_or_throw(from.try_solve(budget, {.work = 0}));
      CAPTURE(seed, budget, found.bytes - budget, quick.bytes - budget);
      CHECK(found.bytes <= budget);
      CHECK(quick.bytes <= budget);
      CHECK(quick.bound <= found.loss * (1 + 1e-12));
      if (budget == full.bytes) CHECK(found.loss <= full.loss * (1 + 1e-12));
      tight += found.bytes == budget;
    }
    grouped += matrices[1].group >= 0;
  }
  CHECK(grouped == 150);
  CHECK(tight > 300);
}

TEST_CASE("allocate: 300 matrices of 20 options are solved from kept hulls for other budgets, gap below 0.1 %") {
  const auto matrices = random_matrices(300, 20, 5);
  const auto from = make_allocator(matrices.span());
  for (const double share : {0.2, 0.5, 0.8}) {
    const double budget = bytes_at(matrices, share);
    const auto found = allocate(from, budget);
    CAPTURE(share, found.loss, found.bound);
    CHECK(found.bytes <= budget);
    CHECK(found.bytes >= 0.999 * budget);
    CHECK(found.gap() <= 0.001 * found.loss);
    CHECK(found.loss < 0.9 * value_or_throw(from.try_uniform(budget)).loss);
  }
}

TEST_CASE(
    "allocate: one matrix, equal options, a budget that fits all, and the uniform allocation where that is best") {
  allocation_matrix one;
  one.name = "w";
  one.options = {{3, 10, 5.0}, {1, 20, 1.0}, {2, 20, 1.0}, {9, 30, 2.0}};
  const auto from = make_allocator(std::span(&one, 1));
  CHECK(allocate(from, 10).ids[0] == 3);
  CHECK(allocate(from, 19).ids[0] == 3);
  CHECK(allocate(from, 20).ids[0] == 1);
  const auto all = allocate(from, 1e9);
  CHECK(all.ids[0] == 1);  // more bytes that lose more are never taken
  CHECK(all.loss_per_byte == 0);
  CHECK(all.optimal);
  CHECK(all.gap() == 0);
  CHECK(all.uniform);

  array<allocation_matrix> two(2);
  two[0].options = {{0, 10, 2.0}, {1, 20, 1.0}};
  two[1].options = {{0, 10, 2.0}, {1, 20, 1.0}};
  const auto pair = make_allocator(two.span());
  CHECK(allocate(pair, 40).uniform);
  CHECK_FALSE(allocate(pair, 30).uniform);
  CHECK(value_or_throw(pair.try_uniform(39)).ids[1] == 0);
}

TEST_CASE("allocate: the whole is measured, and falls back to the reference where that measures no worse") {
  const auto matrices = random_matrices(5, 4, 3);
  const auto from = make_allocator(matrices.span());
  const double budget = bytes_at(matrices, 0.5);
  const auto found = allocate(from, budget), uniform = value_or_throw(from.try_uniform(budget));
  int calls = 0;
  const auto says = [&](double of_uniform) {
    return [&, of_uniform](const allocation& a) -> result<metrics::estimate> {
      ++calls;
      return metrics::estimate{a.ids == uniform.ids ? of_uniform : 1.0};
    };
  };
  const auto better = value_or_throw(try_measured(found, uniform, says(2.0)));
  CHECK_FALSE(better.fell_back);
  CHECK(better.chosen.ids == found.ids);
  const auto worse = value_or_throw(try_measured(found, uniform, says(0.5)));
  CHECK(worse.fell_back);
  CHECK(worse.chosen.ids == uniform.ids);
  CHECK(worse.measured.value == 1.0);
  CHECK(worse.of_reference.value == 0.5);
  CHECK(value_or_throw(try_measured(found, uniform, says(1.0))).fell_back);
  CHECK(calls == 6);
  support::expect_error(try_measured(found, uniform, says(NAN)), errc::not_finite, {"reference"});
  const error failed{errc::io, "windows", "none", "some"};
  support::expect_error(
      try_measured(found, uniform, [&](const allocation&) -> result<metrics::estimate> { return failed; }), errc::io,
      {"windows"});
}

TEST_CASE("allocate: bad input gives one error that names matrix and option") {
  auto matrices = random_matrices(3, 3, 1);
  const auto expect = [&](errc code, std::initializer_list<std::string_view> texts) {
    support::expect_error(allocator::try_make(matrices.span()), code, texts);
    matrices = random_matrices(3, 3, 1);
  };
  const auto from = make_allocator(matrices.span());
  support::expect_error(from.try_solve(from.least_bytes() - 1), errc::invalid_argument, {"budget", "at least"});
  support::expect_error(from.try_solve(NAN), errc::invalid_argument, {"budget", "nan"});
  CHECK(from.try_solve(from.least_bytes()));
  allocation other;
  other.ids = {0, 0};
  support::expect_error(from.try_add_up(other), errc::shape_mismatch, {"2 ids"});
  other.ids = {0, 0, 8};
  support::expect_error(from.try_add_up(other), errc::invalid_argument, {"matrix 2", "id 8"});

  matrices.clear();
  expect(errc::invalid_argument, {"matrices", "none"});
  matrices[1].options.clear();
  expect(errc::invalid_argument, {"options of matrix 1"});
  matrices[1].options[2].loss = NAN;
  expect(errc::not_finite, {"option 2 of matrix 1"});
  matrices[0].options[1].bytes = std::numeric_limits<double>::infinity();
  expect(errc::not_finite, {"option 1 of matrix 0"});
  matrices[0].options[1].bytes = -1;
  expect(errc::invalid_argument, {"option 1 of matrix 0", "-1"});
  matrices[2].options[1].id = 0;
  expect(errc::invalid_argument, {"matrix 2", "a second one"});
  matrices[2].least = 5;
  expect(errc::invalid_argument, {"least option of matrix 2", "id 5"});
  matrices[0].group = matrices[1].group = 4;
  for (auto& o : matrices[1].options) o.id += 10;
  expect(errc::invalid_argument, {"group 4", "matrix 1"});
}
