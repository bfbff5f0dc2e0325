// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/bench.hpp>

#include <cstdio>
#include <filesystem>
#include <utility>

#include <resect/core/matrix.hpp>
#include <resect/quant/grid_detector.hpp>
#include <resect/study/table.hpp>
#include <study/io/arguments.hpp>
#include <study/report/make_record.hpp>

template class resect::study::runner<studies::backend, studies::host>;

namespace studies {

namespace {

std::string shown_name(const std::string& given, const std::string& model_path) {
  if (!given.empty()) return given;
  std::filesystem::path path = std::filesystem::path(model_path).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return path.extension() == ".gguf" ? path.stem().string() : path.filename().string();
}

double parameters_of(const host& h) {
  const auto& m = h.describe();
  double n = static_cast<double>(m.d_model) * (static_cast<double>(m.n_vocab) * (m.tied_head ? 1 : 2) + 1);
  for (int l = 0; l < m.n_layers; ++l)
    for (const auto& w : h.weights(l)) n += static_cast<double>(w.rows * w.cols);
  return n;
}

std::vector<int> chosen_layers(const std::optional<std::string>& list, int n_layers) {
  if (list) return need(try_parse_layers(*list, n_layers));
  std::vector<int> all;
  for (int l = 0; l < n_layers; ++l) all.push_back(l);
  return all;
}

std::vector<role> needed_roles(const recipe& what) {
  std::vector<role> out;
  for (const role r : what.roles)
    if (!what.needs || what.needs(r)) out.push_back(r);
  return out;
}

resect::io::report_model to_record(const studied_model& m) {
  const auto& c = m.model.config;
  return {m.name, hexadecimal(m.model.fingerprint), c.n_layers, c.d_model, c.n_vocab};
}

std::vector<resect::study::arm> all_arms(const std::vector<arm_table>& tables) {
  std::vector<resect::study::arm> out;
  for (const arm_table& t : tables) out.insert(out.end(), t.arms.begin(), t.arms.end());
  return out;
}

}  // namespace

studied_model::studied_model(backend& exec, std::string from, std::string shown)
    : path(std::move(from)), name(std::move(shown)), model(need(hosts::try_load_llama(path))), runtime(exec, model) {}

bench::bench(const recipe& what, const common_options& options)
    : options_(options), exec_(resect::threads{options.threads}) {
  for (std::size_t i = 0; i < options_.models.size(); ++i) {
    const std::string path = model_path(options_.models[i]);
    const std::string given = i < options_.model_names.size() ? options_.model_names[i] : "";
    models_.push_back(std::make_unique<studied_model>(exec_, path, shown_name(given, path)));
  }
  const auto& config = studied().model.config;
  layers_ = chosen_layers(options_.layers, config.n_layers);
  text_ = read_tokens(choose_texts(options_.texts, options_.ids, studied().path), studied().path, config.n_vocab,
                      config.bos);
  options_.windows.bos = config.bos;
  evaluation_ = need(resect::study::try_windows(text_.view(), options_.windows));
  auto of_roles = options_.windows;
  of_roles.sequences = std::max(of_roles.sequences, what.role_windows);
  sets_ = make_role_sets(needed_roles(what), options_.roles, documents_of(studied().path), text_, evaluation_, of_roles,
                         studied().path, config.n_vocab,
                         what.train_windows > 0 ? role_counts{{role::train, what.train_windows}} : role_counts{});
  note_long_context(options_.windows.context, config.context);

  record_.title = what.says;
  record_.documents = !text_.documents.empty();
  record_.layers = layers_;
  record_.bootstrap = bootstrap_resamples;
  record_.parameters = parameters_of(model());
  auto& r = record_.report;
  r.command = options_.command;
  r.recipe = what.name;
  r.seed = options_.seed;
  for (const auto& m : models_) r.models.push_back(to_record(*m));
  r.text = studies::to_record(text_, options_.windows);
  r.sets.push_back({"evaluation", studies::to_record(text_, evaluation_)});
  for (const auto& [role, set] : sets_)
    r.sets.push_back({std::string(name(role)), studies::to_record(set.text, set.windows)});
  r.rules = rules_of(record_.documents, config.bos, config.bos_rule);
  r.baseline.push_back({"unigram_nll", unigram_nll(need(resect::study::try_unigrams(text_.view(), evaluation_)),
                                                   evaluation_, config.n_vocab)});
}

const resect::study::token_windows& bench::windows(role r) const {
  static const resect::study::token_windows none;
  const auto found = sets_.find(r);
  return found == sets_.end() ? none : found->second.windows;
}

resect::study::study_cost bench::cost(const std::vector<arm_table>& tables) {
  return resect::study::estimate_cost(model(), evaluation_, all_arms(tables));
}

double bench::floor_flop() {
  return resect::study::kl_floor_flop(model(), static_cast<resect::index_t>(evaluation_.rows.size()));
}

void bench::start_progress(const resect::study::study_cost& cost) {
  total_ = cost;
  bar_.emplace(options_.quiet ? progress_bar::style::silent : progress_bar::style_of_stderr());
  show("intact model", 0);
}

void bench::show(const std::string& step, double done) {
  done_ = done;
  if (bar_) bar_->show(done, total_.flop, step);
}

runner& bench::run() {
  if (runner_) return *runner_;
  runner_ = start(model());
  return *runner_;
}

void bench::tabulate(const std::vector<arm_table>& tables) {
  add_tables(tables, need(run().try_effects(all_arms(tables), report_, progress())));
}

void bench::add_tables(const std::vector<arm_table>& tables, std::span<const resect::study::effect_sums> measured) {
  const resect::study::table_options options{resect::study::table_of::all_arms, seed(), bootstrap_resamples, floor()};
  std::size_t first = 0;
  for (const arm_table& t : tables) {
    const auto rows =
        need(resect::study::try_tabulate(std::span(t.arms), measured.subspan(first, t.arms.size()), options));
    first += t.arms.size();
    add_table(record_, {.name = t.name, .says = t.says, .control = t.control}, rows);
  }
}

grid_record look_for_grids(bench& b) {
  grid_record out;
  for (const int l : b.layers())
    for (const auto& w : b.model().weights(l)) {
      if (w.role != resect::model::weight_role::matrix) continue;
      resect::matrix<float> values(w.rows, w.cols);
      need(b.model().try_read_weight(w, values.view()));
      const auto found =
          need(resect::quant::try_detect_grid(b.exec(), resect::matrix_view<const float>(values.view())));
      ++out.matrices;
      if (!found.found()) continue;
      if (out.on_grid++ == 0) {
        out.bits = found.bits;
        out.group = found.group;
        out.kind = resect::quant::name(found.kind);
      }
    }
  return out;
}

std::vector<resect::model::weight_desc> matrices_of(bench& b) {
  std::vector<resect::model::weight_desc> out;
  for (const int l : b.layers())
    for (const auto& w : b.model().weights(l))
      if (w.role == resect::model::weight_role::matrix) out.push_back(w);
  return out;
}

std::vector<resect::model::batch_view> batches_of(const resect::study::token_windows& w) {
  const std::size_t a_window = w.rows.size() / static_cast<std::size_t>(w.n_windows);
  const std::size_t step = a_window * std::max<std::size_t>(1, 2048 / a_window);
  std::vector<resect::model::batch_view> out;
  for (std::size_t i = 0; i < w.rows.size(); i += step)
    out.push_back(std::span(w.rows).subspan(i, std::min(step, w.rows.size() - i)));
  return out;
}

bool works_on_rotation(bench& b, const std::string& rotate, const grid_record& grid) {
  const bool on_rotation = rotate == "always" || (rotate == "auto" && grid.on_grid > 0);
  if (grid.on_grid > 0 && !b.options().quiet)
    std::fprintf(stderr,
                 "note: %d of %d matrices lie on a grid of %d bits in groups of %lld, as they were stored: %s\n",
                 grid.on_grid, grid.matrices, grid.bits, static_cast<long long>(grid.group),
                 on_rotation ? "the study works on a rotation of the residual stream"
                             : "rows of this study say little of what quantizing costs");
  return on_rotation;
}

recipe of_arms(std::string name, std::string says, std::function<std::vector<arm_table>(bench&)> arms) {
  recipe out{.name = std::move(name), .says = std::move(says)};
  out.cost = [arms](bench& b) { return b.cost(arms(b)); };
  out.run = [arms](bench& b) { b.tabulate(arms(b)); };
  return out;
}

}  // namespace studies
