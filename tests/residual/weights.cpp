// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include <support/operator_checks.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::status;
using size = resect::index_t;

namespace {
resect::inline_executor weights_exec;
}  // namespace

TEST_CASE("a re-initialized value depends on seed, layer, weight and element alone") {
  for (const std::uint64_t seed : {std::uint64_t{1}, std::uint64_t{99}})
    for (const int l : {0, 3})
      for (const int id : {1, 8}) {
        const weight_desc w{.name = "w", .layer = l, .id = id, .rows = 5, .cols = 7};
        floats got(35, -1.0f);
        const auto s = reinit(layers(0, 4), seed, norm_gains::keep, {.std = 0.05f});
        REQUIRE(s.op.change(w, {got.data(), 5, 7}, weights_exec));
        floats want(35);
        const auto stream = static_cast<std::uint64_t>(l) << 32 | static_cast<std::uint64_t>(id);
        resect::random::fill_gaussian(want, seed, stream, 0, static_cast<double>(0.05f));
        CHECK(same_bits(got, want));
      }
}

TEST_CASE("where no amplitude is given a re-initialized matrix keeps its own root mean square") {
  const weight_desc w{.name = "w", .layer = 2, .id = 4, .rows = 6, .cols = 50};
  for (const float size_of : {0.01f, 3.0f}) {
    floats v(300);
    resect::random::fill_gaussian(v, 3, 0, 0, static_cast<double>(size_of));
    double squares = 0;
    for (const float x : v) squares += static_cast<double>(x) * static_cast<double>(x);
    const double rms = std::sqrt(squares / 300);
    floats want(300), got = v;
    resect::random::fill_gaussian(want, 8, std::uint64_t{2} << 32 | 4, 0, rms);
    REQUIRE(reinit(layer(2), 8, norm_gains::keep).op.change(w, {got.data(), 6, 50}, weights_exec));
    CHECK(relative_difference(got, want) < 1e-6);
    CHECK_FALSE(same_bits(got, v));
  }
  floats zero(300, 0.0f);
  REQUIRE(reinit(layer(2), 8, norm_gains::keep).op.change(w, {zero.data(), 6, 50}, weights_exec));
  CHECK(largest(zero) == 0);
}

TEST_CASE("gains are kept or reset as the plan says") {
  const weight_desc gain{.name = "g", .layer = 1, .id = 0, .role = weight_role::norm_gain, .rows = 1, .cols = 4};
  floats v{1.0f, 2.0f, 3.0f, 4.0f};
  CHECK_FALSE(reinit(layer(1), 1, norm_gains::keep).op.change(gain, {v.data(), 1, 4}, weights_exec));
  CHECK(v == floats{1.0f, 2.0f, 3.0f, 4.0f});
  CHECK(reinit(layer(1), 1, norm_gains::reset).op.change(gain, {v.data(), 1, 4}, weights_exec));
  CHECK(v == floats(4, 1.0f));
  CHECK(reinit(layer(1), 1, norm_gains::reset, {.reset_gain = 0.0f}).op.change(gain, {v.data(), 1, 4}, weights_exec));
  CHECK(v == floats(4, 0.0f));
}

TEST_CASE("biases become zero or stay as the policy says") {
  const weight_desc bias{.name = "b", .layer = 1, .id = 0, .role = weight_role::bias, .rows = 1, .cols = 4};
  floats v{1.0f, 2.0f, 3.0f, 4.0f};
  CHECK_FALSE(reinit(layer(1), 1, {norm_gains::reset, biases::keep}).op.change(bias, {v.data(), 1, 4}, weights_exec));
  CHECK(v == floats{1.0f, 2.0f, 3.0f, 4.0f});
  CHECK(reinit(layer(1), 1, {norm_gains::reset, biases::zero}).op.change(bias, {v.data(), 1, 4}, weights_exec));
  CHECK(v == floats(4, 0.0f));
  const auto id = [](reinit_policy p) { return reinit(layer(1), 1, p).identity(); };
  CHECK(id({norm_gains::keep, biases::keep}) != id(norm_gains::keep));
  CHECK(id({norm_gains::keep, biases::zero}) == id(norm_gains::keep));
}

TEST_CASE("re-initializing gives the bits of a model with those weights, whatever else is run and in whatever order") {
  for (const auto gains : {norm_gains::keep, norm_gains::reset})
    for (const auto& model : small_models()) {
      llama_setting s(model);
      auto drawn = model;
      for (const int l : {1, 2})
        for (int id = 0; id < hosts::n_layer_weights; ++id) {
          auto& w = weight_in(drawn.layers[static_cast<std::size_t>(l)], id);
          if (!hosts::is_norm_gain(id))
            resect::random::fill_gaussian(w.data, 5,
                                          static_cast<std::uint64_t>(l) << 32 | static_cast<std::uint64_t>(id), 0,
                                          static_cast<double>(0.2f));
          else if (gains == norm_gains::reset) std::fill(w.data.begin(), w.data.end(), 1.0f);
        }
      llama_setting with(drawn);
      const auto want = by_surgery(with.host, plan{}, s.batch);
      const auto intact = by_surgery(s.host, plan{}, s.batch);
      CHECK(relative_difference(intact, want) > 0.01);
      const reinit_options o{.std = 0.2f};
      CHECK(same_bits(by_surgery(s.host, plan{} | reinit(layers(1, 3), 5, gains, o), s.batch), want));
      CHECK(same_bits(
          by_surgery(s.host, plan{} | reinit(layer(2), 5, gains, o) | reinit(layer(1), 5, gains, o), s.batch), want));
      CHECK(same_bits(by_surgery(s.host, plan{}, s.batch), intact));
    }
}

TEST_CASE("weights are as before after a pass, after a refusal of the host and after an exception") {
  llama_setting s;
  counting_host host(s.host);
  const auto weights = all_weights(s.host);
  const auto intact = by_surgery(host, plan{}, s.batch);
  const auto p = plan{} | reinit(layers(1, 3), 5, norm_gains::reset);
  (void)by_surgery(host, p, s.batch);
  CHECK(all_weights(s.host) == weights);

  host.reset();
  (void)by_surgery(host, p, s.batch);
  CHECK(host.n.overrides == 2 * hosts::n_layer_weights);
  host.reset();
  (void)by_surgery(host, plan{} | reinit(layers(1, 3), 5, norm_gains::keep), s.batch);
  CHECK(host.n.overrides == 2 * (hosts::n_layer_weights - 2));  // the gains are left alone
  for (const int refused : {0, 1, 8, 9, 17}) {
    host.reset();
    host.refuse_override = refused;
    CHECK(error_of([&] { by_surgery(host, p, s.batch); }) == "out of memory | weight |  | ");
    CHECK(host.n.overrides == refused + 1);
    CHECK(all_weights(s.host) == weights);
  }
  host.refuse_override = -1;
  for (const int refused : {1, 2}) {
    host.refuse_layer = refused;
    CHECK(error_of([&] { by_surgery(host, p, s.batch); }) ==
          "unsupported | layer " + std::to_string(refused) + " | a refusal | none");
    CHECK(all_weights(s.host) == weights);
  }
  host.refuse_layer = -1;
  const auto throws = p | rows_step(site::mlp_delta, layer(2),
                                    [](const tap&, matrix_view<float>) { throw std::runtime_error("step"); });
  CHECK_THROWS_AS(by_surgery(host, throws, s.batch), std::runtime_error);
  CHECK(all_weights(s.host) == weights);
  CHECK(same_bits(by_surgery(host, plan{}, s.batch), intact));
}

TEST_CASE("two steps on the same weights work on each other's result, and both are undone") {
  llama_setting s;
  const auto weights = all_weights(s.host);
  const auto scale = weights_step(layers(1, 3), [](const weight_desc& w, matrix_view<float> v) {
    if (w.role == weight_role::norm_gain) return false;
    for (size r = 0; r < v.rows; ++r)
      for (size c = 0; c < v.cols; ++c) v(r, c) *= 0.5f;
    return true;
  });
  auto shift = weights_step(layer(2), [](const weight_desc& w, matrix_view<float> v) {
    if (w.role == weight_role::norm_gain) return false;
    for (size r = 0; r < v.rows; ++r)
      for (size c = 0; c < v.cols; ++c) v(r, c) += 0.25f;
    return true;
  });
  for (const int priority : {-1, 1}) {
    shift.priority = priority;
    auto changed = s.model;
    for (const int l : {1, 2})
      for (int id = 0; id < hosts::n_layer_weights; ++id)
        if (!hosts::is_norm_gain(id))
          for (float& x : weight_in(changed.layers[static_cast<std::size_t>(l)], id).data)
            x = l == 1 ? 0.5f * x : priority < 0 ? 0.5f * (x + 0.25f) : 0.5f * x + 0.25f;
    llama_setting with(changed);
    CHECK(same_bits(by_surgery(s.host, plan{} | scale | shift, s.batch), by_surgery(with.host, plan{}, s.batch)));
    CHECK(all_weights(s.host) == weights);
  }
}

TEST_CASE("a negative amplitude of re-initialized matrices is refused by plans") {
  const auto refused = [](float std) {
    return parts(plan{}.try_add(reinit(layer(1), 1, norm_gains::reset, {.std = std})));
  };
  CHECK(refused(-0.5f) == "invalid argument | std of reinit.reset | -0.5 | 0 or more");
  CHECK(refused(std::nanf("")) == "not finite | std of reinit.reset | nan | a finite number");
  CHECK(refused(0.0f) == "fine");
}
