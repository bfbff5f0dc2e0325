// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The training of the recipe `sae`: several autoencoders from one run of the host, with checkpoints.
#include <study/recipes/sae.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <type_traits>

#include <resect/random/distributions.hpp>
#include <resect/sae/architectures/batch_topk.hpp>
#include <resect/sae/architectures/jump_relu.hpp>
#include <resect/sae/architectures/topk.hpp>
#include <resect/sae/set_checkpoint.hpp>
#include <study/io/input.hpp>

namespace studies {

namespace {

namespace sae = resect::sae;
using source_of_rows = sae::host_rows<host>;
using folder_of_files = resect::io::durable_folder<>;

constexpr std::string_view history_name = "history.txt";
constexpr index_t points_of_a_curve = 100;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Calls f(architecture) with the one that the settings name.
template <class F>
auto with_architecture(const sae_settings& o, F f) {
  if (o.architecture == "batch_topk") return f(sae::batch_topk{{.latents = o.latents_a_row}});
  // λ moves fast enough to settle within the run.
  const double gain = std::clamp(20.0 / static_cast<double>(o.trainer.steps), 0.01, 0.1);
  if (o.architecture == "jump_relu")
    return f(sae::jump_relu{.latents = static_cast<double>(o.latents_a_row), .gain = gain});
  return f(sae::topk{{.latents = o.latents_a_row}});
}

// --- what a run remembers beside its checkpoints ----------------------------------------------------------------------

// Points of the curves and counts of rows up to a step, as text: whole numbers, and doubles that read back to the same bits.
std::string history_text(const sae_trained& t, const sae::row_counts& counts) {
  std::string out = "rows " + std::to_string(counts.kept) + " " + std::to_string(counts.first) + " " +
                    std::to_string(counts.massive) + "\n";
  for (const auto& p : t.curve) {
    char line[160];
    std::snprintf(line, sizeof line, "%lld %lld %lld %.17g %.17g %.17g %lld\n", static_cast<long long>(p.step),
                  static_cast<long long>(p.site), static_cast<long long>(p.seed), p.fvu, p.mean_latents, p.aux,
                  static_cast<long long>(p.dead));
    out += line;
  }
  return out;
}

// Reads it back, up to the step of the checkpoint that the run goes on from.
void read_history(const folder_of_files& folder, index_t step, sae_trained& to, sae::row_counts& counts) {
  if (!folder.has(history_name)) return;
  const auto bytes = need(folder.try_read(history_name));
  std::istringstream in(
      std::string(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.size())));
  std::string word;
  in >> word >> counts.kept >> counts.first >> counts.massive;
  for (sae_point p; in >> p.step >> p.site >> p.seed >> p.fvu >> p.mean_latents >> p.aux >> p.dead;)
    if (p.step < step) to.curve.push_back(p);
}

sae::row_counts sum(const sae::row_counts& a, const sae::row_counts& b) {
  return {a.kept + b.kept, a.first + b.first, a.massive + b.massive};
}

// --- codecs -------------------------------------------------------------------------------------------------------------

// Rows of a site over windows, at most `most`.
resect::matrix<float> rows_of(host& model, const sae::model_site& site, const resect::study::token_windows& windows,
                              const sae_settings& o, index_t most) {
  auto options = o.rows;
  options.seed = 1;
  auto source = need(source_of_rows::try_make(model, std::span(&site, 1), windows.rows, options));
  resect::matrix<float> out;
  std::vector<float> values;
  for (std::uint64_t cursor = 0; cursor < source.cursor_of_epoch() && out.rows < most;) {
    cursor = need(source.try_pass(cursor));
    const auto x = source.rows(0).middle_rows(0, std::min(source.rows(0).rows, most - out.rows));
    const index_t before = out.rows;
    resect::matrix<float> grown(before + x.rows, x.cols);
    if (before > 0) resect::copy(std::as_const(out).view(), grown.view().middle_rows(0, before));
    resect::copy(x, grown.view().middle_rows(before, x.rows));
    out = std::move(grown);
  }
  return out;
}

double mean_latents(backend& exec, const sae::codec& c, resect::matrix_view<const float> rows) {
  sae::codec_memory memory;
  need(sae::try_encode(exec, c, rows, memory));
  double sum = 0;
  for (const auto& row : memory.rows) sum += static_cast<double>(row.size());
  return sum / static_cast<double>(rows.rows);
}

// Multiplies all thresholds by one number such that rows keep as many latents in the mean as are asked for.
void scale_thresholds(backend& exec, sae::codec& c, resect::matrix_view<const float> rows, double wanted) {
  const resect::array<float> trained = c.weights.threshold;
  double low = 0.1, high = 10;  // more latents, fewer
  for (int i = 0; i < 20; ++i) {
    const double by = std::sqrt(low * high);
    for (index_t j = 0; j < trained.size(); ++j)
      c.weights.threshold[j] = static_cast<float>(by * static_cast<double>(trained[j]));
    (mean_latents(exec, c, rows) > wanted ? low : high) = by;
  }
}

template <class A>
sae::codec codec_of(backend& exec, host& model, const sae::trainer<float, A>& t, const sae::model_site& site,
                    const resect::study::token_windows& calibration, const sae_settings& o) {
  sae::codec out{t.weights(), o.latents_a_row};
  if constexpr (!std::is_same_v<A, sae::topk>) out.keep = 0;
  if constexpr (std::is_same_v<A, sae::batch_topk>) {
    const auto rows = rows_of(model, site, calibration, o, 16384);
    const float threshold = need(sae::try_calibrate_threshold(exec, out.weights, rows.view(), o.latents_a_row));
    out.weights.threshold = resect::array<float>(out.weights.latents(), threshold);
  }
  if constexpr (std::is_same_v<A, sae::jump_relu>)
    scale_thresholds(exec, out, rows_of(model, site, calibration, o, 8192).view(),
                     static_cast<double>(o.latents_a_row));
  return out;
}

// Random unit directions, encoder the same, about the mean of rows: where every trainer begins.
sae::codec random_codec(backend& exec, const sae_settings& o, resect::matrix_view<const float> rows) {
  auto options = o.trainer;
  options.seed = o.seeds.front() + 0x72616e64;
  const auto t =
      need(sae::trainer<float, sae::topk>::try_make(exec, sae::topk{{.latents = o.latents_a_row}}, options, rows));
  return {t.weights(), o.latents_a_row};
}

// --- the run ------------------------------------------------------------------------------------------------------------

template <class A>
sae_trained train(backend& exec, host& model, const resect::study::token_windows& windows,
                  const resect::study::token_windows& calibration, const sae_settings& o, const A& how,
                  const std::function<void(const std::string&, double)>& show) {
  std::filesystem::create_directories(o.folder);
  auto folder = need(folder_of_files::try_open(o.folder));
  auto source = need(source_of_rows::try_make(model, o.sites, windows.rows, o.rows));
  sae_trained out;
  sae::row_counts before;
  std::optional<sae::training_set<A>> set;
  if (!o.fresh) set = need(sae::try_resume(folder, source, how, o.trainer, o.set()));
  if (set) {
    out.begun_at = set->step();
    read_history(folder, set->step(), out, before);
  } else {
    set.emplace(need(sae::training_set<A>::try_make(exec, source, how, o.trainer, o.set())));
  }
  const index_t steps = o.trainer.steps, every = std::max<index_t>(1, steps / points_of_a_curve);
  const double start = seconds_now();
  double saved = start;
  const auto save = [&](const sae::training_set<A>& s) {
    const std::string text = history_text(out, sum(before, source.counts()));
    need(folder.try_write(history_name, std::as_bytes(std::span(text))));
    need(sae::try_save(s, source, folder));
    saved = seconds_now();
  };
  const auto each = [&](const sae::training_set<A>& s, std::span<const sae::step_report> reports) -> resect::status {
    const index_t step = s.step() - 1;
    if (step % every == 0 || s.step() == steps)
      for (std::size_t i = 0; i < reports.size(); ++i) {
        const auto& r = reports[i];
        const auto site = static_cast<index_t>(i) / s.seeds(), seed = static_cast<index_t>(i) % s.seeds();
        out.curve.push_back({step, site, seed, r.fvu, r.mean_latents, r.aux, r.dead});
      }
    if (s.step() < steps && seconds_now() - saved > o.save_every) save(s);
    show("step " + std::to_string(s.step()) + " of " + std::to_string(steps),
         static_cast<double>(s.step()) / static_cast<double>(steps));
    return {};
  };
  need(sae::try_train(exec, source, *set, each));
  if (out.begun_at < steps) save(*set);
  out.seconds = seconds_now() - start;
  out.counts = sum(before, source.counts());
  out.epochs = static_cast<double>(set->cursor()) / static_cast<double>(source.cursor_of_epoch());
  for (index_t site = 0; site < set->sites(); ++site) {
    const auto mean = source.mean(site);
    out.means.emplace_back(mean.begin(), mean.end());
    for (index_t k = 0; k < set->seeds(); ++k) {
      out.codecs.push_back(
          codec_of(exec, model, set->at(site, k), o.sites[static_cast<std::size_t>(site)], calibration, o));
      out.files.push_back(sae::set_member_name(site, set->seed(k)));
    }
    out.random.push_back(random_codec(exec, o, set->buffer(site).rows()));
  }
  return out;
}

}  // namespace

sae_trained train_saes(backend& exec, host& model, const resect::study::token_windows& windows,
                       const resect::study::token_windows& calibration, const sae_settings& o,
                       const std::function<void(const std::string&, double)>& show) {
  return with_architecture(o, [&](const auto& how) { return train(exec, model, windows, calibration, o, how, show); });
}

double seconds_of_step(backend& exec, index_t width, const sae_settings& o) {
  return with_architecture(o, [&]<class A>(const A& how) {
    resect::matrix<float> rows(o.batch, width);
    for (index_t i = 0; i < rows.data.size(); ++i)
      rows.data[i] = static_cast<float>(resect::random::gaussian(o.trainer.seed, 0, static_cast<std::uint64_t>(i)));
    auto t = need(sae::trainer<float, A>::try_make(exec, how, o.trainer, rows.view()));
    double best = 1e300;
    for (int i = 0; i < 3; ++i) {
      const double start = seconds_now();
      need(t.try_step(exec, rows.view()));
      best = std::min(best, seconds_now() - start);
    }
    return best;
  });
}

}  // namespace studies
