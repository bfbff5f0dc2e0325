// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <resect/study/sensitivity.hpp>
#include <study/report/clusters.hpp>
#include <study/io/input.hpp>
#include <study/report/record.hpp>

// From what the library measured to plain values.
namespace studies {

inline std::string hexadecimal(std::uint64_t x) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "0x";
  for (int shift = 60; shift >= 0; shift -= 4) out += digits[x >> shift & 15];
  return out;
}

// Hash of ids as int32, little-endian: of a .i32 file it is the file's.
inline std::string sha256_of_ids(std::span<const std::int32_t> ids) {
  std::string bytes;
  for (const std::int32_t id : ids)
    for (int shift = 0; shift < 32; shift += 8)
      bytes += static_cast<char>(static_cast<std::uint32_t>(id) >> shift & 255);
  return sha256(bytes);
}

inline windows_record to_record(const resect::study::token_windows& w) {
  std::vector<std::int32_t> ids;
  for (const auto& row : w.rows) ids.push_back(row.token);
  return {sha256_of_ids(ids), w.n_windows, w.context, w.n_clusters};
}

// nll of the evaluated tokens by their frequencies in what evaluation leaves of the text, one added to every count.
inline estimate unigram_nll(std::span<const resect::metrics::id_count> unigrams,
                            const resect::study::token_windows& evaluation, int n_vocab) {
  std::vector<double> count(static_cast<std::size_t>(n_vocab), 1.0);
  double total = n_vocab;
  for (const auto& u : unigrams) {
    count[static_cast<std::size_t>(u.id)] += static_cast<double>(u.count);
    total += static_cast<double>(u.count);
  }
  resect::metrics::clustered_sums sums(evaluation.n_clusters);
  for (resect::index_t r = 0; r < static_cast<resect::index_t>(evaluation.rows.size()); ++r)
    if (const auto next = evaluation.next_token(r); next >= 0)
      sums.add(evaluation.cluster[static_cast<std::size_t>(r)],
               std::log(total / count[static_cast<std::size_t>(next)]));
  return sums.estimate();
}

namespace detail {

inline measures to_record(const resect::study::effect& e) { return {e.kl, e.top1, e.dlnppl, e.cosine}; }

inline quantiles to_record(const resect::metrics::log_histogram& h) {
  return {h.quantile(0.01), h.quantile(0.5), h.quantile(0.99), h.max(), h.count()};
}

inline layer_record to_record(int layer, const resect::metrics::norm_profile& p) {
  return {layer,
          to_record(p.rest().norms()),
          to_record(p.first().norms()),
          p.rest().delta_ratio(),
          p.rest().delta_cosine(),
          p.influence().estimate()};
}

inline row_record to_record(const resect::study::sensitivity_row& row) {
  row_record out;
  out.alteration = resect::study::name(row.what);
  out.layer = row.layer;
  out.mean = to_record(row.mean);
  out.seeds = row.seeds;
  for (const auto& one : row.per_run) out.per_seed.push_back(to_record(one));
  out.kl_seed_sd = row.mean.kl_seed_sd;
  out.dlnppl_seed_sd = row.mean.dlnppl_seed_sd;
  out.mark = resect::metrics::name(row.mark);
  out.rank = {static_cast<int>(row.rank.rank), static_cast<int>(row.rank.lo), static_cast<int>(row.rank.hi)};
  return out;
}

}  // namespace detail

// What was measured, into a record that knows model, text and options already.
inline void add_results(study_record& to, const resect::study::sensitivity_report& from) {
  to.layers = from.options.layers;
  to.baseline.nll = from.intact.ppl.mean_nll();
  to.baseline.perplexity = from.intact.ppl.estimate();
  to.baseline.perplexity_tokens = from.intact.ppl.estimate_tokens();
  for (const auto& profile : from.intact.layers)
    to.profile.push_back(detail::to_record(static_cast<int>(to.profile.size()), profile));
  to.profile.push_back(detail::to_record(static_cast<int>(to.profile.size()), from.intact.output));
  for (const auto& row : from.rows) to.rows.push_back(detail::to_record(row));
}

// A compression study, as rows of a name of its own.
inline void add_results(study_record& to, const named_compression& from) {
  const auto& r = from.report;
  compression_record c;
  c.name = from.name;
  c.description = r.method.view();
  c.fingerprint = hexadecimal(r.method_hash);
  c.options = from.options;
  c.all = detail::to_record(r.all);
  c.unigram_kl = r.unigram_kl;
  c.saturated = r.saturated;
  to.options.alterations.push_back(from.name);
  double bits = 0;
  for (const auto& row : r.rows) {
    row_record out;
    out.alteration = from.name;
    out.layer = row.layer;
    out.mean = detail::to_record(row.mean);
    out.mark = resect::metrics::name(row.mark);
    out.rank = {static_cast<int>(row.rank.rank), static_cast<int>(row.rank.lo), static_cast<int>(row.rank.hi)};
    out.restored = row.causal.restored;
    out.interaction = row.causal.interaction;
    out.weight_error = row.error;
    bits += row.bits / static_cast<double>(r.rows.size());  // layers of a model have the same shapes
    to.rows.push_back(std::move(out));
  }
  c.bits = bits;
  to.compressions.push_back(std::move(c));
}

inline options_record to_record(const resect::study::sensitivity_options& o, const resect::study::window_options& w) {
  options_record out;
  out.sequences = w.sequences;
  out.context = w.context;
  out.reinit_seeds = o.reinit_seeds;
  out.bootstrap = o.bootstrap;
  out.seed = o.seed;
  for (const auto a : o.alterations) out.alterations.emplace_back(resect::study::name(a));
  out.reinit_gains = o.reinit_gains == resect::residual::norm_gains::keep ? "keep" : "reset";
  out.reinit_std = static_cast<double>(o.reinit.std);
  return out;
}

}  // namespace studies
