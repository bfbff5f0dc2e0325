// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <vector>

#include <hosts/llama/host.hpp>
#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/expect_error.hpp>
#include <support/study_setting.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/core/copy.hpp>
#include <resect/residual/operators.hpp>
#include <resect/study/compare_plans.hpp>
#include <resect/study/floor.hpp>

using namespace resect;
using namespace resect::study;

namespace {

using llama = hosts::llama_host;

// Passes with a cache give other logits than states: id 0 is raised in rows at positions from `from` on.
class drifting_host : public support::forwarding_surgical_host<llama> {
 public:
  using forwarding_surgical_host::forwarding_surgical_host;
  using weight_override = llama::weight_override;
  float raise = 0;
  int from = 0;
  bool pieces_only = false;  // only where a batch continues a sequence
  std::vector<int> cuts;     // positions at which sequences were continued

  status try_forward(support::batch_view b, model::site_set want, model::observer<float> call) {
    return host_.try_forward(b, want, call);
  }
  status try_forward(support::batch_view b, const support::float_hooks& k) {
    if (auto s = host_.try_forward(b, k); !s) return s;
    const auto logits = host_.logits();
    materialized(logits, shown_);
    for (index_t r = 0; r < logits.rows; ++r) {
      const auto i = static_cast<std::size_t>(r);
      const bool begins = i == 0 || b[i - 1].seq != b[i].seq;
      if (begins && b[i].pos > 0) cuts.push_back(b[i].pos);
      if (b[i].pos >= from && (!pieces_only || b.front().pos > 0)) shown_[r * logits.cols] += raise;
    }
    return {};
  }
  matrix_view<const float> logits() const {
    const auto own = host_.logits();
    return {shown_.data(), own.rows, own.cols};
  }
  status try_run(state& s, int first, int last, const support::float_hooks& k) {
    return host_.try_run(s, first, last, k);
  }
  result<weight_override> try_override_weight(const model::weight_desc& w, matrix_view<const float> values) {
    return host_.try_override_weight(w, values);
  }

 private:
  array<float> shown_;
};

struct setting : support::study_setting {
  setting() : study_setting(3) {}
};

// KL(p ‖ q) in double, q with the logit of id 0 raised.
double kl_of_raised(std::span<const float> logits, float raise) {
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x));
  const double p0 = std::exp(static_cast<double>(logits[0])) / sum;
  const auto raised = static_cast<double>(raise);
  return std::log1p(p0 * std::expm1(raised)) - p0 * raised;
}

}  // namespace

TEST_CASE("the floor of a runtime that computes alike is 0 or of the size of a rounding") {
  setting s;
  cpu exec{threads{2}};
  llama host(exec, s.model);
  auto run = value_or_throw(runner<cpu<threads>, llama>::try_start(exec, host, s.evaluation));
  const auto floor = value_or_throw(try_kl_floor(exec, host, s.evaluation, run.outputs()));
  REQUIRE(floor.passes.size() == 3);
  CHECK(floor.passes[0].by == "one sequence at a time");
  CHECK(floor.max < 1e-9);
  CHECK(floor.mean <= floor.max);
  CHECK(host.cached(0) == 0);
  CHECK(kl_floor_flop(host, 96) == 3 * estimate_cost(host, s.evaluation, {}).baseline_flop);
}

TEST_CASE("the floor is the mean and the maximum of KL where passes with a cache drift from states") {
  setting s;
  cpu exec;
  llama inner(exec, s.model);
  s.evaluation = windows({s.ids, {}}, {.sequences = 11, .context = 12, .bos = 4});
  drifting_host host(inner);
  auto run = value_or_throw(runner<cpu<>, drifting_host>::try_start(exec, host, s.evaluation));
  host.raise = 0.5f;
  host.from = 3;
  double sum = 0, largest = 0;
  for (index_t r = 0; r < static_cast<index_t>(s.evaluation.rows.size()); ++r) {
    if (s.evaluation.cluster[static_cast<std::size_t>(r)] < 0 || s.evaluation.rows[static_cast<std::size_t>(r)].pos < 3)
      continue;
    const double kl = kl_of_raised(run.outputs().logits_of(r), 0.5f);
    sum += kl;
    largest = std::max(largest, kl);
  }
  const double mean = sum / static_cast<double>(s.evaluation.counted());
  const auto floor = value_or_throw(try_kl_floor(exec, host, s.evaluation, run.outputs()));
  CHECK(floor.passes[0].max < 1e-9);  // states alone do not drift
  for (const std::size_t pass : {1u, 2u}) {
    CHECK(std::abs(floor.passes[pass].mean - mean) < 1e-5 * mean);
    CHECK(std::abs(floor.passes[pass].max - largest) < 1e-5 * largest);
  }
  CHECK(std::abs(floor.mean - mean) < 1e-5 * mean);
  CHECK(std::abs(floor.max - largest) < 1e-5 * largest);
  // sequences are cut at places that differ
  std::sort(host.cuts.begin(), host.cuts.end());
  CHECK(host.cuts.size() == 11);
  CHECK(std::unique(host.cuts.begin(), host.cuts.end()) - host.cuts.begin() > 8);
  CHECK((host.cuts.front() >= 1 && host.cuts.back() <= 12));

  host.pieces_only = true;
  const auto in_pieces = value_or_throw(try_kl_floor(exec, host, s.evaluation, run.outputs()));
  CHECK(in_pieces.passes[1].mean > 0.1 * mean);
  CHECK(in_pieces.passes[2].max < 1e-9);

  auto fewer = run.outputs();
  fewer.logits.pop_back();
  support::expect_error(try_kl_floor(exec, host, s.evaluation, fewer), errc::shape_mismatch,
                        {"intact outputs", "143 rows"});
}

TEST_CASE("rows whose KL begins below 3 times the floor are at the floor and have no rank") {
  setting s;
  cpu exec{threads{2}};
  llama host(exec, s.model);
  const std::vector<arm> arms{{residual::plan{} | residual::skip(residual::layer(0))},
                              {residual::plan{} | residual::scale_delta(residual::layer(1), 0.999f)},
                              {residual::plan{} | residual::skip(residual::layer(2))}};
  table_options options{.tables = table_of::all_arms};
  const auto rows = compare_plans(exec, host, s.evaluation, arms, options).rows;
  CHECK(std::none_of(rows.begin(), rows.end(), [](const table_row& row) { return row.at_floor; }));
  CHECK(rows[1].rank.rank == 3);
  options.floor = rows[1].mean.kl.value;  // 3 times that lies above its interval's beginning
  REQUIRE(rows[0].mean.kl.lo > 3 * options.floor);
  const auto judged = compare_plans(exec, host, s.evaluation, arms, options).rows;
  CHECK((judged[1].at_floor && judged[1].rank.rank == 0));
  CHECK((!judged[0].at_floor && !judged[2].at_floor));
  CHECK(judged[0].rank.rank + judged[2].rank.rank == 3);
  CHECK(judged[0].mark == rows[0].mark);

  metrics::estimate e;
  e.value = 2, e.lo = 1, e.hi = 3, e.se = 1, e.n = 100, e.n_clusters = 20;
  CHECK(is_at_floor(e, 0.34));
  CHECK_FALSE(is_at_floor(e, 0.33));
  CHECK_FALSE(is_at_floor(e, 0));
  e.n_clusters = 4;  // no interval: its value
  e.lo = e.hi = metrics::nan;
  CHECK(is_at_floor(e, 0.67));
  CHECK_FALSE(is_at_floor(e, 0.66));
}
