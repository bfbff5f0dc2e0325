// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <iostream>
#include <limits>

#include <resect/quant/affine.hpp>
#include <resect/quant/formats/common.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/quant/search/exact.hpp>
#include <resect/quant/search/neuqi.hpp>
#include <resect/quant/search/ocp_floor.hpp>
#include <resect/quant/search/two_level.hpp>
#include <support/catch.hpp>

#include "../groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::fp8_e4m3;
using resect::index_t;

namespace {

constexpr family shapes[] = {family::gaussian, family::heavy_tails, family::positive,     family::few_values,
                             family::ties,     family::constant,    family::mostly_zeros, family::one_outlier};

floats weights_of(index_t n, std::uint64_t seed) {
  floats a = gaussian(n, seed + 100);
  for (float& x : a) x = x * x;
  if (n > 3) a[1] = 0.0f;
  return a;
}

// The least error over every scale (and set) that the 8-bit floats of both signs, or a list, hold: by trying all.
template <class G, class T>
double least_of_all(const G& g, const T& t, const typename T::header& h, group_weights w) {
  double least = std::numeric_limits<double>::infinity();
  const auto consider = [&](double s) {
    for (int set = 0; set < g.level_sets(); ++set)
      least = std::min(least, detail::squared_error(g, w, t.nearest(g.at_scale(s, set), h)));
  };
  if constexpr (listing_store<T>) {
    for (int i = 0; i < T::scale_count; ++i) consider(t.scale_at(i, h));
  } else {
    for (unsigned bits = 0; bits < 256; ++bits)
      if (const auto s = fp8_e4m3::from_bits(static_cast<std::uint8_t>(bits)); !s.is_nan())
        consider(static_cast<double>(s));
  }
  return least;
}

}  // namespace

TEST_CASE("exact finds the least error over all scales that exist, of both signs and all zeros") {
  const auto check = [](const auto& g, const auto& t, const auto& h, float size) {
    for (const family kind : shapes)
      for (const index_t n : {1, 5, 16, 40})
        for (const bool even : {true, false}) {
          auto w = drawn(kind, n, static_cast<std::uint64_t>(n));
          for (float& x : w) x = x * size * (kind == family::one_outlier ? 1e-5f : 1.0f);
          const floats a = even ? floats{} : weights_of(n, 1);
          const group_weights group{w, a};
          CAPTURE(name(kind), n, even, g.name, t.name);
          const double want = least_of_all(g, t, h, group);
          const double got = detail::squared_error(g, group, exact{}.fit(g, t, h, group));
          double all = 0;
          for (index_t j = 0; j < n; ++j) {
            const auto i = static_cast<std::size_t>(j);
            all += double{w[i]} * double{w[i]} * (a.empty() ? 1.0 : double{a[i]});
          }
          CHECK(got <= want + 1e-12 * all);
          CHECK(got >= want - 1e-12 * all);
        }
  };
  using fp8 = float_store<fp8_e4m3>;
  check(integer_grid<2, zero_point::symmetric>{}, fp8{}, no_header{}, 1.0f);
  check(integer_grid<4, zero_point::symmetric>{}, fp8{}, no_header{}, 1.0f);
  check(integer_grid<3, zero_point::integer>{}, fp8{}, no_header{}, 1.0f);
  check(integer_grid<4, zero_point::integer>{}, fp8{}, no_header{}, 1.0f);
  check(nf4_grid{}, fp8{}, no_header{}, 3.0f);
  const floats one_sided{0.25f, 1.0f, 4.0f};
  check(codebook_grid(one_sided), fp8{}, no_header{}, 1.0f);
  const floats binary{-1.0f, 1.0f};
  check(codebook_grid(binary), fp8{}, no_header{}, 1.0f);
  check(e2m1_grid{}, e8m0_store{}, no_header{}, 1.0f);                              // MXFP4
  check(e2m1_grid{}, tensor_scaled_store<fp8_e4m3>{}, matrix_scale{0.002f}, 1.0f);  // NVFP4
  check(integer_grid<3, zero_point::symmetric>{}, six_bit_store<scale_parameters>{}, six_bit_units{0.04f, 0}, 1.0f);
}

TEST_CASE("a minimum sweep finds the least error over all minimums that exist") {
  using fp8 = float_store<fp8_e4m3>;
  const minimum_grid<3> g;
  for (const family kind : shapes)
    for (const index_t n : {2, 9, 32})
      for (const bool even : {true, false}) {
        const auto w = drawn(kind, n, 4);
        const floats a = even ? floats{} : weights_of(n, 2);
        const group_weights group{w, a};
        if (kind == family::one_outlier) continue;  // beyond what fp8 holds
        detail::minimum_sweep<minimum_grid<3>, fp8> sweep(g, fp8{}, no_header{}, group);
        for (const float s : {0.0625f, 0.25f, 0.5f, 1.25f}) {
          CAPTURE(name(kind), n, even, s);
          double want = std::numeric_limits<double>::infinity();
          for (unsigned bits = 0; bits < 256; ++bits)
            if (const auto m = fp8_e4m3::from_bits(static_cast<std::uint8_t>(bits)); !m.is_nan())
              want = std::min(want, detail::squared_error(g, group, {s, static_cast<float>(m)}));
          minimum_parameters best{};
          double got = std::numeric_limits<float>::max();
          sweep.run(double{s}, best, got);
          CHECK(best.scale == s);
          CHECK(detail::squared_error(g, group, best) == Approx(want).epsilon(1e-9).margin(1e-12));
          // also where all that is worse than a bound may be left out
          minimum_parameters bounded{};
          double bound = want * 1.0001 + 1e-9;
          sweep.run(double{s}, bounded, bound);
          CHECK(detail::squared_error(g, group, bounded) == Approx(want).epsilon(1e-9).margin(1e-12));
        }
      }
}

TEST_CASE("values on a grid are found again without error: exact of symmetric, integer-zero and codebook grids") {
  const auto check = [](const auto& g, const auto& t) {
    for (const family kind : {family::gaussian, family::heavy_tails, family::positive, family::ties})
      for (std::uint64_t seed = 0; seed < 6; ++seed) {
        const auto w = drawn(kind, 48, seed);
        const auto p = exact{}.fit(g, t, no_header{}, {w, {}});
        floats once;
        for (const float x : w) once.push_back(detail::nearest_value(g, x, p));
        const auto again = exact{}.fit(g, t, no_header{}, {once, {}});
        CAPTURE(name(kind), seed, g.name, t.name);
        CHECK(detail::squared_error(g, {once, {}}, again) == 0.0);
      }
  };
  check(integer_grid<4, zero_point::symmetric>{}, f32_store{});
  check(integer_grid<3, zero_point::integer>{}, f32_store{});
  check(integer_grid<2, zero_point::symmetric>{}, f16_store{});
  check(nf4_grid{}, f16_store{});
  check(e2m1_grid{}, e8m0_store{});
}

TEST_CASE(
    "mse_scale loses at most a hundredth more than exact at 3 and 4 bits in groups of 128; elsewhere it is printed") {
  const auto excess = [](const auto& g, index_t group, int seeds) {
    double mse = 0, best = 0;
    for (int seed = 0; seed < seeds; ++seed) {
      const auto w = gaussian(group, static_cast<std::uint64_t>(seed));
      const group_weights of{w, {}};
      mse += detail::squared_error(g, of, mse_scale{}.fit(g, f16_store{}, no_header{}, of));
      best += detail::squared_error(g, of, exact{}.fit(g, f16_store{}, no_header{}, of));
    }
    std::cout << "  " << g.name << ", groups of " << group << ": mse_scale loses " << 100 * (mse / best - 1)
              << " % more than exact\n";
    CHECK(mse >= best);
    return mse / best;
  };
  CHECK(excess(integer_grid<3, zero_point::symmetric>{}, 128, 100) <= 1.01);
  CHECK(excess(integer_grid<4, zero_point::symmetric>{}, 128, 100) <= 1.01);
  CHECK(excess(integer_grid<3, zero_point::integer>{}, 128, 100) <= 1.01);
  CHECK(excess(integer_grid<4, zero_point::integer>{}, 128, 100) <= 1.01);
  excess(integer_grid<2, zero_point::symmetric>{}, 128, 60);
  excess(integer_grid<2, zero_point::integer>{}, 64, 60);
  excess(integer_grid<5, zero_point::symmetric>{}, 128, 60);
  excess(integer_grid<4, zero_point::symmetric>{}, 32, 60);
  excess(nf4_grid{}, 64, 60);
  excess(minimum_grid<4>{}, 128, 20);
}

TEST_CASE("zeros of the NeUQI kind lose less than the extent's, and the exact ones less still") {
  for (const bool even : {true, false}) {
    double none = 0, neuqi_error = 0, best = 0;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      const auto w = drawn(seed % 2 == 0 ? family::gaussian : family::heavy_tails, 64, seed);
      const floats a = even ? floats{} : weights_of(64, seed);
      const group_weights group{w, a};
      const minimum_grid<2> g;
      const auto error_of = [&](const auto& search) {
        return detail::squared_error(g, group, search.fit(g, f16_store{}, no_header{}, group));
      };
      const double e = error_of(neuqi{}), m = error_of(min_max{});
      CHECK(e <= m);
      none += m / m;
      neuqi_error += e / m;
      best += error_of(exact{}) / m;
    }
    CHECK(neuqi_error < 0.6 * none);
    CHECK(best < neuqi_error);
  }
}

TEST_CASE("two levels: searching the units loses no more than the first units, and weighs as asked") {
  const minimum_grid<4> g;
  const six_bit_store<minimum_parameters> t;
  double searched = 0, plain = 0, other = 0;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const auto w = drawn(seed % 2 == 0 ? family::gaussian : family::heavy_tails, 256, seed);
    const floats a = weights_of(256, seed);
    std::vector<group_weights> groups;
    for (std::size_t i = 0; i < 8; ++i)
      groups.push_back({std::span(w).subspan(32 * i, 32), std::span(a).subspan(32 * i, 32)});
    std::vector<minimum_parameters> p(8);
    const auto error_of = [&](const auto& search) {
      const auto h = search.fit_super_block(g, t, groups, std::span(p));
      double e = 0;
      for (std::size_t i = 0; i < 8; ++i) {
        const auto same = t.nearest(p[i], h);
        CHECK((same.scale == p[i].scale && same.minimum == p[i].minimum));
        e += detail::squared_error(g, groups[i], p[i]);
      }
      return e;
    };
    searched += error_of(two_level_search{});
    plain += error_of(two_level_search{.units = 0});
    other += error_of(two_level_search{.weight = error_weight::ggml});
  }
  CHECK(searched < plain);
  CHECK(searched < other);
}

TEST_CASE("OCP's power of two is that below the largest weight, two binades down") {
  const auto scale = [](float largest) {
    const floats w{0.1f, -largest, 0.01f};
    return ocp_floor::fit(e2m1_grid{}, e8m0_store{}, no_header{}, {w, {}}).scale;
  };
  CHECK(scale(4.0f) == 1.0f);
  CHECK(scale(7.99f) == 1.0f);
  CHECK(scale(8.0f) == 2.0f);
  CHECK(scale(0.3f) == 0x1p-4f);
}

TEST_CASE("options of searches that make no sense are refused by name") {
  CHECK(exact{.scales = 0}.check(3).error().operand == "scales of exact");
  CHECK(neuqi{.scales = 1}.check(3).error().operand == "scales of neuqi");
  CHECK(two_level_search{.units = -1}.check(3).error().operand == "units of two_level_search");
  const floats a{1.0f, -1.0f};
  CHECK(exact{.importance = a}.check(2).error().message() ==
        "invalid argument: importance of column 1: got -1, wanted at least 0");
  CHECK(exact{.importance = a}.check(3).error().message() == "shape mismatch: importance: got 2 columns, wanted 3");
}

TEST_CASE("exact searches refuse grids of more than five bits and name the search for them") {
  CHECK(exact{}.check(integer_grid<6, zero_point::integer>{}, 3).error().message() ==
        "invalid argument: grid int6z for an exact search: got 6 bits, wanted at most 5: mse_scale is for wider ones");
  CHECK_FALSE(two_level_search{}.check(minimum_grid<6>{}, 3));
  floats levels(33);
  for (std::size_t i = 0; i < 33; ++i) levels[i] = static_cast<float>(i);
  CHECK_FALSE(exact{}.check(codebook_grid(levels), 3));
  CHECK(exact{}.check(codebook_grid(std::span(levels).first(32)), 3));
  CHECK(exact{}.check(integer_grid<5, zero_point::integer>{}, 3));
  const floats w(8, 1.0f);
  resect::inline_executor here;
  const auto q = try_quantize(here, resect::matrix_view<const float>{w.data(), 1, 8}, affine<8>{}, nearest{}, exact{});
  REQUIRE_FALSE(q);
  CHECK(q.error().operand == "grid int8z for an exact search");
}

}  // namespace tests
