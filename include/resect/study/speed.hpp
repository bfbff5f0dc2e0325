// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <ctime>
#include <vector>

#include <resect/core/matrix.hpp>
#include <resect/study/detail/partial_passes.hpp>
#include <resect/study/runner.hpp>

// Measures the speed of a host on this machine, so that a study can estimate its duration.
namespace RESECT_NAMESPACE::study {

namespace detail {
// Seconds of the monotonic clock. (<chrono> includes <sstream>, half of the compile time that all study headers may
// take.)
inline double seconds_now() noexcept {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
}  // namespace detail

// The speed of a host on this machine in operations a second, from passes through the whole model over the first
// windows (at most four) for a third of a second; comparing outputs is included.
struct speed {
  index_t windows = 0;
  double flop_per_second = 0;
};
// Measures the speed of a host. Errors: as runner::try_start.
template <class Backend, model::surgical_host H>
result<speed> try_measure_speed(Backend& backend, H& host, const token_windows& windows, const runner_options& o = {}) {
  token_windows few = windows;
  few.n_windows = algo::min<index_t>(4, windows.n_windows);
  const auto rows =
      windows.rows.size() / static_cast<std::size_t>(windows.n_windows) * static_cast<std::size_t>(few.n_windows);
  few.rows.resize(rows);
  few.cluster.resize(rows);
  auto run = runner<Backend, H>::try_start(backend, host, few, o);  // not timed: memory is touched first here
  if (!run) return run.error();
  const std::vector<arm> intact(1);
  const double flop = run->estimate(intact).flop;
  const double start = detail::seconds_now();
  double seconds = 0;
  int passes = 0;
  do {
    if (auto s = run->try_effects(intact); !s) return s.error();
    ++passes;
    seconds = detail::seconds_now() - start;
  } while (seconds < 0.3 && passes < 20);
  return speed{few.n_windows, flop * passes / seconds};
}

// Tokens a second of a host under a plan on this machine: whole passes, head included, over the first windows (at most
// four), for at least `seconds` after one pass that is not timed. Weights that a plan draws anew are drawn in every
// pass: such plans say nothing of speed. Errors: what residual::try_run and the host report.
template <class Backend, model::surgical_host H>
result<double> try_tokens_per_second(Backend& backend, H& host, const residual::plan& plan,
                                     const token_windows& windows, double seconds = 0.1) {
  const auto a_window = windows.rows.size() / static_cast<std::size_t>(windows.n_windows);
  const auto rows = static_cast<index_t>(a_window) * algo::min<index_t>(4, windows.n_windows);
  const model::model_desc& m = host.describe();
  auto start = host.try_embed(std::span(windows.rows).first(static_cast<std::size_t>(rows)));
  if (!start) return start.error();
  matrix<float> norm(rows, m.d_model), logits(rows, m.n_vocab);
  double begin = 0, spent = 0;
  for (int passes = -1;; ++passes) {
    if (passes == 0) begin = detail::seconds_now();
    if (passes > 0 && (spent = detail::seconds_now() - begin) >= seconds)
      return static_cast<double>(rows) * passes / spent;
    if (auto s = detail::try_pass_with_head(backend, host, plan, *start, norm, logits); !s) return s.error();
  }
}

}  // namespace RESECT_NAMESPACE::study
