// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <hosts/llama/host.hpp>
#include <support/catch.hpp>
#include <support/expect_error.hpp>
#include <support/study_setting.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/compress/gptq_weights.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/gather_hessians.hpp>
#include <resect/quant/h_loss.hpp>

using namespace resect;
using namespace resect::compress;

TEST_CASE("gptq_weights: every matrix of a model is rounded with the H gathered from the model, and loses less on it") {
  const support::study_setting s(2);
  cpu exec;
  hosts::llama_host host(exec, s.model);
  std::vector<model::weight_desc> matrices;
  for (int l = 0; l < 2; ++l)
    for (const auto& w : host.weights(l))
      if (w.role == model::weight_role::matrix) matrices.push_back(w);
  const int lengths[] = {40, 40, 40};
  const auto batch = support::random_batch(lengths, s.config.n_vocab, 3);
  const model::batch_view batches[] = {batch};
  const auto hessians = quant::gather_hessians(exec, host, matrices, batches, {"random ids", 3});
  REQUIRE(hessians.size() == static_cast<resect::index_t>(matrices.size()));

  const quant::affine<3> format{.group = 16};
  const auto method = gptq_weights(exec, format, hessians.span(), {.sweeps = 2});
  CHECK(method.name == "int3z/f32, gptq, 2 sweeps, group 16");
  CHECK(method.hash != gptq_weights(exec, format, hessians.span(), {}).hash);
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const auto& w = matrices[i];
    const auto& h = hessians[static_cast<resect::index_t>(i)];
    CHECK(h.rows() == 120);
    matrix<float> intact(w.rows, w.cols);
    REQUIRE(host.try_read_weight(w, intact.view()));
    auto values = intact;
    REQUIRE(method.apply(w, values.view(), exec));
    const auto nearest = quant::quantize(exec, intact, format);
    const auto loss = quant::try_h_loss(exec, intact.view(), matrix_view<const float>(values.view()), h);
    const auto of_nearest = quant::try_h_loss(exec, intact.view(), nearest, h);
    REQUIRE((loss && of_nearest));
    CAPTURE(w.layer, w.name.c_str());
    CHECK(loss->relative() < 0.9 * of_nearest->relative());
    CHECK(method.stored_bits(w) == quant::stored_bits(format, w.rows, w.cols));
  }
  const auto fingerprint = host.describe().fingerprint;
  CHECK(method.check_model(fingerprint));
  CHECK(method.check_model(0));  // a model that does not say which it is
  support::expect_error(method.check_model(fingerprint + 1), errc::conflict, {"H", "attn.q of model"});
  auto twice = hessians;
  twice.push_back(hessians[3]);
  const auto confused = gptq_weights(exec, format, twice.span());
  matrix<float> third(matrices[3].rows, matrices[3].cols);
  support::expect_error(confused.apply(matrices[3], third.view(), exec), errc::conflict, {"H of layer 0", "two"});
  matrix<float> values(32, 32);
  const model::weight_desc other{"attn.z", 1, 0, model::weight_role::matrix, 32, 32};
  support::expect_error(method.apply(other, values.view(), exec), errc::invalid_argument,
                        {"H of layer 1, attn.z", "none among 14"});
}
