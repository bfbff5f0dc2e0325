// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/result.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/rows/unigrams.hpp>
#include <resect/model/row.hpp>
#include <resect/study/detail/same_text.hpp>

namespace RESECT_NAMESPACE::study {

// Token ids of a text and the document number of every id (any numbers; empty where the text marks no documents).
struct token_text {
  std::span<const std::int32_t> ids;
  std::span<const std::int32_t> documents;
};

// Windows of a text: the rows to run and the cluster of each row. A cluster is a document where the text marks
// documents, else a window; copies are one cluster (try_windows). `cluster[r]` is dense from 0; −1 marks a row that
// is run but not counted (a BOS).
struct token_windows {
  std::vector<model::row_meta> rows;
  std::vector<index_t> cluster;
  index_t n_clusters = 0;
  index_t n_windows = 0;
  index_t context = 0;
  std::vector<std::int32_t> documents;      // document of each cluster, if the text marks them; of copies the first
  std::vector<std::uint64_t> contents;      // fingerprints of the ids of all documents that the windows touch, sorted
  std::vector<index_t> starts;              // first id of each window
  std::uint64_t text = 0;                   // fingerprint of all ids of the text that the windows are of
  std::vector<metrics::id_count> unigrams;  // calibration only: id counts over text that evaluation does not use
  index_t left_out = 0;                     // calibration only: ids of their text that evaluation uses

  index_t counted() const noexcept { return n_windows * context; }

  // Checks that the members are consistent; every study calls it. Errors: shape_mismatch where `cluster` has not one
  // entry a row, invalid_argument for a cluster that is neither −1 nor below n_clusters. `operand` names the windows.
  // O(rows).
  status check(std::string_view operand) const noexcept {
    if (cluster.size() != rows.size())
      return error{errc::shape_mismatch, resect::text(operand, ", cluster"), resect::text(cluster.size()),
                   resect::text(rows.size(), ", one a row")};
    for (std::size_t r = 0; r < cluster.size(); ++r)
      if (cluster[r] < -1 || cluster[r] >= n_clusters)
        return error{errc::invalid_argument, resect::text(operand, ", cluster of row ", r), resect::text(cluster[r]),
                     resect::text("-1, or 0 to ", n_clusters - 1)};
    return {};
  }

  // The scoring rule of the windows: every token that follows another one of its window is scored.
  metrics::scoring_rule scoring() const noexcept {
    return {.window = context, .bos = !cluster.empty() && cluster.front() < 0};
  }

  // The id that follows row r in its window, or −1.
  std::int32_t next_token(index_t r) const noexcept {
    const auto i = static_cast<std::size_t>(r);
    if (cluster[i] < 0 || i + 1 >= rows.size() || rows[i + 1].seq != rows[i].seq) return -1;
    return rows[i + 1].token;
  }

  std::uint64_t fingerprint() const noexcept {
    resect::fingerprint f;
    for (const auto& row : rows)
      f.add(row.place().key()).add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(row.token)));
    return f.value();
  }
};

// Options of windows: their number and length, and the BOS.
struct window_options {
  index_t sequences = 32;
  index_t context = 64;
  std::int32_t bos = -1;  // put in front of every window where not negative; run, not counted
};

namespace detail {

template <class = void>
status check_windows(const token_text& text_, const window_options& o) noexcept {
  const auto n = static_cast<index_t>(text_.ids.size());
  if (n == 0) return error{errc::invalid_argument, "text", "no token", "1 token or more"};
  if (o.sequences < 1) return error{errc::invalid_argument, "sequences", text(o.sequences), "1 or more"};
  if (o.context < 2) return error{errc::invalid_argument, "context", text(o.context), "2 or more"};
  if (!text_.documents.empty() && text_.documents.size() != text_.ids.size())
    return error{errc::shape_mismatch, "documents", text(text_.documents.size()), text(n, ", one an id")};
  if (o.sequences > n / o.context)
    return error{errc::invalid_argument, text(o.sequences, " windows of ", o.context, " tokens"),
                 text("a text of ", n, " tokens"),
                 n / o.context == 0 ? text("a text of ", o.context, " tokens or more")
                                    : text("at most ", n / o.context, " windows of ", o.context)};
  return {};
}

template <class = void>
void append_window(token_windows& out, const token_text& t, index_t start, const window_options& o) {
  const auto seq = static_cast<std::int32_t>(out.n_windows++);
  std::int32_t pos = 0;
  if (o.bos >= 0) out.rows.push_back({seq, pos++, o.bos, model::row_meta::wants_logits});
  out.starts.push_back(start);
  for (index_t i = start; i < start + o.context; ++i)
    out.rows.push_back({seq, pos++, t.ids[static_cast<std::size_t>(i)], model::row_meta::wants_logits});
  out.rows.back().flags |= model::row_meta::sequence_end | model::row_meta::prompt_end;
}

// The class of every id of the windows, window after window: documents of the same ids are one class, and so are documents or
// windows that are copies by join_copies.
template <class = void>
std::vector<index_t> classes_of(const token_text& t, std::span<const index_t> starts, index_t context,
                                std::vector<std::uint64_t>& contents) {
  std::vector<index_t> out(starts.size() * static_cast<std::size_t>(context));
  index_t n = static_cast<index_t>(starts.size());
  if (t.documents.empty())
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<index_t>(i) / context;
  else {
    const auto all = document_contents(t.ids, t.documents);
    for (const index_t start : starts)
      for (index_t i = start; i < start + context; ++i)
        contents.push_back(content_of(all, t.documents[static_cast<std::size_t>(i)]));
    const auto of_ids = contents;
    algo::sort(contents.begin(), contents.end());
    contents.erase(algo::unique(contents.begin(), contents.end()), contents.end());
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = algo::lower_bound(contents.begin(), contents.end(), of_ids[i]) - contents.begin();
    n = static_cast<index_t>(contents.size());
  }
  std::vector<index_t> sizes(static_cast<std::size_t>(n), 0);
  for (const index_t c : out) ++sizes[static_cast<std::size_t>(c)];
  joined_classes classes(n);
  join_copies(
      t.ids, starts, context, [&](index_t w, index_t i) { return out[static_cast<std::size_t>(w * context + i)]; },
      sizes, classes);
  for (index_t& c : out) c = classes.find(c);
  return out;
}

// Gives the rows their clusters: the classes of their ids, numbered in the order in which they come.
template <class = void>
void add_clusters(token_windows& out, const token_text& t, const window_options& o) {
  const auto classes = classes_of(t, out.starts, o.context, out.contents);
  std::vector<index_t> known(classes.size(), -1);
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const auto window = i / static_cast<std::size_t>(o.context), at = i % static_cast<std::size_t>(o.context);
    if (at == 0 && o.bos >= 0) out.cluster.push_back(-1);
    index_t& cluster = known[static_cast<std::size_t>(classes[i])];
    if (cluster < 0) {
      cluster = out.n_clusters++;
      if (!t.documents.empty()) out.documents.push_back(t.documents[static_cast<std::size_t>(out.starts[window]) + at]);
    }
    out.cluster.push_back(cluster);
  }
}

}  // namespace detail

// Cuts S windows of C ids out of a text of N ids; window i begins at id ⌊i·(N−C+1)/S⌋. Clusters are judged by
// content: documents of the same ids are one cluster, and so are two documents, or two windows of a text without
// documents, where more than half of what the windows hold of one of them stands in runs of 24 ids that they hold of
// the other one, too (a window of fewer ids is compared together with the ids around it).
// Errors: empty text, S·C > N (says how many fit). Cost: O(N log D) for D documents and O(S·C log(S·C)).
template <class = void>
result<token_windows> try_windows(const token_text& t, const window_options& o = {}) {
  if (auto s = detail::check_windows(t, o); !s) return s.error();
  token_windows out;
  out.context = o.context;
  out.text = detail::fingerprint_of(t.ids);
  const auto room = static_cast<index_t>(t.ids.size()) - o.context + 1;
  for (index_t i = 0; i < o.sequences; ++i) detail::append_window(out, t, i * room / o.sequences, o);
  detail::add_clusters(out, t, o);
  return out;
}

// The cluster of every window of `context` ids of a text without documents: its own, or that of an earlier window of the
// same text (as try_windows judges it). Dense from 0, in the order of `starts`; all windows lie inside the text.
template <class = void>
std::vector<index_t> window_clusters(std::span<const std::int32_t> ids, std::span<const index_t> starts,
                                     index_t context) {
  detail::joined_classes classes(static_cast<index_t>(starts.size()));
  const std::vector<index_t> sizes(starts.size(), context);
  detail::join_copies(ids, starts, context, [](index_t w, index_t) { return w; }, sizes, classes);
  std::vector<index_t> out;
  index_t n = 0;
  for (index_t w = 0; w < static_cast<index_t>(starts.size()); ++w) {
    const index_t first = classes.find(w);
    out.push_back(first == w ? n++ : out[static_cast<std::size_t>(first)]);
  }
  return out;
}

namespace detail {

// A fingerprint of every run of n ids in the windows: add(fingerprint, window). A BOS in front is no id of the text.
template <class F>
void for_runs(const token_windows& w, index_t n, F add) {
  index_t length = 0;
  for (std::size_t r = 0; r < w.rows.size(); ++r) {
    if (r > 0 && w.rows[r].seq != w.rows[r - 1].seq) length = 0;
    length = w.cluster[r] < 0 ? 0 : length + 1;
    if (length < n) continue;
    resect::fingerprint f;
    for (std::size_t i = r + 1 - static_cast<std::size_t>(n); i <= r; ++i)
      f.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(w.rows[i].token)));
    add(f.value(), w.rows[r].seq);
  }
}

// How many ids in a row two sets of windows may not share: 24, or all of a window where windows are shorter.
template <class = void>
index_t shared_run(index_t context, index_t other) noexcept {
  return algo::min(same_run, algo::min(context, other));
}

// The fingerprints of all runs of n ids, sorted.
template <class = void>
std::vector<std::uint64_t> runs_of(const token_windows& w, index_t n) {
  std::vector<std::uint64_t> out;
  for_runs(w, n, [&](std::uint64_t run, std::int32_t) { out.push_back(run); });
  algo::sort(out.begin(), out.end());
  out.erase(algo::unique(out.begin(), out.end()), out.end());
  return out;
}

// How often each id occurs where it is not taken.
template <class = void>
std::vector<metrics::id_count> count_ids(std::span<const std::int32_t> ids, const std::vector<bool>& taken) {
  std::vector<std::int32_t> left;
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (!taken[i]) left.push_back(ids[i]);
  algo::sort(left.begin(), left.end());
  std::vector<metrics::id_count> out;
  for (const std::int32_t id : left) {
    if (out.empty() || out.back().id != id) out.push_back({id, 0});
    ++out.back().count;
  }
  return out;
}

// Marks every run of `length` ids of `t` that the evaluated windows hold, too.
template <class = void>
void take_shared_runs(const token_text& t, const token_windows& evaluation, index_t length, std::vector<bool>& taken) {
  if (length < 1) return;
  const auto evaluated = runs_of(evaluation, length);
  const auto size = static_cast<std::size_t>(length);
  for (std::size_t i = 0; i + size <= t.ids.size(); ++i)
    if (algo::binary_search(evaluated.begin(), evaluated.end(), fingerprint_of(t.ids.subspan(i, size))))
      for (std::size_t k = i; k < i + size; ++k) taken[k] = true;
}

// Which ids of `t` calibration must leave out: by content, and in the evaluated text itself also by place and number.
template <class = void>
result<std::vector<bool>> try_evaluated(const token_text& t, const token_windows& evaluation, index_t context) {
  const std::size_t n = t.ids.size();
  std::vector<bool> taken(n, false);
  take_shared_runs(t, evaluation, shared_run(context, evaluation.context), taken);
  const auto contents = document_contents(t.ids, t.documents);
  for (std::size_t i = 0; i < t.documents.size(); ++i)
    if (algo::binary_search(evaluation.contents.begin(), evaluation.contents.end(),
                            content_of(contents, t.documents[i])))
      taken[i] = true;
  if (fingerprint_of(t.ids) != evaluation.text) return taken;
  for (const index_t start : evaluation.starts) {
    if (start < 0 || evaluation.context < 0 || start > static_cast<index_t>(n) - evaluation.context)
      return error{errc::invalid_argument, "evaluation windows, starts", text(start),
                   text("0 to ", static_cast<index_t>(n) - evaluation.context)};
    for (index_t k = start; k < start + evaluation.context; ++k) taken[static_cast<std::size_t>(k)] = true;
  }
  for (std::size_t i = 0; i < t.documents.size(); ++i)
    if (algo::find(evaluation.documents.begin(), evaluation.documents.end(), t.documents[i]) !=
        evaluation.documents.end())
      taken[i] = true;
  return taken;
}

}  // namespace detail

// Counts each id in the part of a text that evaluation does not use. The unigram model that evaluation results are
// compared with is made of it. Left out are the evaluated windows and documents, copies of these documents, and runs
// of 24 ids that the windows share (all ids of a window where windows are shorter). Errors: evaluation windows whose
// parts do not belong together.
// Cost O(N log N).
template <class = void>
result<std::vector<metrics::id_count>> try_unigrams(const token_text& t, const token_windows& evaluation) {
  if (auto s = evaluation.check("evaluation windows"); !s) return s.error();
  const auto taken = detail::try_evaluated(t, evaluation, evaluation.context);
  if (!taken) return taken.error();
  return detail::count_ids(t.ids, *taken);
}

// Cuts windows for calibration: at most S of them, spread over a text, such that check_disjoint accepts them beside
// `evaluation`. They hold no document with the ids of an evaluated one, and share no 24 ids in a row with the
// evaluated windows (of shorter windows, not all their ids); of the same text they also share no id with them.
// `left_out` of the result counts the ids that are excluded by this.
// Errors: nothing is left over; evaluation windows whose parts do not belong together.
template <class = void>
result<token_windows> try_calibration_windows(const token_text& t, const token_windows& evaluation,
                                              const window_options& o = {}) {
  if (auto s = detail::check_windows(t, {1, o.context, o.bos}); !s) return s.error();
  const auto n = static_cast<index_t>(t.ids.size());
  if (auto s = evaluation.check("evaluation windows"); !s) return s.error();
  const auto taken = detail::try_evaluated(t, evaluation, o.context);
  if (!taken) return taken.error();

  std::vector<index_t> free;
  for (index_t i = 0, run = 0; i < n; ++i) {
    run = (*taken)[static_cast<std::size_t>(i)] ? 0 : run + 1;
    if (run < o.context) continue;
    free.push_back(i - o.context + 1);
    run = 0;
  }
  if (free.empty())
    return error{errc::invalid_argument, "calibration text",
                 text("no stretch of ", o.context, " tokens outside the ", evaluation.n_windows, " evaluation windows"),
                 "a longer text, or fewer or shorter windows"};
  token_windows out;
  out.context = o.context;
  out.text = detail::fingerprint_of(t.ids);
  out.unigrams = detail::count_ids(t.ids, *taken);
  for (const bool is_taken : *taken) out.left_out += is_taken;
  const auto count = algo::min(o.sequences, static_cast<index_t>(free.size()));
  for (index_t i = 0; i < count; ++i)
    detail::append_window(out, t, free[static_cast<std::size_t>(i * static_cast<index_t>(free.size()) / count)], o);
  detail::add_clusters(out, t, o);
  return out;
}

// Checks that a study may calibrate on one set of windows and evaluate on the other. Content decides, not names or
// document numbers: refused are two documents of the same ids, and windows that share 24 ids in a row, or all ids of
// a window where windows are shorter (different documents seldom share set phrases of 24 ids; of 16 ids they often
// do). Of one text (the same fingerprint of all ids), windows that share an id or a document's number are refused,
// too.
// Errors: invalid_argument says which. Cost O(24·rows).
template <class = void>
status check_disjoint(const token_windows& evaluation, const token_windows& calibration) {
  if (auto s = evaluation.check("evaluation windows"); !s) return s;
  if (auto s = calibration.check("calibration windows"); !s) return s;
  const bool same_text = evaluation.text == calibration.text;
  if (same_text) {
    for (const index_t a : evaluation.starts)
      for (const index_t b : calibration.starts)
        if (a < b + calibration.context && b < a + evaluation.context)
          return error{errc::invalid_argument, "calibration windows", text("ids from ", b, " on, also evaluated"),
                       "ids that no evaluation window holds"};
    for (const auto d : evaluation.documents)
      for (const auto e : calibration.documents)
        if (d == e)
          return error{errc::invalid_argument, "calibration windows", text("document ", d, ", also evaluated"),
                       "documents that no evaluation window holds"};
  }
  for (const std::uint64_t content : calibration.contents)
    if (algo::binary_search(evaluation.contents.begin(), evaluation.contents.end(), content))
      return error{errc::invalid_argument, "calibration windows", "a document with the ids of an evaluated one",
                   "documents that no evaluation window holds"};
  const index_t n = detail::shared_run(evaluation.context, calibration.context);
  if (n < 1) return {};
  const auto evaluated = detail::runs_of(evaluation, n);
  std::int32_t shared = -1;
  detail::for_runs(calibration, n, [&](std::uint64_t run, std::int32_t window) {
    if (shared < 0 && algo::binary_search(evaluated.begin(), evaluated.end(), run)) shared = window;
  });
  if (shared < 0) return {};
  return error{errc::invalid_argument, "calibration windows",
               text(n, " ids in a row of window ", shared, ", also evaluated", same_text ? "" : ", of another text"),
               "ids that no evaluation window holds"};
}

#if RESECT_EXCEPTIONS
template <class = void>
token_windows windows(const token_text& t, const window_options& o = {}) {
  return value_or_throw(try_windows(t, o));
}
template <class = void>
token_windows calibration_windows(const token_text& t, const token_windows& evaluation, const window_options& o = {}) {
  return value_or_throw(try_calibration_windows(t, evaluation, o));
}
#endif

}  // namespace RESECT_NAMESPACE::study
