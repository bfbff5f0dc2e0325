// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>
#include <thread>
#include <vector>

#include <support/faulty_hosts.hpp>
#include <support/passes.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using size = resect::index_t;

namespace {

floats whole(host_ref host, const schedule& p, const std::vector<row_meta>& batch) {
  forget_all(host, batch);
  resect::value_or_throw(try_forward(host, p, batch));
  return copied(host.logits());
}
floats partial(host_ref host, const schedule& p, const std::vector<row_meta>& batch) {
  auto state = resect::value_or_throw(host.try_embed(batch));
  resect::inline_executor here;
  pass_memory memory;
  resect::value_or_throw(try_run(here, host, p, state, 0, host.describe().n_layers, memory));
  return head_of(host, state);
}

}  // namespace

static_assert(std::is_copy_constructible_v<schedule> && std::is_nothrow_move_constructible_v<schedule>);

TEST_CASE("a pass under a schedule has the bits of one under its plan, both ways, and the plan may be gone") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    for (const auto& p : plans_of_one_step(host.describe().n_layers, host.describe().d_model)) {
      auto kept = plan(p);
      const auto bound = resect::value_or_throw(schedule::try_make(host, std::move(kept)));
      CHECK(bound.epoch() == p.fingerprint());
      CHECK(same_bits(whole(host, bound, batch), by_forward(host, p, batch)));
      CHECK(same_bits(partial(host, bound, batch), by_surgery(host, p, batch)));
    }
  });
}

TEST_CASE("a schedule knows which layers its plan touches, which of them run and where a span ends") {
  llama_setting s;
  const auto nothing = [](const tap&, matrix_view<const float>, matrix_view<float>) {};
  const auto bound = resect::value_or_throw(
      schedule::try_make(s.host, plan{} | skip(layer(0)) | replace_span(layers(1, 3), nothing, 1)));
  const std::vector<bool> touched{true, true, true, false}, runs{false, false, false, true};
  const int ends[] = {1, 3, 3, 4};
  for (int l = 0; l < 4; ++l) {
    CHECK(bound.touches(l) == touched[static_cast<std::size_t>(l)]);
    CHECK(bound.runs(l) == runs[static_cast<std::size_t>(l)]);
    CHECK(bound.end_of_unit(l) == ends[l]);
  }
  CHECK(bound.written() == (site_set{site::resid_pre, site::resid_post}));
}

TEST_CASE("another host is refused, by name of the model and its extents, and nothing runs") {
  llama_setting s;
  llama_setting other(random_llama(small_configs().back(), output_matrix::untied, 10));
  const auto bound = resect::value_or_throw(schedule::try_make(s.host, plan{} | skip(layer(1))));
  const auto refused = try_forward(other.host, bound, other.batch);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().operand == "host of a schedule");
  CHECK(refused.error().got.view().substr(0, 6) == "model ");
  CHECK(other.host.cached(0) == 0);
  auto state = resect::value_or_throw(other.host.try_embed(other.batch));
  resect::inline_executor here;
  pass_memory memory;
  CHECK(try_run(here, other.host, bound, state, 0, 1, memory).error().operand == "host of a schedule");
}

TEST_CASE("weights that have changed are refused as long as they are, the plan's own changes are not") {
  llama_setting s;
  const auto& w = s.host.weights(2)[3];
  floats v(static_cast<std::size_t>(w.rows * w.cols), 0.5f);
  const auto p = plan{} | reinit(layer(1), 3, norm_gains::keep) | scale_delta(layer(2), 0.5f);
  const auto bound = resect::value_or_throw(schedule::try_make(s.host, p));
  const auto want = whole(s.host, bound, s.batch);
  CHECK(same_bits(partial(s.host, bound, s.batch), by_surgery(s.host, p, s.batch)));
  forget_all(s.host, s.batch);
  {
    const auto guard = resect::value_or_throw(s.host.try_override_weight(w, {v.data(), w.rows, w.cols}));
    const auto refused = try_forward(s.host, bound, s.batch);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == resect::errc::invalid_argument);
    CHECK(refused.error().operand == "host of a schedule");
    CHECK(refused.error().got.view().substr(0, 17) == "weights of epoch ");
    CHECK(s.host.cached(0) == 0);
    const auto made_now = resect::value_or_throw(schedule::try_make(s.host, p));
    CHECK(try_forward(s.host, made_now, s.batch));
    forget_all(s.host, s.batch);
  }
  CHECK(try_forward(s.host, bound, s.batch));
  CHECK(same_bits(copied(s.host.logits()), want));
}

TEST_CASE("what the host lacks is said when the schedule is made, with the words of a pass under the plan") {
  planted_host planted;
  const auto batch = planted.draw(2, 3);
  const auto refused = [&](const plan& p) {
    const auto bound = schedule::try_make(planted, p);
    const auto pass = try_forward(planted, p, batch);
    REQUIRE_FALSE(bound);
    CHECK(parts(bound.error()) == parts(pass));
    return parts(bound.error());
  };
  CHECK(refused(plan{} | skip(layers(4, 9))) == "invalid argument | layers of skip | [4, 9) | layers 0 to 5");
  auto missing = reinit(layer(1), 1, norm_gains::keep);
  missing.weight.name = "nothing";
  CHECK(refused(plan{} | missing) ==
        "invalid argument | nothing of layer 1 for reinit.keep | no such weight | the name of a weight of the layer");
}

TEST_CASE("a host of the edit level refuses steps on weights when the schedule is made") {
  planted_host planted;
  const edit_ref edit_only = planted;
  const auto bound = schedule::try_make(edit_only, plan{} | reinit(layer(1), 1, norm_gains::keep));
  REQUIRE_FALSE(bound);
  CHECK(parts(bound.error()) ==
        "unsupported | weights for reinit.keep | a host without try_override_weight | one of the surgery level");
  CHECK(schedule::try_make(edit_only, plan{} | skip(layer(1))));
}

TEST_CASE("threads share a schedule, each on a host and memory of its own") {
  planted_host alone;
  const auto batch = alone.draw(4, 9);
  const auto bound = resect::value_or_throw(
      schedule::try_make(alone, plan{} | skip(layer(1)) | scale_delta(layer(3), 0.5f, delta::mlp)));
  const auto want = whole(alone, bound, batch);
  std::vector<int> right(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < right.size(); ++t)
    threads.emplace_back([&, t, mine = bound] {
      planted_host host;
      pass_memory memory;
      for (int pass = 0; pass < 20; ++pass) {
        const auto done = try_forward(host, mine, batch, memory);
        right[t] += done && same_bits(copied(host.logits()), want);
        forget_all(host, batch);
      }
    });
  for (auto& t : threads) t.join();
  for (const int n : right) CHECK(n == 20);
}
