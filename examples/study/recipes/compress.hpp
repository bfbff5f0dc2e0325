// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <resect/compress/allocate.hpp>
#include <resect/compress/rank_presets.hpp>
#include <resect/quant/hessian.hpp>
#include <resect/study/effect.hpp>
#include <study/recipes/bench.hpp>

// The recipe `compress`: what matrices cost at equal bytes, allocated in several ways; and layer by layer.
namespace studies {

// --- the list `layers` -----------------------------------------------------------------------------------------------

struct layer_list_options {
  int quantize_bits = 0, low_rank = 0;
  resect::index_t group = 64;
  std::string scale = "min-max", zero = "integer";
};
void declare_layer_list(CLI::App& app, layer_list_options& o);
void check_layer_list(bench& b, const layer_list_options& o);
resect::study::study_cost layer_list_cost(bench& b, const layer_list_options& o);
void measure_layer_list(bench& b, const layer_list_options& o);

// --- the list `budgets` ----------------------------------------------------------------------------------------------

// One way to store a matrix: Ŵ = Q + L·R, Q symmetric with scales of f16, L and R at 8 bits.
struct storing {
  int bits = 0;
  resect::index_t group = 0;
  resect::index_t rank = 0;
  friend auto operator<=>(const storing&, const storing&) = default;
};
// The rank that a matrix can have: at most half of its smaller extent.
resect::index_t rank_of(const storing& s, const resect::model::weight_desc& w);
// Stored bits of a matrix, all overhead counted.
double stored_bits(const storing& s, const resect::model::weight_desc& w);
// values (w.rows, w.cols) become Q + L·R: Q by LDLQ with sweeps (above 4 bits GPTQ), L·R the truncated SVD of (W − Q)·D, D² the
// diagonal of H.
resect::status try_store(backend& exec, const storing& s, std::uint64_t seed, const resect::model::weight_desc& w,
                         const resect::quant::hessian& h, resect::matrix_view<float> values);

// The matrices of a study, with the H of each.
struct compress_bench {
  backend& exec;
  std::uint64_t seed;
  std::vector<resect::model::weight_desc> matrices = {};
  resect::array<resect::quant::hessian> h = {};
  std::function<void()> stored = {};  // called after each matrix
};

// One storing of each matrix; {0, 0, 0}: as it is.
using storing_list = std::vector<storing>;
double bits_of(const compress_bench& at, const storing_list& list);
// An arm that stores the matrices so; budget and method are its parameters.
resect::study::arm arm_of(compress_bench& at, const storing_list& list, std::string_view method, double budget);

// Two widths of one group in the share that fits the budget, spread evenly over the matrices of each name. Empty: none fits.
storing_list mixture(const compress_bench& at, int bits, resect::index_t group, double budget);
// Q at `bits` in groups of 128 and the ranks of a preset around the largest rank that fits. Empty: none fits.
storing_list preset_list(const compress_bench& at, resect::compress::rank_preset preset, int bits, double budget,
                         int n_layers);

// What a budget's arms are, and what was found of them on the evaluated windows.
struct budget_arm {
  std::string method;  // "uniform", "uniform rank", "selective", "ultra", "allocated"
  storing_list list;
  double bits = 0;  // a weight
};
struct budget_result {
  double budget = 0;  // bits a weight
  std::vector<budget_arm> arms;
  std::vector<resect::study::effect_sums> effects = {};
  std::string uniform = {};  // which of the uniform ones was the best on selection windows
  bool fell_back = false;    // the allocation measured no better there
  double gap = 0, loss = 0;  // of the allocation
  estimate allocated_selection = {}, uniform_selection = {};
};
// Ratios of KL to `uniform`, with Holm's p-values over the budgets for the allocation; sentences and a table.
void add_budget_findings(study_record& to, const std::vector<budget_result>& found);

}  // namespace studies
