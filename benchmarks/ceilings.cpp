// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What this machine can do at most: the fastest way to read memory, and products by the libraries that people use.
// A program of its own, because Eigen is compiled with its own threads here.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#include <Eigen/Core>

#include "large_buffer.hpp"
#include "read_memory.hpp"

#if defined(RESECT_BENCH_OPENBLAS)
extern "C" {
void cblas_sgemm(int order, int transa, int transb, int m, int n, int k, float alpha, const float* a, int lda,
                 const float* b, int ldb, float beta, float* c, int ldc);
void openblas_set_num_threads(int n);
char* openblas_get_config();
}
#endif

namespace {

constexpr std::size_t bytes = std::size_t{512} << 20;

using bench::large_buffer;

template <std::size_t Streams, std::size_t Ahead>
void measure_reads(benchmark::State& state, bool huge, int threads) {
  static const large_buffer small_pages(bytes / 4, bench::pages::small), huge_pages(bytes / 4, bench::pages::huge);
  const float* data = (huge ? huge_pages : small_pages).data();
  const std::size_t share = bytes / 4 / static_cast<std::size_t>(threads);
  for (auto _ : state) {
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t)
      others.emplace_back([=] {
        benchmark::DoNotOptimize(bench::read_memory<Streams, Ahead>(data + static_cast<std::size_t>(t) * share, share));
      });
    benchmark::DoNotOptimize(bench::read_memory<Streams, Ahead>(data, share));
    for (auto& o : others) o.join();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(bytes));
}

using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// C = A·Bᵀ as in y = x·Wᵀ, side n.
void eigen_product(benchmark::State& state, int n, int threads) {
  Eigen::setNbThreads(threads);
  const row_major a = row_major::Random(n, n), b = row_major::Random(n, n);
  row_major c(n, n);
  for (auto _ : state) {
    c.noalias() = a * b.transpose();
    benchmark::DoNotOptimize(c.data());
  }
  state.counters["flop/s"] = benchmark::Counter(2.0 * n * n * n, benchmark::Counter::kIsIterationInvariantRate);
}

#if defined(RESECT_BENCH_OPENBLAS)
void openblas_product(benchmark::State& state, int n, int threads) {
  openblas_set_num_threads(threads);
  const row_major a = row_major::Random(n, n), b = row_major::Random(n, n);
  row_major c(n, n);
  for (auto _ : state) {
    cblas_sgemm(101, 111, 112, n, n, n, 1.0f, a.data(), n, b.data(), n, 0.0f, c.data(), n);
    benchmark::DoNotOptimize(c.data());
  }
  state.counters["flop/s"] = benchmark::Counter(2.0 * n * n * n, benchmark::Counter::kIsIterationInvariantRate);
}
#endif

template <std::size_t Streams, std::size_t Ahead>
void add_reads(const std::string& how, int threads) {
  for (const bool huge : {false, true})
    benchmark::RegisterBenchmark(("read/" + how + (huge ? "/huge_pages/" : "/") + std::to_string(threads)).c_str(),
                                 [=](benchmark::State& s) { measure_reads<Streams, Ahead>(s, huge, threads); })
        ->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  if (const char* asked = std::getenv("RESECT_BENCH_THREADS")) threads = std::atoi(asked);
  if (threads < 1) threads = 1;
  for (const int t : {1, threads}) {
    add_reads<1, 0>("one_stream", t);
    add_reads<4, 0>("four_streams", t);
    add_reads<1, 1024>("one_stream_prefetch", t);
    add_reads<4, 1024>("four_streams_prefetch", t);
    if (threads == 1) break;
  }
  for (const int n : {1024, 4096}) {
    const auto name = [&](const char* who) { return "gemm/" + std::string(who) + "/" + std::to_string(n); };
    benchmark::RegisterBenchmark(name("eigen").c_str(), [=](benchmark::State& s) {
      eigen_product(s, n, threads);
    })->UseRealTime();
#if defined(RESECT_BENCH_OPENBLAS)
    benchmark::RegisterBenchmark(name("openblas").c_str(), [=](benchmark::State& s) {
      openblas_product(s, n, threads);
    })->UseRealTime();
#endif
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
