// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <support/operator_checks.hpp>

#include <resect/residual/noise.hpp>
#include <resect/residual/norm_matching.hpp>
#include <resect/residual/serialized.hpp>
#include <resect/residual/steer.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::status;
using size = resect::index_t;

namespace {
resect::inline_executor weights_exec;
}  // namespace

TEST_CASE("steps on rows act at their site, in their layers, by priority and then as added") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    for (const site where : {site::resid_pre, site::attn_delta, site::resid_mid, site::mlp_delta, site::resid_post}) {
      const auto twice = affine_step(where, layers(1, 3), 2.0f, 0.0f);
      auto plus = affine_step(where, layers(1, 3), 1.0f, 0.5f);
      const auto after = reference_with_rows(model, s.batch, where, layers(1, 3), [](double x) { return 2 * x + 0.5; });
      const auto before =
          reference_with_rows(model, s.batch, where, layers(1, 3), [](double x) { return 2 * (x + 0.5); });
      check_against(s.host, plan{} | twice | plus, s.batch, after);
      check_against(s.host, plan{} | plus | twice, s.batch, before);
      plus.priority = -1;
      check_against(s.host, plan{} | twice | plus, s.batch, before);
    }
  }
}

TEST_CASE("priorities decide between overlapping ranges, whichever begins first") {
  llama_setting s;
  auto wide = affine_step(site::mlp_delta, layers(0, 4), 2.0f, 0.0f);
  auto narrow = affine_step(site::mlp_delta, layer(2), 1.0f, 0.5f);
  const auto with = [&](bool narrow_first) {
    reference_llama ref{s.model, [&](site where, int l, stream_values& h) {
                          if (where != site::mlp_delta) return;
                          for (auto& row : h)
                            for (double& x : row) x = l != 2 ? 2 * x : narrow_first ? 2 * (x + 0.5) : 2 * x + 0.5;
                        }};
    return flat(ref.logits(s.batch));
  };
  wide.priority = 1;
  check_against(s.host, plan{} | wide | narrow, s.batch, with(true));
  check_against(s.host, plan{} | narrow | wide, s.batch, with(true));
  wide.priority = 0;
  narrow.priority = 1;
  check_against(s.host, plan{} | wide | narrow, s.batch, with(false));
  check_against(s.host, plan{} | narrow | wide, s.batch, with(false));
}

TEST_CASE("a block step sees the layer's input and output, and its tap names the layer and the rows") {
  llama_setting s;
  std::vector<int> seen;
  const auto p =
      plan{} | block_step(layers(1, 4), [&](const tap& at, matrix_view<const float> before, matrix_view<float> h) {
        CHECK(at.where == site::resid_post);
        CHECK(at.rows.size() == s.batch.size());
        seen.push_back(at.layer);
        for (size r = 0; r < h.rows; ++r)
          for (size c = 0; c < h.cols; ++c) h(r, c) = 3.0f * before(r, c) - h(r, c);
      });
  const auto want = reference_with_block(s.model, s.batch, layers(1, 4),
                                         [](int, std::size_t, double b, double a) { return 3 * b - a; });
  check_against(s.host, p, s.batch, want);
  CHECK(seen == std::vector<int>{1, 2, 3, 1, 2, 3});
}

TEST_CASE("a row that is not finite goes through every operator without an error, and touches no other row") {
  planted_host host;
  const auto batch = host.draw(3, 5);
  const delta_means means{6, 8, 1, 0, 1, floats(6 * 8, 0.25f)};
  const auto added = steer(steering::add{}, layer(3), site::resid_post, floats(8, 0.5f), 2.0f);
  const plan plans[] = {plan{} | skip(layer(3)),
                        plan{} | scale_delta(layer(3), 0.5f),
                        plan{} | mean_delta(layer(3), means),
                        plan{} | steer(steering::relative{}, layer(3), site::resid_mid, floats(8, 0.5f), 2.0f),
                        plan{} | noise(layer(3), site::resid_post, 0.1f, 5),
                        plan{} | match_norm(added, per_row_original{}),
                        plan{} | match_norm(scale_delta(layer(3), 0.5f), global_scalar{0.5f})};
  for (const plan& p : plans) {
    const auto out = [&](float broken) {
      auto state = resect::value_or_throw(host.try_embed(batch));
      resect::value_or_throw(host.try_run(state, 0, 2, no_hooks<float>()));
      host.stream(state)(7, 3) = broken;
      REQUIRE(try_run(host, p, state, 2, 6));
      const auto h = host.stream(state);
      return floats(h.data, h.data + h.rows * h.cols);
    };
    const auto whole = out(1.0f);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const auto got = out(bad);
      CHECK_FALSE(std::isfinite(got[7 * 8 + 3]));
      for (std::size_t i = 0; i < got.size(); ++i)
        if (i / 8 != 7) CHECK(got[i] == whole[i]);
    }
  }
}

// --- named values ---------------------------------------------------------------------------------------

namespace {

struct shown_fields final : resect::field_visitor {
  using resect::field_visitor::key, resect::field_visitor::number, resect::field_visitor::values;
  void number(std::string_view name, double x, double) override { add(name, std::to_string(x)); }
  void word(std::string_view name, std::string_view x) override { add(name, std::string(x)); }
  void seed(std::uint64_t x) override { add("seed", std::to_string(x)); }
  void key(std::string_view name, std::uint64_t x, resect::listed_by) override { add(name, std::to_string(x)); }
  void values(std::string_view name, std::span<const float> x, resect::listed_by) override {
    add(name, std::to_string(x.size()) + " values");
  }
  void add(std::string_view name, const std::string& x) {
    out += (out.empty() ? "" : ", ") + std::string(name) + " " + x;
  }
  std::string out;
};

std::string fields_of(const operation& o) {
  shown_fields f;
  o.fields(f);
  return f.out;
}

// h_j := h_i/2
struct halve {
  static constexpr std::string_view id = "tests.halve/1";
  void fields(resect::field_visitor& v) const { v.number("by", 0.5); }
  operator_facts facts() const noexcept { return {.width = 24}; }
  status apply(const tap&, matrix_view<const float> in, matrix_view<float> out) const noexcept {
    for (size r = 0; r < in.rows; ++r)
      for (size c = 0; c < in.cols; ++c) out(r, c) = 0.5f * in(r, c);
    return {};
  }
};

}  // namespace

TEST_CASE("an operation is looked into by id, and is nothing else") {
  const operation op = steer(steering::add{}, layer(1), site::resid_post, floats{1, 2, 3}, 0.5f).op;
  const auto* added = op.as<operators::steer<steering::add>>();
  REQUIRE(added);
  CHECK(added->strength == 0.5f);
  CHECK(added->direction == resect::array<float>(floats{1, 2, 3}));
  CHECK_FALSE(op.as<operators::steer<steering::keep_norm>>());
  CHECK_FALSE(op.as<operators::zero_stream>());
  CHECK_FALSE(operation{}.as<operators::skip>());
  const operation copy = op;
  CHECK(copy.as<operators::steer<steering::add>>() == added);  // shared
  CHECK(copy == op);
  CHECK_FALSE(op == operation(operators::skip{}));
}

TEST_CASE("one list of fields gives report, identity and bytes") {
  const floats v{1, 2, 3};
  const auto with = [&](float c) { return steer(steering::add{}, layer(1), site::resid_post, v, c).op; };
  CHECK(fields_of(with(0.5f)) == "direction 3 values, strength 0.500000");
  CHECK(fields_of(reinit(layer(1), 7, {norm_gains::reset, biases::keep}).op) ==
        "seed 7, std 0.000000, reset_gain 1.000000, biases keep");
  CHECK(with(0.5f).hash() != with(0.25f).hash());
  CHECK(serialized(with(0.5f)) == serialized(with(0.5f)));
  CHECK_FALSE(serialized(with(0.5f)) == serialized(with(0.25f)));
  const auto bytes = serialized(with(0.5f));
  const std::string id = "resect.steer.add/1";
  REQUIRE(bytes.size() == static_cast<size>(8 + id.size() + (1 + 8 + 9 + 8 + 12) + (1 + 8 + 8 + 8)));
  CHECK(std::string(reinterpret_cast<const char*>(bytes.data()) + 8, id.size()) == id);
  float third = 0;
  std::memcpy(&third, bytes.data() + 8 + id.size() + 1 + 8 + 9 + 8 + 8, 4);
  CHECK(third == 3.0f);
}

TEST_CASE("an operator at a site where it has no meaning, or asked for what it cannot do, is refused") {
  plan p;
  CHECK(parts(p.try_add({layer(1), site::attn_delta, operators::zero_stream{}})) ==
        "invalid argument | site of zero_stream | attn_delta | a site at which the operator has a meaning");
  step s = skip(layer(1));
  s.what = form::weights;
  CHECK(parts(p.try_add(s)) == "null pointer | operator of skip | none | an operator of the step's form");
  CHECK(operation(operators::skip{}).change({}, {}, weights_exec).outcome().error().message() ==
        "unsupported: skip: got an operator without `change`, wanted one that has it");
}

TEST_CASE("any object with an identity and `apply` replaces a span or is injected") {
  llama_setting s;
  const auto by_hand = replace_span(
      layers(0, 2),
      [](const tap& at, matrix_view<const float> in, matrix_view<float> out) { return halve{}.apply(at, in, out); }, 1);
  const auto want = by_surgery(s.host, plan{} | by_hand, s.batch);
  for (const step& one : {replace_span(layers(0, 2), halve{}), inject(2, halve{})}) {
    CHECK(same_bits(by_surgery(s.host, plan{} | one, s.batch), want));
    CHECK(same_bits(by_forward(s.host, plan{} | one, s.batch), want));
    CHECK(one.op.as<halve>());
  }
  auto narrow = s.host.describe();
  narrow.d_model = 8;
  CHECK(parts((plan{} | inject(2, halve{})).check(narrow)) == "shape mismatch | width of inject | 24 | d_model = 8");
  CHECK(parts(plan{}.try_add(inject(0, halve{}))) ==
        "invalid argument | layers of inject | [0, 0) | 0 <= first < last");
  CHECK(parts(plan{}.try_add(replace_span(layers(3, 3), halve{}))) ==
        "invalid argument | layers of tests.halve | [3, 3) | 0 <= first < last");
}
