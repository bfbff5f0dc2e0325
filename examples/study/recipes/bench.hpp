// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <hosts/llama/host.hpp>
#include <hosts/llama/load.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/study/runner.hpp>
#include <study/io/progress_bar.hpp>
#include <study/recipes/recipe.hpp>
#include <study/report/make_record.hpp>
#include <study/report/record.hpp>

namespace studies {

using backend = resect::cpu<resect::threads>;
using host = hosts::llama_host;
using runner = resect::study::runner<backend, host>;

// A model that is studied. It stays where it is made, as its host refers to it.
struct studied_model {
  std::string path, name;
  hosts::llama_model model;
  host runtime;

  studied_model(backend& exec, std::string path, std::string name);
  studied_model(const studied_model&) = delete;
  studied_model& operator=(const studied_model&) = delete;
};

// What a recipe works on: models, texts and the record that its results go into.
class bench {
 public:
  // Reads everything that the command line names. Fails (as input.hpp says) with what is wrong.
  bench(const recipe& what, const common_options& options);
  bench(const bench&) = delete;
  bench& operator=(const bench&) = delete;

  const common_options& options() const noexcept { return options_; }
  backend& exec() noexcept { return exec_; }
  host& model(std::size_t i = 0) noexcept { return models_[i]->runtime; }
  const studied_model& studied(std::size_t i = 0) const noexcept { return *models_[i]; }
  std::size_t models() const noexcept { return models_.size(); }

  // The layers that --layers chose, ascending; all of them where it was not given.
  const std::vector<int>& layers() const noexcept { return layers_; }
  bool has_layer(int l) const noexcept { return std::binary_search(layers_.begin(), layers_.end(), l); }
  std::uint64_t seed() const noexcept { return options_.seed; }

  const resect::study::token_windows& evaluation() const noexcept { return evaluation_; }
  const std::map<role, role_set>& sets() const noexcept { return sets_; }
  // Windows of a role that the recipe needs; none of one that it does not.
  const resect::study::token_windows& windows(role r) const;

  // What measuring the arms costs, the intact model's pass included.
  resect::study::study_cost cost(const std::vector<arm_table>& tables);
  // Measures all arms, each shared prefix once, and adds a table of each list to the record.
  void tabulate(const std::vector<arm_table>& tables);
  // Adds a table of each list to the record; measured[i] belongs to the i-th arm of all of them.
  void add_tables(const std::vector<arm_table>& tables, std::span<const resect::study::effect_sums> measured);

  // For recipes that do more. The runner has run the intact model, whose numbers and floor are in the record then.
  runner& run();
  // The same on another host of the model, which has the record's baseline and floor then.
  template <class H>
  resect::study::runner<backend, H> start(H& on) {
    auto run = need(resect::study::runner<backend, H>::try_start(exec_, on, evaluation_));
    add_baseline(record_, run.intact(), evaluation_);
    show("floor", done_ + total_.baseline_flop);
    add_floor(record_, need(resect::study::try_kl_floor(exec_, on, evaluation_, run.outputs())));
    show("intact model", done_ + floor_flop());
    return run;
  }
  // Of the KL of all tables, once the intact model has run; 0 before.
  double floor() const noexcept { return record_.floor ? record_.floor->mean : 0; }
  // Operations that measuring it takes, which are no recipe's own.
  double floor_flop();
  study_record& record() noexcept { return record_; }
  // How far the study is: `progress()` goes on from what was reported last.
  void start_progress(const resect::study::study_cost& cost);
  void end_progress() { bar_.reset(); }
  void show(const std::string& step, double done);
  resect::study::progress_report report() { return report_; }
  resect::study::progress progress() const { return {done_, total_.flop, {}}; }

 private:
  struct reporter {
    bench& to;
    void operator()(const resect::study::progress& p) const { to.show(std::string(p.step), p.done); }
  };

  common_options options_;
  backend exec_;
  std::vector<std::unique_ptr<studied_model>> models_;
  std::vector<int> layers_;
  tokens text_;
  resect::study::token_windows evaluation_;
  std::map<role, role_set> sets_;
  std::optional<runner> runner_;
  study_record record_;
  std::optional<progress_bar> bar_;
  resect::study::study_cost total_;
  double done_ = 0;
  reporter report_{*this};
};

// How many matrices of the chosen layers lie on a grid of few bits already: a quantizer that meets it makes no error.
grid_record look_for_grids(bench& b);
// Whether a study of stored weights works on a rotation of the residual stream: "auto" where weights lie on a grid, "always"
// or "never". Says on stderr what lies on a grid.
bool works_on_rotation(bench& b, const std::string& rotate, const grid_record& grid);
// The matrices of the chosen layers.
std::vector<resect::model::weight_desc> matrices_of(bench& b);
// Rows of whole windows, about 2048 at a time.
std::vector<resect::model::batch_view> batches_of(const resect::study::token_windows& w);

// Marks and ranks of every recipe: resamples of the bootstrap.
inline constexpr resect::index_t bootstrap_resamples = 1000;

}  // namespace studies

// Compiled once, in bench.cpp.
extern template class resect::study::runner<studies::backend, studies::host>;
