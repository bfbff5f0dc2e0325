// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <resect/compress/rank_presets.hpp>

using namespace resect;
using namespace resect::compress;

namespace {

// Two matrices a layer.
array<model::weight_desc> matrices_of(int n_layers, index_t rows, index_t cols) {
  array<model::weight_desc> out;
  for (int l = 0; l < n_layers; ++l) {
    out.push_back({"up", l, 0, model::weight_role::matrix, rows, cols});
    out.push_back({"down", l, 1, model::weight_role::matrix, cols, rows});
  }
  return out;
}

array<index_t> ranks(rank_preset preset, index_t rank, int n_layers) {
  const auto m = matrices_of(n_layers, 4096, 4096);
  const auto all = value_or_throw(try_preset_ranks(preset, rank, m.span(), n_layers)).ranks;
  array<index_t> out;
  for (index_t i = 0; i < all.size(); i += 2) out.push_back(all[i]);
  return out;
}

}  // namespace

TEST_CASE("rank presets: 28 and 80 layers have the published ranks, other depths are stretched") {
  const auto ultra = ranks(rank_preset::ultra, 32, 28);
  for (index_t l = 0; l < 23; ++l) CHECK(ultra[l] == 32);
  CHECK(ultra[23] == 256);
  CHECK(ultra[24] == 256);
  CHECK(ultra[25] == 128);
  CHECK(ultra[26] == 80);
  CHECK(ultra[27] == 64);
  const auto selective = ranks(rank_preset::selective, 32, 80);
  for (index_t l = 0; l < 80; ++l) CHECK(selective[l] == (l < 70 ? 32 : 128));
  const auto deep = ranks(rank_preset::ultra, 32, 80);  // 14 layers: 3, 3, 3, 2, 3 of each factor
  CHECK(deep[65] == 32);
  CHECK(deep[66] == 256);
  CHECK(deep[71] == 256);
  CHECK(deep[79] == 64);
  CHECK(ranks(rank_preset::selective, 8, 6) == array<index_t>{8, 8, 8, 8, 8, 32});
  CHECK(ranks(rank_preset::ultra, 8, 6) == array<index_t>{8, 8, 8, 8, 8, 32});
  CHECK(ranks(rank_preset::ultra, 8, 1) == array<index_t>{32});
  CHECK(ranks(rank_preset::uniform, 5, 3) == array<index_t>{5, 5, 5});
  for (const int outside : {-1, 28, 29, 40}) {
    CHECK(rank_factor(rank_preset::ultra, outside, 28) == 1);
    CHECK(rank_factor(rank_preset::selective, outside, 28) == 1);
  }
}

TEST_CASE("rank presets: ranks are capped at half of the smaller extent, the uniform rank beside has no more bytes") {
  const auto m = matrices_of(28, 64, 200);
  for (const auto preset : {rank_preset::uniform, rank_preset::selective, rank_preset::ultra}) {
    const auto p = value_or_throw(try_preset_ranks(preset, 10, m.span(), 28));
    double numbers = 0, next = 0;
    for (index_t i = 0; i < m.size(); ++i) {
      CHECK(p.ranks[i] <= 32);
      numbers += static_cast<double>(p.ranks[i] * 264);
      next += static_cast<double>(std::min<index_t>(p.uniform_rank + 1, 32) * 264);
    }
    CHECK(p.numbers == numbers);
    CHECK(p.uniform_numbers <= numbers);
    if (preset == rank_preset::uniform) CHECK(p.uniform_rank == 10);
    else CHECK(next > numbers);
  }
  support::expect_error(try_preset_ranks(rank_preset::ultra, -1, m.span(), 28), errc::invalid_argument, {"rank", "-1"});
  support::expect_error(try_preset_ranks(rank_preset::ultra, 1, m.span(), 27), errc::invalid_argument,
                        {"27", "0 to 26"});
  support::expect_error(try_preset_ranks(rank_preset::ultra, 1, m.span(), 0), errc::invalid_argument, {"layers"});
}
