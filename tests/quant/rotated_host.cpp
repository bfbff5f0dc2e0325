// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/certified.hpp>
#include <support/expect_error.hpp>
#include <support/forwarding_host.hpp>
#include <support/runs.hpp>

#include <resect/quant/rotated_host.hpp>
#include <resect/residual/plan.hpp>

using namespace resect;
using namespace resect::quant;
using namespace support;

namespace {

using resect::index_t;

static_assert(model::product_host<rotated_host<hosts::llama_host>>);

// Gains that differ from one to the next, as trained models have them.
hosts::llama_model with_gains(int n_layers) {
  const hosts::llama_config c{
      .n_layers = n_layers, .d_model = 36, .d_ff = 48, .n_heads = 4, .n_kv_heads = 2, .head_dim = 8, .n_vocab = 61};
  auto model = random_llama(c, output_matrix::tied, 5);
  for (auto& layer : model.layers)
    for (int i = 0; i < c.d_model; ++i) {
      layer.attn_norm.view()(0, i) = 0.5f + 0.03f * static_cast<float>(i);
      layer.mlp_norm.view()(0, i) = 2.0f - 0.04f * static_cast<float>(i);
    }
  return model;
}

std::vector<model::row_meta> some_rows(int n_vocab) {
  const int lengths[] = {7, 3, 12};
  return random_batch(lengths, n_vocab, 3);
}

// A host whose layers subtract the mean of what they read, as LayerNorm does: after a layer the stream is off.
class centring_host : public forwarding_surgical_host<hosts::llama_host> {
 public:
  using weight_override = hosts::llama_host::weight_override;
  using forwarding_surgical_host<hosts::llama_host>::forwarding_surgical_host;

  status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return host_.try_forward(b, want, look);
  }
  status try_forward(batch_view b, const float_hooks& k) { return host_.try_forward(b, k); }
  status try_run(state& s, int first, int last, const float_hooks& k) {
    const auto h = stream(s);
    for (index_t r = 0; r < h.rows; ++r) {
      float mean = 0;
      for (index_t c = 0; c < h.cols; ++c) mean += h(r, c) / static_cast<float>(h.cols);
      for (index_t c = 0; c < h.cols; ++c) h(r, c) -= mean;
    }
    return host_.try_run(s, first, last, k);
  }
  result<weight_override> try_override_weight(const weight_desc& w, matrix_view<const float> values) {
    return host_.try_override_weight(w, values);
  }
  // With `norm_bias`, LayerNorm's bias stands among the weights.
  std::vector<weight_desc> weights(int layer) const {
    const auto inner = host_.weights(layer);
    std::vector<weight_desc> all(inner.begin(), inner.end());
    if (norm_bias) all.push_back({"attn.norm.bias", layer, 99, model::weight_role::bias, 1, describe().d_model});
    return all;
  }
  bool norm_bias = false;
};

}  // namespace

TEST_CASE("rotated host: the logits stay, whole and by states, and the weights are others") {
  const auto model = with_gains(3);
  cpu exec;
  const auto batch = some_rows(61);
  hosts::llama_host plain(exec, model);
  const auto whole = by_forward(plain, {}, batch), partial = by_surgery(plain, {}, batch);
  forget_all(plain, batch);

  hosts::llama_host inner(exec, model);
  {
    auto rotated = rotate_host(exec, inner, 17);
    CHECK(relative_difference(by_forward(rotated, {}, batch), whole) < 1e-4);
    CHECK(relative_difference(by_surgery(rotated, {}, batch), partial) < 1e-4);
    CHECK(rotated.describe().fingerprint != plain.describe().fingerprint);
    for (const auto& w : rotated.weights(1)) {
      matrix<float> now(w.rows, w.cols), before(w.rows, w.cols);
      REQUIRE(rotated.try_read_weight(w, now.view()));
      REQUIRE(plain.try_read_weight(w, before.view()));
      INFO(w.name.c_str());
      CHECK(!(now == before));
      if (w.role == model::weight_role::norm_gain)
        for (const float g : now.data) CHECK(g == 1.0f);
    }
    forget_all(rotated, batch);
  }
  CHECK(by_forward(inner, {}, batch) == whole);  // its overrides have ended
}

TEST_CASE("rotated host: a rotated host is rotated again, and a host that another rotated host holds is refused") {
  const auto model = with_gains(2);
  cpu exec;
  const auto batch = some_rows(61);
  hosts::llama_host plain(exec, model);
  const auto whole = by_forward(plain, {}, batch), partial = by_surgery(plain, {}, batch);
  forget_all(plain, batch);
  {
    auto once = rotate_host(exec, plain, 17);
    expect_error(rotated_host<hosts::llama_host>::try_make(exec, plain, 18), errc::conflict,
                 {"host to rotate", "got one that a rotated host holds already", "that rotated host"});
    CHECK(relative_difference(by_forward(once, {}, batch), whole) < 1e-4);  // as before
    forget_all(once, batch);
    auto twice = rotate_host(exec, once, 18);
    CHECK(relative_difference(by_forward(twice, {}, batch), whole) < 1e-4);
    CHECK(relative_difference(by_surgery(twice, {}, batch), partial) < 1e-4);
    CHECK(twice.describe().fingerprint != once.describe().fingerprint);
    forget_all(twice, batch);
  }
  // Other overrides do not stand in the way, and neither do gains of 1 of a model as it is.
  const auto& weights = plain.weights(1);
  matrix<float> zeros(weights[1].rows, weights[1].cols);
  auto held = plain.try_override_weight(weights[1], zeros.view());
  REQUIRE(held);
  CHECK(rotated_host<hosts::llama_host>::try_make(exec, plain, 19));
  auto ones = model;
  for (auto& layer : ones.layers)
    for (int i = 0; i < 36; ++i) layer.attn_norm.view()(0, i) = layer.mlp_norm.view()(0, i) = 1.0f;
  hosts::llama_host unit(exec, ones);
  CHECK(rotated_host<hosts::llama_host>::try_make(exec, unit, 19));
}

TEST_CASE("rotated host: it passes the conformance suite on the level surgery") {
  const auto model = with_gains(2);
  cpu exec;
  hosts::llama_host inner(exec, model);
  auto rotated = rotate_host(exec, inner, 3);
  const auto batch = some_rows(61);
  const auto c = certified(rotated, batch);
  CHECK(c.level == conformance::host_level::surgery);
  CHECK(c.passed());
  for (const auto& check : c.checks) {
    INFO(check.id.c_str() << ", " << check.name.c_str() << ": " << check.measured << "; " << check.note.c_str());
    CHECK(check.result != conformance::verdict::fail);
  }
}

TEST_CASE("rotated host: callbacks at embed_out and head_in see the rotated stream, at head_norm the host's") {
  const auto model = with_gains(2);
  cpu exec;
  const auto batch = some_rows(61);
  hosts::llama_host plain(exec, model), inner(exec, model);
  auto rotated = rotate_host(exec, inner, 17);
  const auto rows_at = [&](auto& host, model::site at) {
    matrix<float> out;
    const auto look = [&](const model::tap&, matrix_view<const float> h) {
      out.resize(h.rows, h.cols);
      for (index_t r = 0; r < h.rows; ++r)
        for (index_t c = 0; c < h.cols; ++c) out(r, c) = h(r, c);
    };
    REQUIRE(host.try_forward(batch, model::site_set{at}, model::observer<float>(look)));
    forget_all(host, batch);
    return out;
  };
  const auto apart = [](const matrix<float>& a, const matrix<float>& b) {
    return relative_difference(copied(a.view()), copied(b.view()));
  };
  for (const auto at : {model::site::embed_out, model::site::head_in}) {
    auto turned = rows_at(plain, at);
    REQUIRE(rotated.basis().try_rotate_rows(exec, turned.view()));
    CHECK(apart(rows_at(rotated, at), turned) < 1e-4);
  }
  CHECK(apart(rows_at(rotated, model::site::head_norm), rows_at(plain, model::site::head_norm)) < 1e-4);
}

TEST_CASE("rotated host: another norm, an unknown weight and a wrong role are refused by name; the host is as before") {
  const auto model = with_gains(2);
  cpu exec;
  const auto batch = some_rows(61);
  hosts::llama_host inner(exec, model);
  const auto before = by_surgery(inner, {}, batch);

  centring_host centring(inner);
  expect_error(rotated_host<centring_host>::try_make(exec, centring, 1), errc::unsupported,
               {"layer 0", "norms", "RMSNorm"});
  centring.norm_bias = true;
  expect_error(rotated_host<centring_host>::try_make(exec, centring, 1), errc::unsupported,
               {"layer 0, attn.norm.bias", "a bias whose part in the stream is not known", "no bias of a norm"});
  const auto unknown = [](const model::weight_desc& w) {
    return w.name == "mlp.up" ? stream_role{} : llama_stream{}(w);
  };
  expect_error(rotated_host<hosts::llama_host>::try_make(exec, inner, 1, unknown), errc::unsupported,
               {"layer 0, mlp.up", "a weight whose part in the stream is not known"});
  const auto swapped = [](const model::weight_desc& w) {
    return w.name == "mlp.gate" ? stream_role{stream_use::writes} : llama_stream{}(w);
  };
  expect_error(rotated_host<hosts::llama_host>::try_make(exec, inner, 1, swapped), errc::unsupported,
               {"layer 0, mlp.gate", "48 x 36", "rows of the stream: 36"});
  const auto inside = [](const model::weight_desc& w) {
    return w.name == "attn.o" ? stream_role{stream_use::none} : llama_stream{}(w);
  };
  expect_error(rotated_host<hosts::llama_host>::try_make(exec, inner, 1, inside), errc::unsupported, {"layer 0"});
  const auto lost_gain = [](const model::weight_desc& w) {
    auto role = llama_stream{}(w);
    if (role.norm == "mlp.norm") role.norm = {};
    return role;
  };
  expect_error(rotated_host<hosts::llama_host>::try_make(exec, inner, 1, lost_gain), errc::unsupported,
               {"layer 0, mlp.norm", "no matrix reads"});
  CHECK(by_surgery(inner, {}, batch) == before);
}
