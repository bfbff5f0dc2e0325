// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <resect/sae/host_rows.hpp>
#include <resect/sae/metrics.hpp>
#include <resect/sae/training_set.hpp>
#include <resect/study/codec_recovery.hpp>
#include <study/recipes/bench.hpp>

// What the recipe `sae` is asked and what it found, as plain values: sae.cpp asks, sae_train.cpp trains, sae_report.cpp tells.
namespace studies {

using resect::index_t;

// Which autoencoders are trained, and how.
struct sae_settings {
  std::vector<resect::sae::model_site> sites;
  std::string architecture = "topk";
  index_t latents_a_row = 32;  // k, or the L0 that JumpReLU is to have
  std::int64_t tokens = 1'000'000;
  resect::sae::trainer_options trainer;
  index_t batch = 1024;
  std::vector<std::uint64_t> seeds;
  resect::sae::host_rows_options rows;
  std::string folder;      // of the checkpoints
  bool fresh = false;      // does not go on from them
  double save_every = 60;  // seconds

  resect::sae::set_options set() const noexcept {
    return {.batch = batch, .buffer = std::max<index_t>(16 * batch, 8192), .seeds = seeds};
  }
  std::size_t trainers() const noexcept { return sites.size() * seeds.size(); }
};

// A step of one trainer, as curves show it.
struct sae_point {
  index_t step = 0, site = 0, seed = 0;  // the numbers of site and seed in their lists
  double fvu = 0, mean_latents = 0, aux = 0;
  index_t dead = 0;
};

// What training left: codecs by site and seed (all seeds of a site together), and dictionaries of random directions by site.
struct sae_trained {
  std::vector<resect::sae::codec> codecs, random;
  std::vector<std::vector<float>> means;  // of training rows, by site
  std::vector<sae_point> curve;
  std::vector<std::string> files;
  resect::sae::row_counts counts;
  double epochs = 0, seconds = 0;  // rounds through the text; of this run's training
  index_t begun_at = 0;            // the step that this run went on from
};

// Trains, or goes on where a killed run stood. show(step, share of the training) is called after each step.
sae_trained train_saes(backend& exec, host& model, const resect::study::token_windows& train,
                       const resect::study::token_windows& calibration, const sae_settings& settings,
                       const std::function<void(const std::string&, double)>& show);
// Seconds of one step of one trainer of this width, timed on random rows.
double seconds_of_step(backend& exec, index_t width, const sae_settings& settings);

// What was measured of a codec.
struct sae_measured {
  resect::sae::codec_metrics rows;
  resect::study::codec_recovery recovery;
};
struct sae_results {
  sae_trained trained;
  std::vector<sae_measured> codecs, random;
  std::vector<resect::sae::codec_metrics> zero;  // of x̂ = 0, by site
  std::vector<std::vector<double>> between;      // MMCS by site: of each pair of seeds both ways
  std::vector<double> to_random;                 // MMCS of a site's first codec to random directions
  resect::sae::row_counts judged;
};

// Adds tables, pictures and sentences to a record that has its tables of arms.
void add_saes(study_record& to, const sae_settings& settings, const sae_results& found);

recipe sae_recipe();

// "2", or "2 mlp_delta" where other sites are trained, too.
std::string site_cell(const sae_settings& settings, index_t site);

}  // namespace studies
