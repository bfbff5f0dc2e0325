// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <resect/student/verdict.hpp>
#include <resect/study/effect.hpp>
#include <resect/study/injection.hpp>
#include <resect/study/intact_streams.hpp>
#include <resect/study/surgery_probe.hpp>
#include <study/report/record.hpp>

// What the recipe `inject` is asked and what it found, as plain values: its report is made of them (inject_report.cpp,
// inject_curves.cpp, inject_findings.cpp).
namespace studies {

using resect::residual::layer_range;

// A student to train: for a span, by this many blocks.
struct student_job {
  layer_range span;
  int blocks = 1;

  friend bool operator==(const student_job&, const student_job&) = default;
};

// Which students are trained, and how long.
struct student_settings {
  std::vector<student_job> jobs;
  std::vector<layer_range> chain;      // spans of single students that also run after one another
  resect::student::block_shape shape;  // of every block
  resect::student::training_options training;
  resect::index_t batch_rows = 1024, judge_every = 50;
};

// What is altered, and how.
struct inject_settings {
  std::vector<int> splice_layers;     // replaced by themselves
  std::vector<int> layers;            // left out one by one
  std::vector<int> mean_layers;       // replaced by their mean delta
  std::vector<int> dose_layers;       // scaled by every dose
  std::vector<int> resample_layers;   // with the delta of another text, every seed
  std::vector<layer_range> skips;     // spans of two layers and more that are left out
  std::vector<layer_range> spans;     // replaced by every closed-form map
  std::vector<int> depths;            // layers at which an affine map of the embedding is injected
  std::vector<int> untrained_depths;  // layers at which an untrained one is
  std::vector<float> doses{0.25f, 0.5f, 0.75f};
  std::vector<int> own{0, 1, 2};  // layers of its own that an untrained injection goes through
  int seeds = 5;
  std::uint64_t seed = 1;
  resect::index_t kept_rows = 4096;  // of a span, for the cosine fit
  resect::student::closed_form_options maps;
  student_settings students;
  bool measure_speed = true;
};

// The texts that it reads.
struct inject_texts {
  const resect::study::token_windows& evaluation;
  const resect::study::token_windows& calibration;
  const resect::study::labelled_texts* labelled = nullptr;  // null: no probe
  const resect::study::token_windows* training = nullptr;   // null: no student
};

// Arms under the name of their table.
struct inject_table {
  std::string name, says;
  bool control = false;
  std::vector<resect::study::spliced_arm> arms;
};

// What the fit of a span saw and chose.
struct inject_fit {
  layer_range span;
  resect::index_t rows = 0, rows_apart = 0, rank = 0;
  double lambda = 0, held_out_fvu = 0, kept_energy = 0, cosine_start = 0, cosine_loss = 0;
  int cosine_steps = -1;  // −1: no cosine fit
};

// What the training of a student found.
struct student_fit {
  student_job job;
  resect::student::student_verdict verdict;  // on the evaluated windows
  resect::index_t step = 0, best_step = 0, parameters = 0;
  std::int64_t rows = 0;  // that were trained on, each pass counted
  double seconds = 0;
};

// What was measured of one arm.
struct inject_row {
  resect::study::effect_sums effects;
  resect::study::stream_errors errors;  // empty where the arm has no splice
  std::optional<resect::student::probe_result> probe;
  double flop = 0;               // a token
  double tokens_per_second = 0;  // 0: not measured

  explicit inject_row(resect::index_t clusters) : effects(clusters) {}
};

struct inject_results {
  std::vector<inject_table> tables;
  std::vector<inject_row> rows;  // of the tables' arms, in their order
  std::vector<inject_fit> fits;
  std::vector<student_fit> students;
  std::optional<resect::student::probe_result> probe_intact, probe_last, probe_mean;
  double intact_flop = 0, intact_tokens_per_second = 0;
  std::vector<layer_range> least_angular;  // of each number of layers, the span of least angular distance
};

// Adds tables, panels, comparisons and sentences to a record that has its baseline.
void add_injection(study_record& to, const inject_settings& settings, const inject_results& found);

// What its parts share.
namespace inject_detail {

// One arm with where it stands.
struct place {
  const inject_table* table;
  const resect::study::spliced_arm* arm;
  const inject_row* row;
  layer_range span;  // layers that the plan touches

  estimate kl() const { return row->effects.estimate().kl; }
  estimate dlnppl() const { return row->effects.estimate().dlnppl; }
};

std::vector<place> places_of(const inject_results& r);
const place* find_place(const std::vector<place>& all, std::string_view table, layer_range span);

// The closed-form maps in the order of what they can do, and a span as tables and sentences name it.
extern const std::vector<std::string> map_names;
std::string span_cell(layer_range s);
std::string span_words(layer_range s);

void add_curves(study_record& to, const inject_settings& o, const inject_results& found, const std::vector<place>& all);
void add_student_tables(study_record& to, const inject_settings& o, const inject_results& found,
                        const std::vector<place>& all);
void add_student_sentences(study_record& to, const inject_results& found, const std::vector<place>& all);
void add_sentences(study_record& to, const inject_settings& o, const inject_results& found,
                   const std::vector<place>& all);

}  // namespace inject_detail

}  // namespace studies
