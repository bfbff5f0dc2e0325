// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/catch.hpp>
#include <support/runs.hpp>

using namespace support;
using resect::model::row_meta;
using resect::residual::plan;

TEST_CASE("the example runtime computes what the model says, to 1e-5 of the largest logit, both ways") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    const auto want = flat(reference_llama{s.model}.logits(s.batch));
    REQUIRE(largest(want) > 1.0);
    CHECK(relative_difference(by_surgery(s.host, plan{}, s.batch), want) < 1e-5);
    CHECK(relative_difference(by_forward(s.host, plan{}, s.batch), want) < 1e-5);
    CHECK(same_bits(by_surgery(s.host, plan{}, s.batch), by_forward(s.host, plan{}, s.batch)));
  }
}

TEST_CASE("a long sequence, many rows and a wide model agree with the reference too") {
  const hosts::llama_config c{.n_layers = 2,
                              .d_model = 80,
                              .d_ff = 300,
                              .n_heads = 6,
                              .n_kv_heads = 3,
                              .head_dim = 16,
                              .n_vocab = 211,
                              .rope = hosts::rope_layout::interleaved};
  llama_setting s(random_llama(c, output_matrix::tied, 21));
  const int lengths[] = {150, 3, 64, 65};
  const auto batch = random_batch(lengths, c.n_vocab, 8);
  const auto want = flat(reference_llama{s.model}.logits(batch));
  CHECK(relative_difference(by_surgery(s.host, plan{}, batch), want) < 1e-5);
  CHECK(relative_difference(by_forward(s.host, plan{}, batch), want) < 1e-5);
}

TEST_CASE("the reference notices what could be wrong in a runtime") {
  const auto c = small_configs().front();
  const auto model = random_llama(c, output_matrix::untied, 5);
  const auto batch = random_batch(small_lengths, c.n_vocab, 3);
  const auto want = flat(reference_llama{model}.logits(batch));
  const auto differs = [&](auto change) {
    auto other = model;
    change(other);
    return relative_difference(flat(reference_llama{other}.logits(batch)), want) > 1e-3;
  };
  CHECK(differs([](auto& m) { m.config.rope = hosts::rope_layout::half; }));
  CHECK(differs([](auto& m) { m.config.rope_theta = 1000.0f; }));
  CHECK(differs([](auto& m) { m.config.rms_eps = 1e-1f; }));
  CHECK(differs([](auto& m) { m.head = {}; }));
  CHECK(differs([](auto& m) { m.layers[1].attn_norm.data[3] += 0.5f; }));
  CHECK(differs([](auto& m) { std::swap(m.layers[1].gate, m.layers[1].up); }));
  CHECK(differs([](auto& m) { std::swap(m.layers[1].k, m.layers[1].v); }));
}

TEST_CASE("only rows that want logits get them, in the order of the batch") {
  llama_setting s;
  const auto all = by_forward(s.host, plan{}, s.batch);
  auto some = s.batch;
  floats want;
  const auto vocab = static_cast<std::size_t>(s.model.config.n_vocab);
  for (std::size_t i = 0; i < some.size(); ++i) {
    if (i % 3 == 1)
      want.insert(want.end(), all.begin() + static_cast<long>(i * vocab),
                  all.begin() + static_cast<long>((i + 1) * vocab));
    else some[i].flags = 0;
  }
  const auto got = by_forward(s.host, plan{}, some);
  CHECK(relative_difference(got, want) < 2e-5);
  for (auto& row : some) row.flags = row_meta::pad;
  CHECK(by_forward(s.host, plan{}, some).empty());
}
