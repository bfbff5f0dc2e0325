// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <vector>

#include <support/catch.hpp>
#include <support/expect_error.hpp>
#include <support/study_setting.hpp>

#include <hosts/llama/host.hpp>
#include <resect/backend/cpu_extern.hpp>
#include <resect/study/codec_recovery.hpp>
#include <resect/study/codec_rows.hpp>
#include <resect/study/runner.hpp>

using namespace resect;
using support::expect_error;

namespace {

// f = the positive and the negative parts of x: nothing is lost.
sae::codec lossless(index_t width) {
  sae::codec c{sae::dictionary<float>(2 * width, width, true), 0};
  for (index_t k = 0; k < width; ++k)
    for (const index_t j : {k, width + k}) c.weights.encoder(j, k) = c.weights.decoder(j, k) = j == k ? 1.0f : -1.0f;
  return c;
}
// No latent at all: every row becomes this one.
sae::codec constant(std::span<const float> row) {
  sae::codec c{sae::dictionary<float>(1, static_cast<index_t>(row.size()), true), 0};
  for (std::size_t k = 0; k < row.size(); ++k) c.weights.bias[static_cast<index_t>(k)] = row[k];
  return c;
}

}  // namespace

TEST_CASE("a lossless codec recovers all of what ablations destroy, one without latents nothing") {
  const support::study_setting s(3);
  cpu exec;
  hosts::llama_host host(exec, s.model);
  const sae::model_site at{.layer = 1};
  auto rows = value_or_throw(sae::try_rows_of(host, std::span(&at, 1), s.calibration.rows));
  const std::vector<float> zeros(32);
  const auto mean = rows.mean(0);
  const study::arm arms[] = {value_or_throw(study::try_codec_arm(exec, at, lossless(32), "lossless")),
                             value_or_throw(study::try_codec_arm(exec, at, constant(zeros), "nothing")),
                             value_or_throw(study::try_codec_arm(exec, at, constant(mean), "mean codec")),
                             value_or_throw(study::try_constant_arm(at, zeros, "zeros")),
                             value_or_throw(study::try_constant_arm(at, mean, "mean"))};
  auto run = value_or_throw(study::runner<cpu<>, hosts::llama_host>::try_start(exec, host, s.evaluation));
  const auto effects = value_or_throw(run.try_effects(arms));
  const auto& zero = effects[3];
  const auto& average = effects[4];
  REQUIRE(zero.kl.estimate().value > 0.01);
  REQUIRE(average.kl.estimate().value > 0.01);
  const auto all = value_or_throw(study::try_codec_recovery(effects[0], zero, average));
  for (const auto& e : {all.ce_zero, all.ce_mean, all.kl_zero, all.kl_mean}) CHECK(std::fabs(e.value - 1) < 1e-3);
  const auto none = value_or_throw(study::try_codec_recovery(effects[1], zero, average));
  CHECK(std::fabs(none.kl_zero.value) < 1e-9);
  CHECK(std::fabs(none.ce_zero.value) < 1e-9);
  const auto by_mean = value_or_throw(study::try_codec_recovery(effects[2], zero, average));
  CHECK(std::fabs(by_mean.kl_mean.value) < 1e-9);
  // First positions are not touched: their KL is 0.
  const study::token_windows first = [&] {
    auto w = s.evaluation;
    for (std::size_t r = 0; r < w.rows.size(); ++r)
      if (w.rows[r].pos > 0) w.cluster[r] = -1;
    return w;
  }();
  auto at_first = value_or_throw(study::runner<cpu<>, hosts::llama_host>::try_start(exec, host, first));
  CHECK(value_or_throw(at_first.try_effects(std::span(arms).subspan(3)))[0].kl.estimate().value == 0);
}

TEST_CASE("what is recovered is a ratio of sums over the same tokens") {
  metrics::clustered_sums spliced(2), ablated(2), other(2);
  spliced.add(0, 1), spliced.add(1, 2);
  ablated.add(0, 4), ablated.add(1, 8);
  other.add(0, 1);
  CHECK(std::fabs(value_or_throw(study::try_recovered(spliced, ablated)).value - 0.75) < 1e-15);
  expect_error(study::try_recovered(other, ablated), errc::shape_mismatch, {});
}

TEST_CASE("codecs are judged on the rows of their sites, by clusters, first positions left out") {
  const support::study_setting s(3);
  cpu exec;
  hosts::llama_host host(exec, s.model);
  const sae::model_site sites[] = {{.layer = 0}, {.layer = 2}};
  auto rows = value_or_throw(sae::try_rows_of(host, sites, s.evaluation.rows));
  const auto whole = lossless(32), mean = constant(rows.mean(1));
  const study::judged_codec codecs[] = {{0, &whole, rows.mean(0)}, {1, &mean, rows.mean(1)}};
  const auto found = value_or_throw(study::try_judge_codecs(exec, host, s.evaluation, sites, codecs));
  REQUIRE(found.of.size() == 2);
  CHECK(found.counts.first == 8);
  CHECK(found.counts.kept == 8 * 11);
  CHECK(found.of[0].rows() == 8 * 11);
  CHECK(found.of[0].fvu().value < 1e-10);
  CHECK(found.of[0].mean_latents().value == 32);
  CHECK(std::fabs(found.of[1].fvu().value - 1) < 1e-6);
  CHECK(found.of[1].mean_latents().value == 0);
  CHECK(found.of[0].fvu().n_clusters == s.evaluation.n_clusters);
  const study::judged_codec nowhere[] = {{2, &whole, rows.mean(0)}};
  expect_error(study::try_judge_codecs(exec, host, s.evaluation, sites, nowhere), errc::invalid_argument,
               {"site of a codec", "0 to 1"});
}
