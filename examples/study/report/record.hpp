// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <resect/metrics/intervals/estimate.hpp>

// Everything that a layer study found, as plain values: what the table, the page, the plots and report.json
// are written from.
namespace studies {

using resect::metrics::estimate;

struct model_record {
  std::string name;
  std::string fingerprint;  // hexadecimal, of the weights as stored
  int layers = 0;
  int d_model = 0;
  int vocabulary = 0;
  double parameters = 0;
};

struct text_record {
  std::string name;
  std::string sha256;      // of the text's bytes
  std::string ids_sha256;  // of its token ids (int32, little-endian)
  std::int64_t tokens = 0;
  bool documents = false;  // the text marks them
};

// A set of windows of the text.
struct windows_record {
  std::string sha256;  // of its ids, window after window
  std::int64_t windows = 0;
  std::int64_t context = 0;
  std::int64_t clusters = 0;
};

struct measures {
  estimate kl, top1, dlnppl, cosine;
};

// KL ranks the layers of one table, 1 the largest; 0 where there is no rank.
struct rank_record {
  int value = 0, lo = 0, hi = 0;
};

// One altered layer.
struct row_record {
  std::string alteration;
  int layer = 0;
  measures mean;                     // over seeds, where there are any
  std::vector<std::uint64_t> seeds;  // empty where nothing is drawn
  std::vector<measures> per_seed;
  double kl_seed_sd = std::numeric_limits<double>::quiet_NaN();
  double dlnppl_seed_sd = kl_seed_sd;
  std::string mark;  // "critical", "negligible", "better than intact" or nothing
  rank_record rank;
  estimate restored, interaction;  // of rows of a compression: R and I = R − S, S being mean.kl
  double weight_error = std::numeric_limits<double>::quiet_NaN();  // ‖W − Ŵ‖_F / ‖W‖_F
};

// An option of a method, a number or a word.
struct method_option {
  std::string name;
  double number = 0;
  std::string word = {};  // in place of the number, where it is not empty
};

// A way to store the layers' matrices with fewer bytes, and what it does to all of them together.
struct compression_record {
  std::string name;         // of its rows
  std::string description;  // "quantize 4 bit, group 64"
  std::string fingerprint;  // hexadecimal, of everything that changes what it does
  std::vector<method_option> options;
  measures all;             // every chosen layer altered
  estimate unigram_kl;      // KL(intact ‖ word frequencies)
  bool saturated = false;   // all altered: more than half of that; nothing is said of spared layers then
  double bits = std::numeric_limits<double>::quiet_NaN();  // stored bits a weight of the altered matrices
};

// How many of the layers' matrices lie on a grid of few bits, and on which (the first that was found).
struct grid_record {
  int matrices = 0;  // that were looked at
  int on_grid = 0;
  int bits = 0;
  std::int64_t group = 0;
  std::string kind;
};

struct quantiles {
  double p1 = std::numeric_limits<double>::quiet_NaN();
  double p50 = p1, p99 = p1, max = p1;
  std::int64_t n = 0;
};

// The intact model's stream as a layer reads it, what the layer adds to it, and how much it turns it. First rows
// of a window are kept apart: many models carry a massive activation there.
struct layer_record {
  int layer = 0;                          // the number of layers for the stream that the head reads
  quantiles norm, first_norm;             // of the stream
  estimate relative_delta, delta_cosine;  // ‖Δ‖ / ‖h‖ and cos(Δ, h), not first rows
  estimate influence;                     // 1 − mean cos(h, h + Δ), all rows
};

struct options_record {
  std::int64_t sequences = 0, context = 0, reinit_seeds = 0, bootstrap = 0;
  std::uint64_t seed = 0;
  std::vector<std::string> alterations;
  std::string reinit_gains;
  double reinit_std = 0;  // 0: each matrix's own root mean square
};

struct baseline_record {
  estimate nll, perplexity;
  estimate perplexity_tokens;  // with tokens taken as independent, as engines print it
  estimate unigram_nll;        // of the same tokens by their frequencies (add-one) in the text outside the evaluation
};

struct study_record {
  std::string command;
  model_record model;
  text_record text;
  windows_record evaluation, calibration;
  options_record options;
  std::vector<int> layers;  // that were altered
  baseline_record baseline;
  std::vector<layer_record> profile;  // one a layer, and one for what the head reads
  std::vector<row_record> rows;       // by alteration, then by layer
  std::vector<compression_record> compressions;
  grid_record grid;
};

struct alteration_text {
  const char* name;
  const char* what;
};

// What each alteration does, in words.
inline const char* describe_alteration(const std::string& name) {
  constexpr alteration_text known[] = {
      {"skip", "the layer is left out"},
      {"mean_delta", "the layer adds its mean over the calibration windows"},
      {"reinit", "random weights in place of the layer's"},
      {"zero_stream", "control: the whole stream after the layer is zero"},
  };
  for (const auto& k : known)
    if (name == k.name) return k.what;
  return "";
}

inline const compression_record* compression_of(const study_record& r, const std::string& alteration) {
  for (const auto& c : r.compressions)
    if (c.name == alteration) return &c;
  return nullptr;
}

// The same for the alterations of one study, which name their own ways to compress.
inline std::string describe_alteration(const study_record& r, const std::string& name) {
  const auto* compression = compression_of(r, name);
  return compression ? compression->description + ", the matrices of the layer alone" : describe_alteration(name);
}

inline bool is_control(const std::string& alteration) { return alteration == "zero_stream"; }

}  // namespace studies
