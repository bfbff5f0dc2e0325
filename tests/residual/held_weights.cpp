// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/residual/held_weights.hpp>

#include <map>

#include <support/catch.hpp>
#include <support/forwarding_host.hpp>
#include <support/neox_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/swap_matrix.hpp>

using namespace resect::residual;
using namespace support;

namespace {

using llama = hosts::llama_host;

// The edit level of a host, and no more.
struct edit_only : forwarding_host<llama> {
  using forwarding_host<llama>::forwarding_host;
  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return host_.try_forward(b, want, look);
  }
  resect::status try_forward(batch_view b, const float_hooks& k) { return host_.try_forward(b, k); }
};
static_assert(resect::model::editable_host<edit_only> && !resect::model::surgical_host<edit_only>);

std::vector<float> weights_of(const llama& host) {
  std::vector<float> out;
  for (int l = 0; l < host.describe().n_layers; ++l)
    for (const auto& w : host.weights(l)) {
      std::vector<float> values(static_cast<std::size_t>(w.rows * w.cols));
      value_or_throw(host.try_read_weight(w, {values.data(), w.rows, w.cols}));
      out.insert(out.end(), values.begin(), values.end());
    }
  return out;
}

plan random_layer() { return plan{} | reinit(layer(1), 3, norm_gains::reset); }

}  // namespace

TEST_CASE("a whole pass under steps on weights gives the logits of partial passes, and the weights are as before") {
  llama_setting s;
  const auto before = weights_of(s.host);
  const auto intact = by_whole_pass(s.host, plan{}, s.batch);
  const auto want = by_surgery(s.host, random_layer() | skip(layer(0)), s.batch);
  const auto got = by_whole_pass(s.host, random_layer() | skip(layer(0)), s.batch);
  CHECK(relative_difference(got, want) < 1e-5);
  CHECK_FALSE(same_bits(got, intact));
  CHECK(weights_of(s.host) == before);
  CHECK(same_bits(by_whole_pass(s.host, plan{}, s.batch), intact));
}

TEST_CASE("a batch without rows runs nothing, under a plan as without one") {
  llama_setting s;
  for (const auto& p : {plan{}, plan{} | skip(layer(1)) | zero_stream(layer(2)), random_layer()}) {
    CHECK(parts(try_forward(s.host, p, {})) == "fine");
    CHECK(s.host.logits().rows == 0);
  }
}

TEST_CASE("weights that are held serve several passes and end with their holder") {
  llama_setting s;
  const auto before = weights_of(s.host);
  {
    resect::inline_executor here;
    const auto held = try_hold_weights(
        here, s.host,
        random_layer() |
            map_weights(
                layer(1),
                [](const weight_desc&, resect::matrix_view<float> v, resect::executor_ref) { v(0, 0) += 1.0f; }, 7));
    REQUIRE(held);
    CHECK(weights_of(s.host) != before);
  }
  CHECK(weights_of(s.host) == before);
}

TEST_CASE("a step on weights needs a host that overrides them, and refusing it forgets nothing") {
  llama_setting s;
  edit_only host(s.host);
  forward(host, plan{}, s.batch);
  CHECK(parts(try_forward(host, random_layer(), s.batch)) ==
        "unsupported | weights for reinit.reset | a host without try_override_weight | one of the surgery level");
  for (const auto& row : s.batch) CHECK(host.cached(row.seq) > 0);
  const float values[] = {1};
  const auto missing = plan{} | swap_matrix(layer(1), "attn.p", resect::matrix_view<const float>{values, 1, 1});
  CHECK(parts(try_forward(s.host, missing, s.batch)).find("attn.p of layer 1 for swap_matrix") != std::string::npos);
}

TEST_CASE("a re-initialized layer has biases of 0, and its gains as the plan says") {
  std::vector<float> values(4, 5.0f);
  const resect::matrix_view<float> view{values.data(), 1, 4};
  resect::inline_executor here;
  const auto p = random_layer();
  const auto& step = p.steps()[0];
  CHECK(step.op.change({.name = "b", .layer = 1, .role = resect::model::weight_role::bias, .rows = 1, .cols = 4}, view,
                       here));
  CHECK(values == std::vector<float>(4, 0.0f));
  CHECK(step.op.change({.name = "g", .layer = 1, .role = resect::model::weight_role::norm_gain, .rows = 1, .cols = 4},
                       view, here));
  CHECK(values == std::vector<float>(4, 1.0f));
  const auto kept = plan{} | reinit(layer(1), 3, norm_gains::keep);
  CHECK_FALSE(kept.steps()[0].op.change(
      {.name = "g", .layer = 1, .role = resect::model::weight_role::norm_gain, .rows = 1, .cols = 4}, view, here));
  values.assign(4, 5.0f);
  CHECK(kept.steps()[0].op.change(
      {.name = "b", .layer = 1, .role = resect::model::weight_role::bias, .rows = 1, .cols = 4}, view, here));
  CHECK(values == std::vector<float>(4, 0.0f));
}

TEST_CASE("a function without identity is refused: a cache could not tell its plan from another") {
  const auto nothing = [](const tap&, resect::matrix_view<float>) {};
  const auto mine = [&](std::string_view id, std::uint64_t identity) {
    step s{layer(0), site::resid_post, named(id, identity, nothing)};
    s.name = "mine";
    return s;
  };
  plan p;
  CHECK(parts(p.try_add(mine("", 1))) ==
        "invalid argument | identity of mine | no id | an id that differs between operators, as \"mine.operator/1\"");
  CHECK(parts(p.try_add(mine("mine/1", 0))) ==
        "invalid argument | identity of mine | 0 | a number that differs between functions that do different things");
  CHECK(parts(p.try_add(replace_span(
            layer(0), [](const tap&, resect::matrix_view<const float>, resect::matrix_view<float>) {}, 0))) ==
        "invalid argument | identity of replace_span | 0 | a number that differs between functions that do different "
        "things");
  CHECK(p.empty());
  CHECK(p.try_add(mine("mine/1", 1)));
}

TEST_CASE("what is observed under a plan is what the plan leaves, and no bit of the pass changes") {
  llama_setting s;
  const auto p = plan{} | scale_delta(layer(0), 0.5f) | zero_stream(layer(1));
  const auto want = by_whole_pass(s.host, p, s.batch);
  forget_all(s.host, s.batch);
  std::map<int, floats> post;
  observe(s.host, p, s.batch, {site::resid_post}, [&](const tap& at, resect::matrix_view<const float> h) {
    for (resect::index_t r = 0; r < h.rows; ++r)
      for (resect::index_t c = 0; c < h.cols; ++c) post[at.layer].push_back(h(r, c));
  });
  CHECK(same_bits(copied(s.host.logits()), want));
  CHECK(largest(post[1]) == 0);
  CHECK(largest(post[0]) > 0);
  CHECK(s.host.cache_epoch(s.batch.front().seq) == p.fingerprint());
}

TEST_CASE("observing refuses a cache that grew under a plan, by every way of observing") {
  llama_setting s;
  const std::vector<row_meta> prompt{{0, 0, 5, 0}, {0, 1, 7, 0}}, next{{0, 2, 9, row_meta::wants_logits}};
  const auto p = plan{} | skip(layer(1));
  forward(s.host, p, prompt);
  auto look = [](const tap&, resect::matrix_view<const float>) {};
  CHECK(s.host.try_forward(next, {site::resid_post}, look).error().code == resect::errc::stale_cache);
  const auto refused = resect::model::try_observe(s.host, next, {site::resid_post}, look);
  CHECK(refused.error().code == resect::errc::stale_cache);
  CHECK(refused.error().wanted.view().find("forget(0)") != std::string_view::npos);
  CHECK(s.host.cache_epoch(0) == p.fingerprint());
  CHECK(s.host.cached(0) == 2);
  CHECK(try_observe(s.host, p, next, {site::resid_post}, look));
  s.host.forget(0);
  forward(s.host, plan{}, prompt);
  CHECK(s.host.try_forward(next, {site::resid_post}, look));
}

namespace {

// Prompt and continuation of both sequences of a batch.
struct text_in_two {
  std::vector<row_meta> prompt, next;
};
text_in_two two_sequences(int n_vocab) {
  text_in_two out;
  for (int seq = 0; seq < 2; ++seq)
    for (int pos = 0; pos < 6; ++pos)
      (pos < 4 ? out.prompt : out.next).push_back({seq, pos, (pos * 7 + seq * 3) % n_vocab, row_meta::wants_logits});
  return out;
}

template <class H>
floats continued(H& host, const plan& p, const text_in_two& text) {
  forget_all(host, text.prompt);
  resect::value_or_throw(try_forward(host, p, text.prompt));
  resect::value_or_throw(try_forward(host, p, text.next));
  return copied(host.logits());
}

// What must hold on a host that tells the epoch of its weights.
template <class H>
void check_caches_under_weights(H& host, const plan& random) {
  const auto text = two_sequences(host.describe().n_vocab);
  const auto intact = continued(host, plan{}, text);
  const auto stale = [&](const plan& p) {
    const auto done = try_forward(host, p, text.next);
    CHECK(host.cached(0) == 4);
    return !done && done.error().code == resect::errc::stale_cache &&
           done.error().wanted.view().find("forget(0)") != std::string_view::npos;
  };
  resect::inline_executor here;
  const auto skipped = plan{} | skip(layer(0));
  forget_all(host, text.prompt);
  resect::value_or_throw(try_forward(host, plan{}, text.prompt));
  {
    const auto held = resect::value_or_throw(try_hold_weights(here, host, random));
    CHECK(stale(plan{}));  // it grew under the intact weights
    auto look = [](const tap&, resect::matrix_view<const float>) {};
    CHECK(host.try_forward(text.next, {site::resid_post}, look).error().code == resect::errc::stale_cache);
    const auto under = continued(host, plan{}, text);
    CHECK_FALSE(same_bits(under, intact));
    CHECK(same_bits(continued(host, plan{}, text), under));
    CHECK_FALSE(host.cache_epoch(0) == 0);
    forget_all(host, text.prompt);
    resect::value_or_throw(try_forward(host, skipped, text.prompt));
  }
  CHECK(stale(skipped));  // the same plan, but the weights are the intact ones again
  // a plan's own steps on weights are part of its fingerprint: its passes continue each other
  CHECK(same_bits(continued(host, random, text), continued(host, random, text)));
  CHECK(host.cache_epoch(0) == random.fingerprint());
  CHECK(same_bits(continued(host, plan{}, text), intact));
}

}  // namespace

TEST_CASE("a cache that grew under other weights is refused, when they begin and when they end") {
  llama_setting s;
  check_caches_under_weights(s.host, random_layer());
  neox::host<> other(neox::parameters(neox::block::sequential, neox::positions::learned));
  check_caches_under_weights(other, random_layer());
}

TEST_CASE("a schedule refuses the NeoX host's other weights, too") {
  neox::host<> host(neox::parameters(neox::block::sequential, neox::positions::learned));
  const auto text = two_sequences(host.describe().n_vocab);
  const auto bound = resect::value_or_throw(schedule::try_make(host, plan{} | skip(layer(1))));
  resect::inline_executor here;
  {
    const auto held = resect::value_or_throw(try_hold_weights(here, host, random_layer()));
    CHECK(parts(try_forward(host, bound, text.prompt)).find("host of a schedule | weights of epoch ") !=
          std::string::npos);
  }
  CHECK(try_forward(host, bound, text.prompt));
}

TEST_CASE("weights of layers that the host lacks are refused before one is overridden") {
  llama_setting s;
  resect::inline_executor here;
  const auto before = s.host.weights_epoch();
  const auto held = try_hold_weights(here, s.host, plan{} | reinit(layers(2, 99), 1, norm_gains::reset));
  REQUIRE_FALSE(held);
  CHECK(parts(held.error()) == "invalid argument | layers of reinit.reset | [2, 99) | layers 0 to 3");
  CHECK(s.host.weights_epoch() == before);
}
