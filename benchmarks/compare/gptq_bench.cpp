// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rounds a matrix by GPTQ, 4 bits with integer zeros in groups of 128, and says how long that took beside a product of the
// same size. What `./run compare quant` runs in turn with PyTorch.
//   gptq_bench WEIGHTS MOMENT ROWS COLS THREADS OUT
// WEIGHTS (ROWS, COLS), MOMENT (COLS, COLS) and OUT, the values of the codes, are files of floats. Prints JSON.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <resect/backend/cpu.hpp>
#include <resect/core/threads.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/gptq.hpp>
#include <resect/quant/quantize.hpp>

namespace {

using resect::matrix;

bool read(const char* path, matrix<float>& m) {
  std::FILE* file = std::fopen(path, "rb");
  const auto wanted = static_cast<std::size_t>(m.data.size());
  const bool whole = file != nullptr && std::fread(m.data.data(), sizeof(float), wanted, file) == wanted;
  if (file != nullptr) std::fclose(file);
  if (!whole) std::fprintf(stderr, "gptq_bench: %s: not a file of %zu floats\n", path, wanted);
  return whole;
}
bool write(const char* path, const matrix<float>& m) {
  std::FILE* file = std::fopen(path, "wb");
  const auto size = static_cast<std::size_t>(m.data.size());
  const bool whole = file != nullptr && std::fwrite(m.data.data(), sizeof(float), size, file) == size;
  return (file == nullptr || std::fclose(file) == 0) && whole;
}

template <class F>
double seconds(F f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fputs("usage: gptq_bench WEIGHTS MOMENT ROWS COLS THREADS OUT\n", stderr);
    return 2;
  }
  const resect::index_t rows = std::atol(argv[3]), cols = std::atol(argv[4]);
  if (rows < 1 || cols < 1) return 2;
  matrix<float> w(rows, cols), h(cols, cols), out(rows, cols);
  if (!read(argv[1], w) || !read(argv[2], h)) return 1;
  resect::cpu exec{resect::threads{std::atoi(argv[5])}};

  // the product before and after: what the machine does now
  double product = 1e30, rounding = 1e30;
  const auto multiply = [&] {
    const double time = seconds([&] { exec.gemm<float>(1.0f, w.view(), h.view(), 0.0f, out.view()); });
    product = time < product ? time : product;
  };
  multiply();
  const resect::quant::gptq rule{h, {.damping = 0.01}};
  auto q = resect::quant::quantize(exec, w, resect::quant::affine<4>{.group = 128}, rule);  // memory is touched once
  rounding = seconds([&] { q = resect::quant::quantize(exec, w, resect::quant::affine<4>{.group = 128}, rule); });
  multiply();
  resect::quant::dequantize(exec, q, out);
  if (!write(argv[6], out)) return 1;
  std::printf("{\"seconds\": %.6f, \"product_flops\": %.6g, \"loss\": %.9g, \"zeroed\": %ld}\n", rounding,
              2.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(cols) / product,
              q.outcome.loss, static_cast<long>(q.outcome.zeroed_columns.size()));
}
