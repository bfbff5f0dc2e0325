// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstring>

#include <hosts/llama/host.hpp>
#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/study_setting.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/study/sensitivity.hpp>

using namespace resect;
using namespace resect::study;

namespace {

struct setting : support::study_setting {
  setting() : study_setting(5) {}
};

// A model with biases: its layers write something even where they read zeros.
struct biased_host : hosts::llama_host {
  using hosts::llama_host::llama_host;

  status try_run(state& s, int first, int last, const hooks& k) {
    for (int l = first; l < last; ++l) {
      if (auto done = hosts::llama_host::try_run(s, l, l + 1, k); !done) return done;
      const auto h = stream(s);
      for (resect::index_t r = 0; r < h.rows; ++r) h(r, l) += 0.5f * static_cast<float>(l + 1);
    }
    return {};
  }
};

sensitivity_options zeroing(std::vector<int> layers) {
  return {.alterations = {alteration::zero_stream}, .layers = std::move(layers)};
}

// Every layer alone, so that no run can end as an earlier one did, and all together: bit for bit the same.
template <class Host>
void check_same_as_alone(Host& host, const setting& s) {
  cpu exec;
  const auto together = sensitivity(exec, host, s.evaluation, s.calibration, zeroing({}));
  REQUIRE(together.rows.size() == 5);
  for (const auto& row : together.rows) {
    const auto alone = sensitivity(exec, host, s.evaluation, s.calibration, zeroing({row.layer()}));
    for (auto member : {&effect::kl, &effect::top1, &effect::dlnppl, &effect::cosine}) {
      const auto &a = row.mean.*member, &b = alone.rows[0].mean.*member;
      CHECK(std::memcmp(&a.value, &b.value, sizeof(double)) == 0);
      CHECK(std::memcmp(&a.se, &b.se, sizeof(double)) == 0);
    }
  }
}

TEST_CASE("runs that have lost their stream stop where an earlier one was, with its numbers") {
  const setting s;
  cpu exec;
  hosts::llama_host model(exec, s.model);
  support::counting_host host(model);
  const auto r = sensitivity(exec, host, s.evaluation, s.calibration, zeroing({}));
  // intact: 5 layers; shared prefix: 4; first altered run: 5; the others run the altered layer alone
  CHECK(host.n.layer_runs() == 5 + 4 + 5 + 4);
  CHECK(r.rows.front().mean.kl.value > 0);
  check_same_as_alone(host, s);
}

TEST_CASE("a model that writes into a zero stream is run to its end every time") {
  const setting s;
  cpu exec;
  biased_host model(exec, s.model);
  support::counting_host host(model);
  const auto r = sensitivity(exec, host, s.evaluation, s.calibration, zeroing({}));
  // what follows the altered layer differs, but for the last layer, after which nothing follows
  CHECK(host.n.layer_runs() == 5 + 4 + (5 + 4 + 3 + 2 + 1));
  CHECK(r.rows[0].mean.kl.value != r.rows[1].mean.kl.value);
  check_same_as_alone(host, s);
}

}  // namespace
