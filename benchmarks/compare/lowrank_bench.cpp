// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The truncated SVD of a matrix: what `./run compare lowrank` runs in turn with PyTorch and scikit-learn.
//   lowrank_bench W ROWS COLS RANK OVERSAMPLING BLOCK POWERS THREADS REPEATS OUT
// W (ROWS, COLS) is a file of floats; OUT: U·diag(s) (ROWS, RANK), then V (COLS, RANK), floats. OVERSAMPLING −1,
// BLOCK 0 and POWERS −1 are the defaults. Prints JSON: seconds and processor seconds of each repeat after one that is not counted, and the columns that were searched.
// Compiled with RESECT_BENCH_BLAS, the backend is `cblas` in place of `cpu`: its threads are those of the BLAS.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#ifdef RESECT_BENCH_BLAS
#include <resect/backend/cblas.hpp>
#else
#include <resect/backend/cpu.hpp>
#endif
#include <resect/core/threads.hpp>
#include <resect/factor/truncated_svd.hpp>

namespace {

using resect::index_t;
using resect::matrix;

#ifdef RESECT_BENCH_BLAS
using backend = resect::cblas<resect::threads>;
#else
using backend = resect::cpu<resect::threads>;
#endif

bool read(const char* path, matrix<float>& m) {
  std::FILE* file = std::fopen(path, "rb");
  const auto wanted = static_cast<std::size_t>(m.data.size());
  const bool whole = file != nullptr && std::fread(m.data.data(), sizeof(float), wanted, file) == wanted;
  if (file != nullptr) std::fclose(file);
  if (!whole) std::fprintf(stderr, "lowrank_bench: %s: not a file of %zu floats\n", path, wanted);
  return whole;
}

bool write(const char* path, const matrix<float>& left, const matrix<float>& right) {
  std::FILE* file = std::fopen(path, "wb");
  bool whole = file != nullptr;
  for (const auto* m : {&left, &right}) {
    const auto size = static_cast<std::size_t>(m->data.size());
    whole = whole && std::fwrite(m->data.data(), sizeof(float), size, file) == size;
  }
  whole = (file == nullptr || std::fclose(file) == 0) && whole;
  if (!whole) std::fprintf(stderr, "lowrank_bench: cannot write %s\n", path);
  return whole;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 11) {
    std::fputs("usage: lowrank_bench W ROWS COLS RANK OVERSAMPLING BLOCK POWERS THREADS REPEATS OUT\n", stderr);
    return 2;
  }
  const index_t rows = std::atol(argv[2]), cols = std::atol(argv[3]);
  if (rows < 1 || cols < 1) return 2;
  matrix<float> w(rows, cols);
  if (!read(argv[1], w)) return 1;
  const resect::factor::truncated_svd_options options{.rank = std::atol(argv[4]),
                                                      .oversampling = std::atol(argv[5]),
                                                      .error_probes = 0,
                                                      .block = std::atol(argv[6]),
                                                      .start_powers = std::atoi(argv[7])};
  backend exec{resect::threads{std::atoi(argv[8])}};
  const int repeats = std::atoi(argv[9]);
  try {
    auto svd = resect::factor::truncated_svd(exec, w, options);  // memory is touched once
    std::string seconds, processor;
    for (int i = 0; i < repeats; ++i) {
      const auto start = std::chrono::steady_clock::now();
      const std::clock_t begin = std::clock();
      svd = resect::factor::truncated_svd(exec, w, options);
      const double time = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      const double used = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
      seconds += (i > 0 ? ", " : "") + std::to_string(time);
      processor += (i > 0 ? ", " : "") + std::to_string(used);
    }
    for (index_t i = 0; i < svd.u.rows; ++i)
      for (index_t j = 0; j < svd.u.cols; ++j) svd.u(i, j) *= static_cast<float>(svd.s[j]);
    if (!write(argv[10], svd.u, svd.v)) return 1;
    std::printf("{\"seconds\": [%s], \"processor\": [%s], \"searched\": %ld, \"error\": %.9g}\n", seconds.c_str(),
                processor.c_str(), static_cast<long>(svd.spectrum.size()), svd.quality.frobenius_error);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "lowrank_bench: %s\n", e.what());
    return 1;
  }
  return 0;
}
