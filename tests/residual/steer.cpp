// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/llama_models.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/random/distributions.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/steer.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;

namespace {

constexpr std::size_t width = 37, rows = 9;

floats drawn(std::size_t n, std::uint64_t stream) {
  floats out(n);
  resect::random::fill_gaussian(out, 17, stream);
  return out;
}

floats applied(const step& s, floats h) {
  (void)s.op.apply(tap{}, {}, {h.data(), static_cast<resect::index_t>(rows), static_cast<resect::index_t>(width)});
  return h;
}

double inner(const float* a, const float* b) {
  double out = 0;
  for (std::size_t i = 0; i < width; ++i) out += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return out;
}

// want(row, i, ‖h‖, ⟨h, u⟩) against what the step makes of random rows, in units of the last place of the row.
template <class Mode, class Want>
double error_of(Mode mode, float c, Want want) {
  const auto v = drawn(width, 1), h = drawn(rows * width, 2);
  const double norm = std::sqrt(inner(v.data(), v.data()));
  const auto got = applied(steer(mode, layer(0), site::resid_post, v, c), h);
  double worst = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    const float* row = h.data() + r * width;
    const double size = std::sqrt(inner(row, row)), along = inner(row, v.data()) / norm;
    for (std::size_t i = 0; i < width; ++i) {
      const double value = want(static_cast<double>(row[i]), static_cast<double>(v[i]), norm, size, along, r);
      worst = std::max(worst, std::fabs(static_cast<double>(got[r * width + i]) - value) / size);
    }
  }
  return worst * 0x1p24;
}

TEST_CASE("every way of steering is its formula") {
  using std::sqrt;
  CHECK(error_of(steering::add{}, 2.5f,
                 [](double h, double v, double, double, double, std::size_t) { return h + 2.5 * v; }) < 4);
  CHECK(error_of(steering::relative{}, 0.3f, [](double h, double v, double norm, double size, double, std::size_t) {
          return h + static_cast<double>(0.3f) * size * v / norm;
        }) < 4);
  CHECK(error_of(steering::clamp{}, -1.5f, [](double h, double v, double norm, double, double along, std::size_t) {
          return h + (-1.5 - along) * v / norm;
        }) < 4);
  CHECK(error_of(steering::project_out{}, 0.0f, [](double h, double v, double norm, double, double along, std::size_t) {
          return h - along * v / norm;
        }) < 4);
  CHECK(error_of(steering::keep_norm{}, 2.0f,
                 [](double h, double v, double norm, double size, double along, std::size_t) {
                   return (h + 2 * v) * size / sqrt(size * size + 4 * along * norm + 4 * norm * norm);
                 }) < 8);
}

TEST_CASE("keep_norm keeps the norm of rows, clamp sets their component, project_out removes it") {
  const auto v = drawn(width, 1), h = drawn(rows * width, 2);
  const double norm = std::sqrt(inner(v.data(), v.data()));
  const auto kept = applied(steer(steering::keep_norm{}, layer(0), site::resid_pre, v, 7.0f), h);
  const auto clamped = applied(steer(steering::clamp{}, layer(0), site::resid_pre, v, 3.0f), h);
  const auto without = applied(steer(steering::project_out{}, layer(0), site::resid_pre, v), h);
  for (std::size_t r = 0; r < rows; ++r) {
    const float *a = h.data() + r * width, *k = kept.data() + r * width;
    CHECK(inner(k, k) == Approx(inner(a, a)).epsilon(1e-6));
    CHECK(inner(k, v.data()) > inner(a, v.data()));
    CHECK(inner(clamped.data() + r * width, v.data()) / norm == Approx(3.0).margin(1e-5));
    CHECK(inner(without.data() + r * width, v.data()) / norm == Approx(0.0).margin(1e-5));
  }
}

TEST_CASE("no strength is no change, bit for bit, and rows of zeros stay finite") {
  const auto v = drawn(width, 1), h = drawn(rows * width, 2);
  CHECK(same_bits(applied(steer(steering::add{}, layer(0), site::resid_pre, v), h), h));
  CHECK(same_bits(applied(steer(steering::relative{}, layer(0), site::resid_pre, v), h), h));
  CHECK(same_bits(applied(steer(steering::keep_norm{}, layer(0), site::resid_pre, v), h), h));
  const floats zero(rows * width, 0.0f);
  CHECK(same_bits(applied(steer(steering::relative{}, layer(0), site::resid_pre, v, 2.0f), zero), zero));
  CHECK(largest(applied(steer(steering::keep_norm{}, layer(0), site::resid_pre, v, 2.0f), zero)) == 0);
  auto opposite = zero;
  for (std::size_t i = 0; i < opposite.size(); ++i) opposite[i] = -v[i % width];
  CHECK(same_bits(applied(steer(steering::keep_norm{}, layer(0), site::resid_pre, v, 1.0f), opposite), zero));
}

TEST_CASE("steering a model's stream is the same by partial passes and by a whole pass, and changes its logits") {
  for (auto& model : small_models()) {
    llama_setting s(std::move(model));
    floats v(static_cast<std::size_t>(s.host.describe().d_model));
    resect::random::fill_gaussian(v, 3, 0);
    const auto intact = by_surgery(s.host, plan{}, s.batch);
    for (const site at : {site::resid_pre, site::resid_mid, site::resid_post, site::attn_delta}) {
      const auto p = plan{} | steer(steering::relative{}, layer(1), at, v, 0.5f);
      const auto steered = by_surgery(s.host, p, s.batch);
      CHECK(same_bits(steered, by_forward(s.host, p, s.batch)));
      CHECK(relative_difference(steered, intact) > 1e-3);
    }
  }
}

TEST_CASE("plans that steer differently have different fingerprints, and several may act at one place") {
  const auto v = drawn(width, 1), w = drawn(width, 2);
  const auto of = [](step s) { return (plan{} | std::move(s)).fingerprint(); };
  const auto base = of(steer(steering::add{}, layer(1), site::resid_post, v, 1.0f));
  CHECK(base != of(steer(steering::add{}, layer(1), site::resid_post, v, 2.0f)));
  CHECK(base != of(steer(steering::add{}, layer(1), site::resid_post, w, 1.0f)));
  CHECK(base != of(steer(steering::relative{}, layer(1), site::resid_post, v, 1.0f)));
  CHECK_NOTHROW(plan{} | steer(steering::add{}, layer(1), site::resid_post, v, 1.0f) |
                steer(steering::clamp{}, layer(1), site::resid_post, w, 1.0f));
}

TEST_CASE("directions that are none are refused by name") {
  const auto message = [](const auto& r) { return r ? std::string("fine") : parts(r.error()); };
  const floats zero(width, 0.0f), none;
  auto broken = drawn(width, 1);
  broken[5] = std::numeric_limits<float>::quiet_NaN();
  const auto try_all = [&](const floats& v, float c) {
    return message(try_steer(steering::relative{}, layer(0), site::resid_pre, v, c));
  };
  CHECK(try_all(none, 1.0f) == "invalid argument | direction of steer.relative | no element | d_model elements");
  CHECK(try_all(zero, 1.0f) ==
        "invalid argument | direction of steer.relative | a zero vector | a vector that is not zero");
  CHECK(try_all(broken, 1.0f) ==
        "not finite | direction or strength of steer.relative | NaN or infinity | finite values");
  CHECK(try_all(drawn(width, 1), std::numeric_limits<float>::infinity()).find("not finite") == 0);
  CHECK(message(try_steer(steering::add{}, layer(0), site::resid_pre, zero, 1.0f)) == "fine");
  floats large(width, 1.0f);  // a product that fp32 does not hold
  large[2] = -1e30f;
  CHECK(message(try_steer(steering::add{}, layer(0), site::resid_pre, large, 1e10f)) ==
        "not finite | direction times strength of steer.add | -1.00000002e+40 in element 2 | finite values in fp32");
  CHECK(message(try_steer(steering::keep_norm{}, layer(0), site::resid_pre, large, 1e10f)).find("not finite") == 0);
  CHECK(message(try_steer(steering::relative{}, layer(0), site::resid_pre, large, 1e10f)) == "fine");
  llama_setting s(small_models().front());
  const auto p = plan{} | steer(steering::add{}, layer(0), site::resid_pre, drawn(width, 1), 1.0f);
  CHECK(parts(p.check(s.host.describe())).find("width of steer.add") != std::string::npos);
}

}  // namespace
