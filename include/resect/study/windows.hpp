// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/result.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/rows/unigrams.hpp>
#include <resect/model/row.hpp>

namespace RESECT_NAMESPACE::study {

// Token ids of a text, and for every id the document that it comes from (any numbers; empty where the
// text marks no documents).
struct token_text {
  std::span<const std::int32_t> ids;
  std::span<const std::int32_t> documents;
};

// Rows to run, and what their measurements are clustered by: a document where the text marks them, else
// the window. `cluster[r]` is dense from 0; −1 marks a row that is run but not counted (a BOS).
struct token_windows {
  std::vector<model::row_meta> rows;
  std::vector<index_t> cluster;
  index_t n_clusters = 0;
  index_t n_windows = 0;
  index_t context = 0;
  std::vector<std::int32_t> documents;      // of each cluster, where the text marks them
  std::vector<index_t> starts;              // first id of each window
  std::uint64_t text = 0;                   // fingerprint of all ids of the text that the windows are of
  std::vector<metrics::id_count> unigrams;  // of calibration windows: of all that evaluation leaves of their text

  index_t counted() const noexcept { return n_windows * context; }

  // Whether the parts belong together; every study asks. Errors: shape_mismatch where `cluster` has not one entry a row,
  // invalid_argument for a cluster that is neither −1 nor below n_clusters. `operand` names the windows. O(rows).
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

  // What is scored of them: every token that follows another one of its window.
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

namespace detail {
template <class = void>
std::uint64_t fingerprint_of(std::span<const std::int32_t> ids) noexcept {
  resect::fingerprint f;
  for (const std::int32_t id : ids) f.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(id)));
  return f.value();
}
}  // namespace detail

// How many windows are cut out of a text, and how long they are.
struct window_options {
  index_t sequences = 32;
  index_t context = 64;
  std::int32_t bos = -1;  // put in front of every window where not negative; run, not counted
};

namespace detail {

template <class = void>
status check_windows(const token_text& text_, const window_options& o) noexcept {
  const auto n = static_cast<index_t>(text_.ids.size());
  if (n == 0) return error{errc::invalid_argument, "text", "no token", "some text"};
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
void append_window(token_windows& out, const token_text& t, index_t start, const window_options& o,
                   std::vector<std::int32_t>& known) {
  const auto seq = static_cast<std::int32_t>(out.n_windows++);
  std::int32_t pos = 0;
  if (o.bos >= 0) {
    out.rows.push_back({seq, pos++, o.bos, model::row_meta::wants_logits});
    out.cluster.push_back(-1);
  }
  out.starts.push_back(start);
  for (index_t i = start; i < start + o.context; ++i) {
    const auto at = static_cast<std::size_t>(i);
    out.rows.push_back({seq, pos++, t.ids[at], model::row_meta::wants_logits});
    if (t.documents.empty()) {
      out.cluster.push_back(seq);
      continue;
    }
    const auto found = algo::find(known.begin(), known.end(), t.documents[at]);
    out.cluster.push_back(found - known.begin());
    if (found == known.end()) known.push_back(t.documents[at]);
  }
  out.rows.back().flags |= model::row_meta::sequence_end | model::row_meta::prompt_end;
}

}  // namespace detail

// S windows of C ids, window i beginning at id ⌊i·(N−C+1)/S⌋ of the N ids.
// Errors: empty text, S·C > N (says how many fit).
template <class = void>
result<token_windows> try_windows(const token_text& t, const window_options& o = {}) {
  if (auto s = detail::check_windows(t, o); !s) return s.error();
  token_windows out;
  out.context = o.context;
  out.text = detail::fingerprint_of(t.ids);
  std::vector<std::int32_t> known;
  const auto room = static_cast<index_t>(t.ids.size()) - o.context + 1;
  for (index_t i = 0; i < o.sequences; ++i) detail::append_window(out, t, i * room / o.sequences, o, known);
  out.n_clusters = t.documents.empty() ? out.n_windows : static_cast<index_t>(known.size());
  out.documents = std::move(known);
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

// How many ids in a row two texts may not share: 24, or all of a window where windows are shorter.
template <class = void>
index_t shared_run(index_t context, index_t other) noexcept {
  return algo::min(index_t{24}, algo::min(context, other));
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
std::vector<metrics::id_count> count_ids(std::span<const std::int32_t> ids, const array<bool>& taken) {
  std::vector<std::int32_t> left;
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (!taken.data()[i]) left.push_back(ids[i]);
  algo::sort(left.begin(), left.end());
  std::vector<metrics::id_count> out;
  for (const std::int32_t id : left) {
    if (out.empty() || out.back().id != id) out.push_back({id, 0});
    ++out.back().count;
  }
  return out;
}

// Which ids of `t` calibration must leave out.
template <class = void>
result<array<bool>> try_evaluated(const token_text& t, const token_windows& evaluation, index_t context) {
  const std::size_t n = t.ids.size();
  array<bool> taken(static_cast<index_t>(n));
  const auto take = [&](index_t first, index_t length) {
    for (index_t i = first; i < first + length; ++i) taken[i] = true;
  };
  if (fingerprint_of(t.ids) != evaluation.text) {
    const index_t length = shared_run(context, evaluation.context);
    if (length < 1) return taken;
    const auto evaluated = runs_of(evaluation, length);
    const auto size = static_cast<std::size_t>(length);
    for (std::size_t i = 0; i + size <= n; ++i)
      if (algo::binary_search(evaluated.begin(), evaluated.end(), fingerprint_of(t.ids.subspan(i, size))))
        take(static_cast<index_t>(i), length);
    return taken;
  }
  for (const index_t start : evaluation.starts) {
    if (start < 0 || evaluation.context < 0 || start > static_cast<index_t>(n) - evaluation.context)
      return error{errc::invalid_argument, "evaluation windows, starts", text(start),
                   text("0 to ", static_cast<index_t>(n) - evaluation.context)};
    take(start, evaluation.context);
  }
  for (std::size_t i = 0; i < t.documents.size(); ++i)
    if (algo::find(evaluation.documents.begin(), evaluation.documents.end(), t.documents[i]) !=
        evaluation.documents.end())
      take(static_cast<index_t>(i), 1);
  return taken;
}

}  // namespace detail

// How often each id occurs in what `evaluation` leaves of a text, by id: unigrams for judging what evaluation measures.
// Of the same text its windows and documents are left out, of another text what shares 24 ids in a row with it. Errors:
// evaluation windows whose parts do not belong together. Cost O(N log N).
template <class = void>
result<std::vector<metrics::id_count>> try_unigrams(const token_text& t, const token_windows& evaluation) {
  if (auto s = evaluation.check("evaluation windows"); !s) return s.error();
  const auto taken = detail::try_evaluated(t, evaluation, evaluation.context);
  if (!taken) return taken.error();
  return detail::count_ids(t.ids, *taken);
}

// Windows for calibration: at most S of them, spread over a text, such that check_disjoint accepts them beside
// `evaluation`. Of the same text they share no id and no document with it; of another text, no 24 ids in a row.
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
    run = (*taken)[i] ? 0 : run + 1;
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
  std::vector<std::int32_t> known;
  const auto count = algo::min(o.sequences, static_cast<index_t>(free.size()));
  for (index_t i = 0; i < count; ++i)
    detail::append_window(out, t, free[static_cast<std::size_t>(i * static_cast<index_t>(free.size()) / count)], o,
                          known);
  out.n_clusters = t.documents.empty() ? out.n_windows : static_cast<index_t>(known.size());
  out.documents = std::move(known);
  return out;
}

// Whether a study may calibrate on one set of windows and evaluate on the other. Of one text (the same fingerprint of
// all ids), windows that share an id or a document are refused. Of two texts, which may be parts or versions of each
// other, those that share 24 ids in a row, or all ids of a window where windows are shorter: set phrases of different
// documents are seldom as long (of 16 ids they are not rare). Errors: invalid_argument says which. Cost O(24·rows).
template <class = void>
status check_disjoint(const token_windows& evaluation, const token_windows& calibration) {
  if (auto s = evaluation.check("evaluation windows"); !s) return s;
  if (auto s = calibration.check("calibration windows"); !s) return s;
  if (evaluation.text == calibration.text) {
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
    return {};
  }
  const index_t n = detail::shared_run(evaluation.context, calibration.context);
  if (n < 1) return {};
  const auto evaluated = detail::runs_of(evaluation, n);
  std::int32_t shared = -1;
  detail::for_runs(calibration, n, [&](std::uint64_t run, std::int32_t window) {
    if (shared < 0 && algo::binary_search(evaluated.begin(), evaluated.end(), run)) shared = window;
  });
  if (shared < 0) return {};
  return error{errc::invalid_argument, "calibration windows",
               text(n, " ids in a row of window ", shared, ", also evaluated, of another text"),
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
