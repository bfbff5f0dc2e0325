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
  const auto ids = counting(400);
  std::vector<std::int32_t> twice(ids);
  twice.insert(twice.end(), ids.begin(), ids.end());
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
