// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/planted_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/residual/noise.hpp>
#include <resect/residual/norm_matching.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/steer.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::status;

namespace {

using size = resect::index_t;

// The plan changes no bit of the logits, by partial passes and by a whole pass.
void check_identity(host_ref host, const plan& p, const std::vector<row_meta>& batch, const floats& want) {
  CHECK(same_bits(by_surgery(host, p, batch), want));
  CHECK(same_bits(by_forward(host, p, batch), want));
}

// A coding of rows: a few directions, thresholded. Splicing it in with its error kept must change nothing.
struct codec {
  size width, features;
  floats directions;

  codec(size d, size n) : width(d), features(n), directions(static_cast<std::size_t>(d * n)) {
    resect::random::fill_gaussian(directions, 31, 0);
  }
  std::vector<float> encode(matrix_view<const float> h, size r) const {
    std::vector<float> f(static_cast<std::size_t>(features), 0.0f);
    for (size k = 0; k < features; ++k) {
      float& x = f[static_cast<std::size_t>(k)];
      for (size c = 0; c < width; ++c) x += directions[static_cast<std::size_t>(k * width + c)] * h(r, c);
      x = std::max(0.0f, x - 0.5f);
    }
    return f;
  }
  std::vector<float> decode(const std::vector<float>& f) const {
    std::vector<float> out(static_cast<std::size_t>(width), 0.0f);
    for (size k = 0; k < features; ++k)
      for (size c = 0; c < width; ++c)
        out[static_cast<std::size_t>(c)] +=
            0.1f * f[static_cast<std::size_t>(k)] * directions[static_cast<std::size_t>(k * width + c)];
    return out;
  }
};

enum class codec_error { keep, drop };

template <class Edit>
step spliced(const codec& code, site where, layer_range range, codec_error error, Edit edit) {
  return rows_step(
      where, range,
      [code, error, edit](const tap&, matrix_view<float> h) {
        for (size r = 0; r < h.rows; ++r) {
          auto f = code.encode(h, r);
          const auto before = code.decode(f);
          edit(f);
          const auto after = code.decode(f);
          for (size c = 0; c < h.cols; ++c) {
            const auto i = static_cast<std::size_t>(c);
            h(r, c) = error == codec_error::keep ? h(r, c) + (after[i] - before[i]) : after[i];
          }
        }
      },
      "codec");
}

// Logits of the reference where a block's output is g(before, after), layer by layer, and the rows of a site are
// f(rows).
template <class Block>
floats reference_with_block(const hosts::llama_model& model, batch_view batch, layer_range where, Block block) {
  stream_values before;
  reference_llama ref{model, [&](site s, int l, stream_values& h) {
                        if (l < where.first || l >= where.last) return;
                        if (s == site::resid_pre) before = h;
                        if (s == site::resid_post)
                          for (std::size_t t = 0; t < h.size(); ++t)
                            for (std::size_t i = 0; i < h[t].size(); ++i) h[t][i] = block(l, i, before[t][i], h[t][i]);
                      }};
  return flat(ref.logits(batch));
}

template <class Rows>
floats reference_with_rows(const hosts::llama_model& model, batch_view batch, site where, layer_range range, Rows f) {
  reference_llama ref{model, [&](site s, int l, stream_values& h) {
                        if (s == where && l >= range.first && l < range.last)
                          for (auto& row : h)
                            for (double& x : row) x = f(x);
                      }};
  return flat(ref.logits(batch));
}

// Both ways agree bit for bit, and with the reference to 1e-5 of the largest logit.
template <class H>
void check_against(H& host, const plan& p, const std::vector<row_meta>& batch, const floats& want) {
  const auto got = by_surgery(host, p, batch);
  CHECK(relative_difference(got, want) < 1e-5);
  CHECK(same_bits(by_forward(host, p, batch), got));
}

delta_means some_means(int n_layers, int width) {
  delta_means m{.n_layers = n_layers,
                .width = width,
                .rows = 10,
                .model = 1,
                .reference = 2,
                .mean = std::vector<float>(static_cast<std::size_t>(n_layers * width))};
  resect::random::fill_gaussian(m.mean, 17, 0);
  return m;
}

template <class H>
std::vector<floats> all_weights(const H& host) {
  std::vector<floats> out;
  for (int l = 0; l < host.describe().n_layers; ++l)
    for (const auto& w : host.weights(l)) {
      floats v(static_cast<std::size_t>(w.rows * w.cols));
      value_or_throw(host.try_read_weight(w, {v.data(), w.rows, w.cols}));
      out.push_back(std::move(v));
    }
  return out;
}

hosts::matrix& weight_in(hosts::llama_layer& l, int id) {
  hosts::matrix* all[] = {&l.attn_norm, &l.q, &l.k, &l.v, &l.o, &l.mlp_norm, &l.gate, &l.up, &l.down};
  return *all[id];
}

}  // namespace

// --- identities -----------------------------------------------------------------------------------------

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

TEST_CASE("a span replaced by the host's own layers changes no bit, for every span") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto want = by_surgery(host, plan{}, batch);
    const int n = host.describe().n_layers;
    for (int i = 0; i < n; ++i)
      for (int j = i + 1; j <= n; ++j)
        check_identity(host, plan{} | replace_span(layers(i, j), own_layers(host, layers(i, j)), 1), batch, want);
    check_identity(host,
                   plan{} | replace_span(layers(0, 1), own_layers(host, layers(0, 1)), 1) |
                       replace_span(layers(1, 3), own_layers(host, layers(1, 3)), 1),
                   batch, want);
  });
}

TEST_CASE("a codec spliced in with its error kept and nothing edited changes no bit, with its error dropped it does") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto want = by_surgery(host, plan{}, batch);
    const codec code(host.describe().d_model, 11);
    const auto leave = [](std::vector<float>&) {};
    for (const site s : {site::resid_pre, site::attn_delta, site::resid_mid, site::mlp_delta, site::resid_post})
      for (int l = 0; l < host.describe().n_layers; ++l)
        check_identity(host, plan{} | spliced(code, s, layer(l), codec_error::keep, leave), batch, want);
    const auto dropped = plan{} | spliced(code, site::resid_post, layer(1), codec_error::drop, leave);
    const auto edited = plan{} | spliced(code, site::resid_post, layer(1), codec_error::keep,
                                         [](std::vector<float>& f) { std::fill(f.begin(), f.end(), 0.0f); });
    for (const auto& p : {dropped, edited}) {
      const auto got = by_surgery(host, p, batch);
      CHECK(relative_difference(got, want) > 1e-3);
      CHECK(same_bits(by_forward(host, p, batch), got));
    }
  });
}

// --- skipping -------------------------------------------------------------------------------------------

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

// --- doses ----------------------------------------------------------------------------------------------

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

// --- the stream and the mean ----------------------------------------------------------------------------

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

resect::inline_executor weights_exec;

// --- weights --------------------------------------------------------------------------------------------

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

// --- replacing ------------------------------------------------------------------------------------------

TEST_CASE("a replaced span is the function of what came in, with the rows' meta data, the same both ways") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    std::vector<tap> taps;
    std::vector<row_meta> rows;
    const auto student = [&](const tap& at, matrix_view<const float> in, matrix_view<float> out) {
      taps.push_back(at);
      rows.assign(at.rows.begin(), at.rows.end());
      for (size r = 0; r < in.rows; ++r)
        for (size c = 0; c < in.cols; ++c)
          out(r, c) = 0.5f * in(r, in.cols - 1 - c) + static_cast<float>(at.rows[static_cast<std::size_t>(r)].pos);
    };
    stream_values before;
    reference_llama ref{s.model, [&](site where, int l, stream_values& h) {
                          if (where == site::resid_pre && l == 1) before = h;
                          if (where != site::resid_post || l != 2) return;
                          for (std::size_t t = 0; t < h.size(); ++t)
                            for (std::size_t i = 0; i < h[t].size(); ++i)
                              h[t][i] = 0.5 * before[t][h[t].size() - 1 - i] + s.batch[t].pos;
                        }};
    check_against(s.host, plan{} | replace_span(layers(1, 3), student, 1), s.batch, flat(ref.logits(s.batch)));
    REQUIRE(taps.size() == 2);
    for (const auto& at : taps) {
      CHECK(at.where == site::resid_pre);
      CHECK(at.layer == 1);
    }
    CHECK(rows == s.batch);
  }
}

TEST_CASE("the stream may be edited right before and right after a replaced span") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    const auto student = [](const tap&, matrix_view<const float> in, matrix_view<float> out) {
      for (size r = 0; r < in.rows; ++r)
        for (size c = 0; c < in.cols; ++c) out(r, c) = 2.0f * in(r, c) - 1.0f;
    };
    stream_values before;
    reference_llama ref{s.model, [&](site where, int l, stream_values& h) {
                          if (where == site::resid_pre && l == 1) before = h;
                          if (where != site::resid_post || l != 2) return;
                          for (std::size_t t = 0; t < h.size(); ++t)
                            for (std::size_t i = 0; i < h[t].size(); ++i)
                              h[t][i] = 0.5 * (2.0 * (3.0 * before[t][i] + 0.25) - 1.0) + 0.125;
                        }};
    const auto p = plan{} | affine_step(site::resid_post, layer(2), 0.5f, 0.125f) |
                   replace_span(layers(1, 3), student, 1) | affine_step(site::resid_pre, layer(1), 3.0f, 0.25f);
    check_against(s.host, p, s.batch, flat(ref.logits(s.batch)));
  }
}

TEST_CASE("a student may return nothing, a status, and be anything that can be called") {
  planted_host host;
  const auto batch = host.draw(2, 3);
  const auto copy = [](matrix_view<const float> in, matrix_view<float> out) {
    for (size r = 0; r < in.rows; ++r)
      for (size c = 0; c < in.cols; ++c) out(r, c) = in(r, c);
  };
  const auto want = by_surgery(host, plan{} | skip(layers(1, 3)), batch);
  const auto returns_nothing = [copy](const tap&, matrix_view<const float> in, matrix_view<float> out) {
    copy(in, out);
  };
  const auto returns_status = [copy](const tap&, matrix_view<const float> in, matrix_view<float> out) -> status {
    copy(in, out);
    return {};
  };
  check_identity(host, plan{} | replace_span(layers(1, 3), returns_nothing, 1), batch, want);
  check_identity(host, plan{} | replace_span(layers(1, 3), returns_status, 1), batch, want);
  const resect::shared_function<status(const tap&, matrix_view<const float>, matrix_view<float>)> shared{
      returns_status};
  check_identity(host, plan{} | replace_span(layers(1, 3), shared, 1), batch, want);
}

// --- user's steps ---------------------------------------------------------------------------------------

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
  const delta_means means{6, 8, 1, 1, 1, floats(6 * 8, 0.25f)};
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
