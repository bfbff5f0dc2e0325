// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/neox_host.hpp>
#include <support/steps.hpp>

#include <resect/conformance/suite.hpp>
#include <resect/core/float16.hpp>
#include <resect/model/widened_host.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/swap_matrix.hpp>
#include <resect/study/sensitivity.hpp>

using namespace resect::conformance;
using namespace support::neox;
using resect::bf16;

namespace {

using ids = std::set<std::string>;

ids ids_of(const certificate& c, verdict v) {
  ids out;
  for (const check& k : c.checks)
    if (k.result == v) out.emplace(k.id.view());
  return out;
}

// GPT-2 has learned positions, GPT-NeoX a partial rotary embedding.
parameters a_model(block b, double bias_size = 0.3) {
  return {b, b == block::parallel ? positions::rotary : positions::learned, bias_size};
}

std::vector<row_meta> four_windows_of_16() {
  std::vector<row_meta> rows;
  for (int i = 0; i < 64; ++i) rows.push_back({i / 16, i % 16, i * 7 % 41, row_meta::wants_logits});
  return rows;
}

template <class Fault>
certificate of(block b, batch_view batch = {}, const conformance_options& o = {}) {
  host<float, Fault> h(a_model(b));
  return conformance_of(h, batch, o);
}

// One member short of the surgery level, and of the edit level.
struct edit_only_host : host<> {
  using host<>::host;
  void try_embed(batch_view) = delete;
};
struct mutable_host : host<> {
  using host<>::host;
  index_t cached(std::int32_t seq) { return host<>::cached(seq); }
};

// What every weight of a layer is inside a pass under a plan.
std::map<std::string, floats> inside_a_pass(host<>& h, const plan& what, int layer) {
  std::map<std::string, floats> out;
  auto looking =
      support::rows_step(site::resid_post, resect::residual::layer(layer), [&](const tap&, matrix_view<float>) {
        for (const auto& w : h.weights(layer)) {
          floats& x = out[std::string(w.name.view())];
          x.resize(static_cast<std::size_t>(w.rows * w.cols));
          REQUIRE(h.try_read_weight(w, {x.data(), w.rows, w.cols}));
        }
      });
  REQUIRE(resect::residual::try_forward(h, what | std::move(looking), four_windows_of_16()));
  return out;
}

bool is_bias(const std::string& name) { return name.ends_with(".bias"); }

}  // namespace

TEST_CASE(
    "a right parallel, sequential and fused host with biases conforms, on the generated batch and on 4 windows of 16") {
  for (const block b : {block::parallel, block::sequential, block::fused})
    for (const auto& batch : {std::vector<row_meta>{}, four_windows_of_16()}) {
      const auto c = of<no_fault>(b, batch, {.level = host_level::surgery});
      INFO(to_text(c).c_str());
      CHECK(c.passed());
      CHECK(c.level == host_level::surgery);
      CHECK(c.missing.empty());
      CHECK(ids_of(c, verdict::not_applicable) == (b == block::sequential
                                                       ? ids{"T1.j", "T1.k", "T2.k", "T2.l", "T6.e"}
                                                       : ids{"T1.b", "T1.c", "T1.i", "T2.b", "T6.e"}));
    }
}

TEST_CASE("a right host with either kind of positions conforms in every kind of block") {
  for (const auto& [b, p] : {std::pair{block::parallel, positions::learned},
                             {block::sequential, positions::rotary},
                             {block::fused, positions::rotary}}) {
    host<> h({b, p});
    const auto c = conformance_of(h);
    INFO(to_text(c).c_str());
    CHECK(c.passed());
  }
}

// A parallel block rounds its stream once a layer, a fused and a sequential one twice.
TEST_CASE(
    "a right bf16 host conforms through widened_host within half an epsilon an addition and 1.5 elsewhere, or 2 where "
    "h + a is rounded") {
  for (const block b : {block::parallel, block::sequential, block::fused}) {
    host<bf16> narrow(a_model(b));
    resect::model::widened_host h(narrow);
    const double eps = std::ldexp(1.0, -7);
    const auto c = conformance_of(
        h, {.rounding = (b == block::parallel ? 1.5 : 2.0) * eps, .identity = 0.5 * eps, .level = host_level::surgery});
    INFO(to_text(c).c_str());
    CHECK(c.passed());
    if (b == block::fused) CHECK(c.find("T1.j")->measured > 0.5 * eps);  // two additions, two roundings
  }
}

// A fault in the block shows in a whole pass (T1.j) and in a partial one (T1.k), and where deltas are written. Edits that
// move attn_delta by a difference are made twice as large by the first fault, and are right under the second.
TEST_CASE("attn_delta at half its size or without its output bias fails in parallel and fused blocks") {
  for (const block b : {block::parallel, block::fused}) {
    const auto half = of<half_delta>(b), early = of<bias_after_hook>(b);
    INFO(to_text(half).c_str() << to_text(early).c_str());
    CHECK(ids_of(half, verdict::fail) == ids{"T1.j", "T1.k", "T2.e", "T2.f", "T2.i", "T2.l", "T5.h"});
    CHECK(ids_of(early, verdict::fail) == ids{"T1.j", "T1.k", "T2.k", "T2.l"});
    CHECK(std::isfinite(early.find("T2.k")->measured));
  }
}

TEST_CASE("a copy of attn_delta from before the callback fails the checks of writes in every kind of block") {
  for (const block b : {block::parallel, block::fused, block::sequential}) {
    const auto c = of<stale_copy>(b);
    INFO(to_text(c).c_str());
    const auto failed = ids_of(c, verdict::fail);
    for (const char* id : {"T2.e", "T2.f", "T2.i", "T5.h"}) CHECK(failed.contains(id));
    CHECK(failed.contains(b == block::sequential ? "T2.b" : "T2.l"));
    CHECK_FALSE(failed.contains("T1.j"));  // what is shown is right
  }
}

TEST_CASE("checks of writes name attn_delta among their sites also where resid_mid is hidden") {
  const auto c = of<no_fault>(block::fused);
  for (const char* id : {"T2.e", "T2.f", "T2.i", "T5.h"}) CHECK(c.find(id)->covers.contains(site::attn_delta));
}

TEST_CASE(
    "attn_delta at half its size or without its output bias fails T1.b and T2.b in a sequential block that shows "
    "resid_mid") {
  for (const auto& c : {of<half_delta>(block::sequential), of<bias_after_hook>(block::sequential)}) {
    INFO(to_text(c).c_str());
    const auto failed = ids_of(c, verdict::fail);
    for (const char* id : {"T1.b", "T1.i", "T2.b"}) CHECK(failed.contains(id));
  }
}

TEST_CASE(
    "pads whose keys stay in the caches, and positions shared by all caches, fail T5.a and T5.b, also on 4 windows of "
    "16 equal rows") {
  for (const block b : {block::parallel, block::sequential})
    for (const auto& batch : {std::vector<row_meta>{}, four_windows_of_16()})
      for (const auto& c : {of<pads_in_cache>(b, batch, {.layers = 1}), of<shared_position>(b, batch, {.layers = 1})}) {
        INFO(to_text(c).c_str());
        ids wanted{"T5.a", "T5.b", "T5.c", "T5.d", "T5.f", "T5.h"};
        if (batch.empty()) wanted.insert("T7.c");  // its first half of a ragged text is ragged, too
        CHECK(ids_of(c, verdict::fail) == wanted);
      }
}

TEST_CASE(
    "a host without try_embed or with a cached that is not const fails T0.d where surgery is asked for, by the "
    "member's name") {
  const auto asked_for_surgery = [](auto h) { return conformance_of(*h, {.level = host_level::surgery}); };
  const auto no_embed = asked_for_surgery(std::make_unique<edit_only_host>(a_model(block::parallel)));
  const auto not_const = asked_for_surgery(std::make_unique<mutable_host>(a_model(block::parallel)));
  for (const auto& [c, level, missing] : {std::tuple{&no_embed, host_level::edit, "try_embed(batch)"},
                                          {&not_const, host_level::observe, "cached(seq) const"}}) {
    INFO(to_text(*c).c_str());
    CHECK(c->level == level);
    CHECK(c->missing == missing);
    CHECK(ids_of(*c, verdict::fail) == ids{"T0.d"});
    CHECK(c->find("T0.d")->note.view().find(missing) != std::string_view::npos);
  }
}

TEST_CASE("observing refuses a stale cache also of a host whose cached is not const") {
  mutable_host h(a_model(block::parallel));
  const std::vector<row_meta> prompt{{0, 0, 5, 0}, {0, 1, 7, 0}}, next{{0, 2, 9, row_meta::wants_logits}};
  auto look = [](const tap&, matrix_view<const float>) {};
  CHECK(resect::model::try_observe(h, prompt, {}, look));
  CHECK(resect::model::try_observe(h, next, {}, look));
  h.forget(0);
  REQUIRE(resect::residual::try_forward(static_cast<host<>&>(h), plan{} | skip(layer(1)), prompt));
  CHECK(resect::model::try_observe(h, next, {}, look).error().code == resect::errc::stale_cache);
}

TEST_CASE("a batch without rows runs nothing and has no logits") {
  host<> h(a_model(block::parallel));
  CHECK(resect::residual::try_forward(h, plan{}, four_windows_of_16()));
  CHECK(h.logits().rows == 64);
  CHECK(resect::residual::try_forward(h, plan{}, batch_view{}));
  CHECK(h.logits().rows == 0);
  CHECK(h.cached(3) == 16);
}

TEST_CASE(
    "reinit sets the biases of its layer to 0, as a pass reads them and as it uses them, and those of no other layer") {
  host<> h(a_model(block::parallel)), unbiased(a_model(block::parallel, 0.0));
  const auto drawn = plan{} | reinit(layer(1), 7, norm_gains::keep);
  for (const auto& [name, values] : inside_a_pass(h, drawn, 1)) {
    INFO(name);
    CHECK(std::all_of(values.begin(), values.end(), [](float x) { return x == 0.0f; }) == is_bias(name));
  }
  const auto intact = inside_a_pass(h, plan{}, 0), other = inside_a_pass(h, drawn, 0);
  CHECK(intact == other);

  const auto run_layer_1 = [&](host<>& on) {
    auto s = resect::value_or_throw(on.try_embed(four_windows_of_16()));
    resect::residual::run(on, drawn, s, 1, 2);
    return s.h;
  };
  CHECK(run_layer_1(h) == run_layer_1(unbiased));
}

TEST_CASE("a quantizer in map_weights changes every matrix of its layer and leaves biases and gains alone") {
  host<> h(a_model(block::fused));
  const auto quantized =
      plan{} |
      map_weights(
          layer(1),
          [](const resect::model::weight_desc&, matrix_view<float> values, resect::executor_ref exec) -> status {
            const auto q = resect::quant::try_quantize(exec, values, resect::quant::affine<4>{.group = 8});
            return q ? resect::quant::try_dequantize(exec, *q, values) : q.error();
          },
          0x0408);
  const auto before = inside_a_pass(h, plan{}, 1), after = inside_a_pass(h, quantized, 1);
  for (const auto& w : h.weights(1)) {
    const std::string name(w.name.view());
    INFO(name);
    CHECK((before.at(name) == after.at(name)) == (w.role != resect::model::weight_role::matrix));
  }
}

TEST_CASE("a sensitivity study of all alterations runs on every kind of block, on 4 windows of 16") {
  std::vector<std::int32_t> text;
  const resect::random::philox_stream draws{11, 0};
  for (std::uint64_t i = 0; i < 500; ++i)
    text.push_back(static_cast<std::int32_t>(resect::random::integer_below(draws, i, 41)));
  const resect::study::token_text tokens{text, {}};
  const auto windows = resect::study::windows(tokens, {.sequences = 4, .context = 16});
  const auto calibration = resect::study::calibration_windows(tokens, windows, {.sequences = 4, .context = 16});
  resect::inline_executor exec;
  for (const block b : {block::parallel, block::sequential, block::fused}) {
    host<> h(a_model(b));
    const auto report = resect::study::sensitivity(exec, h, windows, calibration);
    CHECK(report.rows.size() == 12);
    for (const auto& row : report.rows) {
      INFO(row.layer());
      CHECK(row.mean.kl.value > 0.0);
    }
  }
}
