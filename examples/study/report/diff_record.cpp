// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/diff_record.hpp>

namespace studies {

namespace detail {

// Two-sided: twice the smaller of the one-sided p-values. Where both are 1 (a difference of exactly 0) it is 1.
double p_different(const estimate& e, double degrees) {
  const double p = 2 * std::min(resect::metrics::p_above(e, 0, degrees), resect::metrics::p_below(e, 0, degrees));
  return std::min(p, 1.0);
}

[[noreturn]] void refuse_pair(std::string_view what, resect::short_text<120> got, resect::short_text<120> wanted) {
  fail({resect::errc::conflict, resect::text(what, " of the second report"), got,
        resect::text(wanted.view(), ", as in the first: pairs need the same tokens")});
}

std::string_view start_of(const std::string& hash) { return std::string_view(hash).substr(0, 16); }

// Pairs need the same tokens in the same windows and clusters. What files they came from does not matter.
void check_same_tokens(const stored_report& a, const stored_report& b) {
  const auto hash = [](const char* what, const std::string& x, const std::string& y) {
    if (x != y)
      refuse_pair(what, resect::text("sha256 ", hosts::shown(start_of(y)).view()),
                  resect::text("sha256 ", hosts::shown(start_of(x)).view()));
  };
  const auto number = [](const char* what, std::int64_t x, std::int64_t y) {
    if (x != y) refuse_pair(what, resect::text(y), resect::text(x));
  };
  const auto &of_a = a.evaluation(), &of_b = b.evaluation();
  hash("token ids", a.report.text.ids_sha256, b.report.text.ids_sha256);
  number("context", of_a.context, of_b.context);
  number("windows", of_a.windows, of_b.windows);
  hash("windows' ids", of_a.sha256, of_b.sha256);
  if (a.sums.window_starts != b.sums.window_starts) refuse_pair("windows", "other places in the text", "the places");
  if (a.cluster != b.cluster) refuse_pair("clusters", hosts::shown(b.cluster).view(), hosts::shown(a.cluster).view());
  number("clusters", of_a.clusters, of_b.clusters);
  if (a.sums.ids != b.sums.ids) refuse_pair("clusters", "other numbers", "the numbers");
}

resect::metrics::clustered_sums minus(const resect::metrics::clustered_sums& b,
                                      const resect::metrics::clustered_sums& a) {
  return need(resect::metrics::clustered_sums::difference(b, a));
}

mean_and_degrees mean_of(const std::vector<resect::metrics::clustered_sums>& runs) {
  if (runs.size() == 1) return {runs.front().estimate(), 0};
  const auto both = need(resect::metrics::try_two_way(runs));
  return {both.mean, both.degrees};
}

void check_seeds(const report_row& a, const report_row& b) {
  const auto what = resect::text(a.arm, ": seeds of the second report");
  if (a.seeds == b.seeds) return;
  if (a.seeds.size() != b.seeds.size())
    fail({resect::errc::conflict, what, resect::text(b.seeds.size()),
          resect::text(a.seeds.size(), ", as in the first")});
  for (const std::uint64_t seed : b.seeds)
    if (std::find(a.seeds.begin(), a.seeds.end(), seed) != a.seeds.end())
      fail({resect::errc::conflict, what, resect::text(seed, ", which the first has at another place or beside others"),
            "the same seeds, or none of the same"});
}

report_row without_numbers(report_row row) {
  row.metrics.clear();
  row.estimates.clear();
  row.numbers.clear();
  return row;
}

row_difference compare_rows(const stored_report& in_a, const stored_report& in_b, const row_pair& pair) {
  row_difference out;
  out.a = without_numbers(in_a.row(*pair.a));
  out.b = without_numbers(in_b.row(*pair.b));
  check_seeds(out.a, out.b);
  for (std::size_t m = 0; m < n_measures; ++m) {
    const auto of_a = runs_of(in_a, *pair.a, m), of_b = runs_of(in_b, *pair.b, m);
    std::vector<resect::metrics::clustered_sums> difference;
    for (std::size_t run = 0; run < of_a.size(); ++run) difference.push_back(minus(of_b[run], of_a[run]));
    const auto d = mean_of(difference);
    auto& to = out.measures[m];
    to.a = estimate_of(of_a, m, rule_of(in_a)).mean;
    to.b = estimate_of(of_b, m, rule_of(in_b)).mean;
    to.difference = d.mean;
    to.p = p_different(d.mean, d.degrees);
  }
  return out;
}

// Ranks by KL among the given rows, as the study itself ranks: sums over all seeds, bootstrap over clusters.
std::vector<resect::io::report_rank> ranks_of(const stored_report& r, const std::vector<const stored_row*>& rows,
                                              const resect::metrics::rank_options& options) {
  std::vector<resect::metrics::clustered_sums> kl;
  for (const stored_row* row : rows) {
    kl.push_back(r.run(*row, 0).front());
    for (std::size_t run = 1; run < row->runs.size(); ++run) need(kl.back().merge(r.run(*row, run).front()));
  }
  std::vector<resect::io::report_rank> out;
  for (const auto& x : need(resect::metrics::try_rank_intervals(kl, options))) out.push_back({x.rank, x.lo, x.hi});
  return out;
}

void add_claims(table_difference& table) {
  for (std::size_t m = 0; m < n_measures; ++m) {
    std::vector<double> p;
    for (const auto& row : table.rows) p.push_back(row.measures[m].p);
    const auto adjusted = resect::metrics::holm(p);
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
      auto& to = table.rows[i].measures[m];
      to.p_holm = adjusted[static_cast<resect::index_t>(i)];
      to.differs = adjusted[static_cast<resect::index_t>(i)] <= diff_alpha;
    }
  }
}

// Rows of one arm are pairs. A row whose arm the other table does not have may still stand at the place of one there whose
// parameters are others (3 bits against 2): a pair, too, where no second row of either table stands there.
std::vector<row_pair> pairs_of(const stored_report& a, const stored_table& in_a, const stored_report& b,
                               const stored_table& in_b) {
  const auto has = [](const stored_report& r, const stored_table& t, const std::string& arm) {
    return only_row(t, [&](const stored_row& x) { return r.row(x).arm == arm; });
  };
  std::vector<row_pair> out;
  for (const stored_row& row : in_a.rows) {
    const report_row& own = a.row(row);
    const stored_row* other = has(b, in_b, own.arm);
    if (!other) {
      const auto here = [&](const report_row& x) {
        return x.operation == own.operation && x.layers == own.layers && x.matrix == own.matrix;
      };
      const bool alone = only_row(in_a, [&](const stored_row& x) { return here(a.row(x)); });
      other = only_row(in_b, [&](const stored_row& x) { return here(b.row(x)); });
      if (!alone || (other && has(a, in_a, b.row(*other).arm))) other = nullptr;
    }
    if (other) out.push_back({&row, other});
  }
  return out;
}

void add_ranks(const stored_report& a, const stored_report& b, const std::vector<row_pair>& pairs,
               table_difference& to) {
  std::vector<const stored_row*> rows_a, rows_b;
  std::vector<row_difference*> ranked;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto& [in_a, in_b] = pairs[i];
    if (is_at_floor(a, *in_a) || is_at_floor(b, *in_b)) continue;
    rows_a.push_back(in_a);
    rows_b.push_back(in_b);
    ranked.push_back(&to.rows[i]);
  }
  const resect::metrics::rank_options bootstrap{.seed = a.report.seed,
                                                .resamples = a.bootstrap};  // the same draws for both
  const auto ranks_a = ranks_of(a, rows_a, bootstrap), ranks_b = ranks_of(b, rows_b, bootstrap);
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    const auto &x = ranks_a[i], &y = ranks_b[i];
    ranked[i]->rank_a = x;
    ranked[i]->rank_b = y;
    ranked[i]->rank_differs = x.hi > 0 && y.hi > 0 && (x.hi < y.lo || y.hi < x.lo);
  }
}

table_difference compare_tables(const stored_report& a, const stored_table& in_a, const stored_report& b,
                                const stored_table& in_b) {
  table_difference out{in_a.name, in_a.says, in_b.says, a.row(in_a.rows.front()).seeds, b.row(in_b.rows.front()).seeds,
                       {},        {},        {}};
  const auto pairs = pairs_of(a, in_a, b, in_b);
  for (const auto& pair : pairs) out.rows.push_back(compare_rows(a, b, pair));
  const auto paired = [&](const stored_row& row) {
    return std::any_of(pairs.begin(), pairs.end(), [&](const row_pair& p) { return p.a == &row || p.b == &row; });
  };
  for (const stored_row& row : in_a.rows)
    if (!paired(row)) out.only_a.push_back(without_numbers(a.row(row)));
  for (const stored_row& row : in_b.rows)
    if (!paired(row)) out.only_b.push_back(without_numbers(b.row(row)));
  add_claims(out);
  if (!out.name.empty()) add_ranks(a, b, pairs, out);
  return out;
}

// "bits 3, group 64": the parameters of a row that another one has otherwise.
std::string other_parameters(const report_row& row, const report_row& than) {
  std::string out;
  for (const auto& p : row.parameters) {
    const auto* v = resect::io::find_named(than.parameters, p.name);
    if (v && v->number == p.value.number && v->text == p.value.text) continue;
    out += (out.empty() ? "" : ", ") + p.name + " " + value_text(p.value);
  }
  return out.empty() ? "nothing else" : out;
}

// Tables of one name may come from two methods; that is worth a comparison, but never without a word.
void add_table_notes(const table_difference& t, std::vector<std::string>& notes) {
  if (t.seeds_a != t.seeds_b) notes.push_back(t.name + ": other seeds, paired in their order");
  if (t.says_a != t.says_b) {
    notes.push_back(t.name + ": " + t.says_a + " in A, " + t.says_b + " in B");
    return;
  }
  for (const auto& row : t.rows) {
    if (row.a.arm == row.b.arm) continue;
    notes.push_back((t.name.empty() ? row.a.operation : t.name) + ": " + other_parameters(row.a, row.b) + " in A, " +
                    other_parameters(row.b, row.a) + " in B");
    return;
  }
}

void add_notes(const stored_report& a, const stored_report& b, report_difference& out) {
  const auto note = [&](const std::string& what, const std::string& x, const std::string& y) {
    if (x != y) out.notes.push_back(what + ": " + x + " in A, " + y + " in B");
  };
  const auto &of_a = a.report.models.front(), &of_b = b.report.models.front();
  note("recipe", a.report.recipe, b.report.recipe);
  note("layers of the model", std::to_string(of_a.layers), std::to_string(of_b.layers));
  note("vocabulary", std::to_string(of_a.vocabulary), std::to_string(of_b.vocabulary));
  if (a.report.rules.bos != b.report.rules.bos)
    out.notes.push_back("begin of text (BOS): in A " + begin_text(a.report.rules) + "; in B " +
                        begin_text(b.report.rules));
  if (a.report.text.sha256 != b.report.text.sha256)
    out.notes.push_back("text: another file in B than in A, with the same token ids");
  for (const auto& [role, set] : a.report.sets)
    if (const auto* other = resect::io::find_named(b.report.sets, role); other && other->sha256 != set.sha256)
      out.notes.push_back(role + ": other windows in B than in A");
  for (const auto& t : out.tables) add_table_notes(t, out.notes);
}

}  // namespace detail

report_difference compare_reports(const stored_report& a, const stored_report& b) {
  detail::check_same_tokens(a, b);
  report_difference out;
  out.perplexity_a = resect::metrics::map_exp(a.sums.nll.estimate());
  out.perplexity_b = resect::metrics::map_exp(b.sums.nll.estimate());
  out.nll = detail::minus(b.sums.nll, a.sums.nll).estimate();
  out.perplexity_ratio = resect::metrics::map_exp(out.nll);
  out.nll_p = detail::p_different(out.nll, 0);
  for (const auto& t : a.tables) {
    const stored_table* other = detail::table_named(b, t.name);
    if (!other) out.only_a.push_back(t.name);
    else out.tables.push_back(detail::compare_tables(a, t, b, *other));
  }
  for (const auto& t : b.tables)
    if (!detail::table_named(a, t.name)) out.only_b.push_back(t.name);
  if (std::none_of(out.tables.begin(), out.tables.end(), [](const auto& t) { return !t.rows.empty(); }))
    fail({resect::errc::conflict, "arms", "none that both reports have", "one at least"});
  detail::add_notes(a, b, out);
  for (const auto& [place, value] : a.numbers.items())
    if (const auto other = b.numbers.find(place); other == b.numbers.end() || *other != value)
      out.other_numbers.push_back(place);
  for (const auto& [place, value] : b.numbers.items())
    if (!a.numbers.contains(place)) out.other_numbers.push_back(place);
  return out;
}

}  // namespace studies
