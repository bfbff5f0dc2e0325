// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/metrics/rows/unigrams.hpp>
#include <resect/study/baseline.hpp>
#include <resect/study/table.hpp>
#include <resect/study/windows.hpp>
#include <study/io/input.hpp>
#include <study/report/record.hpp>

// From what the library measured to plain values.
namespace studies {

std::string hexadecimal(std::uint64_t x);

// Hash of ids as int32, little-endian: of a .i32 file it is the file's.
std::string sha256_of_ids(std::span<const std::int32_t> ids);

resect::io::report_set to_record(const tokens& text, const resect::study::token_windows& w);

resect::io::report_text to_record(const tokens& text, const resect::study::window_options& o);

// `why` says what decided whether there is a BOS.
resect::io::report_rules rules_of(bool documents, int bos, const std::string& why);

// nll of the evaluated tokens by their frequencies in what evaluation leaves of the text, one added to every count.
estimate unigram_nll(std::span<const resect::metrics::id_count> unigrams,
                     const resect::study::token_windows& evaluation, int n_vocab);

namespace detail {

inline measures to_record(const resect::study::effect& e) { return {e.kl, e.top1, e.dlnppl, e.cosine}; }

inline quantiles to_record(const resect::metrics::log_histogram& h) {
  return {h.quantile(0.01), h.quantile(0.5), h.quantile(0.99), h.max(), h.count()};
}

layer_record to_record(int layer, const resect::metrics::norm_profile& p);

inline resect::io::report_rank to_record(const resect::metrics::rank_interval& r) { return {r.rank, r.lo, r.hi}; }

}  // namespace detail

// What a report says of an arm in its table: that its KL is at the floor, or else its mark.
std::string mark_text(bool at_floor, resect::metrics::mark mark);

void add_floor(study_record& to, resect::study::kl_floor floor);

// One run of one arm that stands in no table.
void add_run(study_record& to, const resect::study::arm_identity& id, const resect::study::effect_sums& sums);

// The rows of one table, each over its seeds, followed by a row for each seed where there are any. `table` knows its name
// and what it says.
void add_table(study_record& to, table_record table, std::span<const resect::study::table_row> rows);

// The intact model, into a record that knows its text already.
void add_baseline(study_record& to, const resect::study::baseline& intact,
                  const resect::study::token_windows& evaluation);

}  // namespace studies
