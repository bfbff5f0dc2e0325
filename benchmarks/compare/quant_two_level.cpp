// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The two-level search beside ggml's Q4_K on one matrix: sum of weight * (w - w_hat)^2 over that of weight * w^2, with the
// weights that ggml's search minimises, for ggml's bytes and for ours.
//
//     quant_two_level MATRIX.f32 ROWS COLS none|ones GGML.q4_k THREADS
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include <resect/core/threads.hpp>
#include <resect/quant.hpp>
#include <resect/quant/formats/ggml.hpp>

namespace {

using resect::index_t;
namespace quant = resect::quant;

template <class T>
std::vector<T> read(const char* path, std::size_t n) {
  std::vector<T> out(n);
  std::FILE* in = std::fopen(path, "rb");
  const bool whole = in != nullptr && std::fread(out.data(), sizeof(T), n, in) == n;
  if (in != nullptr) std::fclose(in);
  if (!whole) std::fprintf(stderr, "quant_two_level: cannot read %s\n", path), std::exit(1);
  return out;
}

// What ggml weighs an error with: sqrt(sigma^2 + w^2), sigma^2 twice the mean square of 256, where there is an importance
// matrix (of ones); else the root mean square of 32 plus |w|.
std::vector<double> ggml_weights(const std::vector<float>& w, bool ones) {
  std::vector<double> out(w.size());
  const std::size_t part = ones ? 256 : 32;
  for (std::size_t begin = 0; begin < w.size(); begin += part) {
    double sum = 0;
    for (std::size_t i = begin; i < begin + part; ++i) sum += double{w[i]} * double{w[i]};
    const double mean = sum / static_cast<double>(part);
    for (std::size_t i = begin; i < begin + part; ++i)
      out[i] = ones ? std::sqrt(2 * mean + double{w[i]} * double{w[i]}) : std::sqrt(mean) + std::fabs(double{w[i]});
  }
  return out;
}

double lost(const std::vector<float>& w, const std::vector<double>& weight, const std::vector<float>& back) {
  double error = 0, all = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double e = double{w[i]} - double{back[i]};
    error += weight[i] * e * e;
    all += weight[i] * double{w[i]} * double{w[i]};
  }
  return error / all;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 7) return std::fprintf(stderr, "usage: quant_two_level MATRIX ROWS COLS none|ones GGML THREADS\n"), 2;
  const index_t rows = std::atoll(argv[2]), cols = std::atoll(argv[3]);
  const bool ones = std::string_view{argv[4]} == "ones";
  const auto n = static_cast<std::size_t>(rows * cols);
  const auto w = read<float>(argv[1], n);
  const auto bytes = read<std::byte>(argv[5], n / 256 * 144);
  const auto weight = ggml_weights(w, ones);
  std::vector<float> theirs(n), ours(n), importance(static_cast<std::size_t>(cols), 1.0f);
  quant::dequantize(resect::io::ggml_type::q4_k, bytes, theirs);

  resect::threads exec{std::atoi(argv[6])};
  quant::two_level_search search{.weight = quant::error_weight::ggml};
  if (ones) search.importance = importance;
  const auto start = std::chrono::steady_clock::now();
  const auto q = quant::quantize(exec, resect::matrix_view<const float>{w.data(), rows, cols}, quant::two_level<4>{},
                                 quant::nearest{}, search);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  quant::dequantize(exec, q, {ours.data(), rows, cols});
  std::printf("{\"ours\": %.9g, \"ggml\": %.9g, \"bits\": %.6g, \"seconds\": %.4g}\n", lost(w, weight, ours),
              lost(w, weight, theirs), q.bits_per_weight(), seconds);
  return 0;
} catch (const resect::exception& e) {
  return std::fprintf(stderr, "quant_two_level: %s\n", e.what()), 1;
}
