// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>

#include <hosts/llama/host.hpp>
#include <support/catch.hpp>
#include <support/study_setting.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/compress/weight_methods.hpp>
#include <resect/study/compression.hpp>

using namespace resect;
using namespace resect::compress;
using namespace resect::study;

namespace {

struct setting : support::study_setting {
  setting() : study_setting(3) {}
};

TEST_CASE("fewer bits and smaller ranks cost more, and what they store is counted") {
  const setting s;
  cpu exec;
  hosts::llama_host host(exec, s.model);
  const auto study = [&](const weight_method& m) { return compression(exec, host, s.evaluation, s.calibration, m); };

  double last = 0;
  for (const int bits : {8, 6, 4, 3, 2}) {
    const auto r = study(quantize_weights(quant::affine_format{.bits = bits, .group = 16}));
    CHECK(r.all.kl.value > last);
    last = r.all.kl.value;
    CHECK(r.rows[0].bits == Approx(bits + (32.0 + bits) / 16));
  }
  last = 0;
  for (const resect::index_t rank : {31, 16, 8, 4}) {
    const auto r = study(factorize_weights(exec, {.rank = rank}));
    CHECK(r.all.kl.value > last);
    last = r.all.kl.value;
    CHECK(r.rows[1].error > 0);
  }
}

TEST_CASE("a rank that no matrix is larger than changes nothing; quantizing twice changes nothing more") {
  const setting s;
  cpu exec;
  hosts::llama_host host(exec, s.model);
  const auto whole = compression(exec, host, s.evaluation, s.calibration, factorize_weights(exec, {.rank = 48}));
  CHECK(whole.all.kl.value == 0);
  CHECK(whole.rows[0].bits == 32);

  auto once = s.model;
  const auto method = quantize_weights(quant::affine<4>{.group = 8}, quant::nearest{}, quant::mse_scale{});
  for (int l = 0; l < 3; ++l)
    for (const auto& w : host.weights(l)) {
      if (w.role != model::weight_role::matrix) continue;
      auto& m = const_cast<hosts::matrix&>(hosts::weight_of(once.layers[static_cast<std::size_t>(l)], w.id));
      REQUIRE(method.apply(w, m.view(), exec));
    }
  hosts::llama_host other(exec, once);
  const auto again = compression(exec, other, s.evaluation, s.calibration, method);
  CHECK(again.all.kl.value == 0);
  CHECK(again.rows[2].error == 0);
}

TEST_CASE("methods that differ have different hashes and say what they do") {
  cpu exec;
  const auto a = quantize_weights(quant::affine<4>{.group = 64});
  CHECK(a.name == "quantize 4 bit, group 64");
  CHECK(quantize_weights(quant::affine_symmetric<3>{}).name == "quantize 3 bit symmetric");
  CHECK(quantize_weights(quant::affine<4>{.group = 64}, quant::nearest{}, quant::mse_scale{}).name ==
        "quantize 4 bit, group 64, mse");
  const std::vector<float> importance(64, 1.0f);
  CHECK(quantize_weights(quant::affine_symmetric<4>{}, quant::nearest{}, quant::mse_scale{.importance = importance})
            .name == "quantize 4 bit symmetric, weighted mse");
  CHECK(a.hash != quantize_weights(quant::affine<4>{.group = 32}).hash);
  CHECK(a.hash != quantize_weights(quant::affine<4>{.group = 64}, quant::nearest{}, quant::mse_scale{}).hash);
  CHECK(a.hash == quantize_weights(quant::affine<4>{.group = 64}).hash);
  CHECK(quantize_weights(quant::affine<4>{}, quant::nearest{}, quant::mse_scale{.steps = 40}).hash !=
        quantize_weights(quant::affine<4>{}, quant::nearest{}, quant::mse_scale{}).hash);
  CHECK(factorize_weights(exec, {.rank = 5}).name == "rank 5");
  CHECK(factorize_weights(exec, {.rank = 5}).hash != factorize_weights(exec, {.rank = 5, .seed = 2}).hash);
}

TEST_CASE("weights that are not finite are named") {
  setting s;
  s.model.layers[1].up.data[5] = std::numeric_limits<float>::infinity();
  cpu exec;
  hosts::llama_host host(exec, s.model);
  model::weight_desc up;
  for (const auto& w : host.weights(1))
    if (w.name == "mlp.up") up = w;
  auto values = s.model.layers[1].up;
  const auto refused = quantize_weights(quant::affine<4>{}).apply(up, values.view(), exec);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().operand == "W, row 0, column 5");
}

}  // namespace
