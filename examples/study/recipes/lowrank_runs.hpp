// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <utility>
#include <vector>

#include <resect/study/speed.hpp>
#include <study/recipes/lowrank.hpp>
#include <study/report/numbers.hpp>

// What the recipe `lowrank` runs on a host beside its arms: free continuations, and L·R in place of the host's products.
namespace studies {

inline constexpr std::size_t prompt_ids = 16;

// The first ids of some evenly spread windows.
inline std::vector<std::vector<std::int32_t>> prompts_of(const resect::study::token_windows& w, int count) {
  const std::size_t a_window = w.rows.size() / static_cast<std::size_t>(w.n_windows);
  std::vector<std::vector<std::int32_t>> out;
  for (resect::index_t i = 0; i < std::min<resect::index_t>(count, w.n_windows); ++i) {
    const auto first =
        static_cast<std::size_t>(i * w.n_windows / std::min<resect::index_t>(count, w.n_windows)) * a_window;
    auto& ids = out.emplace_back();
    for (std::size_t k = 0; k < std::min(prompt_ids, a_window); ++k) ids.push_back(w.rows[first + k].token);
  }
  return out;
}

// Loops of greedy and of sampled continuations of prompts of the evaluation under a plan.
template <class H>
std::pair<resect::study::loop_sums, resect::study::loop_sums> loops_under(bench& b, H& on,
                                                                          const resect::residual::plan& plan, int count,
                                                                          int new_ids) {
  const auto prompts = prompts_of(b.evaluation(), count);
  const auto run = [&](double temperature) {
    return resect::study::loops_of(need(resect::study::try_generate(
        on, plan, prompts, {.max_new = new_ids, .temperature = temperature, .seed = b.seed()})));
  };
  return {run(0), run(1)};
}

// Rows a second of one batch through all layers, the best of three passes.
template <class H>
double rows_per_second(bench& b, H& on) {
  const auto batch = batches_of(b.evaluation()).front();
  double best = 0;
  for (int i = 0; i < 3; ++i) {
    auto state = need(on.try_embed(batch));
    const double start = resect::study::detail::seconds_now();
    need(on.try_run(state, 0, on.describe().n_layers, resect::model::no_hooks<float>()));
    best = std::max(best, static_cast<double>(batch.size()) / (resect::study::detail::seconds_now() - start));
  }
  return best;
}

// Adds bytes and speed of all matrices as packed L·R, through the host's products, and the memory of the process.
template <class H>
void add_speed(bench& b, H& on, const std::vector<double>& shares, const std::vector<low_rank_matrix>& matrices) {
  plain_table out{
      "L·R at run time",
      "all matrices as packed factors of 8 bits, computed as L·(R·x), beside the host's own products in fp32",
      {"rank", "bytes of the matrices", "share of fp32", "rows a second", "× the host's own"},
      {}};
  double whole = 0;
  for (const auto& m : matrices) whole += 4.0 * static_cast<double>(m.w.rows * m.w.cols);
  const double own = rows_per_second(b, on);
  out.cells.push_back({"all", grouped(static_cast<long long>(whole)), "1", grouped(static_cast<long long>(own)), "1"});
  for (const double share : shares) {
    resect::array<resect::scratch> memory(static_cast<resect::index_t>(matrices.size()));
    resect::array<typename H::product_override> held;
    double bytes = 0;
    for (std::size_t i = 0; i < matrices.size(); ++i) {
      const auto& m = matrices[i];
      auto packed = need(resect::compress::packed_factors<factors_8>::try_make(
          need(try_round_pair(b.exec(), m, pair_kind::weighted, m.rank_of(share)))));
      bytes += static_cast<double>(packed.bytes());
      held.push_back(need(on.try_override_product(
          m.w, resect::compress::product_of(b.exec(), std::move(packed), memory[static_cast<resect::index_t>(i)]))));
    }
    const double speed = rows_per_second(b, on);
    while (!held.empty()) held.pop_back();
    out.cells.push_back({plain(share), grouped(static_cast<long long>(bytes)), fixed(bytes / whole, 3),
                         grouped(static_cast<long long>(speed)), fixed(speed / own, 2)});
    b.record().report.sections["speed"].push_back(
        {{"share", share}, {"bytes", bytes}, {"fp32_bytes", whole}, {"rows_per_second", speed}, {"own", own}});
  }
  b.record().extras.push_back(std::move(out));
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  b.record().facts.emplace_back("peak memory",
                                grouped(used.ru_maxrss / 1024) + " MiB of this process, all arms included");
}

}  // namespace studies
