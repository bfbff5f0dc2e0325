// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/rows/row_products.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <resect/core/threads.hpp>
#include <resect/random/distributions.hpp>
#include <support/catch.hpp>
#include <support/small_rows.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;
using resect::instruction_set;
using resect::matrix_view;

namespace {

constexpr instruction_set every_set[] = {instruction_set::portable, instruction_set::avx2, instruction_set::avx512};

std::vector<float> drawn(index_t n, std::uint64_t seed, double sd = 1) {
  std::vector<float> x(static_cast<std::size_t>(n));
  resect::random::fill_gaussian(x, seed, 0, 0, sd);
  return x;
}

bool same_bits(const row_sums& a, const row_sums& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

// Runs tasks last to first.
struct backwards {
  template <class F>
  void bulk(index_t n, F&& f) const {
    for (index_t i = n; i-- > 0;) f(i);
  }
};

}  // namespace

TEST_CASE("the four sums equal long double sums for every length and instruction set, within the documented bound") {
  std::vector<index_t> lengths{127, 2047, 2048, 2049, 4096, 10000};
  for (index_t n = 0; n <= 40; ++n) lengths.push_back(n);
  for (const index_t n : lengths)
    for (const double scale : {1.0, 1e-30, 1e18}) {
      const auto a = drawn(n, 1, scale), b = drawn(n, 2, scale);
      long double dot = 0, aa = 0, bb = 0, dd = 0, size = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        const long double x = a[i], y = b[i];
        dot += x * y;
        size += std::fabs(x * y);
        aa += x * x;
        bb += y * y;
        dd += (x - y) * (x - y);
      }
      const double eps =
          n <= 2048 ? (static_cast<double>(n) / 8 + 4) * 0x1p-53 : 260 * 0x1p-53 + static_cast<double>(n) * 0x1p-64;
      const row_sums first = row_products(a, b);
      INFO("n " << n << " scale " << scale);
      CHECK(std::fabs(static_cast<double>(first.dot - dot)) <= eps * static_cast<double>(size));
      CHECK(std::fabs(static_cast<double>(first.aa - aa)) <= eps * static_cast<double>(aa));
      CHECK(std::fabs(static_cast<double>(first.bb - bb)) <= eps * static_cast<double>(bb));
      CHECK(std::fabs(static_cast<double>(first.dd - dd)) <= eps * static_cast<double>(dd));
      for (const auto set : every_set) CHECK(same_bits(row_products(set, a, b), first));
    }
}

TEST_CASE("row products: symmetric, |a − a|² is 0, lengths that differ and NaN give NaN, infinity does not hide") {
  const auto a = drawn(333, 3), b = drawn(333, 4);
  const row_sums ab = row_products(a, b), ba = row_products(b, a);
  CHECK(ab.dot == ba.dot);
  CHECK(ab.dd == ba.dd);
  CHECK(ab.aa == ba.bb);
  CHECK(row_products(a, a).dd == 0);
  CHECK(row_products(a, a).dot == ab.aa);
  const row_sums bad = row_products(a, std::span{b}.first(332));
  CHECK((std::isnan(bad.dot) && std::isnan(bad.aa) && std::isnan(bad.bb) && std::isnan(bad.dd)));
  for (const std::size_t at : {0u, 17u, 332u}) {
    auto broken = a;
    broken[at] = std::numeric_limits<float>::quiet_NaN();
    CHECK(std::isnan(row_products(broken, b).aa));
    CHECK(std::isnan(row_products(broken, b).dd));
    CHECK(row_products(broken, b).bb == ab.bb);
    broken[at] = std::numeric_limits<float>::infinity();
    CHECK(std::isinf(row_products(broken, b).aa));
  }
}

TEST_CASE("many rows at once: the bits of single rows, for any strides, order of tasks and number of workers") {
  struct extents {
    index_t rows, cols;
  };
  for (const extents& size :
       {extents{0, 5}, extents{3, 0}, extents{1, 1}, extents{7, 33}, extents{50, 4099}, extents{2, 70000}}) {
    const index_t rows = size.rows, cols = size.cols;
    const auto a = drawn(rows * (cols + 3) + 1, 5), b = drawn(rows * cols + 1, 6);
    const matrix_view<const float> va{a.data(), rows, cols, cols + 3, 1}, vb{b.data(), rows, cols, 1, rows};
    std::vector<row_sums> expected(static_cast<std::size_t>(rows));
    std::vector<float> x(static_cast<std::size_t>(cols)), y(x);
    for (index_t r = 0; r < rows; ++r) {
      for (index_t c = 0; c < cols; ++c) {
        x[static_cast<std::size_t>(c)] = va(r, c);
        y[static_cast<std::size_t>(c)] = vb(r, c);
      }
      expected[static_cast<std::size_t>(r)] = row_products(x, y);
    }
    const auto check = [&](auto&& exec) {
      std::vector<row_sums> out(static_cast<std::size_t>(rows), row_sums{7, 7, 7, 7});
      REQUIRE(try_row_products(exec, va, vb, out));
      for (std::size_t r = 0; r < out.size(); ++r) CHECK(same_bits(out[r], expected[r]));
      for (const auto set : every_set) {
        out.assign(out.size(), {});
        row_products(set, exec, va, vb, out);
        for (std::size_t r = 0; r < out.size(); ++r) CHECK(same_bits(out[r], expected[r]));
      }
    };
    check(resect::inline_executor{});
    check(backwards{});
    check(resect::threads{3});
  }
}

TEST_CASE("rows of small types have the bits of the floats that they stand for, also beside rows of another type") {
  support::for_every_small_type([]<class S>(S) {
    for (const index_t n : {index_t{0}, index_t{1}, index_t{17}, index_t{2047}, index_t{2049}, index_t{5000}}) {
      const support::small_row<S> a{drawn(n, 11)}, b{drawn(n, 12)};
      const support::small_row<resect::bf16> other{drawn(n, 12)};
      const std::span<const S> view_of_b{b.stored};
      for (const auto set : every_set) {
        CHECK(same_bits(row_products(set, a.stored, view_of_b), row_products(set, a.widened, b.widened)));
        CHECK(same_bits(row_products(set, a.stored, b.widened), row_products(set, a.widened, b.widened)));
        CHECK(same_bits(row_products(set, a.widened, other.stored), row_products(set, a.widened, other.widened)));
      }
      CHECK(same_bits(row_products(a.stored, other.stored), row_products(a.widened, other.widened)));
    }
    const support::small_row<S> a{drawn(7 * 36, 13)}, b{drawn(7 * 33, 14)};
    std::vector<row_sums> expected(7), out(7);
    resect::threads exec{2};
    const matrix_view<const S> va{a.stored.data(), 7, 33, 36};
    const matrix_view<const float> wide_a{a.widened.data(), 7, 33, 36}, wide_b{b.widened.data(), 7, 33, 1, 7};
    row_products(exec, wide_a, wide_b, expected);
    const auto check = [&] {
      for (std::size_t r = 0; r < out.size(); ++r) CHECK(same_bits(out[r], expected[r]));
      out.assign(out.size(), {});
    };
    auto stored_b = b.stored;
    row_products(exec, va, matrix_view<S>{stored_b.data(), 7, 33, 1, 7}, out);
    check();
    row_products(instruction_set::portable, exec, va, wide_b, out);
    check();
    CHECK(try_row_products(exec, va, va.block(0, 0, 7, 32), out).error().operand == "b");
    CHECK(std::isnan(row_products(a.stored, b.stored).dot));
  });
}

TEST_CASE("rows are multiplied with the instruction set that a backend was made with") {
  struct backend : resect::inline_executor {
    instruction_set instructions() const {
      ++asked;
      return instruction_set::portable;
    }
    mutable int asked = 0;
  } exec;
  const auto a = drawn(12, 7);
  const support::small_row<resect::bf16> b{a};
  std::vector<row_sums> out(3);
  row_products(exec, matrix_view<const float>{a.data(), 3, 4}, matrix_view<const float>{a.data(), 3, 4}, out);
  CHECK(exec.asked == 1);
  row_products(exec, matrix_view<const float>{a.data(), 3, 4}, matrix_view<const resect::bf16>{b.stored.data(), 3, 4},
               out);
  CHECK(exec.asked == 2);
  row_products(instruction_set::portable, exec, matrix_view<const float>{a.data(), 3, 4}, {a.data(), 3, 4}, out);
  CHECK(exec.asked == 2);
}

TEST_CASE("batches that do not fit are refused and leave the output alone") {
  const auto a = drawn(12, 7), b = drawn(12, 8);
  std::vector<row_sums> out(3, row_sums{7, 7, 7, 7});
  resect::inline_executor exec;
  const auto refused = [&](matrix_view<const float> x, matrix_view<const float> y, std::span<row_sums> o,
                           resect::errc code, std::string_view operand) {
    const resect::status s = try_row_products(exec, x, y, o);
    REQUIRE_FALSE(s);
    CHECK(s.error().code == code);
    CHECK(s.error().operand == operand);
    for (const row_sums& r : out) CHECK(r.dot == 7);
  };
  const matrix_view<const float> va{a.data(), 3, 4}, vb{b.data(), 3, 4};
  refused(va, {b.data(), 4, 3}, out, resect::errc::shape_mismatch, "b");
  refused(va, vb, std::span{out}.first(2), resect::errc::shape_mismatch, "out");
  refused({nullptr, 3, 4}, vb, out, resect::errc::null_pointer, "a");
  refused(va, {nullptr, 3, 4}, out, resect::errc::null_pointer, "b");
  refused({a.data(), 3, 4, -4, 1}, vb, out, resect::errc::bad_stride, "a");
  CHECK_THROWS_AS(row_products(exec, va, matrix_view<const float>{b.data(), 4, 3}, out), resect::exception);
}

}  // namespace tests
