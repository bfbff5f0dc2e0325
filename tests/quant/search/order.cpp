// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What each search promises beside the one below it, in every format, also where groups share a header.
#include <cmath>

#include <resect/quant/fit_groups.hpp>
#include <resect/quant/formats/all.hpp>
#include <resect/quant/loss.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/quant/search/exact.hpp>
#include <resect/quant/search/neuqi.hpp>
#include <resect/quant/search/two_level.hpp>
#include <support/catch.hpp>

#include "../groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::index_t;
using resect::matrix_view;

namespace {

floats squares(index_t n, std::uint64_t seed) {
  floats a = gaussian(n, seed);
  for (float& x : a) x = x * x;
  return a;
}

// Σ a_j·(w_j − ŵ_j)² of the groups of one super-block, with the parameters and the header that the search gives.
template <class F, class S>
double error_of(const F& f, const S& search, std::span<const group_weights> groups) {
  std::vector<detail::parameters_of<F>> p(groups.size());
  if constexpr (F::store_type::super_groups == 0) detail::shared_header(f.grid, f.store, search, groups, std::span(p));
  else fit_super_block(f, search, groups, std::span(p));
  double sum = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) sum += detail::squared_error(f.grid, groups[g], p[g]);
  return sum;
}

// Some of the super-blocks that a search may meet, of eight groups, the first ones larger, one of another size.
template <class F, class Check>
void on_super_blocks(const F& f, Check check) {
  const index_t size = f.group > 0 ? f.group : 40;
  for (const family kind : families)
    for (const bool even : {true, false}) {
      floats w = drawn(kind, 8 * size, 7);
      for (std::size_t j = 0; j < w.size() / 4; ++j) w[j] *= 3.0f;
      const floats a = even ? floats{} : squares(8 * size, 5);
      std::vector<group_weights> groups;
      double all = 0;
      for (index_t g = 0; g < 8; ++g) {
        const auto at = static_cast<std::size_t>(g * size),
                   n = static_cast<std::size_t>(g == 5 ? size - size / 3 : size);
        groups.push_back({std::span(w).subspan(at, n), even ? std::span<const float>{} : std::span(a).subspan(at, n)});
        for (std::size_t j = at; j < at + n; ++j) all += double{w[j]} * double{w[j]} * (even ? 1.0 : double{a[j]});
      }
      INFO(F::name().view() << ", " << name(kind) << (even ? "" : ", weighted"));
      check(std::span<const group_weights>(groups), all);
    }
}

// Levels are rounded to float, sums to double: what that changes in an error of this size.
double rounding(double error, double all) { return 0x1p-22 * std::sqrt(error * all) + 0x1p-40 * all; }

template <static_format F>
void check_order(const F& f) {
  on_super_blocks(f, [&](std::span<const group_weights> groups, double all) {
    const double none = error_of(f, min_max{}, groups), mse = error_of(f, mse_scale{.steps = 20}, groups);
    CHECK(mse <= none);
    if constexpr (level_grid<typename F::grid_type> || offset_grid<typename F::grid_type>) {
      if (!exact{}.check(f.grid, 1)) return;
      const double usual = error_of(f, mse_scale{}, groups), best = error_of(f, exact{.scales = 6}, groups);
      INFO("mse " << usual << ", exact " << best << ", excess " << best / usual - 1);
      CHECK(best <= usual + rounding(usual, all));
    }
  });
}

template <static_format... F>
void check_all(format_list<F...>) {
  const floats levels{-1.5f, -0.5f, 0.0f, 0.25f, 1.0f};
  const auto made = [&]<static_format One>(One f) {
    if constexpr (std::same_as<One, codebook_format>) f.grid = codebook_grid(levels);
    check_order(f);
  };
  (made(F{}), ...);
}

}  // namespace

TEST_CASE("exact loses no more than mse_scale, which loses no more than min_max, in every format, weighted or not") {
  check_all(all_formats{});
  check_order(affine_symmetric<4>{.group = 32});
  check_order(affine<3>{.group = 32});
}

TEST_CASE("two levels: NeUQI's zeros lose no more than min_max, the search of units no more than exact") {
  on_super_blocks(two_level<3>{}, [&](std::span<const group_weights> groups, double all) {
    const two_level<3> f;
    CHECK(error_of(f, neuqi{.scales = 6}, groups) <= error_of(f, min_max{}, groups));
    const double best = error_of(f, exact{}, groups);
    CHECK(error_of(f, two_level_search{}, groups) <= best + rounding(best, all));
  });
}

TEST_CASE("where the header is the matrix's, the order of searches holds for the whole matrix") {
  resect::inline_executor here;
  for (const family kind : {family::gaussian, family::heavy_tails, family::one_outlier, family::ties}) {
    const auto w = drawn(kind, 12 * 100, 3);
    const matrix_view<const float> W{w.data(), 12, 100};
    const auto lost = [&](const auto& search) {
      return loss(here, W, quantize(here, W, nvfp4{}, nearest{}, search)).mean_square;
    };
    const double none = lost(min_max{}), mse = lost(mse_scale{}), best = lost(exact{});
    INFO(name(kind) << ": " << none << ", " << mse << ", " << best);
    CHECK(mse <= none);
    CHECK(best <= mse * (1 + 1e-6));
  }
}

}  // namespace tests
