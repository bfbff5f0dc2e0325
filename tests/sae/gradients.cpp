// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <vector>

#include <support/catch.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/sae/architectures/batch_topk.hpp>
#include <resect/sae/architectures/jump_relu.hpp>
#include <resect/sae/architectures/topk.hpp>
#include <resect/sae/trainer.hpp>

using namespace resect;
using namespace resect::sae;

namespace {

using resect::index_t;

matrix<float> rows_of(index_t rows, index_t width, std::uint64_t seed) {
  matrix<float> x(rows, width);
  for (index_t i = 0; i < x.data.size(); ++i)
    x.data[i] = static_cast<float>(0.7 + 1.5 * random::gaussian(seed, 1, static_cast<std::uint64_t>(i)));
  return x;
}

// A trainer whose encoder and decoder differ and whose biases are not 0; every third latent is dead if asked for.
template <class T, class A>
trainer<T, A> made(const A& how, trainer_options options, matrix_view<const float> x, bool with_dead = false) {
  cpu exec;
  options.latents = 12;
  auto t = value_or_throw(trainer<T, A>::try_make(exec, how, options, x));
  auto& s = t.mutable_state();
  for (index_t j = 0; j < 12; ++j) {
    s.weights.encoder_bias[j] = static_cast<T>(0.1 * std::sin(static_cast<double>(j)));
    for (index_t c = 0; c < x.cols; ++c)
      s.weights.encoder(j, c) *= static_cast<T>(1 + 0.1 * std::cos(static_cast<double>(3 * j + c)));
    if (with_dead && j % 3 == 0) s.since_fired[j] = options.dead_after;
  }
  return t;
}

// Calls visit(part of the state, part of the gradient) for all parameters but thresholds.
template <class F>
void each_part(dictionary<double>& weights, const dictionary<double>& gradient, F&& visit) {
  visit(weights.encoder.data, gradient.encoder.data);
  visit(weights.encoder_bias, gradient.encoder_bias);
  visit(weights.decoder.data, gradient.decoder.data);
  visit(weights.bias, gradient.bias);
}
double norm_of(const dictionary<double>& g) {
  double sum = 0;
  visit_parts(g, [&](std::string_view, const array<double>& part) {
    for (const double x : part) sum += x * x;
  });
  return std::sqrt(sum);
}
// The largest |central difference of loss() − gradient| over the gradient's norm.
template <class F>
double worst_difference(dictionary<double>& weights, const dictionary<double>& gradient, F&& loss) {
  const double step = 1e-5, norm = norm_of(gradient);
  double worst = 0;
  each_part(weights, gradient, [&](array<double>& part, const array<double>& want) {
    for (index_t i = 0; i < part.size(); ++i) {
      const double before = part[i];
      part[i] = before + step;
      const double up = loss();
      part[i] = before - step;
      const double down = loss();
      part[i] = before;
      worst = std::max(worst, std::fabs((up - down) / (2 * step) - want[i]) / norm);
    }
  });
  return worst;
}
template <class A>
double worst_of(const A& how, const trainer_options& options) {
  cpu exec;
  const auto x = rows_of(9, 7, 3);
  auto t = made<double>(how, options, x.view());
  dictionary<double> gradient, ignored;
  REQUIRE(t.try_gradient(exec, x.view(), gradient));
  return worst_difference(t.mutable_state().weights, gradient,
                          [&] { return value_or_throw(t.try_gradient(exec, x.view(), ignored)).loss; });
}

// A forward pass in plain loops: what the trainer's must be.
struct plain_pass {
  matrix<double> pre, error;  // h (B, F); e = x − x̂ (B, d)
  plain_pass(const dictionary<double>& w, matrix_view<const float> x, double scale, auto keeps)
      : pre(x.rows, w.latents()), error(x.rows, x.cols) {
    for (index_t r = 0; r < x.rows; ++r) {
      for (index_t j = 0; j < w.latents(); ++j) {
        double h = w.encoder_bias[j];
        for (index_t c = 0; c < x.cols; ++c) h += w.encoder(j, c) * (static_cast<double>(x(r, c)) * scale - w.bias[c]);
        pre(r, j) = h;
      }
      for (index_t c = 0; c < x.cols; ++c) {
        error(r, c) = static_cast<double>(x(r, c)) * scale - w.bias[c];
        for (index_t j = 0; j < w.latents(); ++j)
          if (keeps(pre, r, j)) error(r, c) -= pre(r, j) * w.decoder(j, c);
      }
    }
  }
};
// Whether h(r, j) is positive and among the k largest of the latents that `in` names.
auto among_largest(index_t k, auto in) {
  return [k, in](const matrix<double>& h, index_t r, index_t j) {
    index_t larger = 0;
    for (index_t i = 0; i < h.cols; ++i) larger += in(i) && h(r, i) > h(r, j) ? 1 : 0;
    return in(j) && h(r, j) > 0 && larger < k;
  };
}

}  // namespace

TEST_CASE("sae: gradients of topk and batch_topk are central differences of the loss, to 1e-6 of their norm") {
  for (const decoder_norm norm : {decoder_norm::projected, decoder_norm::folded}) {
    CHECK(worst_of(topk{{.latents = 3}}, {.aux_coefficient = 0, .norm = norm}) < 1e-6);
    CHECK(worst_of(batch_topk{{.latents = 3}}, {.aux_coefficient = 0, .norm = norm}) < 1e-6);
  }
}

TEST_CASE(
    "sae: the gradient of jump_relu but for thresholds is the central difference of the loss, to 1e-6 of its norm") {
  CHECK(worst_of(jump_relu{.latents = 3, .penalty = 0.01}, {.aux_coefficient = 0}) < 1e-6);
}

TEST_CASE("sae: the gradient of AuxK is the central difference of its loss with the errors held, to 1e-6 of its norm") {
  cpu exec;
  const auto x = rows_of(9, 7, 3);
  const trainer_options options{.aux_coefficient = 0.5};
  auto with = made<double>(topk{{.latents = 3}}, options, x.view(), true);
  auto without = made<double>(topk{{.latents = 3}}, {.aux_coefficient = 0}, x.view(), true);
  dictionary<double> gradient, main;
  const auto report = with.try_gradient(exec, x.view(), gradient);
  REQUIRE(report);
  REQUIRE(report->dead == 4);
  REQUIRE(without.try_gradient(exec, x.view(), main));
  each_part(gradient, main, [](array<double>& part, const array<double>& of_main) {
    for (index_t i = 0; i < part.size(); ++i) part[i] -= of_main[i];
  });

  auto& state = with.mutable_state();
  const auto dead = [](index_t j) { return j % 3 == 0; };
  const plain_pass held(state.weights, x.view(), state.scale, among_largest(3, [](index_t) { return true; }));
  double spread = 0;
  for (index_t c = 0; c < 7; ++c) {
    double mean = 0;
    for (index_t r = 0; r < 9; ++r) mean += held.error(r, c) / 9;
    for (index_t r = 0; r < 9; ++r) spread += (held.error(r, c) - mean) * (held.error(r, c) - mean);
  }
  const auto aux = [&] {  // the three largest dead latents a row: half of d = 7
    const plain_pass now(state.weights, x.view(), state.scale, among_largest(3, dead));
    double sum = 0;
    for (index_t r = 0; r < 9; ++r)
      for (index_t c = 0; c < 7; ++c) {
        const double input = static_cast<double>(x(r, c)) * state.scale - state.weights.bias[c];
        const double gap = input - now.error(r, c) - held.error(r, c);  // ê − e
        sum += gap * gap;
      }
    return sum / spread;
  };
  CHECK(std::fabs(aux() - report->aux) < 1e-12);
  CHECK(worst_difference(state.weights, gradient, [&] { return 0.5 * aux(); }) < 1e-6);
}

TEST_CASE("sae: the gradient of thresholds is the closed form of its straight-through estimator") {
  cpu exec;
  const auto x = rows_of(40, 7, 3);
  const jump_relu how{.latents = 3, .bandwidth = 0.8, .penalty = 0.02};
  auto t = made<double>(how, {.aux_coefficient = 0}, x.view());
  dictionary<double> gradient;
  const auto report = t.try_gradient(exec, x.view(), gradient);
  REQUIRE(report);
  const auto& w = t.state().weights;
  const plain_pass now(w, x.view(), t.state().scale,
                       [&](const matrix<double>& h, index_t r, index_t j) { return h(r, j) > w.threshold[j]; });
  index_t inside = 0, kept = 0;
  for (index_t j = 0; j < 12; ++j) {
    double want = 0;
    for (index_t r = 0; r < 40; ++r) {
      kept += now.pre(r, j) > w.threshold[j] ? 1 : 0;
      if (std::fabs(now.pre(r, j) - w.threshold[j]) >= 0.4) continue;
      ++inside;
      double df = 0;  // ∂FVU/∂f
      for (index_t c = 0; c < 7; ++c) df += -2 * now.error(r, c) * w.decoder(j, c) / (40 * 7);
      want += -w.threshold[j] / 0.8 * df - 0.02 / 0.8 / 40;
    }
    INFO("latent " << j);
    CHECK(std::fabs(gradient.threshold[j] - want) < 1e-12);
  }
  CHECK(inside > 50);
  CHECK(std::fabs(report->mean_latents - static_cast<double>(kept) / 40) < 1e-12);
  CHECK(std::fabs(report->loss - report->fvu - 0.02 * report->mean_latents) < 1e-12);
}

TEST_CASE("sae: gradients in float are those in double to 1e-5 of their norm") {
  cpu exec;
  const auto x = rows_of(64, 33, 5);
  const auto gap = [&](const auto& how) {
    using A = std::remove_cvref_t<decltype(how)>;
    const trainer_options options{.aux_coefficient = 0.1};
    auto wide = made<double, A>(how, options, x.view(), true);
    auto narrow = made<float, A>(how, options, x.view(), true);
    auto& from = narrow.state().weights;  // the same parameters
    auto& to = wide.mutable_state().weights;
    const auto copied = [](array<double>& a, const array<float>& b) {
      for (index_t i = 0; i < a.size(); ++i) a[i] = static_cast<double>(b[i]);
    };
    copied(to.encoder.data, from.encoder.data);
    copied(to.encoder_bias, from.encoder_bias);
    copied(to.decoder.data, from.decoder.data);
    copied(to.bias, from.bias);
    copied(to.threshold, from.threshold);
    dictionary<double> exact;
    dictionary<float> got;
    REQUIRE(wide.try_gradient(exec, x.view(), exact));
    REQUIRE(narrow.try_gradient(exec, x.view(), got));
    double squares = 0;
    const auto add = [&](const array<double>& a, const array<float>& b) {
      for (index_t i = 0; i < a.size(); ++i) squares += std::pow(a[i] - static_cast<double>(b[i]), 2);
    };
    add(exact.encoder.data, got.encoder.data);
    add(exact.encoder_bias, got.encoder_bias);
    add(exact.decoder.data, got.decoder.data);
    add(exact.bias, got.bias);
    add(exact.threshold, got.threshold);
    return std::sqrt(squares) / norm_of(exact);
  };
  CHECK(gap(topk{{.latents = 3}}) < 1e-5);
  CHECK(gap(batch_topk{{.latents = 3}}) < 1e-5);
  CHECK(gap(jump_relu{.latents = 3}) < 1e-5);
}

// With β₁ = β₂ = 0 and ε far above every gradient, Adam's step is −rate·g/ε: what a step moves is the gradient that it used.
TEST_CASE("sae: a step moves every parameter against the gradient of the loss, clipped as a whole") {
  cpu exec;
  const auto x = rows_of(9, 7, 3);
  const double epsilon = 1e6;
  const auto check = [&](const auto& how, double clip) {
    using A = std::remove_cvref_t<decltype(how)>;
    const trainer_options options{.learning_rate = 0.5,
                                  .beta1 = 0,
                                  .beta2 = 0,
                                  .epsilon = epsilon,
                                  .warm_up = 0,
                                  .clip = clip,
                                  .aux_coefficient = 0.1,
                                  .norm = decoder_norm::folded};
    auto t = made<double, A>(how, options, x.view(), true);
    const dictionary<double> before = t.state().weights;
    dictionary<double> gradient;
    REQUIRE(t.try_gradient(exec, x.view(), gradient));
    const double norm = norm_of(gradient), scale = clip > 0 && norm > clip ? clip / norm : 1.0;
    const auto report = t.try_step(exec, x.view());
    REQUIRE(report);
    INFO(A::name << ", clip " << clip << ", gradient of norm " << norm << ", reported " << report->gradient_norm);
    if (clip > 0) CHECK(std::fabs(report->gradient_norm / norm - 1) < 1e-12);
    double worst = 0, largest = 0;
    const auto compare = [&](const array<double>& now, const array<double>& then, const array<double>& g) {
      for (index_t i = 0; i < g.size(); ++i) {
        worst = std::max(worst, std::fabs((now[i] - then[i]) * epsilon / 0.5 + scale * g[i]));
        largest = std::max(largest, std::fabs(scale * g[i]));
      }
    };
    const auto& now = t.state().weights;
    compare(now.encoder.data, before.encoder.data, gradient.encoder.data);
    compare(now.encoder_bias, before.encoder_bias, gradient.encoder_bias);
    compare(now.decoder.data, before.decoder.data, gradient.decoder.data);
    compare(now.bias, before.bias, gradient.bias);
    compare(now.threshold, before.threshold, gradient.threshold);
    // √g² + ε in place of ε, and the rounding of parameters of at most 4, times ε/rate
    CHECK(worst < largest * largest / epsilon + 8 * 0x1p-52 * epsilon);
    CHECK(largest > 1e4 * worst);
  };
  for (const double clip : {0.0, 0.01}) {
    check(topk{{.latents = 3}}, clip);
    check(batch_topk{{.latents = 3}}, clip);
    check(jump_relu{.latents = 3}, clip);
  }
}
