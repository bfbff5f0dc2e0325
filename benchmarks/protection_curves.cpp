// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Success of the searches for critical layers against evaluations, on planted landscapes of 80 layers with five critical
// ones and an effect of 3 standard errors of one evaluation.
//   protection_curves [RUNS] [METHOD]
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <resect/study/protect.hpp>
#include <support/planted_landscape.hpp>

namespace {

using namespace resect;
using tests::landscape_kind;
using objective = std::function<result<study::half_estimate<study::search_half>>(const study::layer_set&, index_t)>;

struct method {
  std::string name;
  std::function<result<study::protection_search>(objective, const study::search_options&)> run;
};

std::vector<method> methods(index_t layers) {
  const auto suffix = [layers](study::suffix_method kind) {
    return [layers, kind](objective f, const study::search_options& o) {
      return study::try_suffix_search(f, layers, {.search = o, .method = kind, .scan_rounds = 4});
    };
  };
  return {{"random masks", [=](objective f, const auto& o) { return study::try_random_masks(f, layers, o); }},
          {"leave-one-in",
           [=](objective f, const auto& o) {
             return study::try_screening(f, layers, study::screening_kind::leave_one_in, o);
           }},
          {"leave-one-out",
           [=](objective f, const auto& o) {
             return study::try_screening(f, layers, study::screening_kind::leave_one_out, o);
           }},
          {"lazy greedy", [=](objective f, const auto& o) { return study::try_lazy_greedy(f, layers, o); }},
          {"suffix scan", suffix(study::suffix_method::scan)},
          {"suffix binary", suffix(study::suffix_method::binary)}};
}

void print_curve(const char* title, const tests::landscape_options& landscape, int runs, const std::string& only) {
  std::printf(
      "\n%s, %d runs: exactly the critical layers / enough of them and none outside / a layer outside (evaluations), "
      "unsound said\n",
      title, runs);
  const index_t budgets[] = {40, 50, 60, 80, 100, 150, 200, 300, 600, 1000};
  for (const method& m : methods(landscape.layers)) {
    if (!only.empty() && only != m.name) continue;
    std::printf("%-14s", m.name.c_str());
    for (const index_t budget : budgets) {
      int exact = 0, enough = 0, outside = 0, unsound = 0, ran = 0;
      double spent = 0;
      for (int run = 0; run < runs; ++run) {
        const tests::planted_landscape planted(landscape, static_cast<std::uint64_t>(run));
        const auto found = m.run(planted.objective(),
                                 {.budget = budget,
                                  .noise = landscape.kind == landscape_kind::fixed_pool ? study::noise_kind::shared
                                                                                        : study::noise_kind::fresh,
                                  .tolerance = landscape.effect / 2,
                                  .seed = static_cast<std::uint64_t>(run)});
        if (!found) break;  // the budget is below what the method needs
        ++ran;
        exact += found->named == planted.critical();
        const bool beyond = planted.names_outside(found->named);
        outside += beyond;
        enough += !beyond && planted.truth(found->named) >
                                 planted.truth(study::layer_set::all(landscape.layers)) - landscape.effect / 2;
        unsound += found->verdict == study::search_verdict::unsound;
        spent += static_cast<double>(found->evaluations);
      }
      if (ran == 0) {
        std::printf("  %4d: -", static_cast<int>(budget));
        continue;
      }
      const double n = ran;
      std::printf("  %4d: %.3f/%.3f/%.3f (%.0f)", static_cast<int>(budget), exact / n, enough / n, outside / n,
                  spent / n);
      if (unsound > 0) std::printf(" unsound %.3f", unsound / n);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int runs = argc > 1 ? std::atoi(argv[1]) : 1000;
  const std::string only = argc > 2 ? argv[2] : "";
  print_curve("Layers that add up", {}, runs, only);
  print_curve("A redundant pair", {.kind = landscape_kind::redundant_pair}, runs, only);
  print_curve("Not monotone", {.kind = landscape_kind::not_monotone}, runs, only);
  print_curve("A fixed pool of items", {.kind = landscape_kind::fixed_pool}, runs, only);
}
