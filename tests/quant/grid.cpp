// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>

#include <resect/quant/affine.hpp>
#include <support/catch.hpp>

#include "groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::index_t;

namespace {

static_assert(grid<integer_grid<2, zero_point::symmetric>> && grid<integer_grid<8, zero_point::integer>>);
static_assert(level_grid<integer_grid<4, zero_point::integer>> && extent_grid<integer_grid<3, zero_point::symmetric>>);
static_assert(static_format<affine<4>> && static_format<affine_symmetric<3>> && !static_format<affine_format>);

template <class F>
void on_all_grids(F f) {
  f(integer_grid<2, zero_point::integer>{});
  f(integer_grid<3, zero_point::integer>{});
  f(integer_grid<4, zero_point::integer>{});
  f(integer_grid<5, zero_point::integer>{});
  f(integer_grid<6, zero_point::integer>{});
  f(integer_grid<7, zero_point::integer>{});
  f(integer_grid<8, zero_point::integer>{});
  f(integer_grid<2, zero_point::symmetric>{});
  f(integer_grid<3, zero_point::symmetric>{});
  f(integer_grid<4, zero_point::symmetric>{});
  f(integer_grid<5, zero_point::symmetric>{});
  f(integer_grid<6, zero_point::symmetric>{});
  f(integer_grid<7, zero_point::symmetric>{});
  f(integer_grid<8, zero_point::symmetric>{});
}

extent extent_of(const floats& w) {
  const auto [lo, hi] = std::minmax_element(w.begin(), w.end());
  return {*lo, *hi};
}

template <class G>
floats on_grid(const floats& w, typename G::parameters p) {
  floats out;
  for (const float x : w) out.push_back(G::nearest(x, p));
  return out;
}

// Every family and a few sizes, among them one element.
template <class F>
void on_all_groups(F f) {
  for (const family kind : families)
    for (const index_t n : {1, 2, 7, 32, 128})
      for (std::uint64_t seed = 0; seed < 6; ++seed) {
        CAPTURE(name(kind), n, seed);
        f(drawn(kind, n, seed));
      }
}

double ulp_free_bound(int bits, float scale) {
  return 0.5 * std::fabs(static_cast<double>(scale)) * (1 + std::ldexp(1.0, bits - 13));
}

}  // namespace

TEST_CASE("known parameters, codes and values") {
  using asym = integer_grid<4, zero_point::integer>;
  const auto p = asym::fit(extent{-3.0f, 12.0f});
  CHECK(p.scale == 1.0f);
  CHECK(p.zero == 3);
  CHECK(asym::encode(-3.0f, p) == 0);
  CHECK(asym::encode(0.0f, p) == 3);
  CHECK(asym::encode(12.0f, p) == 15);
  CHECK(asym::encode(100.0f, p) == 15);
  CHECK(asym::encode(-100.0f, p) == 0);
  CHECK(asym::decode(15, p) == 12.0f);
  CHECK(asym::fit(extent{5.0f, 30.0f}).scale == 2.0f);  // the range is made to hold zero
  CHECK(asym::fit(extent{5.0f, 30.0f}).zero == 0);
  CHECK(asym::fit(extent{-30.0f, -5.0f}).zero == 15);
  CHECK(asym::fit(extent{-1.3f, -1.3f}).scale == 1.3f);  // one value: itself a step
  CHECK(asym::fit(extent{-1.3f, -1.3f}).zero == 1);
  CHECK(asym::fit(extent{1.3f, 1.3f}).zero == 0);

  using sym = integer_grid<4, zero_point::symmetric>;
  CHECK(sym::fit(extent{-4.0f, 3.0f}).scale == 0.5f);
  CHECK(sym::fit(extent{-3.0f, 4.0f}).scale == -0.5f);
  CHECK(sym::fit(extent{-4.0f, 4.0f}).scale == 0.5f);
  CHECK(sym::zero_of(sym::fit(extent{-4.0f, 3.0f})) == 8);
  CHECK(sym::encode(-4.0f, {0.5f}) == 0);
  CHECK(sym::encode(4.0f, {-0.5f}) == 0);
  CHECK(sym::encode(3.5f, {0.5f}) == 15);
  CHECK(sym::encode(4.0f, {0.5f}) == 15);  // clipped
  CHECK(sym::decode(0, {-0.5f}) == 4.0f);
  CHECK(sym::fit(extent{-4.0f, 3.0f}, 0.5).scale == 0.25f);
}

TEST_CASE("ties go to an even number of steps from zero") {
  using G = integer_grid<4, zero_point::integer>;
  const G::parameters p{1.0f, 6};
  const float at[] = {-2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f, 3.5f};
  const float want[] = {-2.0f, -2.0f, 0.0f, 0.0f, 2.0f, 2.0f, 4.0f};
  for (int i = 0; i < 7; ++i) {
    CHECK(G::nearest(at[i], p) == want[i]);
    CHECK(G::decode(G::encode(at[i], p), p) == want[i]);
  }
}

TEST_CASE("a weight gets the nearest of all levels, and codes and values agree") {
  on_all_grids([](auto g) {
    using G = decltype(g);
    on_all_groups([](const floats& w) {
      const auto p = G::fit(extent_of(w), 0.8);
      bool nearest = true, agree = true;
      for (const float x : w) {
        double best = std::numeric_limits<double>::infinity();
        for (int c = 0; c <= G::max_code; ++c)
          best = std::min(best, std::fabs(double{x} - double{G::decode(static_cast<std::uint8_t>(c), p)}));
        const auto got = std::fabs(double{x} - double{G::nearest(x, p)});
        // a product rounded to float may turn a tie into a win of the last bit
        nearest = nearest && got <= best + std::ldexp(std::fabs(double{x}), -23);
        agree = agree && G::decode(G::encode(x, p), p) == G::nearest(x, p);
      }
      CHECK(nearest);
      CHECK(agree);
    });
  });
}

TEST_CASE("the error of a weight that is not clipped is at most half a step, and only what lies beyond is clipped") {
  on_all_grids([](auto g) {
    using G = decltype(g);
    on_all_groups([](const floats& w) {
      const auto p = G::fit(extent_of(w));
      bool bounded = true, within_a_step = true;
      for (const float x : w) {
        const double e = std::fabs(double{x} - double{G::nearest(x, p)});
        const double steps = p.scale == 0 ? 0.0 : double{x} / double{p.scale};
        const bool beyond = G::zero == zero_point::symmetric && steps > G::max_code / 2 + 0.5;
        bounded = bounded && (beyond || e <= ulp_free_bound(G::bits, p.scale));
        within_a_step = within_a_step && e <= std::fabs(double{p.scale}) * (1 + 1e-6);
      }
      CHECK(bounded);
      CHECK(within_a_step);
    });
  });
}

TEST_CASE("quantizing what was quantized changes no value, at any clipping ratio of the first time") {
  on_all_grids([](auto g) {
    using G = decltype(g);
    on_all_groups([](const floats& w) {
      for (const double ratio : {1.0, 0.99, 0.9, 0.5, 0.2}) {
        const auto once = on_grid<G>(w, G::fit(extent_of(w), ratio));
        const auto twice = on_grid<G>(once, G::fit(extent_of(once)));
        CHECK(std::equal(once.begin(), once.end(), twice.begin()));
      }
    });
  });
}

TEST_CASE("also where both ends of the range lie half-way between two levels") {
  on_all_grids([](auto g) {
    using G = decltype(g);
    for (int below = 0; below < G::max_code; ++below)
      for (const float unit : {1.0f, 0.0123f, 0x1p-100f}) {
        const floats w{-(static_cast<float>(below) + 0.5f) * unit,
                       (static_cast<float>(G::max_code - 1 - below) + 0.5f) * unit, 0.3f * unit};
        const auto p = G::fit(extent_of(w));
        const auto once = on_grid<G>(w, p);
        const auto twice = on_grid<G>(once, G::fit(extent_of(once)));
        CHECK(once == twice);
        if (G::zero == zero_point::symmetric) continue;
        CHECK(int{G::encode(w[0], p)} == 0);
        CHECK(int{G::encode(w[1], p)} == int{G::max_code});
      }
  });
}

TEST_CASE("the largest weight of a symmetric group, and a group of one value, are reproduced exactly") {
  on_all_grids([](auto g) {
    using G = decltype(g);
    on_all_groups([](const floats& w) {
      const auto e = extent_of(w);
      const auto p = G::fit(e);
      const float largest = -e.lo >= e.hi ? e.lo : e.hi;
      if (std::fabs(largest) < 0x1p-118f) return;  // where the scale would be subnormal
      if (G::zero == zero_point::symmetric || e.lo == e.hi) CHECK(G::nearest(largest, p) == largest);
    });
  });
}

TEST_CASE("zero is a level of every group, and a group of zeros has scale 0") {
  on_all_grids([](auto g) {
    using G = decltype(g);
    on_all_groups([](const floats& w) {
      const auto p = G::fit(extent_of(w));
      CHECK(G::encode(0.0f, p) == G::zero_of(p));
      CHECK(G::decode(static_cast<std::uint8_t>(G::zero_of(p)), p) == 0.0f);
      CHECK(G::zero_of(p) <= int{G::max_code});
    });
    const auto none = G::fit(extent{-0.0f, 0.0f});
    CHECK(none.scale == 0.0f);
    for (int c = 0; c <= G::max_code; ++c) CHECK(G::decode(static_cast<std::uint8_t>(c), none) == 0.0f);
    CHECK(G::nearest(3.0f, none) == 0.0f);
  });
}

TEST_CASE("scales are normal numbers, levels are finite, and with an integer zero they are exact products") {
  on_all_grids([](auto g) {
    using G = decltype(g);
    on_all_groups([](const floats& w) {
      const auto p = G::fit(extent_of(w));
      CHECK((p.scale == 0 || std::fabs(p.scale) >= std::numeric_limits<float>::min()));
      bool finite = true, exact = true;
      const bool constant = extent_of(w).lo == extent_of(w).hi;  // the scale is the value, of which ±1 and 0 are used
      for (int c = 0; c <= G::max_code; ++c) {
        const float level = G::decode(static_cast<std::uint8_t>(c), p);
        finite = finite && (std::isfinite(level) || constant);
        exact = exact && (constant || double{level} == double{p.scale} * (c - G::zero_of(p)));
      }
      CHECK(finite);
      if (G::zero == zero_point::integer) CHECK(exact);
    });
    for (const float m : {largest_weight, largest_weight / 3}) {
      for (const extent e : {extent{-m, m}, extent{0, m}, extent{-m, 0}, extent{-m, m / 2}, extent{-m / 2, m}})
        for (int c = 0; c <= G::max_code; ++c) CHECK(std::isfinite(G::decode(static_cast<std::uint8_t>(c), G::fit(e))));
    }
  });
}

TEST_CASE("a format that is known at run time enters the template of its bits and zero point") {
  for (int bits = 2; bits <= 8; ++bits)
    for (const auto zero : {zero_point::integer, zero_point::symmetric}) {
      const auto seen = try_visit({bits, zero, 48}, [](auto f) -> resect::result<affine_format> {
        static_assert(static_format<decltype(f)>);
        return affine_format{decltype(f)::grid_type::bits, decltype(f)::grid_type::zero, f.group};
      });
      REQUIRE(seen);
      CHECK(*seen == affine_format{bits, zero, 48});
    }
  for (const int bits : {-1, 0, 1, 9, 16}) {
    const auto refused = try_visit({bits, zero_point::integer, 0}, [](auto) -> resect::status { return {}; });
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == resect::errc::invalid_argument);
    CHECK(refused.error().operand == "bits");
  }
}

TEST_CASE("a symmetric group clips by at most a step, and by a whole one where it holds e and -e") {
  on_all_grids([](auto grid) {
    using G = decltype(grid);
    if constexpr (G::zero == zero_point::symmetric) {
      const double most = 1 + std::ldexp(1.0, G::bits - 24);
      const auto p = G::fit(extent{-1, 1});
      CHECK(std::fabs(1 - G::nearest(1.0f, p)) == std::fabs(p.scale));
      for (const float m : gaussian(2000, 4)) {
        const auto q = G::fit(extent{-std::fabs(m), std::fabs(m)});
        const double s = std::fabs(double{q.scale});
        CHECK(G::nearest(-std::fabs(m), q) == -std::fabs(m));
        CHECK(std::fabs(double{std::fabs(m)} - double{G::nearest(std::fabs(m), q)}) <= most * s);
      }
    }
  });
}

TEST_CASE("what is exact of the largest weight is so down to the stated size, and not below") {
  on_all_grids([](auto grid) {
    using G = decltype(grid);
    const bool symmetric = G::zero == zero_point::symmetric;
    const float least = std::ldexp(1.0f, symmetric ? G::bits - 127 : -126);
    for (const float e : {least, -least, 1.5f * least, 1.25f * least, -1.75f * least})
      CHECK(G::nearest(e, G::fit(extent{e, e})) == e);
    const float small = std::ldexp(1.25f, -127);
    CHECK(G::nearest(small, G::fit(extent{small, small})) != small);
    CHECK(G::nearest(1e-39f, G::fit(extent{1e-39f, 1e-39f})) == 0);
  });
  using G4 = integer_grid<4, zero_point::symmetric>;
  CHECK(G4::nearest(0x1.8p-126f, G4::fit(extent{0x1.8p-126f, 0x1.8p-126f})) == 0x1p-125f);
}

}  // namespace tests
