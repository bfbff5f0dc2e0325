// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// resect's side of `./run compare sae`: steps of training, the encoder's product and reads of memory at the command of a
// line of standard input; the recovery of planted dictionaries; folders in SAELens' layout.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <resect/backend/cpu.hpp>
#include <resect/core/threads.hpp>
#include <resect/sae.hpp>
#include <resect/sae/saelens.hpp>

#include "../large_buffer.hpp"
#include "../read_memory.hpp"

namespace {

using namespace resect;
using resect::index_t;
using executor = cpu<threads>;
using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}
index_t number(const char* text) {
  char* end = nullptr;
  const long long n = std::strtoll(text, &end, 10);
  if (end == text || *end != '\0' || n < 1)
    throw std::invalid_argument(std::string("got ") + text + ", wanted a number from 1 on");
  return static_cast<index_t>(n);
}
instruction_set set_of(const std::string& text) {
  for (const auto set : {instruction_set::portable, instruction_set::avx2, instruction_set::avx512})
    if (text == name(set)) {
      if (!supported(set)) throw std::invalid_argument("this machine has no " + text);
      return set;
    }
  if (text == "best") return best_instruction_set();
  throw std::invalid_argument("got instructions " + text + ", wanted best, portable, avx2 or avx512");
}
struct shape {
  index_t width, latents, kept, batch;
};
matrix<float> rows_of(const shape& s) {
  matrix<float> x(s.batch, s.width);
  for (index_t i = 0; i < x.data.size(); ++i)
    x.data[i] = static_cast<float>(random::gaussian(9, 0, static_cast<std::uint64_t>(i)));
  return x;
}

// Answers each line of standard input with a number.
template <class F>
int serve(F&& answer) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::printf("%.9g\n", static_cast<double>(answer(line)));
    std::fflush(stdout);
  }
  return 0;
}
[[noreturn]] void unknown(const std::string& line, const char* wanted) {
  throw std::invalid_argument("got " + line + ", wanted " + wanted);
}

// step → seconds of a step; fvu → of the last; peak → bytes of memory at most so far; state → bytes of weights and moments.
int steps(const shape& s, executor& exec, bool both) {
  const auto x = rows_of(s);
  const sae::trainer_options options{
      .latents = s.latents, .clip = both ? 1.0 : 0.0, .aux_coefficient = both ? 1.0 / 32 : 0.0};
  auto t =
      value_or_throw(sae::trainer<float, sae::topk>::try_make(exec, sae::topk{{.latents = s.kept}}, options, x.view()));
  double fvu = 0;
  return serve([&](const std::string& line) -> double {
    if (line == "fvu") return fvu;
    if (line == "state")
      return 3.0 * sizeof(float) * static_cast<double>(2 * s.latents * s.width + s.latents + s.width);
    if (line == "peak") {
      rusage used{};
      getrusage(RUSAGE_SELF, &used);
      return 1024.0 * static_cast<double>(used.ru_maxrss);
    }
    if (line != "step") unknown(line, "step, fvu, peak or state");
    if (both)  // the same latents are dead at every step, as on the peers' side
      for (index_t j = 0; j < s.latents; j += 64) t.mutable_state().since_fired[j] = options.dead_after;
    const auto start = clock_type::now();
    const auto report = value_or_throw(t.try_step(exec, x.view()));
    const double seconds = seconds_since(start);
    fvu = report.fvu;
    return seconds;
  });
}

// product → seconds of x·Wᵀ into B × F; read → bytes a second of the best of two loops.
int ceilings(const shape& s, executor& exec, int workers) {
  const auto x = rows_of(s);
  const bench::large_buffer w(static_cast<std::size_t>(s.latents * s.width), bench::pages::huge),
      out(static_cast<std::size_t>(s.batch * s.latents), bench::pages::huge);
  const matrix_view<const float> encoder{w.data(), s.latents, s.width};
  const matrix_view<float> h{out.data(), s.batch, s.latents};
  const threads pool{workers};
  const std::size_t share = static_cast<std::size_t>(s.batch * s.latents) / static_cast<std::size_t>(workers);
  const auto read = [&](auto loop) {
    array<float> sums(workers);
    const auto start = clock_type::now();
    pool.bulk(workers, [&](index_t i) { sums[i] = loop(out.data() + static_cast<std::size_t>(i) * share, share); });
    const double seconds = seconds_since(start);
    volatile float kept = sums[0];
    static_cast<void>(kept);
    return static_cast<double>(share) * static_cast<double>(workers) * sizeof(float) / seconds;
  };
  return serve([&](const std::string& line) -> double {
    if (line == "read") return std::max(read(bench::read_memory<1, 1024>), read(bench::read_memory<4, 1024>));
    if (line != "product") unknown(line, "product or read");
    const auto start = clock_type::now();
    value_or_throw(exec.try_gemm(1.0f, x.view(), encoder.transposed(), 0.0f, h));
    return seconds_since(start);
  });
}

// --- recovery of a planted dictionary ---------------------------------------------------------------------

struct recovery_options {
  std::uint64_t seed = 1;
  index_t rows = 2'000'000;
  sae::planted_rows data{.width = 128, .atoms = 512, .active = 8, .noise = 0.1};
};
template <class A>
int recover(executor& exec, const A& how, const recovery_options& o) {
  sae::planted_rows data = o.data;
  data.seed = o.seed;
  const auto truth = data.dictionary();
  matrix<float> x(512, data.width);
  data.draw(truth, 0, x.view());
  const index_t steps = o.rows / x.rows;
  const sae::trainer_options options{
      .latents = data.atoms, .steps = steps, .warm_up = steps / 20, .dead_after = 20'000, .seed = o.seed};
  const auto start = clock_type::now();
  auto t = value_or_throw(sae::trainer<float, A>::try_make(exec, how, options, x.view()));
  sae::step_report last;
  for (index_t step = 0; step < steps; ++step) {
    const index_t part = 64;
    exec.bulk(x.rows / part,
              [&](index_t i) { data.draw(truth, step * x.rows + i * part, x.view().middle_rows(i * part, part)); });
    last = value_or_throw(t.try_step(exec, x.view()));
  }
  const auto found = t.weights().decoder;
  const auto random = sae::planted_rows{.width = data.width, .atoms = data.atoms, .seed = o.seed + 1000}.dictionary();
  std::printf(
      "{\"architecture\": \"%s\", \"seed\": %llu, \"rows\": %lld, \"there\": %.6f, \"back\": %.6f, \"random\": %.6f, "
      "\"fvu\": %.6f, "
      "\"latents\": %.4f, \"dead\": %lld, \"seconds\": %.1f}\n",
      A::name.data(), static_cast<unsigned long long>(o.seed), static_cast<long long>(steps * x.rows),
      sae::mean_max_cosine(truth.view(), found.view()), sae::mean_max_cosine(found.view(), truth.view()),
      sae::mean_max_cosine(truth.view(), random.view()), last.fvu, last.mean_latents, static_cast<long long>(last.dead),
      seconds_since(start));
  return 0;
}
// --- folders in SAELens' layout ---------------------------------------------------------------------------

void write_bytes(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}
// The codec of a trained architecture: topk keeps k latents, the others have thresholds.
template <class A>
sae::codec codec_of(executor& exec, const sae::trainer<float, A>& t, matrix_view<const float> held, index_t latents) {
  sae::codec out{t.weights(), 0};
  if constexpr (std::is_same_v<A, sae::topk>) out.keep = latents;
  if constexpr (std::is_same_v<A, sae::batch_topk>)
    out.weights.threshold = array<float>(
        out.weights.latents(), value_or_throw(sae::try_calibrate_threshold(exec, out.weights, held, latents)));
  return out;
}
// Trains for a while on rows that have a mean, and writes the folder, held-out rows and their reconstructions.
template <class A>
int export_folder(executor& exec, const A& how, index_t latents, const std::string& folder) {
  const sae::planted_rows data{.width = 96, .atoms = 256, .active = 6, .noise = 0.05};
  const auto truth = data.dictionary();
  const auto drawn = [&](std::int64_t first, index_t rows) {
    matrix<float> x(rows, data.width);
    data.draw(truth, first, x.view());
    for (index_t i = 0; i < x.data.size(); ++i) x.data[i] = 3 * x.data[i] + static_cast<float>(i % data.width) / 40;
    return x;
  };
  const index_t batch = 512, steps = 200;
  const sae::trainer_options options{.latents = 384, .steps = steps, .learning_rate = 2e-3, .warm_up = 20};
  auto t = value_or_throw(sae::trainer<float, A>::try_make(exec, how, options, drawn(0, batch)));
  for (index_t step = 0; step < steps; ++step) value_or_throw(t.try_step(exec, drawn(step * batch, batch)));
  const auto x = drawn(steps * batch, 2048);
  const sae::codec c = codec_of(exec, t, drawn((steps + 4) * batch, 4096).view(), latents);

  sae::codec_memory memory;
  value_or_throw(sae::try_encode(exec, c, x, memory));
  matrix<float> back(x.rows, x.cols);
  index_t kept = 0;
  for (index_t r = 0; r < x.rows; ++r) {
    sae::decode_row(c, memory.rows[r].span(), back.view().row_span(r));
    kept += memory.rows[r].size();
  }
  const auto files = value_or_throw(sae::try_write_saelens(c, {.hook_name = "planted"}));
  write_bytes(folder + "/" + std::string(files.cfg_name), std::as_bytes(std::span<const char>(files.cfg)));
  write_bytes(folder + "/" + std::string(files.weights_name), std::as_const(files.weights).span());
  write_bytes(folder + "/x.f32", std::as_bytes(x.data.span()));
  write_bytes(folder + "/reconstructions.f32", std::as_bytes(back.data.span()));
  std::printf("{\"width\": %lld, \"latents_a_row\": %.4f}\n", static_cast<long long>(x.cols),
              static_cast<double>(kept) / static_cast<double>(x.rows));
  return 0;
}

template <class F>
int with_architecture(const std::string& name, index_t latents, F&& f) {
  if (name == sae::topk::name) return f(sae::topk{{.latents = latents}});
  if (name == sae::batch_topk::name) return f(sae::batch_topk{{.latents = latents}});
  if (name == sae::jump_relu::name) return f(sae::jump_relu{.latents = static_cast<double>(latents)});
  throw std::invalid_argument("got architecture " + name + ", wanted topk, batch_topk or jump_relu");
}

int run(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if ((verb == "step" && argc == 9) || (verb == "ceilings" && argc == 8)) {
    const shape s{number(argv[2]), number(argv[3]), number(argv[4]), number(argv[5])};
    const int workers = static_cast<int>(number(argv[6]));
    executor exec{threads{workers}, set_of(argv[7])};
    return verb == "step" ? steps(s, exec, std::strcmp(argv[8], "both") == 0) : ceilings(s, exec, workers);
  }
  if (verb == "recover" && argc == 6) {
    executor exec{threads{static_cast<int>(number(argv[5]))}};
    const recovery_options o{.seed = static_cast<std::uint64_t>(number(argv[3])), .rows = number(argv[4])};
    return with_architecture(argv[2], o.data.active, [&](const auto& how) { return recover(exec, how, o); });
  }
  if (verb == "export" && argc == 5) {
    executor exec{threads{static_cast<int>(number(argv[4]))}};
    const index_t latents = 6;
    return with_architecture(argv[2], latents,
                             [&](const auto& how) { return export_folder(exec, how, latents, argv[3]); });
  }
  std::fputs(
      "usage: sae_bench step WIDTH LATENTS K BATCH THREADS INSTRUCTIONS off|both\n"
      "       sae_bench ceilings WIDTH LATENTS K BATCH THREADS INSTRUCTIONS\n"
      "       sae_bench recover topk|batch_topk|jump_relu SEED ROWS THREADS\n"
      "       sae_bench export topk|batch_topk|jump_relu FOLDER THREADS\n",
      stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "sae_bench: %s\n", e.what());
    return 1;
  }
}
