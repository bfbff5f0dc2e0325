// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/similarity/cka.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/backend/cpu_extern.hpp>
#include <resect/metrics/similarity/streaming_cka.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;
using resect::matrix_view;

namespace {

struct rows {
  std::vector<float> data;
  index_t n, d;

  rows(index_t count, index_t width, std::uint64_t seed, float offset = 0)
      : data(static_cast<std::size_t>(count * width)), n(count), d(width) {
    resect::random::fill_gaussian(data, seed, 41);
    for (float& x : data) x += offset;
  }
  matrix_view<const float> view() const { return {data.data(), n, d, d, 1}; }
  matrix_view<const float> part(index_t first, index_t count) const { return view().middle_rows(first, count); }
};

// Y = half of X's columns times 3 plus noise: related, not the same.
rows related(const rows& x, index_t width, float noise, std::uint64_t seed) {
  rows y{x.n, width, seed};
  for (index_t r = 0; r < x.n; ++r)
    for (index_t c = 0; c < width; ++c) {
      float& v = y.data[static_cast<std::size_t>(r * width + c)];
      v = noise * v + (c < x.d ? 3 * x.data[static_cast<std::size_t>(r * x.d + c)] : 0.0f);
    }
  return y;
}

// HSIC₁ from n × n Gram matrices of the rows as they are, by the printed formula.
double hsic1(const rows& x, const rows& y) {
  const index_t n = x.n;
  const auto gram = [](const rows& a, index_t i, index_t j) {
    long double s = 0;
    for (index_t c = 0; c < a.d && i != j; ++c)
      s += static_cast<long double>(a.view()(i, c)) * static_cast<long double>(a.view()(j, c));
    return s;
  };
  long double trace = 0, k_all = 0, l_all = 0, cross = 0;
  for (index_t i = 0; i < n; ++i) {
    long double k_row = 0, l_row = 0;
    for (index_t j = 0; j < n; ++j) {
      const long double k = gram(x, i, j), l = gram(y, i, j);
      trace += k * l;
      k_row += k;
      l_row += l;
    }
    k_all += k_row;
    l_all += l_row;
    cross += k_row * l_row;
  }
  const long double m = static_cast<long double>(n);
  return static_cast<double>((trace + k_all * l_all / ((m - 1) * (m - 2)) - 2 / (m - 2) * cross) / (m * (m - 3)));
}
double hsic_cka(const rows& x, const rows& y) { return hsic1(x, y) / std::sqrt(hsic1(x, x) * hsic1(y, y)); }

double in_one_batch(const rows& x, const rows& y) {
  streaming_cka s{1, x.n, x.d, y.d};
  s.add(0, x.view(), y.view());
  return s.estimate().value;
}

}  // namespace

TEST_CASE("debiased CKA: feature form, Gram form, one minibatch and the printed HSIC formula are the same number") {
  resect::cpu exec;
  struct shape {
    index_t n, d1, d2;
  };
  for (const shape& s : {shape{4, 3, 2}, shape{30, 5, 7}, shape{12, 20, 30}, shape{20, 25, 6}}) {
    const rows x{s.n, s.d1, 1, 0.5f}, y = related(x, s.d2, 1, 2);
    const double wanted = hsic_cka(x, y);
    INFO(s.n << " rows, " << s.d1 << " and " << s.d2 << " columns");
    if (!std::isnan(wanted)) CHECK(linear_cka(exec, debiased{}, x.view(), y.view()) == Approx(wanted).epsilon(1e-9));
    if (!std::isnan(wanted)) CHECK(in_one_batch(x, y) == Approx(wanted).epsilon(1e-9));
  }
}

TEST_CASE("a common offset of all rows changes nothing but rounding") {
  resect::cpu exec;
  const rows x{40, 6, 1}, y = related(x, 5, 1, 2);
  rows far = x;
  for (index_t r = 0; r < 40; ++r) far.data[static_cast<std::size_t>(r * 6)] += 512;
  rows near = far;
  for (index_t r = 0; r < 40; ++r) near.data[static_cast<std::size_t>(r * 6)] -= 512;  // what is left after rounding
  CHECK(linear_cka(exec, debiased{}, far.view(), y.view()) ==
        Approx(linear_cka(exec, debiased{}, near.view(), y.view())).epsilon(1e-12));
  CHECK(in_one_batch(far, y) == Approx(in_one_batch(near, y)).epsilon(1e-12));
}

TEST_CASE("CKA is 1 for a rotation and scaling, for the biased and the debiased form") {
  resect::cpu exec;
  const rows x{50, 4, 3};
  rows y{50, 4, 4};
  const float q[4][4] = {{.5f, .5f, .5f, .5f}, {.5f, -.5f, .5f, -.5f}, {.5f, .5f, -.5f, -.5f}, {.5f, -.5f, -.5f, .5f}};
  for (index_t r = 0; r < 50; ++r)
    for (index_t c = 0; c < 4; ++c) {
      float v = 0;
      for (index_t k = 0; k < 4; ++k) v += x.view()(r, k) * q[k][c];
      y.data[static_cast<std::size_t>(r * 4 + c)] = 8 * v + 1;
    }
  CHECK(linear_cka(exec, biased{}, x.view(), y.view()) == Approx(1).epsilon(1e-6));
  CHECK(linear_cka(exec, debiased{}, x.view(), y.view()) == Approx(1).epsilon(1e-6));
  CHECK(in_one_batch(x, y) == Approx(1).epsilon(1e-6));
  CHECK(linear_cka(exec, biased{}, x.view(), x.view()) == Approx(1).epsilon(1e-14));
}

TEST_CASE(
    "independent representations: the biased form is inflated, the debiased one and the average of batches are not") {
  resect::cpu exec;
  double inflated = 0, unbiased = 0;
  streaming_cka stream{200, 16, 24, 24};
  for (int i = 0; i < 200; ++i) {
    const rows x{16, 24, 100 + static_cast<std::uint64_t>(i)}, y{16, 24, 9000 + static_cast<std::uint64_t>(i)};
    inflated += linear_cka(exec, biased{}, x.view(), y.view()) / 200;
    unbiased += linear_cka(exec, debiased{}, x.view(), y.view()) / 200;
    stream.add(i, x.view(), y.view());
  }
  const estimate e = stream.estimate();
  std::printf("CKA of independent rows (n = 16, d = 24): biased %.3f, debiased %.3f, streamed %.3f [%.3f, %.3f]\n",
              inflated, unbiased, e.value, e.lo, e.hi);
  CHECK(inflated > 0.5);
  CHECK(std::fabs(unbiased) < 0.03);
  CHECK(e.lo <= 0);
  CHECK(e.hi >= 0);
  CHECK(e.hi - e.lo < 0.1);
}

TEST_CASE("batches of any size tend to the CKA of all rows") {
  resect::cpu exec;
  const rows x{4000, 6, 5}, y = related(x, 8, 4, 6);
  const double all = linear_cka(exec, debiased{}, x.view(), y.view());
  for (const index_t batch : {index_t{5}, index_t{16}, index_t{100}}) {
    streaming_cka s{4000 / batch, batch, 6, 8};
    for (index_t b = 0; b < 4000 / batch; ++b) s.add(b, x.part(b * batch, batch), y.part(b * batch, batch));
    const estimate e = s.estimate();
    INFO("batches of " << batch);
    CHECK(e.value == Approx(all).margin(4 * e.se));
    CHECK(e.se < 0.08);
    CHECK(e.n == 4000 / batch);
  }
}

TEST_CASE("streamed CKA merges to one pass, batches of a cluster on any part") {
  const rows x{300, 5, 7}, y = related(x, 4, 2, 8);
  const auto make = [] { return streaming_cka{8, 10, 5, 4}; };
  const auto feed = [&](streaming_cka& s, index_t i) { s.add(i % 8, x.part(10 * i, 10), y.part(10 * i, 10)); };
  const auto whole = one_pass(30, make, feed);
  CHECK(whole.estimate().has_interval());
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    CHECK(same_estimate(merged_from_parts(seed, 4, 30, make, feed).estimate(), whole.estimate()));
  auto other = whole;
  CHECK(other.merge(streaming_cka{8, 10, 4, 5}).error().code == resect::errc::shape_mismatch);
  CHECK(other.merge(streaming_cka{7, 10, 5, 4}).error().code == resect::errc::shape_mismatch);
}

TEST_CASE("strided and transposed rows give the number of the packed ones") {
  resect::cpu exec;
  const rows x{20, 6, 9}, y = related(x, 3, 1, 10);
  std::vector<float> flipped(20 * 6);
  for (index_t r = 0; r < 20; ++r)
    for (index_t c = 0; c < 6; ++c) flipped[static_cast<std::size_t>(c * 20 + r)] = x.view()(r, c);
  const matrix_view<const float> t{flipped.data(), 20, 6, 1, 20};
  CHECK(linear_cka(exec, debiased{}, t, y.view()) == linear_cka(exec, debiased{}, x.view(), y.view()));
  streaming_cka a{1, 20, 6, 3}, b{1, 20, 6, 3};
  a.add(0, t, y.view());
  b.add(0, x.view(), y.view());
  CHECK(a.estimate().value == b.estimate().value);
}

TEST_CASE("of one column each, CKA is the squared correlation") {
  resect::cpu exec;
  const rows x{40, 1, 1}, y{40, 1, 2};
  double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < 40; ++i) {
    mx += static_cast<double>(x.data[i]) / 40;
    my += static_cast<double>(y.data[i]) / 40;
  }
  for (std::size_t i = 0; i < 40; ++i) {
    const double a = static_cast<double>(x.data[i]) - mx, b = static_cast<double>(y.data[i]) - my;
    xx += a * a;
    yy += b * b;
    xy += a * b;
  }
  CHECK(linear_cka(exec, biased{}, x.view(), y.view()) == Approx(xy * xy / (xx * yy)).epsilon(1e-9));
  const rows wide{40, 3, 3};
  CHECK(try_linear_cka(exec, biased{}, x.view(), wide.view()));
  CHECK(try_linear_cka(exec, biased{}, wide.view(), x.view()));
  CHECK(try_linear_cka(exec, biased{}, {x.data.data(), 40, 0, 0, 1}, x.view()).error().code ==
        resect::errc::shape_mismatch);
}

TEST_CASE("constant rows have no CKA; bad shapes are errors and add nothing") {
  resect::cpu exec;
  const rows x{10, 3, 1};
  rows constant{10, 3, 2};
  for (float& v : constant.data) v = 2;
  CHECK(std::isnan(linear_cka(exec, biased{}, x.view(), constant.view())));
  CHECK(std::isnan(linear_cka(exec, debiased{}, constant.view(), x.view())));
  CHECK(std::isnan(in_one_batch(x, constant)));
  const auto shape = resect::errc::shape_mismatch;
  CHECK(try_linear_cka(exec, debiased{}, x.part(0, 3), x.part(0, 3)).error().code == shape);
  CHECK(try_linear_cka(exec, debiased{}, x.part(0, 5), x.view()).error().code == shape);
  CHECK(try_linear_cka(exec, biased{}, {nullptr, 10, 3, 3, 1}, x.view()).error().code == resect::errc::null_pointer);
  streaming_cka s{1, 8, 3, 3};
  CHECK(s.try_add(0, x.view(), x.view()).error().code == shape);
  CHECK(s.try_add(0, x.part(0, 3), x.part(0, 3)).error().code == shape);
  CHECK(s.try_add(0, x.part(0, 5), x.part(0, 6)).error().code == shape);
  CHECK(s.try_add(0, {nullptr, 5, 3, 3, 1}, x.part(0, 5)).error().code == resect::errc::null_pointer);
  CHECK_THROWS_AS(s.add(0, x.view(), x.view()), resect::exception);
  CHECK(s.estimate().n == 0);
  CHECK(std::isnan(s.estimate().value));
}

}  // namespace tests
