// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What runs per token or per tap, and products through the backend. `./run bench` sets each beside its ceiling.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "large_buffer.hpp"

#include <resect/backend/cpu.hpp>
#include <resect/core/float16.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/metrics/rows/row_products.hpp>
#include <resect/metrics/similarity/cosine.hpp>
#include <resect/quant.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/steer.hpp>

namespace res = resect::residual;

namespace {

using resect::matrix_view;
using backend = resect::cpu<resect::threads>;

std::vector<float> drawn(std::size_t n, std::uint64_t stream, double std = 1.0) {
  std::vector<float> out(n);
  resect::random::fill_gaussian(out, 1, stream, 0, std);
  return out;
}

// Normal numbers in memory that no cache holds; a stretch is drawn, the rest repeats it.
template <class T = float>
class drawn_buffer {
 public:
  drawn_buffer(std::size_t n, std::uint64_t stream, double std = 1.0)
      : memory_((n * sizeof(T) + sizeof(float) - 1) / sizeof(float), bench::pages::huge) {
    const std::vector<float> fresh = drawn(n < (1u << 20) ? n : 1u << 20, stream, std);
    for (std::size_t i = 0; i < n; ++i) data()[i] = T{fresh[i % fresh.size()]};
  }
  T* data() const { return reinterpret_cast<T*>(memory_.data()); }

 private:
  bench::large_buffer memory_;
};

// A host that does nothing but call: one layer of which every site is handed out, so that a pass costs what taps cost.
struct tapping_host {
  using value = float;
  using space = resect::host_space;

  res::model_desc desc{.name = "taps", .fingerprint = 1, .n_layers = 1, .d_model = 0, .n_vocab = 1};
  matrix_view<float> stream;

  const res::model_desc& describe() const { return desc; }
  res::access supports(res::site, int) const { return res::access::write; }
  resect::status try_forward(res::batch_view, res::site_set, res::observer<float>) { return {}; }
  resect::status try_forward(res::batch_view batch, const res::hooks<float>& k) {
    for (int i = 0; i < taps; ++i)
      if (k.write.contains(res::site::resid_post)) k.call({res::site::resid_post, 0, batch}, stream);
    return {};
  }
  matrix_view<const float> logits() const { return {}; }
  void forget(std::int32_t) {}
  std::uint64_t cache_epoch(std::int32_t) const { return 0; }
  resect::index_t cached(std::int32_t) const { return 0; }
  int taps = 1;
};
static_assert(res::editable_host<tapping_host>);

// A plan whose one step does nothing, at one tap after another: what resect adds to a host's callback.
void identity_tap(benchmark::State& state) {
  tapping_host host;
  host.taps = 1 << 16;
  float h = 0;
  host.stream = {&h, 1, 1};
  host.desc.d_model = 1;
  const auto touch = [](const res::tap&, matrix_view<float> rows) { benchmark::DoNotOptimize(rows.data); };
  const auto plan =
      res::plan{} | res::step{res::layer(0), res::site::resid_post, res::named("bench.nothing/1", 1, touch)};
  const std::vector<res::row_meta> batch{{0, 0, 0, 0}};
  for (auto _ : state) resect::value_or_throw(res::try_forward(host, plan, batch));
  state.counters["taps/s"] = benchmark::Counter(host.taps, benchmark::Counter::kIsIterationInvariantRate);
}

// steer(add) on rows that no cache holds: reads and writes every byte once.
void steer_rows(benchmark::State& state) {
  constexpr resect::index_t width = 4096, rows = 16384;
  tapping_host host;
  const drawn_buffer<> memory(static_cast<std::size_t>(width * rows), 1);
  const auto v = drawn(static_cast<std::size_t>(width), 2);
  host.stream = {memory.data(), rows, width};
  host.desc.d_model = static_cast<int>(width);
  const auto plan = res::plan{} | res::steer(res::steering::add{}, res::layer(0), res::site::resid_post, v, 1e-6f);
  const std::vector<res::row_meta> batch{{0, 0, 0, 0}};
  for (auto _ : state) resect::value_or_throw(res::try_forward(host, plan, batch));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 2 * 4 * width * rows);
}

// Cosine and error of pairs of rows, one pass.
void row_pass(benchmark::State& state, int threads) {
  constexpr resect::index_t width = 4096, rows = 8192;
  backend exec{resect::threads{threads}};
  const drawn_buffer<> a(static_cast<std::size_t>(width * rows), 1), b(static_cast<std::size_t>(width * rows), 2);
  std::vector<double> out(static_cast<std::size_t>(rows));
  for (auto _ : state) {
    exec.bulk(rows / 64, [&](resect::index_t block) {
      for (resect::index_t r = block * 64; r < (block + 1) * 64; ++r) {
        const auto p = resect::metrics::row_products({a.data() + r * width, static_cast<std::size_t>(width)},
                                                     {b.data() + r * width, static_cast<std::size_t>(width)});
        out[static_cast<std::size_t>(r)] = p.dot + p.aa + p.bb + p.dd;
      }
    });
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 2 * 4 * width * rows);
}

// KL, both nll and both argmaxes of pairs of logit rows, one pass.
template <class T>
void kl_pass(benchmark::State& state, int threads) {
  constexpr resect::index_t vocabulary = 49152, rows = 512;
  backend exec{resect::threads{threads}};
  const drawn_buffer<T> a(static_cast<std::size_t>(vocabulary * rows), 1, 3),
      b(static_cast<std::size_t>(vocabulary * rows), 2, 3);
  std::vector<double> out(static_cast<std::size_t>(rows));
  for (auto _ : state) {
    exec.bulk(rows, [&](resect::index_t r) {
      out[static_cast<std::size_t>(r)] =
          resect::metrics::compare_logits(std::span{a.data() + r * vocabulary, static_cast<std::size_t>(vocabulary)},
                                          std::span{b.data() + r * vocabulary, static_cast<std::size_t>(vocabulary)}, r)
              .kl;
    });
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 2 * static_cast<std::int64_t>(sizeof(T)) *
                          vocabulary * rows);
  state.counters["rows/s"] =
      benchmark::Counter(static_cast<double>(rows), benchmark::Counter::kIsIterationInvariantRate);
}

// Nearest codes of a whole matrix, 4 bits in groups of 128, into parts that are there.
void round_nearest(benchmark::State& state, int threads) {
  constexpr resect::index_t n = 8192;
  backend exec{resect::threads{threads}};
  const drawn_buffer<> w(static_cast<std::size_t>(n * n), 1);
  const matrix_view<const float> W{w.data(), n, n};
  resect::quant::quantized<resect::quant::affine_symmetric<4, resect::quant::f16_store>> q{.format = {.group = 128}};
  resect::value_or_throw(q.try_resize(n, n));
  for (auto _ : state) {
    resect::value_or_throw(resect::quant::nearest::round(exec, W, resect::quant::min_max{}, q));
    benchmark::DoNotOptimize(q.codes.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 4 * n * n);
}

// The exact search of scales of both signs, 4 bits in groups of 128, on one core.
void exact_search(benchmark::State& state) {
  constexpr resect::index_t rows = 16, cols = 1024;
  resect::inline_executor exec;
  const auto w = drawn(static_cast<std::size_t>(rows * cols), 1);
  const matrix_view<const float> W{w.data(), rows, cols};
  const resect::quant::affine_symmetric<4, resect::quant::f16_store> format{.group = 128};
  for (auto _ : state)
    benchmark::DoNotOptimize(
        resect::quant::quantize(exec, W, format, resect::quant::nearest{}, resect::quant::exact{}));
  state.counters["weights/s"] = benchmark::Counter(rows * cols, benchmark::Counter::kIsIterationInvariantRate);
}

void product(benchmark::State& state, int n, int threads) {
  backend exec{resect::threads{threads}};
  const auto size = static_cast<std::size_t>(n) * static_cast<std::size_t>(n);
  const auto a = drawn(size, 1), b = drawn(size, 2);
  std::vector<float> c(size);
  for (auto _ : state) {
    resect::value_or_throw(exec.try_gemm(1.0f, matrix_view<const float>{a.data(), n, n},
                                         matrix_view<const float>{b.data(), n, n}.transposed(), 0.0f,
                                         matrix_view<float>{c.data(), n, n}));
    benchmark::DoNotOptimize(c.data());
  }
  state.counters["flop/s"] = benchmark::Counter(2.0 * n * n * n, benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace

int main(int argc, char** argv) {
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  if (const char* asked = std::getenv("RESECT_BENCH_THREADS")) threads = std::atoi(asked);
  if (threads < 1) threads = 1;
  benchmark::RegisterBenchmark("identity_tap", identity_tap)->UseRealTime();
  benchmark::RegisterBenchmark("steer", steer_rows)->UseRealTime();
  benchmark::RegisterBenchmark("exact_search", exact_search)->UseRealTime();
  for (const int t : {1, threads}) {
    benchmark::RegisterBenchmark(("round_nearest/" + std::to_string(t)).c_str(), [=](benchmark::State& s) {
      round_nearest(s, t);
    })->UseRealTime();
    benchmark::RegisterBenchmark(("row_products/" + std::to_string(t)).c_str(), [=](benchmark::State& s) {
      row_pass(s, t);
    })->UseRealTime();
    benchmark::RegisterBenchmark(("compare_logits/" + std::to_string(t)).c_str(), [=](benchmark::State& s) {
      kl_pass<float>(s, t);
    })->UseRealTime();
    benchmark::RegisterBenchmark(("compare_logits_bf16/" + std::to_string(t)).c_str(), [=](benchmark::State& s) {
      kl_pass<resect::bf16>(s, t);
    })->UseRealTime();
    if (threads == 1) break;
  }
  for (const int n : {1024, 4096})
    benchmark::RegisterBenchmark(("gemm/resect/" + std::to_string(n)).c_str(), [=](benchmark::State& s) {
      product(s, n, threads);
    })->UseRealTime();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
