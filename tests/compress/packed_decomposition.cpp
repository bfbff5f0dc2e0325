// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/compress/packed_decomposition.hpp>

#include <compress/small_problem.hpp>
#include <hosts/llama/host.hpp>
#include <support/catch.hpp>
#include <support/expect_error.hpp>
#include <support/runs.hpp>
#include <support/study_setting.hpp>

namespace tests {

using namespace resect::compress;
using resect::matrix_view;
using resect::scratch;
using packed_pair = packed_decomposition<two_bits, four_bits>;

namespace {

small_pair pair_of(const matrix<float>& w, index_t rank) {
  const auto h = second_moment(w.cols, 3 * w.cols, 7);
  return value_or_throw(try_small_decompose(w, h, small_options(rank, 0)));
}

}  // namespace

TEST_CASE("packed Q + L·R: the product is that of the values, for any strides and more than one tile of components") {
  resect::cpu<resect::threads> exec{resect::threads{2}};
  for (const index_t rank : {0, 1, 5, 70}) {
    const auto w = gaussian_weights(rank > 10 ? 72 : 20, rank > 10 ? 80 : 24, 3);
    const auto d = pair_of(w, rank);
    const auto packed = value_or_throw(packed_pair::try_make(d));
    CHECK((packed.rows() == w.rows && packed.cols() == w.cols && packed.rank() == rank));
    // beside heads of 48 bytes and the ends of streams nothing is stored that bits do not count
    const double extra = 8.0 * static_cast<double>(packed.bytes()) - d.stored_bits();
    CHECK((extra >= 0 && extra <= (rank == 0 ? 1 : 3) * (48 * 8 + 16)));
    const auto values = d.to_dense(exec);
    const auto x = gaussian_weights(3, w.cols * 2, 5);
    const matrix_view<const float> every_other{x.data.data(), 3, w.cols, 2 * w.cols, 2};
    matrix<float> y(3, w.rows);
    scratch memory;
    REQUIRE(packed.try_apply(exec, every_other, y.view(), memory));
    for (index_t t = 0; t < 3; ++t)
      for (index_t r = 0; r < w.rows; ++r) {
        double want = 0, size = 0;
        for (index_t c = 0; c < w.cols; ++c) {
          const double term = static_cast<double>(every_other(t, c)) * static_cast<double>(values(r, c));
          want += term;
          size += std::fabs(term);
        }
        CAPTURE(rank, t, r);
        CHECK(std::fabs(static_cast<double>(y(t, r)) - want) <= 1e-5 * size);
      }
  }
}

TEST_CASE("packed Q + L·R: bad operands are refused before anything is written") {
  resect::cpu<resect::threads> exec{resect::threads{1}};
  const auto packed = value_or_throw(packed_pair::try_make(pair_of(gaussian_weights(20, 24, 3), 2)));
  matrix<float> x(2, 24), y(2, 19), narrow(2, 23), out(2, 20);
  y.data.assign(2 * 19, 7.0f);
  scratch memory;
  support::expect_error(packed.try_apply(exec, x.view(), y.view(), memory), resect::errc::shape_mismatch,
                        {"Y", "2 x 20"});
  support::expect_error(packed.try_apply(exec, narrow.view(), out.view(), memory), resect::errc::shape_mismatch,
                        {"X", "2 x 24"});
  for (const float v : y.data) CHECK(v == 7.0f);
  auto broken = pair_of(gaussian_weights(20, 24, 3), 2);
  broken.factors.l.cols = 21;
  CHECK_FALSE(packed_pair::try_make(broken));
}

TEST_CASE("packed Q + L·R: a layer of the example runtime computes by it what it computes with the values") {
  const support::study_setting s(2);
  resect::cpu<resect::threads> exec{resect::threads{1}};
  hosts::llama_host host(exec, s.model);
  const auto weights = host.weights(1);
  std::size_t at = 0;
  while (weights[at].name != "mlp.up") ++at;
  const auto& w = weights[at];
  matrix<float> intact(w.rows, w.cols);
  REQUIRE(host.try_read_weight(w, intact.view()));
  const auto d = pair_of(intact, 4);
  const auto values = d.to_dense(exec);
  const int lengths[] = {9, 5};
  const auto batch = support::random_batch(lengths, s.config.n_vocab, 3);
  std::vector<float> want, got;
  const auto plain = support::by_surgery(host, {}, batch);
  {
    const auto guard = host.try_override_weight(w, values.view());
    REQUIRE(guard);
    want = support::by_surgery(host, {}, batch);
  }
  scratch memory;
  {
    const auto guard = host.try_override_product(w, product_of(exec, value_or_throw(packed_pair::try_make(d)), memory));
    REQUIRE(guard);
    got = support::by_surgery(host, {}, batch);
  }
  REQUIRE(got.size() == want.size());
  double apart = 0, altered = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    apart = std::max(apart, std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i])));
    altered = std::max(altered, std::fabs(static_cast<double>(plain[i]) - static_cast<double>(want[i])));
    size = std::max(size, std::fabs(static_cast<double>(want[i])));
  }
  CAPTURE(apart, altered, size);
  CHECK(apart < 1e-4 * size);
  CHECK(altered > 10 * apart);  // the layer does see other weights
}

}  // namespace tests
