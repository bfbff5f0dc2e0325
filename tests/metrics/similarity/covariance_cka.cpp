// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/similarity/covariance_cka.hpp>

#include <cmath>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/backend/cpu_extern.hpp>
#include <resect/metrics/similarity/cka.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;
using view = resect::matrix_view<const float>;

namespace {

// Rows x (n, 6) and y (n, 4), y partly a mix of x, both far from 0.
struct pair {
  explicit pair(index_t rows, float offset = 0)
      : n(rows), x(static_cast<std::size_t>(6 * n)), y(static_cast<std::size_t>(4 * n)) {
    resect::random::fill_gaussian(x, 1, 0);
    resect::random::fill_gaussian(y, 1, 1, 0, 0.7);
    for (index_t r = 0; r < n; ++r)
      for (index_t c = 0; c < 4; ++c)
        y[static_cast<std::size_t>(4 * r + c)] +=
            x[static_cast<std::size_t>(6 * r + c)] - 0.5F * x[static_cast<std::size_t>(6 * r + c + 2)];
    for (float& v : x) v += offset;
    for (float& v : y) v -= 2 * offset;
  }
  view part_x(index_t first, index_t count) const { return {x.data() + 6 * first, count, 6, 6, 1}; }
  view part_y(index_t first, index_t count) const { return {y.data() + 4 * first, count, 4, 4, 1}; }
  double whole() const {
    resect::cpu exec;
    return linear_cka(exec, biased{}, part_x(0, n), part_y(0, n));
  }
  index_t n;
  std::vector<float> x, y;
};

}  // namespace

TEST_CASE("batches of any size give the CKA of all rows together, also far from 0") {
  for (const float offset : {0.0F, 30.0F}) {
    const pair p(240, offset);
    for (const index_t batch : {1, 7, 240}) {
      covariance_cka a(240, 6, 4);
      for (index_t r = 0; r < 240; r += batch) {
        const index_t n = r + batch > 240 ? 240 - r : batch;
        a.add(p.part_x(r, n), p.part_y(r, n));
      }
      CHECK(a.rows() == 240);
      CHECK(a.value() == Approx(p.whole()).epsilon(1e-12));
    }
    CHECK((p.whole() > 0.3 && p.whole() < 0.9));
  }
}

TEST_CASE("merges over any partition of the rows equal one pass to 1e-12") {
  const pair p(400, 100);
  const auto make = [] { return covariance_cka{1, 6, 4}; };
  const auto feed = [&](covariance_cka& a, index_t r) { a.add(p.part_x(r, 1), p.part_y(r, 1)); };
  const covariance_cka whole = one_pass(400, make, feed);
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const covariance_cka m = merged_from_parts(seed, 7, 400, make, feed);
    CHECK(m.rows() == 400);
    CHECK(same_number(m.value(), whole.value(), 1e-12));
  }
  covariance_cka empty = make(), copy = whole;
  CHECK(copy.merge(empty));
  CHECK(copy.value() == whole.value());
  CHECK(empty.merge(whole));
  CHECK(same_number(empty.value(), whole.value(), 1e-15));
}

TEST_CASE("known values: a rotation and a scale give 1, unrelated columns 0, no variance nothing") {
  covariance_cka turned(4, 2, 2), apart(4, 1, 1), constant(4, 1, 1);
  const std::vector<float> x{1, 2, -3, 4, 5, -6, 0, 1}, y{-4, 2, -8, -6, 12, 10, -2, 0};  // y = 2·(−x₂, x₁)
  turned.add({x.data(), 4, 2, 2, 1}, {y.data(), 4, 2, 2, 1});
  CHECK(turned.value() == Approx(1).epsilon(1e-14));
  covariance_cka tiny(4, 2, 2);  // scale does not matter
  std::vector<float> small(x), other(y);
  for (float& value : small) value *= 0x1p-20F;
  for (float& value : other) value *= 0x1p-30F;
  tiny.add({small.data(), 4, 2, 2, 1}, {other.data(), 4, 2, 2, 1});
  CHECK(tiny.value() == Approx(1).epsilon(1e-14));
  const std::vector<float> u{1, 1, -1, -1}, v{1, -1, 1, -1}, one(4, 1);
  apart.add({u.data(), 4, 1, 1, 1}, {v.data(), 4, 1, 1, 1});
  CHECK(apart.value() == 0);
  constant.add({u.data(), 4, 1, 1, 1}, {one.data(), 4, 1, 1, 1});
  CHECK(std::isnan(constant.value()));
  CHECK(std::isnan(covariance_cka(4, 1, 1).value()));
}

TEST_CASE("broken batches are named and add nothing") {
  const pair p(8);
  covariance_cka a(4, 6, 4);
  a.add(p.part_x(0, 4), p.part_y(0, 4));
  const double before = a.value();
  const auto shape = resect::errc::shape_mismatch;
  CHECK(a.try_add(p.part_x(0, 5), p.part_y(0, 5)).error().code == shape);
  CHECK(a.try_add(p.part_x(0, 4), p.part_y(0, 3)).error().code == shape);
  CHECK(a.try_add(p.part_y(0, 4), p.part_y(0, 4)).error().code == shape);
  CHECK(a.try_add({nullptr, 4, 6, 6, 1}, p.part_y(0, 4)).error().code == resect::errc::null_pointer);
  CHECK(a.merge(covariance_cka(4, 4, 6)).error().code == shape);
  CHECK(a.value() == before);
  CHECK(a.rows() == 4);
}

}  // namespace tests
