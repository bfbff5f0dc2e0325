// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/planted_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/residual/noise.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;

namespace {

using size = resect::index_t;

// The step's function on rows of its own.
floats noisy(const floats& h, size width, const std::vector<row_meta>& rows, float s, std::uint64_t seed, int l = 2,
             site where = site::resid_post) {
  floats out = h;
  (void)noise(layer(l), where, s, seed)
      .op.apply({where, l, rows}, {}, {out.data(), static_cast<size>(rows.size()), width});
  return out;
}

std::vector<row_meta> some_rows(int n) {
  std::vector<row_meta> out;
  for (int i = 0; i < n; ++i) out.push_back({i / 7, i % 7, 3, 0});
  return out;
}

floats some_values(size n) {
  floats out(static_cast<std::size_t>(n));
  resect::random::fill_gaussian(out, 4, 0, 0, 3.0);
  return out;
}

double rms(const float* x, size n) {
  double sum = 0;
  for (size i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return std::sqrt(sum / static_cast<double>(n));
}

constexpr site all_sites[] = {site::resid_pre, site::attn_delta, site::resid_mid, site::mlp_delta, site::resid_post};

}  // namespace

TEST_CASE("noise is s times the row's root mean square times normal numbers of the place") {
  const size width = 11;
  const auto rows = some_rows(20);
  const auto h = some_values(20 * width);
  const auto got = noisy(h, width, rows, 0.25f, 9, 3, site::mlp_delta);
  const resect::random::philox_stream stream{9, std::uint64_t{3} << 32 | static_cast<std::uint64_t>(site::mlp_delta)};
  floats want;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const float* row = &h[r * static_cast<std::size_t>(width)];
    const double amplitude = 0.25 * rms(row, width);
    for (size c = 0; c < width; ++c) {
      const auto block =
          stream.block(static_cast<std::uint64_t>(rows[r].seq) << 32 | static_cast<std::uint64_t>(rows[r].pos),
                       static_cast<std::uint64_t>(c / 2));
      const double e = resect::random::gaussian(resect::random::uniform_open_f64(block.pair(static_cast<int>(c % 2))));
      want.push_back(static_cast<float>(static_cast<double>(row[c]) + amplitude * e));
    }
  }
  CHECK(relative_difference(got, want) < 1e-7);
}

TEST_CASE("the noise of a row has mean 0 and s times the row's size, whatever that is") {
  const size width = 4000;
  for (const float scale : {1e-3f, 1.0f, 1e4f}) {
    auto h = some_values(5 * width);
    for (float& x : h) x *= scale;
    const auto got = noisy(h, width, some_rows(5), 0.5f, 1);
    for (size r = 0; r < 5; ++r) {
      floats added(static_cast<std::size_t>(width));
      double mean = 0;
      for (size c = 0; c < width; ++c) {
        const auto i = static_cast<std::size_t>(r * width + c);
        added[static_cast<std::size_t>(c)] = got[i] - h[i];
        mean += static_cast<double>(got[i] - h[i]) / static_cast<double>(width);
      }
      const double size_of_row = rms(&h[static_cast<std::size_t>(r * width)], width);
      CHECK(rms(added.data(), width) == Approx(0.5 * size_of_row).epsilon(0.05));
      CHECK(std::fabs(mean) < 0.04 * size_of_row);
    }
  }
}

TEST_CASE("the draw depends on sequence, position, column, layer, site and seed, and on nothing else of the row") {
  const size width = 6;
  const floats h(6, 1.0f);
  const auto at = [&](row_meta row, std::uint64_t seed = 1, int l = 2, site where = site::resid_post) {
    return noisy(h, width, {row}, 0.5f, seed, l, where);
  };
  const row_meta here{3, 5, 7, 0};
  const auto base = at(here);
  CHECK(same_bits(at({3, 5, 99, row_meta::decode | row_meta::wants_logits}), base));
  std::vector<floats> all{base, at({4, 5, 7, 0}), at({3, 6, 7, 0}), at({5, 3, 7, 0}), at(here, 2), at(here, 1, 3)};
  for (const site s : all_sites)
    if (s != site::resid_post) all.push_back(at(here, 1, 2, s));
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      for (std::size_t c = 0; c < 6; ++c) CHECK(all[i][c] != all[j][c]);
  for (std::size_t c = 1; c < 6; ++c) CHECK(base[c] != base[c - 1]);
}

TEST_CASE("a row's number in the matrix and its company change nothing, nor does how it lies in memory") {
  const size width = 9;
  const auto rows = some_rows(12);
  const auto h = some_values(12 * width);
  const auto want = noisy(h, width, rows, 0.3f, 5);
  std::vector<row_meta> turned(rows.rbegin(), rows.rend());
  floats reversed;
  for (size r = 12; r-- > 0;) reversed.insert(reversed.end(), h.begin() + r * width, h.begin() + (r + 1) * width);
  const auto got = noisy(reversed, width, turned, 0.3f, 5);
  for (size r = 0; r < 12; ++r) {
    const floats a(want.begin() + r * width, want.begin() + (r + 1) * width);
    const floats b(got.begin() + (11 - r) * width, got.begin() + (12 - r) * width);
    const floats c = noisy({h.begin() + r * width, h.begin() + (r + 1) * width}, width,
                           {rows[static_cast<std::size_t>(r)]}, 0.3f, 5);
    CHECK(same_bits(a, b));
    CHECK(same_bits(a, c));
  }
  floats spread(static_cast<std::size_t>(12 * 2 * width), -5.0f);
  for (size r = 0; r < 12; ++r)
    for (size c = 0; c < width; ++c)
      spread[static_cast<std::size_t>(r + 12 * 2 * c)] = h[static_cast<std::size_t>(r * width + c)];
  (void)noise(layer(2), site::resid_post, 0.3f, 5)
      .op.apply({site::resid_post, 2, rows}, {}, {spread.data(), 12, width, 1, 24});
  for (size r = 0; r < 12; ++r)
    for (size c = 0; c < width; ++c) {
      CHECK(spread[static_cast<std::size_t>(r + 24 * c)] == want[static_cast<std::size_t>(r * width + c)]);
      CHECK(spread[static_cast<std::size_t>(r + 12 + 24 * c)] == -5.0f);
    }
}

TEST_CASE("a dose of 0, a row of zeros and a pad keep their bits") {
  const floats h{1.0f, -0.0f, 0.0f, -2.0f, 0.0f, -0.0f, -0.0f, 0.0f};
  auto rows = some_rows(2);
  CHECK(same_bits(noisy(h, 4, rows, 0.0f, 1), h));
  const floats lost{1.0f, std::numeric_limits<float>::infinity(), -0.0f, 2.0f, 1.0f, std::nanf(""), 3.0f, 0.0f};
  CHECK(same_bits(noisy(lost, 4, rows, 0.0f, 1), lost));
  const auto got = noisy(h, 4, rows, 0.5f, 1);
  CHECK(same_bits({got.begin() + 4, got.end()}, {h.begin() + 4, h.end()}));
  CHECK_FALSE(same_bits(got, h));
  rows[0].flags = row_meta::pad;
  CHECK(same_bits(noisy(h, 4, rows, 0.5f, 1), h));

  llama_setting s;
  const auto want = by_surgery(s.host, plan{}, s.batch);
  for (const site where : all_sites) {
    const auto p = plan{} | noise(layers(0, 4), where, 0.0f, 3);
    CHECK(same_bits(by_surgery(s.host, p, s.batch), want));
    CHECK(same_bits(by_forward(s.host, p, s.batch), want));
  }
}

TEST_CASE("a model gets the noise at its sites, the same both ways, and as the reference computes it") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    for (const site where : all_sites) {
      const auto p = plan{} | noise(layers(1, 3), where, 0.2f, 8);
      reference_llama ref{model, [&](site at, int l, stream_values& h) {
                            if (at != where || l < 1 || l >= 3) return;
                            for (std::size_t t = 0; t < h.size(); ++t) {
                              floats row(h[t].begin(), h[t].end()), unit = row;
                              unit = noisy(row, static_cast<size>(row.size()), {s.batch[t]}, 0.2f, 8, l, where);
                              for (std::size_t i = 0; i < row.size(); ++i)
                                h[t][i] += static_cast<double>(unit[i]) - static_cast<double>(row[i]);
                            }
                          }};
      const auto got = by_surgery(s.host, p, s.batch);
      CHECK(relative_difference(got, flat(ref.logits(s.batch))) < 1e-5);
      CHECK(relative_difference(got, by_surgery(s.host, plan{}, s.batch)) > 1e-3);
      CHECK(same_bits(by_forward(s.host, p, s.batch), got));
    }
  }
}

TEST_CASE("a prefill in one go and row by row get the same noise") {
  llama_setting s;
  const auto p = plan{} | noise(layers(0, 4), site::resid_mid, 0.3f, 2);
  const auto whole = by_forward(s.host, p, s.batch);
  forget_all(s.host, s.batch);
  floats got;
  for (const auto& row : s.batch) {
    forward(s.host, p, {&row, 1});
    const auto logits = copied(s.host.logits());
    got.insert(got.end(), logits.begin(), logits.end());
  }
  CHECK(relative_difference(got, whole) < 1e-5);
}

TEST_CASE("doses and seeds are told apart, and two noises at one place both act") {
  const auto of = [](const step& x) { return (plan{} | x).fingerprint(); };
  const step all[] = {noise(layer(1), site::resid_pre, 0.1f, 1), noise(layer(1), site::resid_pre, 0.2f, 1),
                      noise(layer(1), site::resid_pre, 0.1f, 2), noise(layer(2), site::resid_pre, 0.1f, 1),
                      noise(layer(1), site::resid_post, 0.1f, 1)};
  for (std::size_t i = 0; i < std::size(all); ++i)
    for (std::size_t j = 0; j < i; ++j) CHECK(of(all[i]) != of(all[j]));
  CHECK(of(noise(layer(1), site::resid_pre, 0.1f, 1)) == of(all[0]));

  planted_host host;
  const auto batch = host.draw(3, 5);
  const auto one = by_surgery(host, plan{} | all[0], batch), both = by_surgery(host, plan{} | all[0] | all[2], batch);
  CHECK_FALSE(same_bits(one, both));
}

TEST_CASE("a dose that is negative or not finite is refused") {
  for (const float s : {-0.1f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    const auto r = try_noise(layer(0), site::resid_pre, s, 1);
    REQUIRE_FALSE(r);
    CHECK(r.error().code == resect::errc::invalid_argument);
    CHECK(r.error().operand == "dose of noise");
    CHECK_THROWS_AS(noise(layer(0), site::resid_pre, s, 1), resect::exception);
  }
  CHECK(error_of([] { (void)(plan{} | noise(layer(0), site::logits, 0.1f, 1)); }) ==
        "invalid argument | site of noise | logits | a site of a layer");
}
