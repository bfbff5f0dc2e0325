// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstring>

#include <hosts/llama/host.hpp>
#include <support/catch.hpp>
#include <support/study_setting.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/residual/operators.hpp>
#include <resect/study/sensitivity.hpp>

using namespace resect;
using namespace resect::study;

namespace {

struct setting : support::study_setting {
  setting() : study_setting(4) {}
};

using threaded = cpu<threads>;

std::vector<double> numbers(const sensitivity_report& r) {
  std::vector<double> out;
  const auto put = [&](const metrics::estimate& e) { out.insert(out.end(), {e.value, e.se, e.lo, e.hi}); };
  put(r.intact.ppl.estimate());
  for (const auto& layer : r.intact.layers) put(layer.influence().estimate());
  for (const auto& row : r.rows) {
    for (const auto* e : {&row.mean.kl, &row.mean.top1, &row.mean.dlnppl, &row.mean.cosine}) put(*e);
    out.insert(out.end(), {static_cast<double>(row.rank.rank), static_cast<double>(row.rank.lo),
                           static_cast<double>(row.rank.hi)});
  }
  return out;
}

}  // namespace

TEST_CASE("the study gives the same bits for 1, 2, 3, 7 and 64 workers") {
  const setting s;
  std::vector<double> first;
  for (const int workers : {1, 2, 3, 7, 64}) {
    threaded exec{threads{workers}};
    hosts::llama_host host(exec, s.model);
    const auto now = numbers(sensitivity(exec, host, s.evaluation, s.calibration, {.bootstrap = 50}));
    if (first.empty()) first = now;
    REQUIRE(now.size() == first.size());
    CHECK(std::memcmp(now.data(), first.data(), now.size() * sizeof(double)) == 0);
  }
}

TEST_CASE("every instruction set gives the same study within the bounds of its kernels") {
  const setting s;
  threaded runtime{threads{2}};  // the model's own products are the same for all
  const auto study = [&](instruction_set set) {
    threaded exec{threads{2}, set};
    hosts::llama_host host(runtime, s.model);
    return sensitivity(exec, host, s.evaluation, s.calibration, {.reinit_seeds = 2});
  };
  const auto portable = study(instruction_set::portable);
  for (const auto set : {instruction_set::avx2, instruction_set::avx512}) {
    if (!supported(set)) continue;
    const auto other = study(set);
    REQUIRE(other.rows.size() == portable.rows.size());
    for (std::size_t i = 0; i < other.rows.size(); ++i) {
      const effect &a = portable.rows[i].mean, &b = other.rows[i].mean;
      // both within the stated error of the truth: 1e-8 + 1e-8·KL of KL, 3e-9 + 4e-16·nll of each nll
      CHECK(std::fabs(a.kl.value - b.kl.value) <= 2 * (1e-8 + 1e-8 * a.kl.value));
      CHECK(std::fabs(a.dlnppl.value - b.dlnppl.value) <= 4 * 3.1e-9);
      CHECK(a.top1.value == b.top1.value);
      CHECK(a.cosine.value == b.cosine.value);  // row products have the same bits on every set
    }
  }
}

TEST_CASE("a run restarted from the shared prefix is the run from the first layer, bit for bit") {
  const setting s;
  threaded exec{threads{2}};
  hosts::llama_host host(exec, s.model);
  const auto report =
      sensitivity(exec, host, s.evaluation, s.calibration, {.alterations = {alteration::skip, alteration::mean_delta}});
  REQUIRE(report.rows.size() == 8);
  intact_outputs outputs;
  head_workspace work{.rows = 256};
  REQUIRE(study::detail::try_baseline(exec, host, s.evaluation, work, outputs));
  for (const auto& row : report.rows) {
    auto state = value_or_throw(host.try_embed(s.evaluation.rows));
    const auto at = residual::layer(row.layer());
    const auto plan =
        residual::plan{} | (row.id.operation == "skip" ? residual::skip(at) : residual::mean_delta(at, report.means));
    residual::run(host, plan, state, 0, 4);
    const auto whole =
        value_or_throw(study::detail::try_effect(exec, host, state, s.evaluation, outputs, work)).estimate();
    CHECK(whole.kl.value == row.mean.kl.value);
    CHECK(whole.dlnppl.value == row.mean.dlnppl.value);
    CHECK(whole.cosine.value == row.mean.cosine.value);
    CHECK(whole.kl.value > 0.0);
  }
}

TEST_CASE("the intact model compared with itself: KL exactly 0, top-1 and cosine 1, no change of nll") {
  const setting s;
  threaded exec{threads{1}};
  hosts::llama_host host(exec, s.model);
  intact_outputs outputs;
  head_workspace work{.rows = 256};
  REQUIRE(study::detail::try_baseline(exec, host, s.evaluation, work, outputs));
  auto state = value_or_throw(host.try_embed(s.evaluation.rows));
  residual::run(host, residual::plan{}, state, 0, 4);
  const auto e = value_or_throw(study::detail::try_effect(exec, host, state, s.evaluation, outputs, work)).estimate();
  CHECK(e.kl.value == 0.0);
  CHECK(e.top1.value == 1.0);
  CHECK(e.dlnppl.value == 0.0);
  CHECK(e.cosine.value == Approx(1.0).margin(1e-12));
  CHECK(e.kl.n == 96);
  CHECK(e.dlnppl.n == 88);  // the last row of a window has no next token
  CHECK(e.kl.n_clusters == 8);
}

TEST_CASE("nll and perplexity are those of a forward pass in double") {
  const setting s;
  threaded exec{threads{1}};
  hosts::llama_host host(exec, s.model);
  intact_outputs outputs;
  head_workspace work{.rows = 5};
  const auto base = value_or_throw(study::detail::try_baseline(exec, host, s.evaluation, work, outputs));
  const support::reference_llama reference{s.model};
  auto h = reference.embed(s.evaluation.rows);
  for (int l = 0; l < 4; ++l) reference.layer(l, s.evaluation.rows, h);
  const auto logits = reference.head(h);
  double sum = 0;
  resect::index_t n = 0;
  for (std::size_t r = 0; r < logits.size(); ++r) {
    const auto next = s.evaluation.next_token(static_cast<resect::index_t>(r));
    if (next < 0) continue;
    double largest = -1e300, total = 0;
    for (const double x : logits[r]) largest = std::max(largest, x);
    for (const double x : logits[r]) total += std::exp(x - largest);
    sum += largest + std::log(total) - logits[r][static_cast<std::size_t>(next)];
    ++n;
  }
  CHECK(base.ppl.mean_nll().n == n);
  CHECK(base.ppl.mean_nll().value == Approx(sum / static_cast<double>(n)).epsilon(1e-5));
}

TEST_CASE("re-initialization runs once a seed and its estimate is over seeds") {
  const setting s;
  threaded exec{threads{2}};
  hosts::llama_host host(exec, s.model);
  const auto report =
      sensitivity(exec, host, s.evaluation, s.calibration,
                  {.alterations = {alteration::reinit}, .layers = {1, 3}, .seed = 40, .reinit_seeds = 6});
  REQUIRE(report.rows.size() == 2);
  for (const auto& row : report.rows) {
    CHECK(row.seeds == std::vector<std::uint64_t>{40, 41, 42, 43, 44, 45});
    REQUIRE(row.per_run.size() == 6);
    double mean = 0;
    for (const auto& run : row.per_run) mean += run.kl.value / 6;
    CHECK(row.mean.kl.value == Approx(mean).epsilon(1e-12));
    CHECK(row.mean.kl_seed_sd > 0.0);
    CHECK(row.mean.degrees == 5.0);
    CHECK(row.per_run[0].kl.value != row.per_run[1].kl.value);
  }
  // the weights are the model's again
  intact_outputs outputs;
  head_workspace work{.rows = 256};
  const auto base = value_or_throw(study::detail::try_baseline(exec, host, s.evaluation, work, outputs));
  CHECK(base.ppl.estimate().value == report.intact.ppl.estimate().value);
}

TEST_CASE("zeroing the stream leaves a model without biases nothing to say: uniform logits") {
  const setting s;
  threaded exec{threads{1}};
  hosts::llama_host host(exec, s.model);
  const auto report =
      sensitivity(exec, host, s.evaluation, s.calibration, {.alterations = {alteration::zero_stream}, .layers = {2}});
  intact_outputs outputs;
  head_workspace work{.rows = 256};
  const auto base = value_or_throw(study::detail::try_baseline(exec, host, s.evaluation, work, outputs));
  CHECK(report.rows[0].mean.dlnppl.value == Approx(std::log(61.0) - base.ppl.mean_nll().value).epsilon(1e-9));
  CHECK(report.rows[0].mean.cosine.value == 0.0);
}

TEST_CASE("the announced cost is the work reported, and counts every run") {
  const setting s;
  threaded exec{threads{1}};
  hosts::llama_host host(exec, s.model);
  const sensitivity_options options{.layers = {0, 3}, .reinit_seeds = 2};
  const auto cost = estimate_cost(host, s.evaluation, static_cast<resect::index_t>(s.calibration.rows.size()), options);
  CHECK(cost.runs == 2 * (1 + 1 + 2 + 1));
  double last = -1;
  auto report = [&](const progress& p) {
    CHECK(p.total == cost.flop);
    CHECK(p.done >= last);
    last = p.done;
  };
  REQUIRE(try_sensitivity(exec, host, s.evaluation, s.calibration, options, report));
  CHECK(last == Approx(cost.flop).epsilon(1e-9));
}

TEST_CASE("bad input is refused by name before anything runs") {
  const setting s;
  threaded exec{threads{1}};
  hosts::llama_host host(exec, s.model);
  const auto ignore = [](const progress&) {};
  const auto missing = try_sensitivity(exec, host, s.evaluation, s.calibration, {.layers = {1, 4}}, ignore);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message() == "invalid argument: layers: got layer 4, wanted layers 0 to 3");
  CHECK(try_sensitivity(exec, host, s.evaluation, s.calibration, {.layers = {2, 2}}, ignore).error().operand ==
        "layers");
  CHECK(try_sensitivity(exec, host, s.evaluation, s.calibration, {.alterations = {}}, ignore).error().operand ==
        "alterations");
  CHECK(try_sensitivity(exec, host, s.evaluation, s.calibration, {.reinit_seeds = 0}, ignore).error().operand ==
        "reinit_seeds");
  CHECK(try_sensitivity(exec, host, s.evaluation, s.evaluation, {}, ignore).error().operand == "calibration windows");
}

TEST_CASE("values that are not finite end the study with the layer and the row, not with a number") {
  setting s;
  s.model.layers[2].down.data[7] = std::numeric_limits<float>::quiet_NaN();
  threaded exec{threads{1}};
  hosts::llama_host host(exec, s.model);
  const auto r = try_sensitivity(exec, host, s.evaluation, s.calibration, {}, [](const progress&) {});
  REQUIRE_FALSE(r);
  CHECK(r.error().code == errc::not_finite);
  CHECK(r.error().operand == "layer 2: output of sequence 0, position 0");
}
