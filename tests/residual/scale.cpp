// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <vector>

#include <support/operator_checks.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::status;
using size = resect::index_t;

TEST_CASE("the empty plan and a dose of 1 change no bit, for block, attention and MLP, in every layer") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto want = by_surgery(host, plan{}, batch);
    check_identity(host, plan{}, batch, want);
    const int n = host.describe().n_layers;
    for (const auto which : {delta::block, delta::attention, delta::mlp}) {
      check_identity(host, plan{} | scale_delta(layers(0, n), 1.0f, which), batch, want);
      for (int l = 0; l < n; ++l) check_identity(host, plan{} | scale_delta(layer(l), 1.0f, which), batch, want);
    }
  });
}

TEST_CASE("a dose of 1 keeps negative zeros") {
  const auto s = scale_delta(layer(0), 1.0f);
  const floats before{1.0f, -1.0f, -0.0f};
  floats after{-0.0f, 0.0f, -0.0f};
  const auto want = after;
  (void)s.op.apply(tap{}, {before.data(), 1, 3}, {after.data(), 1, 3});
  CHECK(same_bits(after, want));
}

TEST_CASE("skipping layers gives the bits of a model that has not got them, both ways") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    for (int i = 0; i < 4; ++i)
      for (int j = i + 1; j <= 4; ++j) {
        llama_setting shorter(without_layers(model, i, j));
        const auto want = by_surgery(shorter.host, plan{}, s.batch);
        const auto p = plan{} | skip(layers(i, j));
        CHECK(same_bits(by_surgery(s.host, p, s.batch), want));
        CHECK(same_bits(by_forward(s.host, p, s.batch), want));
      }
    const auto apart = plan{} | skip(layer(0)) | skip(layer(2));
    llama_setting without(without_layers(without_layers(model, 2, 3), 0, 1));
    CHECK(same_bits(by_surgery(s.host, apart, s.batch), by_surgery(without.host, plan{}, s.batch)));
  }
}

TEST_CASE("skipping by partial passes is writing the layer's input to its output in a whole pass, bit for bit") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    for (int l = 0; l < host.describe().n_layers; ++l) {
      floats input;
      auto copy_over = [&](const tap& at, matrix_view<float> h) {
        if (at.layer != l) return edit::unchanged;
        if (at.where == site::resid_pre) {
          input = copied(h);
          return edit::unchanged;
        }
        std::copy(input.begin(), input.end(), h.data);
        return edit::modified;
      };
      forget_all(host, batch);
      value_or_throw(host.try_forward(batch, hooks<float>{{site::resid_pre}, {site::resid_post}, copy_over, 77}));
      CHECK(same_bits(copied(host.logits()), by_surgery(host, plan{} | skip(layer(l)), batch)));
    }
  });
}

TEST_CASE(
    "skipping the useless planted layer changes no bit, but without the critical one the likeliest class is wrong") {
  planted_host host;
  const auto batch = host.draw(6, 9);
  const auto want = by_surgery(host, plan{}, batch);
  const auto bets = [&](const floats& logits, std::size_t row) {
    const auto first = logits.begin() + static_cast<long>(row) * host.describe().n_vocab;
    return (std::max_element(first, first + host.describe().n_vocab) - first) % 2;
  };
  check_identity(host, plan{} | skip(layer(host.options().useless)), batch, want);
  const auto cut = by_surgery(host, plan{} | skip(layer(host.options().critical)), batch);
  for (std::size_t r = 0; r < batch.size(); ++r) {
    CHECK(bets(want, r) == batch[r].token % 2);
    CHECK(bets(cut, r) != batch[r].token % 2);
  }
}

TEST_CASE("a dose scales the whole block's delta") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    for (const float g : {0.0f, 0.25f, 0.5f, 1.5f, -1.0f}) {
      const auto want =
          reference_with_block(model, s.batch, layers(1, 3), [g](int, std::size_t, double before, double after) {
            return before + static_cast<double>(g) * (after - before);
          });
      check_against(s.host, plan{} | scale_delta(layers(1, 3), g), s.batch, want);
    }
  }
}

TEST_CASE("a dose of attention or MLP alone scales that delta") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    for (const float g : {0.0f, 0.5f, -2.0f})
      for (const auto which : {delta::attention, delta::mlp}) {
        const auto want = reference_with_rows(model, s.batch, which == delta::mlp ? site::mlp_delta : site::attn_delta,
                                              layers(0, 2), [g](double x) { return static_cast<double>(g) * x; });
        check_against(s.host, plan{} | scale_delta(layers(0, 2), g, which), s.batch, want);
      }
  }
}

TEST_CASE("doses at one place multiply") {
  llama_setting s;
  const auto quarter = reference_with_block(s.model, s.batch, layer(1),
                                            [](int, std::size_t, double b, double a) { return b + 0.25 * (a - b); });
  check_against(s.host, plan{} | scale_delta(layer(1), 0.5f) | scale_delta(layer(1), 0.5f), s.batch, quarter);
  check_against(s.host, plan{} | scale_delta(layers(0, 2), 1.0f) | scale_delta(layer(1), 0.25f), s.batch, quarter);
  const auto mlp = reference_with_rows(s.model, s.batch, site::mlp_delta, layer(2), [](double x) { return 3.0 * x; });
  check_against(s.host, plan{} | scale_delta(layer(2), 1.5f, delta::mlp) | scale_delta(layer(2), 2.0f, delta::mlp),
                s.batch, mlp);
}

TEST_CASE("doses of planted layers have exactly the effect that they were planted with") {
  planted_host host;
  const auto batch = host.draw(8, 12);
  for (const float g : {0.0f, 0.5f, -1.0f, 3.0f})
    for (int l = 0; l < host.options().n_layers; ++l) {
      std::vector<double> scale(static_cast<std::size_t>(host.options().n_layers), 1.0);
      scale[static_cast<std::size_t>(l)] = static_cast<double>(g);
      floats want;
      for (const auto& row : batch)
        for (const double x : host.true_logits(row.token, scale)) want.push_back(static_cast<float>(x));
      check_against(host, plan{} | scale_delta(layer(l), g), batch, want);
    }
}

TEST_CASE("zero_stream loses everything before it, which skipping does not") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    for (int l = 0; l < 4; ++l) {
      // without biases nothing grows out of nothing: the logits are zero, whichever layer it was
      const auto p = plan{} | zero_stream(layer(l));
      CHECK(same_bits(by_forward(s.host, p, s.batch), by_surgery(s.host, p, s.batch)));
      CHECK(largest(by_surgery(s.host, p, s.batch)) == 0);
      CHECK(largest(by_surgery(s.host, plan{} | skip(layer(l)), s.batch)) > 1);
    }
    reference_llama ref{model, [&](site where, int l, stream_values& h) {
                          if (where != site::resid_post || l != 1) return;
                          for (auto& row : h)
                            for (std::size_t i = 0; i < row.size(); ++i) row[i] = i % 2 == 0 ? 0.5 : -1.0;
                        }};
    const auto refill = rows_step(site::resid_pre, layer(2), [](const tap&, matrix_view<float> h) {
      for (size r = 0; r < h.rows; ++r)
        for (size c = 0; c < h.cols; ++c) h(r, c) += c % 2 == 0 ? 0.5f : -1.0f;
    });
    check_against(s.host, plan{} | zero_stream(layer(1)) | refill, s.batch, flat(ref.logits(s.batch)));
  }
}

TEST_CASE("mean_delta adds the layer's own mean to what came in, for every layer of its range") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    const auto m = some_means(4, s.model.config.d_model);
    const auto want = reference_with_block(
        model, s.batch, layers(1, 3),
        [&](int l, std::size_t i, double before, double) { return before + static_cast<double>(m.of(l)[i]); });
    check_against(s.host, plan{} | mean_delta(layers(1, 3), m), s.batch, want);
  }
}

TEST_CASE("means are copied into the step: changing them later changes nothing") {
  planted_host host;
  const auto batch = host.draw(3, 4);
  auto m = some_means(host.options().n_layers, host.options().d_model);
  const auto p = plan{} | mean_delta(layer(2), m);
  const auto want = by_surgery(host, p, batch);
  std::fill(m.mean.begin(), m.mean.end(), 9.0f);
  CHECK(same_bits(by_surgery(host, p, batch), want));
}
