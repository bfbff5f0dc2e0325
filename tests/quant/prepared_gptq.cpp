// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/quant/prepared_gptq.hpp>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <quant/rounding_cases.hpp>
#include <resect/backend/cpu_extern.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/h_loss.hpp>
#include <resect/quant/quantize.hpp>

using namespace resect;
using namespace resect::quant;
using namespace tests;

namespace {
using threes = affine_symmetric<3>;
using resect::index_t;
}  // namespace

TEST_CASE("GPTQ with H eliminated once has the codes of gptq, for matrices one after the other") {
  cpu exec;
  const auto h = second_moment(40, 100, 1);
  const gptq_options options{.order = column_order::group_aware, .sweeps = 2, .result = keep::best};
  const auto rule = prepared_gptq::try_make(exec, h, options, 1, 16);
  REQUIRE(rule);
  for (const std::uint64_t seed : {2u, 3u}) {
    const auto w = gaussian_weights(20, 40, seed);
    const auto want = quantize(exec, w, threes{.group = 16}, gptq{h, options});
    const auto got = quantize(exec, w, threes{.group = 16}, *rule);
    CHECK(got.codes == want.codes);
    CHECK(got.outcome.loss == want.outcome.loss);
  }
}

TEST_CASE("GPTQ of one row, eliminated once, has the codes of the pass in double") {
  cpu exec;
  const auto h = second_moment(40, 25, 4);  // singular
  for (const double damping : {0.0, 0.01}) {
    const gptq_options options{
        .order = column_order::by_diagonal, .damping = damping, .precision = feedback_precision::f64};
    const auto rule = prepared_gptq::try_make(exec, h, options);
    REQUIRE(rule);
    for (const std::uint64_t seed : {5u, 6u, 7u}) {
      const auto w = gaussian_weights(1, 40, seed);
      const auto want = quantize(exec, w, threes{.group = 16}, gptq{h, options});
      const auto got = quantize(exec, w, threes{.group = 16}, *rule);
      CHECK(got.codes == want.codes);
      CHECK(got.outcome.loss == Approx(want.outcome.loss).epsilon(1e-9));
      CHECK(got.outcome.zeroed_columns == want.outcome.zeroed_columns);
    }
  }
}

TEST_CASE("sweeps from codes that are there never raise the loss, and lower that of nearest codes") {
  cpu exec;
  const auto h = second_moment(40, 100, 8);
  const auto w = gaussian_weights(20, 40, 9);
  const auto rule = prepared_gptq::try_make(exec, h, {.sweeps = 3});
  REQUIRE(rule);
  auto q = quantize(exec, w, threes{.group = 16});
  const double before = try_h_loss(exec, w.view(), q, h)->total;
  REQUIRE(rule->try_improve(exec, w.view(), q));
  const double after = try_h_loss(exec, w.view(), q, h)->total;
  CHECK(after < 0.9 * before);
  CHECK(q.outcome.loss == Approx(after).epsilon(1e-9));
  REQUIRE(rule->try_improve(exec, w.view(), q));
  CHECK(try_h_loss(exec, w.view(), q, h)->total <= after);
  matrix<float> tiny = w;
  for (index_t c = 0; c < 16; ++c) tiny(3, c) *= 1e-9f;  // a group that f16 has no scale for
  auto lost = quantize(exec, tiny, affine_symmetric<3, f16_store>{.group = 16});
  REQUIRE(rule->try_improve(exec, tiny.view(), lost));
  CHECK(lost.outcome.vanished_scales == 1);
}

TEST_CASE("a prepared rule refuses matrices and codes of another width by name") {
  cpu exec;
  const auto h = second_moment(16, 40, 10);
  const auto rule = prepared_gptq::try_make(exec, h, {}, 8);
  REQUIRE(rule);
  support::expect_error(try_quantize(exec, gaussian_weights(2, 24, 1).view(), threes{}, *rule), errc::shape_mismatch,
                        {"24 columns", "16, those of H"});
  support::expect_error(try_quantize(exec, gaussian_weights(2, 16, 1).view(), threes{}, *rule), errc::invalid_argument,
                        {"width of codes", "1", "8, as prepared"});
  support::expect_error(prepared_gptq::try_make(exec, h, {.sweeps = -1}), errc::invalid_argument,
                        {"sweeps of gptq", "-1"});
  support::expect_error(prepared_gptq::try_make(exec, h, {}, 0), errc::invalid_argument, {"width of codes", "0"});
}
