// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <set>

#include <hosts/llama/host.hpp>
#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/study_setting.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/steer.hpp>
#include <resect/residual/swap_matrix.hpp>
#include <resect/study/compare_plans.hpp>
#include <resect/study/generate.hpp>

using namespace resect;
using namespace resect::study;
using residual::layer;
using residual::layers;
using residual::plan;
using residual::scale_delta;
using residual::skip;

namespace {

struct setting : support::study_setting {
  setting() : study_setting(6) {}
};
using llama = hosts::llama_host;
using counted = support::counting_host<llama>;

std::vector<arm> arms_of(std::vector<plan> plans) {
  std::vector<arm> out;
  for (auto& p : plans) out.push_back({std::move(p)});
  return out;
}

plan replaced(int first, int last, std::uint64_t identity) {
  return plan{} | residual::replace_span(
                      layers(first, last),
                      [](const model::tap&, matrix_view<const float> in, matrix_view<float> out) {
                        for (index_t r = 0; r < in.rows; ++r)
                          for (index_t c = 0; c < in.cols; ++c) out(r, c) = 0.5f * in(r, c);
                      },
                      identity);
}

// Plans of every kind, some sharing a first part, two of them the same.
std::vector<arm> varied() {
  return arms_of({plan{} | skip(layer(3)), plan{} | skip(layer(1)) | scale_delta(layer(4), 0.5f),
                  plan{} | skip(layer(1)) | scale_delta(layer(4), 0.25f),
                  plan{} | residual::reinit(layer(5), 3, residual::norm_gains::keep), replaced(1, 4, 7),
                  replaced(1, 4, 7) | residual::zero_stream(layer(5)), replaced(1, 3, 7), plan{} | skip(layer(1)),
                  plan{}, plan{} | skip(layer(3)), plan{} | residual::zero_stream(layer(0)),
                  plan{} | residual::zero_stream(layer(2))});
}

// The effect of one plan, run from the first layer without any company.
effect_sums from_the_start(llama& host, runner<cpu<>, llama>& run, const setting& s, const plan& p) {
  cpu exec;
  auto state = value_or_throw(host.try_embed(s.evaluation.rows));
  residual::run(host, p, state, 0, 6);
  head_workspace work;
  return value_or_throw(study::detail::try_effect(exec, host, state, s.evaluation, run.outputs(), work));
}

void check_same(const effect_sums& a, const effect_sums& b) {
  CHECK(a.kl.estimate().value == b.kl.estimate().value);
  CHECK(a.kl.estimate().se == b.kl.estimate().se);
  CHECK(a.dlnppl.estimate().value == b.dlnppl.estimate().value);
  CHECK(a.cosine.estimate().value == b.cosine.estimate().value);
}

}  // namespace

TEST_CASE("an arm measured in any company has the bits of its plan run alone from the first layer") {
  const setting s;
  cpu exec;
  llama host(exec, s.model);
  for (const double budget : {0.0, 1e9, 20000.0}) {  // none, all and two of the kept states
    auto run = value_or_throw(runner<cpu<>, llama>::try_start(exec, host, s.evaluation, {.snapshot_bytes = budget}));
    const auto arms = varied();
    const auto together = value_or_throw(run.try_effects(arms));
    REQUIRE(together.size() == arms.size());
    for (std::size_t i = 0; i < arms.size(); ++i) {
      INFO("arm " << identity_of(arms[i].plan).key << ", budget " << budget);
      check_same(together[i], from_the_start(host, run, s, arms[i].plan));
      check_same(together[i], value_or_throw(run.try_effects(std::span(arms).subspan(i, 1)))[0]);
    }
    check_same(together[0], together[9]);
  }
}

TEST_CASE("layers that arms share run once, and two snapshots live at a time where each arm alters one layer") {
  const setting s;
  cpu exec;
  llama inner(exec, s.model);
  counted host(inner);
  auto run = value_or_throw(runner<cpu<>, counted>::try_start(exec, host, s.evaluation, {.snapshot_bytes = 0}));
  host.reset();
  const auto arms = arms_of({plan{} | skip(layer(2)) | scale_delta(layer(4), 0.5f),
                             plan{} | skip(layer(2)) | scale_delta(layer(5), 0.5f), plan{} | skip(layer(2))});
  value_or_throw(run.try_effects(arms));
  // shared: layers 0, 1, 3 (2 is skipped); then 4, 5 of the first; 4 shared by the others; 5 and 5
  CHECK(host.n.layer_runs() == 3 + 2 + 1 + 2);
  CHECK(host.n.snapshots == 2);
  host.reset();
  std::vector<plan> each;
  for (int l = 0; l < 6; ++l) each.push_back(plan{} | skip(layer(l)));
  value_or_throw(run.try_effects(arms_of(each)));
  CHECK(host.n.layer_runs() == 5 + (5 + 4 + 3 + 2 + 1 + 0));
  CHECK(host.n.snapshots == 5);
}

TEST_CASE("states are kept from call to call under the budget, so a search does not run its prefix again") {
  const setting s;
  cpu exec;
  llama inner(exec, s.model);
  counted host(inner);
  const double state = 4.0 * static_cast<double>(s.evaluation.rows.size()) * 32;
  const auto first = arms_of({plan{} | skip(layer(4))}), second = arms_of({plan{} | skip(layer(4)) | skip(layer(5))});
  for (const bool kept : {false, true}) {
    auto run = value_or_throw(
        runner<cpu<>, counted>::try_start(exec, host, s.evaluation, {.snapshot_bytes = kept ? state : 0}));
    value_or_throw(run.try_effects(first));
    host.reset();
    const double announced = run.estimate(second).flop;
    value_or_throw(run.try_effects(second));
    CHECK(host.n.layer_runs() == (kept ? 0 : 4));
    CHECK(announced == Approx(study::detail::head_flop(host.describe(), 96) +
                              (kept ? 0 : 4) * study::detail::layer_flop(host, 0, 96)));
  }
}

TEST_CASE("the estimate of any list of arms is the work that is done") {
  const setting s;
  cpu exec;
  llama inner(exec, s.model);
  counted host(inner);
  const auto arms = arms_of({plan{} | skip(layer(3)), replaced(1, 4, 7), replaced(1, 4, 7) | skip(layer(5)),
                             plan{} | scale_delta(layer(0), 0.5f), plan{}});
  auto run = value_or_throw(runner<cpu<>, counted>::try_start(exec, host, s.evaluation));
  host.reset();
  const auto cost = run.estimate(arms);
  double last = 0;
  value_or_throw(run.try_effects(arms, [&](const progress& p) {
    CHECK(p.total == cost.flop);
    CHECK(p.done > last);
    last = p.done;
  }));
  CHECK(last == Approx(cost.flop));
  const double layer_flop = study::detail::layer_flop(host, 0, 96),
               head = study::detail::head_flop(host.describe(), 96);
  CHECK(cost.flop == Approx(host.n.layer_runs() * layer_flop + 5 * head));
}

TEST_CASE("a visitor gets rows at any layer, and may generate under the arm's plan") {
  const setting s;
  cpu exec;
  llama host(exec, s.model);
  auto run = value_or_throw(runner<cpu<>, llama>::try_start(exec, host, s.evaluation));
  const auto arms = arms_of({plan{} | skip(layer(2)), plan{} | scale_delta(layer(4), 0.5f)});
  std::set<std::size_t> seen;
  const auto visit = [&](std::size_t i, runner<cpu<>, llama>::altered& altered) -> status {
    seen.insert(i);
    const int begins = altered.layer();
    for (const int l : {begins, 5, 6}) {
      if (auto ran = altered.try_run_to(l); !ran) return ran;
      auto state = value_or_throw(host.try_embed(s.evaluation.rows));
      residual::run(host, arms[i].plan, state, 0, l);
      const auto want = host.stream(state), got_rows = host.stream(state);
      const auto got = altered.stream();
      REQUIRE((got.rows == want.rows && got_rows.cols == got.cols));
      index_t differing = 0;
      for (index_t r = 0; r < got.rows; ++r)
        for (index_t c = 0; c < got.cols; ++c) differing += got(r, c) != want(r, c);
      CHECK(differing == 0);
      CHECK(altered.rows().size() == s.evaluation.rows.size());
    }
    const auto backwards = altered.try_run_to(2);
    CHECK(backwards.error().operand == "layer to run to");
    const std::vector<std::vector<std::int32_t>> prompt{{1, 2, 3}};
    CHECK(generate(altered.host(), altered.plan(), prompt, {.max_new = 4}) ==
          generate(host, arms[i].plan, prompt, {.max_new = 4}));
    return {};
  };
  value_or_throw(run.try_visit(arms, visit));
  CHECK(seen == std::set<std::size_t>{0, 1});
  const auto failing =
      run.try_visit(arms, [](std::size_t, auto&) -> status { return error{errc::unsupported, "measure", "1", "2"}; });
  CHECK(failing.error().operand.view().substr(0, 4) == "skip");
  const auto missing = run.try_effects(arms_of({plan{} | skip(layer(9))}));
  CHECK(missing.error().message().view().find("skip 9") != std::string::npos);
}

TEST_CASE("plans of a user's own become one table, with marks and ranks over all of them") {
  const setting s;
  cpu exec;
  llama host(exec, s.model);
  std::vector<arm> arms{{plan{} | skip(layers(1, 3)), "without 1 and 2"}, {plan{} | skip(layer(4))}, {plan{}}};
  for (std::uint64_t seed = 1; seed <= 5; ++seed)
    arms.push_back({plan{} | residual::reinit(layer(0), seed, residual::norm_gains::keep)});
  const auto report = compare_plans(exec, host, s.evaluation, arms, {.tables = table_of::all_arms, .bootstrap = 50});
  REQUIRE(report.rows.size() == 4);
  CHECK(report.rows[0].label == "without 1 and 2");
  CHECK(report.rows[1].label == "skip 4");
  CHECK(report.rows[2].id.key == "intact");
  CHECK(report.rows[2].mean.kl.value == 0);
  CHECK(report.rows[2].rank.rank == 4);
  CHECK(report.rows[3].seeds.size() == 5);
  CHECK(report.rows[3].mean.degrees > 0);
  CHECK(report.intact.layers.size() == 6);
  std::set<index_t> ranks;
  for (const auto& row : report.rows) ranks.insert(row.rank.rank);
  CHECK(ranks.size() == 4);
  CHECK(try_compare_plans(exec, host, s.evaluation, {}).error().operand == "arms");
}
