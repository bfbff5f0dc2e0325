// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/instruction_sets.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;

namespace {

using resect::index_t;  // and not the one of <strings.h>

struct backwards {  // an engine's own pool
  template <class F>
  void bulk(index_t n, F&& f) {
    for (index_t i = n; i-- > 0;) f(i);
  }
};
struct no_gemm {
  using space = host_space;
  void bulk(index_t, function_ref<void(index_t)>) {}
};
struct gemm_that_returns_nothing : no_gemm {
  void try_gemm(float, matrix_view<const float>, matrix_view<const float>, float, matrix_view<float>) {}
};
struct gemm_alone {
  using space = host_space;
  status try_gemm(float, matrix_view<const float>, matrix_view<const float>, float, matrix_view<float>) { return {}; }
};
struct own_backend : no_gemm {
  status try_gemm(float, matrix_view<const float>, matrix_view<const float>, float, matrix_view<float>) { return {}; }
};

template <class Space>
constexpr bool cpu_takes = requires(cpu<>& exec, matrix_view<const float, Space> a, matrix_view<float, Space> c) {
  exec.try_gemm(1.0f, a, a, 0.0f, c);
};

static_assert(dense_backend<cpu<>, float> && dense_backend<cpu<>, double>);
static_assert(dense_backend<cpu<threads>, float> && dense_backend<cpu<backwards>, double>);
static_assert(dense_backend<own_backend, float> && !dense_backend<own_backend, double>);
static_assert(!dense_backend<cpu<>, int> && !dense_backend<cpu<>, long double>);
static_assert(!dense_backend<inline_executor, float> && !dense_backend<no_gemm, float>);
static_assert(!dense_backend<gemm_that_returns_nothing, float> && !dense_backend<gemm_alone, float>);
static_assert(cpu_takes<host_space> && !cpu_takes<cuda_space>, "device memory must not reach the host backend");

// The test runs once for each instruction set of the machine.
cpu<> on_each_instruction_set() { return cpu<>{inline_executor{}, GENERATE(from_range(tests::instruction_sets()))}; }

template <class T>
constexpr T unit_roundoff = std::numeric_limits<T>::epsilon() / 2;

enum class layout { row_major, col_major, padded_rows, padded_cols, general, row_repeated, element_repeated };

// A matrix in memory of its own; what lies between and around its elements is a sentinel.
template <class T>
struct operand {
  index_t rows, cols, row_stride = 0, col_stride = 0;
  std::vector<T> memory, before;

  static constexpr T sentinel = static_cast<T>(-7.25e30);
  static constexpr index_t margin = 19;

  operand(index_t m, index_t n, layout how, std::uint64_t seed) : rows(m), cols(n) {
    switch (how) {
      case layout::row_major: row_stride = n, col_stride = 1; break;
      case layout::col_major: row_stride = 1, col_stride = m; break;
      case layout::padded_rows: row_stride = n + 3, col_stride = 1; break;
      case layout::padded_cols: row_stride = 1, col_stride = m + 5; break;
      case layout::general: row_stride = 2 * n + 1, col_stride = 2; break;
      case layout::row_repeated: row_stride = 0, col_stride = 1; break;
      case layout::element_repeated: row_stride = 0, col_stride = 0; break;
    }
    const index_t extent = m == 0 || n == 0 ? 0 : (m - 1) * row_stride + (n - 1) * col_stride + 1;
    memory.assign(static_cast<std::size_t>(extent + 2 * margin), sentinel);
    std::uint64_t drawn = 0;
    for (index_t r = 0; r < m; ++r)
      for (index_t c = 0; c < n; ++c) at(r, c) = static_cast<T>(random::gaussian(seed, 0, drawn++));
    before = memory;
  }

  T& at(index_t r, index_t c) { return memory[static_cast<std::size_t>(margin + r * row_stride + c * col_stride)]; }
  T old(index_t r, index_t c) const {
    return before[static_cast<std::size_t>(margin + r * row_stride + c * col_stride)];
  }
  matrix_view<T> view() { return {memory.data() + margin, rows, cols, row_stride, col_stride}; }
  matrix_view<const T> read() { return view(); }

  bool unchanged() const { return std::memcmp(memory.data(), before.data(), memory.size() * sizeof(T)) == 0; }
  // every element that is not the matrix's
  bool surroundings_unchanged() const {
    std::vector<bool> inside(memory.size(), false);
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < cols; ++c)
        inside[static_cast<std::size_t>(margin + r * row_stride + c * col_stride)] = true;
    for (std::size_t i = 0; i < memory.size(); ++i)
      if (!inside[i] && std::memcmp(&memory[i], &before[i], sizeof(T)) != 0) return false;
    return true;
  }
};

// Runs one product and compares it with long double. Returns the largest error as a share of the stated bound
//   (k + 2)·u·|α|·(|A|·|B|) + (panels + 1)·u·|β·C|, panels = ⌈k / 128⌉ at most,
// or infinity where anything else is wrong.
template <class T, class Exec>
double share_of_bound(Exec& exec, T alpha, operand<T>& a, operand<T>& b, T beta, operand<T>& c) {
  const auto s = exec.try_gemm(alpha, a.read(), b.read(), beta, c.view());
  constexpr double wrong = std::numeric_limits<double>::infinity();
  if (!s || !a.unchanged() || !b.unchanged() || !c.surroundings_unchanged()) return wrong;
  const auto u = static_cast<long double>(unit_roundoff<T>);
  const index_t k = a.cols, panels = (k + 127) / 128;
  double worst = 0;
  for (index_t i = 0; i < c.rows; ++i)
    for (index_t j = 0; j < c.cols; ++j) {
      long double value = 0, size = 0;
      for (index_t p = 0; p < k; ++p) {
        const auto term = static_cast<long double>(a.at(i, p)) * static_cast<long double>(b.at(p, j));
        value += term, size += std::fabs(term);
      }
      value *= static_cast<long double>(alpha), size *= std::fabs(static_cast<long double>(alpha));
      long double bound = static_cast<long double>(k + 2) * u * size;
      if (beta != T{0}) {
        const auto kept = static_cast<long double>(beta) * static_cast<long double>(c.old(i, j));
        value += kept;
        bound += static_cast<long double>(panels + 1) * u * std::fabs(kept);
      }
      const auto error = std::fabs(static_cast<long double>(c.at(i, j)) - value);
      if (!(error <= bound)) return wrong;
      if (bound > 0) worst = std::max(worst, static_cast<double>(error / bound));
    }
  return worst;
}

std::string parts(const status& s) {
  if (s) return "fine";
  const auto& e = s.error();
  std::string out{name(e.code)};
  for (const auto& part : {e.operand, e.got, e.wanted}) out.append(" | ").append(part.view());
  return out;
}

TEMPLATE_TEST_CASE("a product is within its bound for every pair of layouts and every layout of the output", "", float,
                   double) {
  using T = TestType;
  cpu exec = on_each_instruction_set();
  const layout outputs[] = {layout::row_major, layout::col_major, layout::padded_rows, layout::padded_cols};
  for (const index_t m : {1, 2, 7, 24, 33})
    for (const index_t n : {1, 3, 16, 29})
      for (const index_t k : {1, 2, 9, 40})
        for (int how_a = 0; how_a <= 6; ++how_a)
          for (int how_b = 0; how_b <= 6; ++how_b) {
            const auto how_c = outputs[(how_a + 3 * how_b) % 4];
            operand<T> a(m, k, static_cast<layout>(how_a), 1), b(k, n, static_cast<layout>(how_b), 2),
                c(m, n, how_c, 3);
            const double share = share_of_bound(exec, T(0.75), a, b, T(-1.5), c);
            if (!(share <= 1)) {
              CAPTURE(m, n, k, how_a, how_b, static_cast<int>(how_c));
              CHECK(share <= 1);
            }
          }
  for (const auto how_a : {layout::row_major, layout::col_major, layout::general})
    for (const auto how_b : {layout::row_major, layout::col_major, layout::general})
      for (const auto how_c : outputs) {
        operand<T> a(17, 23, how_a, 1), b(23, 19, how_b, 2), c(17, 19, how_c, 3);
        CHECK(share_of_bound(exec, T(2), a, b, T(1), c) <= 1);
      }
}

TEMPLATE_TEST_CASE("a product is within its bound where tiles and panels end", "", float, double) {
  using T = TestType;
  cpu exec = on_each_instruction_set();
  struct extents {
    index_t m, n, k;
  };
  double worst = 0;
  for (const auto& e : {extents{191, 5, 30}, {192, 17, 8},  {193, 33, 257}, {385, 9, 255},  {5, 193, 256},
                        {33, 769, 40},       {767, 3, 12},  {769, 193, 7},  {194, 770, 5},  {385, 20, 9},
                        {20, 385, 9},        {2, 2, 1025},  {3, 1, 513},    {1, 3, 2049},   {1, 1, 5000},
                        {40, 40, 640},       {8, 8, 1},     {12, 24, 321},  {24, 32, 641},  {133, 47, 322},
                        {265, 33, 1281},     {9, 2049, 20}, {20, 4130, 9},  {140, 1025, 5}, {1321, 257, 6}}) {
    operand<T> a(e.m, e.k, layout::row_major, 4), b(e.k, e.n, layout::col_major, 5), c(e.m, e.n, layout::row_major, 6);
    const double share = share_of_bound(exec, T(1), a, b, T(0), c);
    CAPTURE(e.m, e.n, e.k);
    CHECK(share <= 1);
    worst = std::max(worst, share);
    operand<T> d(e.m, e.n, layout::padded_cols, 7);
    CHECK(share_of_bound(exec, T(-1), a, b, T(1), d) <= 1);
  }
  CHECK(worst > 1e-3);  // the bound says something
}

TEMPLATE_TEST_CASE("a narrow product reads A as it lies, with the bits of one that packs it", "", float, double) {
  using T = TestType;
  cpu exec = on_each_instruction_set();
  struct extents {
    index_t m, n, k;
  };
  double worst = 0;
  for (const auto& e : {extents{4, 16, 9},
                        {6, 32, 1},
                        {137, 64, 1100},
                        {265, 16, 2050},
                        {50, 96, 40},
                        {33, 48, 330},
                        {100, 8, 70},
                        {301, 24, 641},
                        {12, 128, 25}})
    for (const T beta : {T(0), T(-1.5)}) {
      operand<T> packed(e.m, e.k, layout::general, 4), b(e.k, e.n, layout::row_major, 5),
          want(e.m, e.n, layout::padded_rows, 6);
      CAPTURE(e.m, e.n, e.k, beta);
      const double share = share_of_bound(exec, T(0.75), packed, b, beta, want);
      CHECK(share <= 1);
      worst = std::max(worst, share);
      for (const auto how : {layout::row_major, layout::col_major, layout::padded_rows, layout::padded_cols}) {
        operand<T> a(e.m, e.k, how, 4), c(e.m, e.n, layout::padded_rows, 6);
        REQUIRE(exec.try_gemm(T(0.75), a.read(), b.read(), beta, c.view()));
        CHECK(a.unchanged());
        CHECK(c.memory == want.memory);
      }
    }
  CHECK(worst > 1e-3);  // the bound says something
}

TEMPLATE_TEST_CASE("what C held is within its bound however many panels are added to it", "", float, double) {
  using T = TestType;
  cpu exec = on_each_instruction_set();
  for (const index_t k : {256, 512, 2048, 4096}) {
    // every panel adds 0.6 of the last place of C, which rounds up each time
    operand<T> a(1, k, layout::row_major, 1), b(k, 1, layout::row_major, 1), c(1, 1, layout::row_major, 1);
    for (index_t p = 0; p < k; ++p) a.at(0, p) = T(1), b.at(p, 0) = T(0.6) / T(256) * std::numeric_limits<T>::epsilon();
    c.at(0, 0) = T(1);
    a.before = a.memory, b.before = b.memory, c.before = c.memory;
    CHECK(share_of_bound(exec, T(1), a, b, T(1), c) <= 1);
  }
}

TEMPLATE_TEST_CASE("sizes of zero are products too", "", float, double) {
  using T = TestType;
  cpu exec = on_each_instruction_set();
  operand<T> a(4, 0, layout::row_major, 1), b(0, 3, layout::row_major, 2), c(4, 3, layout::row_major, 3);
  REQUIRE(exec.try_gemm(T(1), a.read(), b.read(), T(2), c.view()));
  for (index_t i = 0; i < 4; ++i)
    for (index_t j = 0; j < 3; ++j) CHECK(c.at(i, j) == 2 * c.old(i, j));
  REQUIRE(exec.try_gemm(T(1), a.read(), b.read(), T(0), c.view()));
  for (index_t i = 0; i < 4; ++i)
    for (index_t j = 0; j < 3; ++j) CHECK(c.at(i, j) == 0);
  CHECK(c.surroundings_unchanged());

  using in = matrix_view<const T>;
  using out = matrix_view<T>;
  CHECK(exec.try_gemm(T(1), in{nullptr, 0, 5}, in{b.read().data, 5, 0}, T(0), out{nullptr, 0, 0}));
  CHECK(
      exec.try_gemm(T(1), in{nullptr, 0, 2}, operand<T>(2, 3, layout::row_major, 4).read(), T(0), out{nullptr, 0, 3}));
  CHECK(exec.try_gemm(T(1), in{nullptr, 2, 0}, in{nullptr, 0, 0}, T(0), out{nullptr, 2, 0}));
}

TEMPLATE_TEST_CASE("a beta of zero ignores what C held, NaN included", "", float, double) {
  using T = TestType;
  cpu exec = on_each_instruction_set();
  for (const auto how : {layout::row_major, layout::col_major})
    for (const index_t k : {0, 1, 8, 300, 700}) {
      operand<T> a(9, k, layout::row_major, 1), b(k, 7, layout::row_major, 2), c(9, 7, how, 3);
      for (index_t i = 0; i < 9; ++i)
        for (index_t j = 0; j < 7; ++j)
          c.at(i, j) = (i + j) % 2 == 0 ? std::numeric_limits<T>::quiet_NaN() : std::numeric_limits<T>::infinity();
      c.before = c.memory;
      CHECK(share_of_bound(exec, T(1), a, b, T(0), c) <= 1);
    }
}

TEMPLATE_TEST_CASE("alpha and beta scale the two parts", "", float, double) {
  using T = TestType;
  cpu exec = on_each_instruction_set();
  for (const T alpha : {T(0), T(1), T(-1), T(0.3), T(1e10)})
    for (const T beta : {T(0), T(1), T(-1), T(0.7), T(1e-10)}) {
      operand<T> a(13, 21, layout::col_major, 1), b(21, 30, layout::row_major, 2), c(13, 30, layout::row_major, 3);
      CHECK(share_of_bound(exec, alpha, a, b, beta, c) <= 1);
    }
  operand<T> a(13, 21, layout::row_major, 1), b(21, 30, layout::row_major, 2), c(13, 30, layout::row_major, 3);
  REQUIRE(exec.try_gemm(T(0), a.read(), b.read(), T(1), c.view()));
  CHECK(c.unchanged());
}

TEMPLATE_TEST_CASE("a vector is a matrix of one row or column, at any stride", "", float, double) {
  using T = TestType;
  cpu exec = on_each_instruction_set();
  for (const index_t n : {1, 5, 100, 800}) {
    std::vector<T> memory(static_cast<std::size_t>(3 * n), operand<T>::sentinel);
    operand<T> a(1, 40, layout::row_major, 1), b(40, n, layout::row_major, 2), plain(1, n, layout::row_major, 3);
    const matrix_view<T> strided{memory.data(), 1, n, 1, 3};
    REQUIRE(exec.try_gemm(T(1), a.read(), b.read(), T(0), strided));
    CHECK(share_of_bound(exec, T(1), a, b, T(0), plain) <= 1);
    for (index_t j = 0; j < n; ++j) {
      CHECK(std::fabs(strided(0, j) - plain.at(0, j)) <= T(84) * unit_roundoff<T> * T(100));
      for (const index_t gap : {1, 2}) CHECK(memory[static_cast<std::size_t>(3 * j + gap)] == operand<T>::sentinel);
    }
    REQUIRE(exec.try_gemm(T(1), b.read().transposed(), a.read().transposed(), T(0), strided.transposed()));
    for (index_t j = 0; j < n; ++j)
      CHECK(std::fabs(strided(0, j) - plain.at(0, j)) <= T(84) * unit_roundoff<T> * T(100));
  }
}

TEMPLATE_TEST_CASE("the bits do not depend on the workers, nor on whose they are, nor on where the operands lie", "",
                   float, double) {
  using T = TestType;
  struct extents {
    index_t m, n, k;
  };
  const auto set = GENERATE(from_range(tests::instruction_sets()));
  for (const auto& e : {extents{500, 900, 70},
                        {401, 200, 600},
                        {140, 100, 1300},
                        {3, 1000, 300},
                        {1000, 1, 300},
                        {7, 7, 7},
                        {20, 2100, 90}})
    for (const auto how : {layout::row_major, layout::col_major}) {
      operand<T> a(e.m, e.k, layout::row_major, 1), b(e.k, e.n, how, 2), first(e.m, e.n, how, 3);
      cpu alone{inline_executor{}, set};
      REQUIRE(alone.try_gemm(T(0.5), a.read(), b.read(), T(0.25), first.view()));
      const auto same = [&](auto&& exec, index_t shift) {
        std::vector<T> moved_a(a.memory.size() + 16), moved_b(b.memory.size() + 16);
        std::copy(a.memory.begin(), a.memory.end(), moved_a.begin() + shift);
        std::copy(b.memory.begin(), b.memory.end(), moved_b.begin() + 2 * shift);
        auto va = a.read(), vb = b.read();
        va.data = moved_a.data() + shift + operand<T>::margin;
        vb.data = moved_b.data() + 2 * shift + operand<T>::margin;
        operand<T> c(e.m, e.n, how, 3);
        REQUIRE(exec.try_gemm(T(0.5), va, vb, T(0.25), c.view()));
        return std::memcmp(c.memory.data(), first.memory.data(), c.memory.size() * sizeof(T)) == 0;
      };
      for (const int workers : {1, 2, 3, 7, 64}) CHECK(same(cpu{threads{workers}, set}, workers % 5));
      CHECK(same(cpu{backwards{}, set}, 1));
      for (const index_t shift : {0, 1, 2, 3, 4, 5, 6, 7}) CHECK(same(cpu{inline_executor{}, set}, shift));
    }
}

TEST_CASE("a backend runs tasks on the executor that it was given") {
  int ran = 0;
  cpu alone;
  alone.bulk(3, [&](index_t i) { ran += static_cast<int>(i) + 1; });
  CHECK(ran == 6);
  std::vector<index_t> order;
  cpu lent{backwards{}};
  lent.bulk(3, [&](index_t i) { order.push_back(i); });
  CHECK(order == std::vector<index_t>{2, 1, 0});
  cpu pool{threads{3}};
  std::vector<int> slots(50, 0);
  pool.bulk(50, [&](index_t i) { slots[static_cast<std::size_t>(i)] += 1; });
  CHECK(slots == std::vector<int>(50, 1));
}

TEST_CASE("a backend whose pool was moved away computes on its caller, with the same bits") {
  cpu first{threads{3}};
  cpu second = std::move(first);
  operand<float> a(50, 40, layout::row_major, 1), b(40, 60, layout::row_major, 2);
  operand<float> c(50, 60, layout::row_major, 3), d(c);
  REQUIRE(first.try_gemm(1.0f, a.read(), b.read(), 0.0f, c.view()));
  REQUIRE(second.try_gemm(1.0f, a.read(), b.read(), 0.0f, d.view()));
  CHECK(c.memory == d.memory);
}

TEST_CASE("extents and strides whose products overflow are refused") {
  cpu exec;
  float x[4] = {};
  using in = matrix_view<const float>;
  constexpr index_t huge = index_t{1} << 62;
  using out = matrix_view<float>;
  const auto rows = exec.try_gemm(1.0f, in{x, huge, 2, 0, 0}, in{x, 2, 2}, 0.0f, out{x, 2, 2});
  const auto strides = exec.try_gemm(1.0f, in{x, 2, 2}, in{x, 2, 2}, 0.0f, out{x, 2, 2, huge, huge});
  CHECK(parts(rows).substr(0, 18) == "shape mismatch | A");
  CHECK(parts(strides).substr(0, 14) == "bad stride | C");
}

// Eigen cuts k by the size of the machine's first cache; what it is given must be short enough that it never does.
TEMPLATE_TEST_CASE("Eigen does not cut a panel again", "", float, double) {
  using T = TestType;
  for (index_t k = 1; k < 3000; k = k + 1 + k / 50)
    for (const index_t m : {24, 100, 192, 400, 1000})
      for (const index_t n : {16, 192, 700, 2000}) {
        const auto tiling = detail::eigen_tiling<T>::of(m, n, k);
        Eigen::Index depth = std::min(k, tiling.panel), rows = std::min(m, tiling.tile_rows),
                     cols = std::min(n, tiling.tile_cols);
        const Eigen::Index panel = depth;
        Eigen::internal::computeProductBlockingSizes<T, T>(depth, rows, cols, Eigen::Index{1});
        if (depth != panel) {
          CAPTURE(m, n, k, panel, depth);
          CHECK(depth == panel);
        }
      }
}

TEMPLATE_TEST_CASE("panels of kernels are as deep as the error bound needs, and tasks cover what they should", "",
                   float, double) {
  for (const auto set : tests::instruction_sets()) {
    const auto kernels = detail::product_kernels_of<TestType>(set);
    CHECK(static_cast<bool>(kernels) == (set != instruction_set::portable));
    if (!kernels) continue;
    for (index_t extent = 1; extent < 6000; extent = extent + 1 + extent / 20)
      for (const index_t other : {8, 100, 1000, 5000}) {
        for (const auto& t : {detail::packed_tiling::of(kernels, extent, other, 700),
                              detail::packed_tiling::of(kernels, other, extent, 700)}) {
          CHECK((t.block_rows > 0 && t.block_rows % kernels.tile_rows == 0 && t.block_rows < 132 + kernels.tile_rows));
          CHECK((t.task_cols > 0 && t.task_cols % kernels.tile_cols == 0 && t.task_cols < 1024 + kernels.tile_cols));
          CHECK((t.chunk > 0 && t.chunk % kernels.tile_cols == 0 && t.chunk < 2048 + kernels.tile_cols));
        }
        const auto panel = detail::packed_tiling::of(kernels, 100, other, extent).panel;
        CHECK((panel <= kernels.deepest && (extent <= kernels.deepest ? panel >= extent : panel >= 128)));
      }
  }
}

TEST_CASE("tiles and panels cover the product, whatever its size") {
  for (const index_t m : {1, 23, 24, 25, 191, 192, 193, 383, 384, 385, 1000, 5000})
    for (const index_t n : {1, 15, 16, 17, 767, 768, 769, 1000, 5000})
      for (const index_t k : {1, 7, 8, 9, 255, 256, 257, 4096}) {
        const auto t = detail::eigen_tiling<float>::of(m, n, k);
        CHECK((t.tile_rows > 0 && t.tile_cols > 0 && t.panel > 0 && t.panel <= 256 && t.panel % 8 == 0));
        CHECK(((t.tile_rows <= 384 && t.tile_cols <= 768) || (t.tile_rows <= 768 && t.tile_cols <= 384)));
      }
}

TEST_CASE("an error names the operand, what it is and what is wanted, and C stays as it was") {
  cpu exec;
  using in = matrix_view<const float>;
  using out = matrix_view<float>;
  operand<float> a(2, 3, layout::row_major, 1), b(3, 4, layout::row_major, 2), c(2, 4, layout::row_major, 3),
      wide(6, 40, layout::row_major, 4);
  const auto refused = [&](in x, in y, out z) {
    const auto text = parts(exec.try_gemm(1.0f, x, y, 0.0f, z));
    CHECK(c.unchanged());
    CHECK(wide.unchanged());
    return text;
  };
  CHECK(refused(a.read(), a.read(), c.view()) == "shape mismatch | B | 2 x 3 | 3 x 3");
  CHECK(refused(a.read(), b.read(), out{c.view().data, 4, 2}) == "shape mismatch | C | 4 x 2 | 2 x 4");
  CHECK(refused(in{nullptr, 2, 3}, b.read(), c.view()) == "null pointer | A | null | data for 2 x 3 elements");
  CHECK(refused(a.read(), in{nullptr, 3, 4}, c.view()) == "null pointer | B | null | data for 3 x 4 elements");
  CHECK(refused(a.read(), b.read(), out{nullptr, 2, 4}) == "null pointer | C | null | data for 2 x 4 elements");
  CHECK(refused(in{a.read().data, -2, 3}, b.read(), c.view()) ==
        "shape mismatch | A | -2 x 3 | extents that are not negative");
  CHECK(refused(in{a.read().data, 2, 3, -3, 1}, b.read(), c.view()) == "bad stride | A | strides -3, 1 | strides >= 0");
  CHECK(refused(a.read(), in{b.read().data, 3, 4, 4, -1}, c.view()) == "bad stride | B | strides 4, -1 | strides >= 0");
  CHECK(refused(a.read(), b.read(), out{c.view().data, 2, 4, 0, 1}) == "bad stride | C | strides 0, 1 | strides >= 1");
  CHECK(refused(a.read(), b.read(), out{c.view().data, 2, 4, 3, 1}) ==
        "bad stride | C | strides 3, 1 | rows that do not overlap for 2 x 4");
  CHECK(refused(a.read(), b.read(), out{wide.view().data, 2, 4, 20, 2}) ==
        "bad stride | C | strides 20, 2 | one stride of 1");
  CHECK(refused(a.read(), b.read(), out{wide.view().data, 2, 4, 2, 20}) ==
        "bad stride | C | strides 2, 20 | one stride of 1");
}

TEST_CASE("the throwing form throws the same error, and else computes") {
  cpu exec;
  operand<double> a(2, 3, layout::row_major, 1), b(3, 4, layout::row_major, 2), c(2, 4, layout::row_major, 3),
      d(2, 4, layout::row_major, 3);
  CHECK_THROWS_WITH(exec.gemm(1.0, a.read(), a.read(), 0.0, c.view()), "shape mismatch: B: got 2 x 3, wanted 3 x 3");
  exec.gemm(1.0, a.read(), b.read(), 0.5, c.view());
  REQUIRE(exec.try_gemm(1.0, a.read(), b.read(), 0.5, d.view()));
  CHECK(c.memory == d.memory);
}

TEST_CASE("the instruction set of kernels is the machine's largest, or the one that is forced") {
  CHECK(cpu<>{}.instructions() == best_instruction_set());
  CHECK(cpu{threads{2}}.instructions() == best_instruction_set());
  CHECK(cpu{threads{2}, instruction_set::portable}.instructions() == instruction_set::portable);
  CHECK(cpu{inline_executor{}, instruction_set::avx512}.instructions() == runnable(instruction_set::avx512));
  CHECK(instructions_of(cpu{threads{1}, instruction_set::portable}) == instruction_set::portable);
  CHECK(instructions_of(own_backend{}) == best_instruction_set());
}

}  // namespace
