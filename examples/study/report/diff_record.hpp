// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <resect/metrics/verdicts/multiple.hpp>
#include <resect/metrics/verdicts/rank.hpp>
#include <resect/metrics/intervals/two_way.hpp>
#include <study/report/read_report.hpp>
#include <study/report/record.hpp>

// Two studies of the same tokens, compared in pairs: every difference is taken cluster by cluster, B − A, before
// anything is averaged, so what both models find hard in a document drops out of the interval.
namespace studies {

// One measure of one altered layer. `difference` is of the measure itself: of Δln PPL, a difference of two Δln PPL.
struct measure_difference {
  estimate a, b, difference;
  double p = resect::metrics::nan;       // two-sided, of no difference
  double p_holm = resect::metrics::nan;  // over the layers of the table
  bool differs = false;                  // p_holm ≤ 0.05
};

struct row_difference {
  int layer = 0;
  std::array<measure_difference, n_measures> measures;  // in the order of measure_names
  rank_record rank_a, rank_b;                           // by KL, among the layers that both reports have
  bool rank_differs = false;                            // both have intervals, and these do not meet
};

struct table_difference {
  std::string alteration;
  std::vector<std::int64_t> seeds_a, seeds_b;  // empty where nothing is drawn
  std::vector<row_difference> rows;
  std::vector<int> only_a, only_b;  // layers that one report has and the other has not
  std::string method_a, method_b;   // of a compression, as the reports describe it; empty where they do not
};

struct report_difference {
  estimate perplexity_a, perplexity_b;
  estimate nll;               // of the intact models, B − A, nats a token
  estimate perplexity_ratio;  // its exp: B / A
  double nll_p = resect::metrics::nan;
  std::vector<table_difference> tables;
  std::vector<std::string> only_a, only_b;  // alterations
  std::vector<std::string> notes;           // what else is not the same in both
  std::vector<std::string> other_numbers;   // places of numbers that differ, where the sums are the same in both
};

constexpr double diff_alpha = 0.05;  // two-sided, family-wise over the layers of a table, for each measure

namespace detail {

// Two-sided: twice the smaller of the one-sided p-values. Where both are 1 (a difference of exactly 0) it is 1.
inline double p_different(const estimate& e, double degrees) {
  const double p = 2 * std::min(resect::metrics::p_above(e, 0, degrees), resect::metrics::p_below(e, 0, degrees));
  return std::min(p, 1.0);
}

[[noreturn]] inline void refuse_pair(std::string_view what, resect::short_text<120> got,
                                     resect::short_text<120> wanted) {
  fail({resect::errc::conflict, resect::text(what, " of the second report"), got,
        resect::text(wanted.view(), ", as in the first: pairs need the same tokens")});
}

inline std::string_view start_of(const std::string& hash) { return std::string_view(hash).substr(0, 16); }

// Pairs need the same tokens in the same windows and clusters.
inline void check_same_tokens(const stored_report& a, const stored_report& b) {
  const auto hash = [](const char* what, const std::string& x, const std::string& y) {
    if (x != y)
      refuse_pair(what, resect::text("sha256 ", hosts::shown(start_of(y)).view()),
                  resect::text("sha256 ", hosts::shown(start_of(x)).view()));
  };
  const auto number = [](const char* what, std::int64_t x, std::int64_t y) {
    if (x != y) refuse_pair(what, resect::text(y), resect::text(x));
  };
  hash("text", a.text.sha256, b.text.sha256);
  hash("token ids", a.text.ids_sha256, b.text.ids_sha256);
  number("context", a.evaluation.context, b.evaluation.context);
  number("windows", a.evaluation.windows, b.evaluation.windows);
  hash("windows' ids", a.evaluation.sha256, b.evaluation.sha256);
  if (a.window_starts != b.window_starts) refuse_pair("windows", "other places in the text", "the places");
  if (a.cluster != b.cluster) refuse_pair("clusters", hosts::shown(b.cluster).view(), hosts::shown(a.cluster).view());
  number("clusters", a.evaluation.clusters, b.evaluation.clusters);
  if (a.cluster_ids != b.cluster_ids) refuse_pair("clusters", "other numbers", "the numbers");
}

inline resect::metrics::clustered_sums minus(const resect::metrics::clustered_sums& b,
                                             const resect::metrics::clustered_sums& a) {
  return need(resect::metrics::clustered_sums::difference(b, a));
}

struct mean_and_degrees {
  estimate mean;
  double degrees = 0;  // of freedom; 0: clusters − 1
};

// Over the seeds with a variance clustered both ways, or of the one run there is.
inline mean_and_degrees mean_of(const std::vector<resect::metrics::clustered_sums>& runs) {
  if (runs.size() == 1) return {runs.front().estimate(), 0};
  const auto both = need(resect::metrics::try_two_way(runs));
  return {both.mean, both.degrees};
}

// Seed by seed where both have the same ones. Seeds that share nothing are paired in their order, which any order of
// independent draws allows; where only some are shared the pairs would depend on each other.
inline void check_seeds(const std::string& alteration, const stored_row& a, const stored_row& b) {
  const auto name = alteration + ": seeds";
  if (a.seeds == b.seeds) return;
  if (a.seeds.size() != b.seeds.size())
    fail({resect::errc::conflict, resect::text(name, " of the second report"), resect::text(b.seeds.size()),
          resect::text(a.seeds.size(), ", as in the first")});
  for (const std::int64_t seed : b.seeds)
    if (std::find(a.seeds.begin(), a.seeds.end(), seed) != a.seeds.end())
      fail({resect::errc::conflict, resect::text(name, " of the second report"),
            resect::text(seed, ", which the first has at another place or beside others"),
            "the same seeds, or none of the same"});
}

inline row_difference compare_rows(const stored_row& a, const stored_row& b) {
  row_difference out;
  out.layer = a.layer;
  for (std::size_t m = 0; m < n_measures; ++m) {
    std::vector<resect::metrics::clustered_sums> of_a, of_b, difference;
    for (std::size_t run = 0; run < a.runs.size(); ++run) {
      of_a.push_back(a.runs[run][m]);
      of_b.push_back(b.runs[run][m]);
      difference.push_back(minus(of_b.back(), of_a.back()));
    }
    const auto d = mean_of(difference);
    auto& to = out.measures[m];
    to.a = of_measure(mean_of(of_a).mean, m);
    to.b = of_measure(mean_of(of_b).mean, m);
    to.difference = d.mean;
    to.p = p_different(d.mean, d.degrees);
  }
  return out;
}

// Ranks by KL among the given rows, as the study itself ranks: sums over all seeds, bootstrap over clusters.
inline std::vector<rank_record> ranks_of(const std::vector<const stored_row*>& rows,
                                         const resect::metrics::rank_options& options) {
  std::vector<resect::metrics::clustered_sums> kl;
  for (const stored_row* row : rows) {
    kl.push_back(row->runs.front().front());
    for (std::size_t run = 1; run < row->runs.size(); ++run) need(kl.back().merge(row->runs[run].front()));
  }
  std::vector<rank_record> out;
  for (const auto& x : need(resect::metrics::try_rank_intervals(kl, options)))
    out.push_back({static_cast<int>(x.rank), static_cast<int>(x.lo), static_cast<int>(x.hi)});
  return out;
}

inline void add_claims(table_difference& table) {
  for (std::size_t m = 0; m < n_measures; ++m) {
    std::vector<double> p;
    for (const auto& row : table.rows) p.push_back(row.measures[m].p);
    const auto adjusted = resect::metrics::holm(p);
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
      auto& to = table.rows[i].measures[m];
      to.p_holm = adjusted[i];
      to.differs = adjusted[i] <= diff_alpha;
    }
  }
}

inline table_difference compare_tables(const stored_report& a, const stored_table& in_a, const stored_table& in_b) {
  table_difference out;
  out.alteration = in_a.alteration;
  out.seeds_a = in_a.rows.front().seeds;
  out.seeds_b = in_b.rows.front().seeds;
  check_seeds(in_a.alteration, in_a.rows.front(), in_b.rows.front());
  const auto row_of = [](const stored_table& t, int layer) -> const stored_row* {
    for (const auto& row : t.rows)
      if (row.layer == layer) return &row;
    return nullptr;
  };
  std::vector<const stored_row*> rows_a, rows_b;
  for (const auto& row : in_a.rows) {
    const stored_row* other = row_of(in_b, row.layer);
    if (!other) {
      out.only_a.push_back(row.layer);
      continue;
    }
    out.rows.push_back(compare_rows(row, *other));
    rows_a.push_back(&row);
    rows_b.push_back(other);
  }
  for (const auto& row : in_b.rows)
    if (!row_of(in_a, row.layer)) out.only_b.push_back(row.layer);
  add_claims(out);
  const resect::metrics::rank_options bootstrap{.seed = a.seed, .resamples = a.bootstrap};  // the same draws for both
  const auto ranks_a = ranks_of(rows_a, bootstrap), ranks_b = ranks_of(rows_b, bootstrap);
  for (std::size_t i = 0; i < out.rows.size(); ++i) {
    const rank_record &x = ranks_a[i], &y = ranks_b[i];
    out.rows[i].rank_a = x;
    out.rows[i].rank_b = y;
    out.rows[i].rank_differs = x.hi > 0 && y.hi > 0 && (x.hi < y.lo || y.hi < x.lo);
  }
  return out;
}

inline stored_method method_of(const stored_report& r, const std::string& alteration) {
  for (const auto& m : r.methods)
    if (m.alteration == alteration) return m;
  return {};
}

// Tables of one name may come from two methods; that is worth a comparison, but never without a word.
inline void add_methods(const stored_report& a, const stored_report& b, report_difference& out) {
  for (auto& t : out.tables) {
    const auto x = method_of(a, t.alteration), y = method_of(b, t.alteration);
    const auto described = [](const stored_method& m) {
      return m.description.empty() ? "a method that the report does not describe" : m.description;
    };
    t.method_a = x.description;
    t.method_b = y.description;
    if (x.description != y.description)
      out.notes.push_back(t.alteration + ": " + described(x) + " in A, " + described(y) + " in B");
    else if (x.options != y.options && !x.options.empty() && !y.options.empty())
      out.notes.push_back(t.alteration + ": " + x.options + " in A, " + y.options + " in B");
    else if (x.fingerprint != y.fingerprint && !x.fingerprint.empty() && !y.fingerprint.empty())
      out.notes.push_back(t.alteration + ": " + described(x) + " in both, but not done the same way in both");
    else if (!x.description.empty() && (x.fingerprint.empty() || y.fingerprint.empty()))
      out.notes.push_back(t.alteration + ": " + described(x) +
                          " in both; whether all options are the same is not known (" +
                          (x.fingerprint.empty() ? "A" : "B") + " does not say)");
  }
}

inline void add_notes(const stored_report& a, const stored_report& b, report_difference& out) {
  const auto note = [&](const std::string& what, const std::string& x, const std::string& y) {
    if (x != y) out.notes.push_back(what + ": " + x + " in A, " + y + " in B");
  };
  const auto has = [&](const char* alteration) {
    return std::any_of(out.tables.begin(), out.tables.end(), [&](const auto& t) { return t.alteration == alteration; });
  };
  note("layers of the model", std::to_string(a.model.layers), std::to_string(b.model.layers));
  note("vocabulary", std::to_string(a.model.vocabulary), std::to_string(b.model.vocabulary));
  if (has("mean_delta") && a.calibration.sha256 != b.calibration.sha256)
    out.notes.push_back("the means of mean_delta come from other calibration windows");
  add_methods(a, b, out);
  if (has("reinit")) note("re-initialization", a.reinit, b.reinit);
  for (const auto& t : out.tables)
    if (t.seeds_a != t.seeds_b) out.notes.push_back(t.alteration + ": other seeds, paired in their order");
}

}  // namespace detail

// Compares what both reports have. Fails where they are not of the same text, windows and clusters, where seeds
// cannot be paired, or where no altered layer is in both.
inline report_difference compare_reports(const stored_report& a, const stored_report& b) {
  detail::check_same_tokens(a, b);
  report_difference out;
  out.perplexity_a = resect::metrics::map_exp(a.nll.estimate());
  out.perplexity_b = resect::metrics::map_exp(b.nll.estimate());
  out.nll = detail::minus(b.nll, a.nll).estimate();
  out.perplexity_ratio = resect::metrics::map_exp(out.nll);
  out.nll_p = detail::p_different(out.nll, 0);
  const auto table_of = [](const stored_report& r, const std::string& name) -> const stored_table* {
    for (const auto& t : r.tables)
      if (t.alteration == name) return &t;
    return nullptr;
  };
  for (const auto& t : a.tables) {
    const stored_table* other = table_of(b, t.alteration);
    if (!other) out.only_a.push_back(t.alteration);
    else out.tables.push_back(detail::compare_tables(a, t, *other));
  }
  for (const auto& t : b.tables)
    if (!table_of(a, t.alteration)) out.only_b.push_back(t.alteration);
  if (std::none_of(out.tables.begin(), out.tables.end(), [](const auto& t) { return !t.rows.empty(); }))
    fail({resect::errc::conflict, "altered layers", "none that both reports have", "one at least"});
  detail::add_notes(a, b, out);
  for (const auto& [place, value] : a.numbers.items())
    if (const auto other = b.numbers.find(place); other == b.numbers.end() || *other != value)
      out.other_numbers.push_back(place);
  for (const auto& [place, value] : b.numbers.items())
    if (!a.numbers.contains(place)) out.other_numbers.push_back(place);
  return out;
}

}  // namespace studies
