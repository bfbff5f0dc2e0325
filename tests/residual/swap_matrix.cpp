// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/operator_checks.hpp>
#include <support/planted_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/core/threads.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/swap_matrix.hpp>

using namespace resect::residual;
using namespace support;
using resect::executor_ref;
using resect::matrix_view;
using resect::status;

namespace {

using size = resect::index_t;

floats drawn(size rows, size cols, std::uint64_t seed) {
  floats out(static_cast<std::size_t>(rows * cols));
  resect::random::fill_gaussian(out, seed, 0, 0, 0.1);
  return out;
}

std::string refusal(const resect::result<step>& r) { return r ? "fine" : parts(r.error()); }

}  // namespace

TEST_CASE("a swapped matrix gives the bits of a model that has it, for every matrix and layer") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    const auto weights = all_weights(s.host);
    const auto intact = by_surgery(s.host, plan{}, s.batch);
    for (const int l : {0, 3})
      for (int id = 0; id < hosts::n_layer_weights; ++id) {
        const weight_desc w = s.host.weights(l)[static_cast<std::size_t>(id)];
        const auto values = drawn(w.rows, w.cols, 7);
        auto changed = model;
        weight_in(changed.layers[static_cast<std::size_t>(l)], id).data.assign(values.begin(), values.end());
        llama_setting with(changed);
        const auto got =
            by_surgery(s.host, plan{} | swap_matrix(layer(l), w.name.view(), {values.data(), w.rows, w.cols}), s.batch);
        CAPTURE(std::string(w.name.view()));
        CHECK(same_bits(got, by_surgery(with.host, plan{}, s.batch)));
        CHECK_FALSE(same_bits(got, intact));
      }
    CHECK(all_weights(s.host) == weights);
  }
}

TEST_CASE("a matrix swapped for itself changes no bit") {
  llama_setting s;
  const auto want = by_surgery(s.host, plan{}, s.batch);
  for (const auto& w : s.host.weights(1)) {
    floats own(static_cast<std::size_t>(w.rows * w.cols));
    value_or_throw(s.host.try_read_weight(w, {own.data(), w.rows, w.cols}));
    CHECK(same_bits(
        by_surgery(s.host, plan{} | swap_matrix(layer(1), w.name.view(), {own.data(), w.rows, w.cols}), s.batch),
        want));
  }
}

TEST_CASE("the values are copied into the step, whatever their strides, and a range gets them in every layer") {
  llama_setting s;
  const weight_desc w = s.host.weights(0)[1];
  auto values = drawn(w.rows, w.cols, 3);
  floats turned(values.size());
  for (size r = 0; r < w.rows; ++r)
    for (size c = 0; c < w.cols; ++c)
      turned[static_cast<std::size_t>(c * w.rows + r)] = values[static_cast<std::size_t>(r * w.cols + c)];
  const auto p = plan{} | swap_matrix(layers(1, 3), w.name.view(), {values.data(), w.rows, w.cols});
  const auto q = plan{} | swap_matrix(layers(1, 3), w.name.view(),
                                      matrix_view<const float>{turned.data(), w.cols, w.rows}.transposed());
  const auto each = plan{} | swap_matrix(layer(1), w.name.view(), {values.data(), w.rows, w.cols}) |
                    swap_matrix(layer(2), w.name.view(), {values.data(), w.rows, w.cols});
  CHECK(p.fingerprint() == q.fingerprint());
  const auto want = by_surgery(s.host, p, s.batch);
  std::fill(values.begin(), values.end(), 9.0f);
  CHECK(same_bits(by_surgery(s.host, p, s.batch), want));
  CHECK(same_bits(by_surgery(s.host, q, s.batch), want));
  CHECK(same_bits(by_surgery(s.host, each, s.batch), want));
}

TEST_CASE("only the swapped matrix is overridden, and swaps of different matrices go together") {
  llama_setting s;
  counting_host host(s.host);
  const auto weights = host.weights(1);
  const auto swapped = [&](std::size_t id) {
    const weight_desc& w = weights[id];
    const auto values = drawn(w.rows, w.cols, id);
    return swap_matrix(layer(1), w.name.view(), {values.data(), w.rows, w.cols});
  };
  const auto p = plan{} | swapped(1) | swapped(8);
  host.reset();
  (void)by_surgery(host, p, s.batch);
  CHECK(host.n.overrides == 2);
  CHECK(error_of([&] { (void)(p | swapped(8)); }).find("conflict | swap_matrix on layers [1, 2)") == 0);
  CHECK(error_of([&] { (void)(p | reinit(layer(1), 3, norm_gains::keep)); }).find("conflict") == 0);
  CHECK(error_of([&] { (void)(p | skip(layer(1))); }).find("conflict") == 0);
  CHECK(error_of([&] { (void)(p | skip(layer(2))); }) == "fine");
}

TEST_CASE("a matrix that a layer has not got, or of another shape, is an error before anything is run") {
  llama_setting s;
  counting_host host(s.host);
  const weight_desc w = host.weights(0)[1];
  const auto values = drawn(w.rows + 1, w.cols, 3);
  const std::string extents = std::to_string(w.rows) + " x " + std::to_string(w.cols);
  const auto run_with = [&](std::string_view name, size rows, size cols) {
    const auto p = plan{} | swap_matrix(layers(1, 3), name, {values.data(), rows, cols});
    auto state = value_or_throw(host.try_embed(s.batch));
    const auto before = copied(host.stream(state));
    host.reset();
    const auto st = try_run(host, p, state, 0, 4);
    CHECK(host.n.runs == 0);
    CHECK(host.n.overrides == 0);
    CHECK(same_bits(copied(host.stream(state)), before));
    return parts(st);
  };
  const std::string name(w.name.view());
  CHECK(run_with("attn.nothing", w.rows, w.cols) ==
        "invalid argument | attn.nothing of layer 1 for swap_matrix | no such weight | the name of a weight of the "
        "layer");
  CHECK(run_with(name, w.rows + 1, w.cols) == "shape mismatch | " + name + " of layer 1 for swap_matrix | " +
                                                  std::to_string(w.rows + 1) + " x " + std::to_string(w.cols) + " | " +
                                                  extents);
  CHECK(run_with(name, w.rows, w.cols - 1).find("shape mismatch") == 0);
  floats out(3, 1.0f);  // a runner that does not check
  resect::inline_executor alone;
  const auto change =
      swap_matrix(layer(0), "q", {values.data(), 2, 3}).op.change({.name = "q"}, {out.data(), 1, 3}, alone);
  CHECK_FALSE(change);
  CHECK(parts(change.outcome()) == "shape mismatch | q | 1 x 3 | 2 x 3");
  CHECK(out == floats(3, 1.0f));
  const auto p = plan{} | swap_matrix(layers(1, 3), "attn.nothing", {values.data(), w.rows, w.cols});
  auto state = value_or_throw(host.try_embed(s.batch));
  CHECK(parts(try_run(host, p, state, 0, 1)) == "fine");  // layers that the step is not about
  CHECK(parts(try_run(host, p, state, 1, 2)) != "fine");
}

TEST_CASE("values that cannot be meant are refused when the step is made") {
  floats v(12, 1.0f);
  CHECK(refusal(try_swap_matrix(layer(0), "q", {v.data(), 3, 4})) == "fine");
  CHECK(refusal(try_swap_matrix(layer(0), "", {v.data(), 3, 4})).find("invalid argument | weight of swap_matrix") == 0);
  CHECK(refusal(try_swap_matrix(layer(0), std::string(49, 'q'), {v.data(), 3, 4})).find("invalid argument | weight") ==
        0);
  CHECK(refusal(try_swap_matrix(layer(0), "q", {nullptr, 3, 4})).find("null pointer | q of swap_matrix") == 0);
  CHECK(refusal(try_swap_matrix(layer(0), "q", {v.data(), 0, 4})).find("shape mismatch | q of swap_matrix") == 0);
  CHECK(refusal(try_swap_matrix(layer(0), "q", {v.data(), 3, 4, -4})).find("bad stride | q of swap_matrix") == 0);
  for (std::size_t i = 0; i < v.size(); ++i) {
    v[i] = i % 2 == 0 ? std::nanf("") : HUGE_VALF;
    CHECK(refusal(try_swap_matrix(layer(0), "q", {v.data(), 3, 4}))
              .find("not finite | q of swap_matrix, row " + std::to_string(i / 4) + ", column " +
                    std::to_string(i % 4)) == 0);
    CHECK_THROWS_AS(swap_matrix(layer(0), "q", {v.data(), 3, 4}), resect::exception);
    v[i] = 1.0f;
  }
}

TEST_CASE("fingerprints tell values, names, layers and functions apart") {
  floats a(6, 1.0f), b(6, 1.0f);
  b[5] = 1.5f;
  const auto of = [](const step& x) { return (plan{} | x).fingerprint(); };
  const auto nothing = [](const weight_desc&, matrix_view<float>, executor_ref) { return false; };
  const step all[] = {swap_matrix(layer(0), "q", {a.data(), 2, 3}),
                      swap_matrix(layer(0), "q", {b.data(), 2, 3}),
                      swap_matrix(layer(0), "k", {a.data(), 2, 3}),
                      swap_matrix(layer(1), "q", {a.data(), 2, 3}),
                      swap_matrix(layer(0), "q", {a.data(), 3, 2}),
                      map_weights(layer(0), nothing, 1),
                      map_weights(layer(0), nothing, 2)};
  for (std::size_t i = 0; i < std::size(all); ++i)
    for (std::size_t j = 0; j < i; ++j) CHECK(of(all[i]) != of(all[j]));
}

TEST_CASE("map_weights rewrites every matrix of its layers and no gain, whatever its function returns") {
  llama_setting s;
  auto changed = s.model;
  for (const int l : {1, 2})
    for (int id = 0; id < hosts::n_layer_weights; ++id)
      if (!hosts::is_norm_gain(id))
        for (float& x : weight_in(changed.layers[static_cast<std::size_t>(l)], id).data) x *= 0.5f;
  llama_setting with(changed);
  const auto want = by_surgery(with.host, plan{}, s.batch);
  const auto weights = all_weights(s.host);
  const auto halve = [](matrix_view<float> v) {
    for (size r = 0; r < v.rows; ++r)
      for (size c = 0; c < v.cols; ++c) v(r, c) *= 0.5f;
  };
  const auto check = [&](auto f) {
    CHECK(same_bits(by_surgery(s.host, plan{} | map_weights(layers(1, 3), f, 1), s.batch), want));
    CHECK(all_weights(s.host) == weights);
  };
  check([halve](const weight_desc& w, matrix_view<float> v, executor_ref) {
    CHECK(w.role == weight_role::matrix);
    CHECK((w.layer == 1 || w.layer == 2));
    CHECK((w.rows == v.rows && w.cols == v.cols));
    halve(v);
  });
  check([halve](const weight_desc&, matrix_view<float> v, executor_ref) { return halve(v), true; });
  check([halve](const weight_desc&, matrix_view<float> v, executor_ref) -> status { return halve(v), status{}; });
  check([halve](const weight_desc&, matrix_view<float> v, executor_ref) -> weight_change { return halve(v), true; });

  counting_host host(s.host);
  const auto one = plan{} | map_weights(
                                layers(0, 4),
                                [halve](const weight_desc& w, matrix_view<float> v, executor_ref) {
                                  if (w.layer != 2 || w.id != 3) return false;
                                  halve(v);
                                  return true;
                                },
                                1);
  host.reset();
  (void)by_surgery(host, one, s.batch);
  CHECK(host.n.overrides == 1);
}

TEST_CASE("a swap and a map at one layer act in the order they were added") {
  llama_setting s;
  const weight_desc w = s.host.weights(1)[4];
  const auto values = drawn(w.rows, w.cols, 5);
  const auto swapped = [&](float factor) {
    floats v = values;
    for (float& x : v) x *= factor;
    return swap_matrix(layer(1), w.name.view(), {v.data(), w.rows, w.cols});
  };
  const auto twice = map_weights(
      layer(1),
      [name = w.name](const weight_desc& x, matrix_view<float> v, executor_ref) {
        if (x.name.view() != name.view()) return false;
        for (size r = 0; r < v.rows; ++r)
          for (size c = 0; c < v.cols; ++c) v(r, c) *= 2.0f;
        return true;
      },
      1);
  CHECK(same_bits(by_surgery(s.host, plan{} | swapped(1) | twice, s.batch),
                  by_surgery(s.host, plan{} | swapped(2), s.batch)));
  CHECK(same_bits(by_surgery(s.host, plan{} | twice | swapped(1), s.batch),
                  by_surgery(s.host, plan{} | swapped(1), s.batch)));
}

TEST_CASE("a whole layer is quantized by a function of three lines, with the same bits for any number of workers") {
  llama_setting s;
  const auto to_four_bits = map_weights(
      layers(1, 3),
      [](const weight_desc&, matrix_view<float> values, executor_ref exec) -> status {
        const auto q = resect::quant::try_quantize(exec, values, resect::quant::affine<4>{.group = 16});
        return q ? resect::quant::try_dequantize(exec, *q, values) : q.error();
      },
      4);
  auto changed = s.model;
  resect::inline_executor here;
  for (const int l : {1, 2})
    for (int id = 0; id < hosts::n_layer_weights; ++id)
      if (!hosts::is_norm_gain(id)) {
        auto& m = weight_in(changed.layers[static_cast<std::size_t>(l)], id);
        const auto q = resect::quant::quantize(here, m.view(), resect::quant::affine<4>{.group = 16});
        resect::quant::dequantize(here, q, {m.data.data(), m.rows, m.cols});
      }
  llama_setting with(changed);
  const auto want = by_surgery(with.host, plan{}, s.batch);
  const auto intact = by_surgery(s.host, plan{}, s.batch);
  CHECK(relative_difference(want, intact) > 1e-3);
  CHECK(relative_difference(want, intact) < 0.5);
  for (const int workers : {1, 3}) {
    resect::threads pool{workers};
    auto state = value_or_throw(s.host.try_embed(s.batch));
    REQUIRE(try_run(pool, s.host, plan{} | to_four_bits, state, 0, 4));
    CHECK(same_bits(head_of(s.host, state), want));
  }
}

TEST_CASE("what a function reports is the error of the pass, with the matrix named, and all weights are as before") {
  llama_setting s;
  const auto weights = all_weights(s.host);
  const auto intact = by_surgery(s.host, plan{}, s.batch);
  const auto run_with = [&](auto f) {
    const auto message = error_of([&] { by_surgery(s.host, plan{} | map_weights(layers(1, 4), f, 1), s.batch); });
    CHECK(all_weights(s.host) == weights);
    return message;
  };
  const std::string name(s.host.weights(2)[3].name.view());
  const auto fails = [](const weight_desc& w, matrix_view<float> v, executor_ref) -> status {
    v(0, 0) = 4.0f;
    if (w.layer == 2 && w.id == 3) return resect::error{resect::errc::unsupported, "group", "3", "8"};
    return {};
  };
  CHECK(run_with(fails) == "unsupported | " + name + " of layer 2: group | 3 | 8");
  CHECK(run_with([](const weight_desc&, matrix_view<float>, executor_ref) -> weight_change {
          return resect::error{resect::errc::io, "file", {}, {}};
        }).find("i/o | ") == 0);
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()})
    CHECK(run_with([bad](const weight_desc& w, matrix_view<float> v, executor_ref) {
            if (w.layer == 2 && w.id == 3) v(2, 1) = bad;
          }).find("not finite | " + name + " of layer 2, row 2, column 1") == 0);
  CHECK(same_bits(by_surgery(s.host, plan{}, s.batch), intact));
}

TEST_CASE("a host of the edit level has no weights to swap") {
  llama_setting s;
  const floats v(4, 1.0f);
  CHECK(error_of([&] { by_forward(s.host, plan{} | swap_matrix(layer(1), "attn.q", {v.data(), 2, 2}), s.batch); }) ==
        "unsupported | weights for swap_matrix | a host without try_override_weight | one of the surgery level");
}
