// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <ctime>
#include <vector>

#include <resect/study/runner.hpp>

// How fast a host runs here, so that a study can say beforehand how long it takes.
namespace RESECT_NAMESPACE::study {

namespace detail {
// Of the clock that never goes back. (<chrono> brings <sstream>: half of what all of a study's headers may cost.)
inline double seconds_now() noexcept {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
}  // namespace detail

// Operations a second of this host on this machine: passes through the whole model over the first windows (at most four),
// outputs compared included, for a third of a second.
struct speed {
  index_t windows = 0;
  double flop_per_second = 0;
};
// Measures it. Errors: as runner::try_start.
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

}  // namespace RESECT_NAMESPACE::study
