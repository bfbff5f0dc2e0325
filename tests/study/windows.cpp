// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <numeric>
#include <set>

#include <support/catch.hpp>

#include <resect/study/windows.hpp>

using namespace resect;
using namespace resect::study;

namespace {

std::vector<std::int32_t> counting(resect::index_t n) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

}  // namespace

TEST_CASE("window i begins at id floor(i (N - C + 1) / S) and holds C ids from position 0") {
  const auto ids = counting(1003);
  const auto w = windows({ids, {}}, {.sequences = 7, .context = 20});
  REQUIRE(w.n_windows == 7);
  REQUIRE(w.rows.size() == 140);
  CHECK(w.counted() == 140);
  CHECK(w.n_clusters == 7);
  for (resect::index_t i = 0; i < 7; ++i) {
    const resect::index_t start = i * (1003 - 20 + 1) / 7;
    CHECK(w.starts[static_cast<std::size_t>(i)] == start);
    for (resect::index_t j = 0; j < 20; ++j) {
      const auto r = static_cast<std::size_t>(i * 20 + j);
      CHECK(w.rows[r].seq == i);
      CHECK(w.rows[r].pos == j);
      CHECK(w.rows[r].token == start + j);
      CHECK(w.cluster[r] == i);
      CHECK(w.next_token(static_cast<resect::index_t>(r)) == (j + 1 < 20 ? start + j + 1 : -1));
    }
  }
}

TEST_CASE("where the text marks documents they are the clusters, also across windows") {
  const auto ids = counting(40);
  std::vector<std::int32_t> documents(40);
  for (std::size_t i = 0; i < 40; ++i) documents[i] = static_cast<std::int32_t>(i / 7) + 100;
  const auto w = windows({ids, documents}, {.sequences = 4, .context = 10});
  std::set<resect::index_t> clusters;
  for (std::size_t r = 0; r < w.rows.size(); ++r) {
    const auto c = w.cluster[r];
    clusters.insert(c);
    CHECK(w.documents[static_cast<std::size_t>(c)] == documents[static_cast<std::size_t>(w.rows[r].token)]);
  }
  CHECK(static_cast<resect::index_t>(clusters.size()) == w.n_clusters);
  CHECK(w.n_clusters < 8);
}

TEST_CASE("a BOS is run before every window and is not counted") {
  const auto ids = counting(100);
  const auto w = windows({ids, {}}, {.sequences = 3, .context = 8, .bos = 99});
  CHECK(w.scoring() == resect::metrics::scoring_rule{.window = 8, .bos = true});
  CHECK(windows({ids, {}}, {.sequences = 3, .context = 8}).scoring() == resect::metrics::scoring_rule{.window = 8});
  REQUIRE(w.rows.size() == 27);
  CHECK(w.counted() == 24);
  for (std::size_t r = 0; r < 27; r += 9) {
    CHECK(w.rows[r].token == 99);
    CHECK(w.rows[r].pos == 0);
    CHECK(w.cluster[r] == -1);
    CHECK(w.next_token(static_cast<resect::index_t>(r)) == -1);
    CHECK(w.rows[r + 1].pos == 1);
    CHECK(w.next_token(static_cast<resect::index_t>(r + 1)) == w.rows[r + 2].token);
  }
}

TEST_CASE("texts that are too short are refused with how many windows fit") {
  const auto ids = counting(100);
  const auto many = try_windows({ids, {}}, {.sequences = 32, .context = 64});
  REQUIRE_FALSE(many);
  CHECK(many.error().message() ==
        "invalid argument: 32 windows of 64 tokens: got a text of 100 tokens, wanted at most 1 windows of 64");
  CHECK_FALSE(try_windows({ids, {}}, {.sequences = 1, .context = 101}));
  CHECK(try_windows({ids, {}}, {.sequences = 1, .context = 100}));
  CHECK(try_windows({{}, {}}, {}).error().operand == "text");
  CHECK(try_windows({ids, {}}, {.sequences = 0}).error().operand == "sequences");
  CHECK(try_windows({ids, {}}, {.sequences = 1, .context = 1}).error().operand == "context");
  const std::vector<std::int32_t> short_documents(3);
  CHECK(try_windows({ids, short_documents}, {.sequences = 1, .context = 8}).error().operand == "documents");
}

TEST_CASE("calibration windows share no id and no document with the evaluation windows") {
  const auto ids = counting(5000);
  std::vector<std::int32_t> documents(5000);
  for (std::size_t i = 0; i < documents.size(); ++i) documents[i] = static_cast<std::int32_t>(i / 90);
  for (const bool marked : {false, true}) {
    const token_text text{ids, marked ? std::span<const std::int32_t>(documents) : std::span<const std::int32_t>{}};
    const auto evaluation = windows(text, {.sequences = 9, .context = 50});
    const auto calibration = calibration_windows(text, evaluation, {.sequences = 9, .context = 50});
    REQUIRE(calibration.n_windows > 0);
    std::set<std::int32_t> evaluated, seen;
    for (const auto& row : evaluation.rows)
      evaluated.insert(marked ? documents[static_cast<std::size_t>(row.token)] : row.token);
    for (const auto& row : calibration.rows) {
      CHECK_FALSE(evaluated.contains(marked ? documents[static_cast<std::size_t>(row.token)] : row.token));
      CHECK(seen.insert(row.token).second);
    }
  }
  const auto all = windows({ids, {}}, {.sequences = 100, .context = 50});
  CHECK(try_calibration_windows({ids, {}}, all, {.sequences = 1, .context = 50}).error().operand == "calibration text");
}

TEST_CASE("calibration windows of another text are cut out of what it does not share with the evaluated one") {
  const auto large = counting(100000);
  const auto evaluation = windows({large, {}}, {.sequences = 32, .context = 64});
  std::vector<std::int32_t> other(200, 7);
  const auto all = calibration_windows({other, {}}, evaluation, {.sequences = 3, .context = 16});
  CHECK(all.n_windows == 3);
  CHECK(check_disjoint(evaluation, all));
  // a longer text that holds the evaluated one, moved by 300 ids: no position of it means what it meant there
  std::vector<std::int32_t> moved(300, 7);
  moved.insert(moved.end(), large.begin(), large.end());
  const auto some = calibration_windows({moved, {}}, evaluation, {.sequences = 2000, .context = 40});
  CHECK(check_disjoint(evaluation, some));
  CHECK(some.n_windows > 1500);
  std::set<std::int32_t> evaluated;
  for (const auto& row : evaluation.rows) evaluated.insert(row.token);
  for (const auto& row : some.rows)
    if (row.token != 7) CHECK_FALSE(evaluated.contains(row.token));
  CHECK(try_calibration_windows({std::span(large).first(64), {}}, evaluation, {.sequences = 1, .context = 16})
            .error()
            .operand == "calibration text");
}

TEST_CASE("unigrams count every id that evaluation leaves, not only those of the calibration windows") {
  std::vector<std::int32_t> twice(counting(400));
  for (std::int32_t i = 0; i < 400; ++i) twice.push_back(7 * i % 400);  // every id again, in another order
  const auto evaluation = windows({twice, {}}, {.sequences = 4, .context = 10});
  std::vector<resect::index_t> count(400, 2);
  for (const auto& row : evaluation.rows) --count[static_cast<std::size_t>(row.token)];
  const auto unigrams = try_unigrams({twice, {}}, evaluation);
  REQUIRE(unigrams);
  std::size_t at = 0;
  for (std::int32_t id = 0; id < 400; ++id)
    if (const auto n = count[static_cast<std::size_t>(id)]; n > 0)
      CHECK((*unigrams)[at++] == resect::metrics::id_count{id, n});
  CHECK(at == unigrams->size());
  CHECK(calibration_windows({twice, {}}, evaluation, {.sequences = 1, .context = 10}).unigrams == *unigrams);
}

TEST_CASE("windows whose parts do not belong together are refused") {
  const auto ids = counting(1000);
  const auto good = windows({ids, {}}, {.sequences = 4, .context = 20});
  const auto calibration = calibration_windows({ids, {}}, good, {.sequences = 4, .context = 20});
  CHECK(good.check("w"));
  auto bad = good;
  bad.cluster.pop_back();
  CHECK(bad.check("w").error().message() == "shape mismatch: w, cluster: got 79, wanted 80, one a row");
  CHECK(check_disjoint(bad, calibration).error().operand == "evaluation windows, cluster");
  CHECK(check_disjoint(good, bad).error().operand == "calibration windows, cluster");
  CHECK(try_calibration_windows({ids, {}}, bad, {.context = 20}).error().code == errc::shape_mismatch);
  for (const resect::index_t cluster : {-2, 4}) {
    bad = good;
    bad.cluster[7] = cluster;
    CHECK(bad.check("w").error().operand == "w, cluster of row 7");
    CHECK_FALSE(try_unigrams({ids, {}}, bad));
  }
  for (const resect::index_t start : {-1, 981}) {
    bad = good;
    bad.starts[2] = start;
    CHECK(try_calibration_windows({ids, {}}, bad, {.context = 20}).error().operand == "evaluation windows, starts");
  }
}

TEST_CASE("the fingerprint of windows follows sequence, position and token") {
  const auto ids = counting(100);
  const auto a = windows({ids, {}}, {.sequences = 2, .context = 10});
  auto b = a;
  CHECK(a.fingerprint() == b.fingerprint());
  std::swap(b.rows[0].token, b.rows[1].token);
  CHECK(a.fingerprint() != b.fingerprint());
}

TEST_CASE("calibration windows out of another version of the evaluated text are refused by what they hold") {
  std::vector<std::int32_t> ids;
  for (std::uint32_t i = 0; i < 2000; ++i) ids.push_back(static_cast<std::int32_t>((i * i * 2654435761u) >> 16 & 1023));
  auto longer = ids, shifted = ids, reversed = ids;
  longer.push_back(7);
  shifted.insert(shifted.begin(), 7);
  std::reverse(reversed.begin(), reversed.end());
  const window_options options{.sequences = 8, .context = 64};
  const auto evaluation = windows({ids, {}}, options);
  for (const auto& other : {longer, shifted}) {
    const auto refused = check_disjoint(evaluation, windows({other, {}}, options));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().operand == "calibration windows");
    CHECK(refused.error().got == "24 ids in a row of window 0, also evaluated, of another text");
  }
  CHECK_FALSE(check_disjoint(evaluation, windows({longer, {}}, {.sequences = 8, .context = 64, .bos = 3})));
  CHECK_FALSE(check_disjoint(windows({ids, {}}, {.sequences = 8, .context = 12}),
                             windows({longer, {}}, {.sequences = 8, .context = 12})));
  CHECK(check_disjoint(evaluation, windows({reversed, {}}, options)));

  // a phrase of 23 ids in a row is allowed; 24 are not, wherever they stand
  for (const std::size_t length : {23u, 24u})
    for (const std::size_t at : {0u, 17u, 40u}) {
      auto phrase = reversed;
      std::copy_n(ids.begin() + 5, length, phrase.begin() + static_cast<std::ptrdiff_t>(at));
      CHECK(static_cast<bool>(check_disjoint(evaluation, windows({phrase, {}}, options))) == (length == 23));
    }
}

TEST_CASE("the check of calibration windows does not take a run for one that crosses two windows") {
  const auto ids = counting(60);
  const auto evaluation = windows({ids, {}}, {.sequences = 1, .context = 60});
  std::vector<std::int32_t> halves(119);  // windows at 0 and 40: ids 8 … 27 end the first, 28 … 47 begin the second
  for (std::size_t i = 0; i < 119; ++i) halves[i] = static_cast<std::int32_t>(i >= 20 && i < 60 ? i - 12 : 1000 + i);
  CHECK(check_disjoint(evaluation, windows({halves, {}}, {.sequences = 2, .context = 40})));
}

namespace {

// Ids without a pattern.
std::vector<std::int32_t> mixed(resect::index_t n, std::uint32_t salt = 0) {
  std::vector<std::int32_t> ids;
  for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(n); ++i) {
    std::uint32_t x = (i + 1) * 2654435761u + salt * 40503u;
    x = (x ^ (x >> 15)) * 2246822519u;
    ids.push_back(static_cast<std::int32_t>((x ^ (x >> 13)) & 1023));
  }
  return ids;
}

struct marked_text {
  std::vector<std::int32_t> ids, documents;

  token_text view() const { return {ids, documents}; }
  void append(const std::vector<std::int32_t>& document) {
    const std::int32_t number = documents.empty() ? 0 : documents.back() + 1;
    ids.insert(ids.end(), document.begin(), document.end());
    documents.insert(documents.end(), document.size(), number);
  }
};

// `count` documents of 20 to 59 ids.
marked_text documents(int count, std::uint32_t salt) {
  marked_text out;
  for (int d = 0; d < count; ++d) out.append(mixed(20 + d * 7 % 40, salt + static_cast<std::uint32_t>(d)));
  return out;
}

// The document as a list of ids that a row of windows comes from, for comparing by content.
std::set<std::vector<std::int32_t>> contents_of(const marked_text& t, const token_windows& w) {
  std::set<std::vector<std::int32_t>> out;
  for (const auto start : w.starts)
    for (auto i = static_cast<std::size_t>(start); i < static_cast<std::size_t>(start + w.context); ++i) {
      std::vector<std::int32_t> ids;
      for (std::size_t k = 0; k < t.ids.size(); ++k)
        if (t.documents[k] == t.documents[i]) ids.push_back(t.ids[k]);
      out.insert(ids);
    }
  return out;
}

}  // namespace

TEST_CASE("copies of a document in one text are one cluster, wherever windows cut them") {
  const marked_text once = documents(30, 1);
  marked_text thrice;
  for (int k = 0; k < 3; ++k)
    for (std::size_t i = 0; i < once.ids.size(); ++i) {
      thrice.ids.push_back(once.ids[i]);
      thrice.documents.push_back(once.documents[i] + 30 * k);
    }
  for (const resect::index_t sequences : {12, 24, 70}) {
    const auto w = windows(thrice.view(), {.sequences = sequences, .context = 32, .bos = 7});
    CHECK(w.n_clusters == static_cast<resect::index_t>(contents_of(thrice, w).size()));
    CHECK(w.n_clusters <= 30);
    CHECK(w.documents.size() == static_cast<std::size_t>(w.n_clusters));
    for (std::size_t r = 0; r < w.rows.size(); ++r) {  // the cluster is the document, up to its copies
      const auto window = static_cast<std::size_t>(w.rows[r].seq);
      if (w.cluster[r] < 0) continue;
      const auto at = static_cast<std::size_t>(w.starts[window] + w.rows[r].pos - 1);
      CHECK(w.documents[static_cast<std::size_t>(w.cluster[r])] % 30 == thrice.documents[at] % 30);
    }
    CHECK(w.check("w"));
  }
  const auto w = windows(once.view(), {.sequences = 20, .context = 32});  // no copy, no change
  CHECK(w.n_clusters == static_cast<resect::index_t>(contents_of(once, w).size()));
}

TEST_CASE("documents are copies where more than half of one stands in runs of 24 ids of the other") {
  struct planted {
    std::size_t length, count;  // of phrases that two documents share
    bool copies;
  };
  for (const auto& p : {planted{23, 2, false}, planted{24, 1, false}, planted{40, 1, false}, planted{41, 1, true},
                        planted{24, 2, true}}) {
    INFO(p.length << " ids, " << p.count << " times");
    marked_text t;
    for (std::uint32_t d = 0; d < 8; ++d) {
      auto ids = mixed(80, 100 + d);
      for (std::size_t k = 0; k < p.count && (d == 2 || d == 5); ++k) {
        const auto phrase = mixed(static_cast<resect::index_t>(p.length), 77 + static_cast<std::uint32_t>(k));
        std::copy(phrase.begin(), phrase.end(), ids.begin() + static_cast<std::ptrdiff_t>(k * 40 + d));
      }
      t.append(ids);
    }
    t.append(mixed(79, 99));  // so that window i is document i
    const auto w = windows(t.view(), {.sequences = 8, .context = 80});
    CHECK(w.n_clusters == (p.copies ? 7 : 8));
    CHECK((w.cluster[2 * 80] == w.cluster[5 * 80]) == p.copies);
    CHECK(w.cluster[3 * 80] == 3);  // clusters are numbered as they come
  }
}

TEST_CASE("windows of a text without documents are one cluster where they hold the same text") {
  const auto once = mixed(400, 5);
  auto twice = once;
  twice.insert(twice.end(), once.begin(), once.end());
  const auto rest = mixed(79, 8);
  twice.insert(twice.end(), rest.begin(), rest.end());  // so that window i begins at 80·i
  const auto whole = windows({twice, {}}, {.sequences = 10, .context = 80});
  CHECK(whole.n_clusters == 5);
  for (std::size_t r = 0; r < 400; ++r) CHECK(whole.cluster[r] == whole.cluster[r + 400]);
  // copies that the windows cut elsewhere: each belongs to the window that it shares most with, and no chain joins them all
  const auto apart = windows({twice, {}}, {.sequences = 11, .context = 64});
  CHECK((apart.n_clusters >= 6 && apart.n_clusters < 11));
  // windows shorter than a run are compared with the ids around them
  CHECK(window_clusters(twice, std::vector<resect::index_t>{0, 80, 400, 480, 384, 784}, 16) ==
        std::vector<resect::index_t>{0, 1, 0, 1, 2, 2});
  auto phrases = mixed(800, 6);
  for (const std::ptrdiff_t at : {0, 200, 400, 600}) std::copy_n(once.begin(), 16, phrases.begin() + at);
  CHECK(windows({phrases, {}}, {.sequences = 4, .context = 16}).n_clusters == 4);  // set phrases are no copies
  CHECK(window_clusters(twice, std::vector<resect::index_t>{0, 80, 400, 560}, 80) ==
        std::vector<resect::index_t>{0, 1, 0, 2});
  const std::vector<std::int32_t> constant(4000, 7);
  CHECK(windows({constant, {}}, {.sequences = 40, .context = 64}).n_clusters == 1);
}

TEST_CASE("calibration leaves out copies of what is evaluated, in the same text and in others") {
  const marked_text once = documents(200, 3);
  marked_text twice = once;
  for (std::size_t i = 0; i < once.ids.size(); ++i) {
    twice.ids.push_back(once.ids[i]);
    twice.documents.push_back(once.documents[i] + 200);
  }
  const window_options options{.sequences = 24, .context = 32};
  const auto evaluation = windows(once.view(), options), of_twice = windows(twice.view(), options);
  const auto evaluated = contents_of(once, evaluation), evaluated_twice = contents_of(twice, of_twice);
  const auto own = calibration_windows(twice.view(), of_twice, options);
  const auto other =
      calibration_windows(twice.view(), evaluation, options);  // another text, which holds the evaluated one
  CHECK((own.n_windows == 24 && other.n_windows == 24));
  for (const auto& content : contents_of(twice, own)) CHECK_FALSE(evaluated_twice.contains(content));
  for (const auto& content : contents_of(twice, other)) CHECK_FALSE(evaluated.contains(content));
  CHECK(check_disjoint(of_twice, own));
  CHECK(check_disjoint(evaluation, other));
  resect::index_t held = 0;
  for (std::size_t i = 0; i < twice.ids.size(); ++i) {
    std::vector<std::int32_t> ids;
    for (std::size_t k = 0; k < twice.ids.size(); ++k)
      if (twice.documents[k] == twice.documents[i]) ids.push_back(twice.ids[k]);
    held += evaluated.contains(ids);
  }
  CHECK(other.left_out == held);
}

TEST_CASE("calibration windows that hold evaluated documents are refused, whatever names and numbers say") {
  const marked_text once = documents(200, 3);
  const window_options options{.sequences = 24, .context = 32};
  const auto evaluation = windows(once.view(), options);
  marked_text renumbered;
  for (std::size_t i = 0; i < once.ids.size(); ++i) {
    renumbered.ids.push_back(once.ids[i]);
    renumbered.documents.push_back(10000 - once.documents[i]);
  }
  renumbered.append(mixed(50, 9000));
  const auto copies = windows(renumbered.view(), options);
  const auto refused = check_disjoint(evaluation, copies);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().operand == "calibration windows");
  CHECK(refused.error().got == "a document with the ids of an evaluated one");
  // the same text without marks: by its ids; with its fingerprint forged: still by its ids
  CHECK_FALSE(check_disjoint(evaluation, windows({renumbered.ids, {}}, options)));
  auto forged = windows({renumbered.ids, {}}, options);
  forged.text = evaluation.text;
  forged.starts.assign(forged.starts.size(), 1 << 20);
  CHECK(check_disjoint(evaluation, forged).error().got.view().find("24 ids in a row of window") == 0);
  // another part of a document that is evaluated in part shares no run with the windows, and is refused as a document
  marked_text large;
  large.append(mixed(64, 1));
  const auto first =
      windows({std::span(large.ids).first(32), std::span(large.documents).first(32)}, {.sequences = 1, .context = 32});
  auto whole = windows(large.view(), {.sequences = 2, .context = 32});
  CHECK(whole.n_clusters == 1);
  CHECK(first.contents != whole.contents);
  const marked_text apart = documents(50, 5000);
  CHECK(check_disjoint(evaluation, windows(apart.view(), options)));
}
