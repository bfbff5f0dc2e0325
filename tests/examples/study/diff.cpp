// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/diff_json.hpp>
#include <study/report/diff_text.hpp>
#include <support/catch.hpp>

#include "planted_reports.hpp"

namespace {

namespace fs = std::filesystem;
using resect::study::alteration;
using support::folders, support::noise, support::noisy, support::planted_study, support::read, support::refusal,
    support::row_of, support::shifted;

}  // namespace

TEST_CASE("a report compared with itself has differences of exactly 0 and says so") {
  const folders f;
  const auto r = f.write(noisy(), "a");
  const auto d = studies::compare_reports(r, r);
  for (const auto& t : d.tables)
    for (const auto& row : t.rows) {
      for (const auto& m : row.measures) {
        CHECK(m.difference.value == 0);
        CHECK(m.difference.se == 0);
        CHECK(m.difference.lo == 0);
        CHECK(m.difference.hi == 0);
        CHECK(m.p_holm == 1);
        CHECK(!m.differs);
      }
      CHECK(!row.rank_differs);
      CHECK(row.rank_a.value == row.rank_b.value);
    }
  CHECK(d.perplexity_ratio.value == 1);
  CHECK(studies::diff_findings(r, d) == std::vector<std::string>{"No difference: every number is the same in both."});
}

TEST_CASE("numbers that no sum gives and that differ are named in place of 'no difference'") {
  const folders f;
  const auto a = f.write(noisy(), "a");
  f.write(noisy(), "b");
  const auto path = f.root / "b" / "report.json";
  const auto good = studies::json::parse(read(path));
  const auto said = [&](const char* place, const studies::json& value) {
    studies::json changed = good;
    changed[studies::json::json_pointer(place)] = value;
    studies::write_file(path.string(), changed.dump());
    const auto b = studies::read_report(path.string());
    return studies::diff_findings(a, studies::compare_reports(a, b)).front();
  };
  CHECK(said("/command", "other") == "No difference: every number is the same in both.");
  CHECK(said("/findings/0", {{"kind", "x"}, {"operator", nullptr}, {"text", "y"}, {"layers", {7}}}) ==
        "No difference: every number is the same in both.");
  CHECK(
      said("/profile/0/norm/p50", 17.25) ==
      "No difference in what the altered models do to any cluster of tokens; but other numbers of the reports differ: "
      "/profile/0/norm/p50.");
  CHECK(said("/rows/0/rank/hi", 3).find("/rows/0/rank/hi.") != std::string::npos);
  CHECK(said("/more", {1, 2}).find("/more/0 and 1 more.") != std::string::npos);
}

TEST_CASE("a planted constant difference comes out exactly, however noisy the tokens are") {
  const folders f;
  auto other = shifted(noisy(), [](int l, resect::index_t) {
    return l == 1 ? support::token_values{0.25, 0, -0.125, 0.03125} : support::token_values{0, 0, 0, 0};
  });
  other.nll = [](resect::index_t c, int t) { return 2 + noise(0, 99, c, t) + 0.0625; };
  const auto a = f.write(noisy(), "a"), b = f.write(other, "b");
  const auto d = studies::compare_reports(a, b);
  for (const char* name : {"skip", "reinit"}) {
    const auto& m = row_of(d, name, 1).measures;
    CHECK(m[0].difference.value == Approx(0.25).epsilon(1e-12));
    CHECK(m[1].difference.value == 0);
    CHECK(m[2].difference.value == Approx(-0.125).epsilon(1e-12));
    CHECK(m[3].difference.value == Approx(0.03125).epsilon(1e-12));
    for (const std::size_t i : {0u, 2u, 3u}) {
      CHECK(m[i].difference.se < 1e-12);
      CHECK(m[i].differs);
    }
    CHECK(m[0].a.hi - m[0].a.lo > 0.01);  // what pairing took away
    CHECK(!row_of(d, name, 0).measures[0].differs);
    CHECK(row_of(d, name, 0).measures[0].difference.value == 0);
  }
  CHECK(std::log(d.perplexity_ratio.value) == Approx(0.0625).epsilon(1e-12));
  CHECK(d.nll_p < 1e-9);
  const auto back = studies::compare_reports(b, a);
  CHECK(row_of(back, "skip", 1).measures[0].difference.value == Approx(-0.25).epsilon(1e-12));
}

TEST_CASE("intervals are those of the differences by cluster, and Holm counts the layers of a table") {
  const folders f;
  planted_study p;
  p.windows = 8;
  p.token = [](alteration, int l, std::uint64_t, resect::index_t c, int t) {
    return support::token_values{1 + noise(3, l, c, t), 1, 0, 0};
  };
  const double by[8] = {0.1, 0.3, 0.2, 0.25, 0.15, 0.3, 0.05, 0.25};  // mean 0.2
  const auto b = f.write(shifted(p,
                                 [&](int l, resect::index_t c) {
                                   return support::token_values{l == 0 ? by[c] : l == 1 ? by[c] - 0.15 : 0, 0, 0, 0};
                                 }),
                         "b");
  const auto a = f.write(p, "a");
  const auto d = studies::compare_reports(a, b);
  double squares = 0;
  for (const double x : by) squares += (x - 0.2) * (x - 0.2);
  const double se = std::sqrt(8.0 / 7.0 * squares) / 8;
  const auto& first = row_of(d, "skip", 0).measures[0];
  CHECK(first.difference.value == Approx(0.2).epsilon(1e-12));
  CHECK(first.difference.se == Approx(se).epsilon(1e-12));
  CHECK(first.difference.hi == Approx(0.2 + 2.364624251592785 * se).epsilon(1e-9));  // t(7), 97.5 %
  CHECK(first.difference.n == 40);
  CHECK(first.difference.n_clusters == 8);

  const auto& second = row_of(d, "skip", 1).measures[0];
  CHECK(second.difference.value == Approx(0.05).epsilon(1e-12));
  CHECK(second.p == Approx(2 * resect::metrics::student_t_cdf(-0.05 / se, 7)).epsilon(1e-9));
  CHECK(first.p_holm == Approx(3 * first.p).epsilon(1e-12));
  CHECK(second.p_holm == Approx(2 * second.p).epsilon(1e-12));
  CHECK(row_of(d, "skip", 2).measures[0].p_holm == 1);
  CHECK(first.differs);
  CHECK(!row_of(d, "skip", 2).measures[0].differs);
}

TEST_CASE("seeded alterations have the variance of seeds and clusters, and t of the fewer") {
  const folders f;
  auto p = noisy();
  p.alterations = {alteration::reinit};
  auto moved = p;  // every seed by something of its own
  moved.token = [token = p.token](alteration a, int l, std::uint64_t seed, resect::index_t c, int t) {
    auto v = token(a, l, seed, c, t);
    v.kl += 0.1 * static_cast<double>(seed);
    return v;
  };
  const auto d = studies::compare_reports(f.write(p, "a"), f.write(moved, "b"));
  const auto& m = row_of(d, "reinit", 0).measures[0];
  CHECK(m.difference.value == Approx(0.3).epsilon(1e-12));  // seeds 1 … 5
  // clusters do not differ, so all variance is that of five seeds: Σ(0.1·(s − 3))² = 0.1
  CHECK(m.difference.se == Approx(std::sqrt(5.0 / 4 * 0.1) / 5).epsilon(1e-9));
  CHECK(m.difference.hi - m.difference.value == Approx(2.7764451051977987 * m.difference.se).epsilon(1e-9));
  CHECK(m.p == Approx(2 * resect::metrics::student_t_cdf(-0.3 / m.difference.se, 4)).epsilon(1e-9));
}

TEST_CASE("seeds are paired with themselves, strangers in their order, and never half of them") {
  const folders f;
  auto p = noisy();
  p.alterations = {alteration::reinit};
  const auto a = f.write(p, "a");
  p.seed = 11;
  const auto apart = studies::compare_reports(a, f.write(p, "b"));
  CHECK(apart.notes == std::vector<std::string>{"reinit: other seeds, paired in their order"});
  CHECK(row_of(apart, "reinit", 0).measures[0].difference.se > 0);
  p.seed = 3;
  const auto some = f.write(p, "c");
  CHECK(refusal([&] { studies::compare_reports(a, some); }) ==
        "conflict: reinit.reset 0: seeds of the second report: got 3, which the first has at another place or beside "
        "others, "
        "wanted the same seeds, or none of the same");
  p.seed = 1;
  p.seeds = 6;
  const auto more = f.write(p, "d");
  CHECK(refusal([&] { studies::compare_reports(a, more); }) ==
        "conflict: reinit.reset 0: seeds of the second report: got 6, wanted 5, as in the first");
}

TEST_CASE("a layer that moves in the order is seen, with ranks among the layers of both") {
  const folders f;
  auto p = noisy();
  p.alterations = {alteration::skip};
  const auto a = f.write(p, "a");
  const auto b = f.write(
      shifted(p, [](int l, resect::index_t) { return support::token_values{l == 2 ? 5.0 : 0.0, 0, 0, 0}; }), "b");
  const auto d = studies::compare_reports(a, b);
  CHECK(row_of(d, "skip", 2).rank_a.value == 3);
  CHECK(row_of(d, "skip", 2).rank_b.value == 1);
  CHECK(row_of(d, "skip", 2).rank_differs);
  CHECK(row_of(d, "skip", 0).rank_b.value == 2);
  p.layers = 2;
  const auto fewer = studies::compare_reports(a, f.write(p, "c"));
  REQUIRE(fewer.tables[0].rows.size() == 2);
  REQUIRE(fewer.tables[0].only_a.size() == 1);
  CHECK(fewer.tables[0].only_a[0].arm == "skip 2");
  CHECK(row_of(fewer, "skip", 0).rank_b.value == 1);
  CHECK(fewer.notes == std::vector<std::string>{"layers of the model: 3 in A, 2 in B"});
}

TEST_CASE("reports of other texts, windows or clusters are refused by what differs") {
  const folders f;
  const auto a = f.write(noisy(), "a");
  const auto refused = [&](auto change) {
    auto p = noisy();
    change(p);
    const auto b = f.write(p, "b");
    return refusal([&] { studies::compare_reports(a, b); });
  };
  const auto starts = [](const std::string& text, const std::string& with) {
    return text.substr(0, with.size()) == with;
  };
  CHECK(starts(refused([](auto& p) { p.text = "other.txt"; }), "conflict: text of the second report: got sha256 '"));
  CHECK(starts(refused([](auto& p) { p.first_id = 3; }), "conflict: token ids of the second report: got sha256 '"));
  CHECK(refused([](auto& p) { p.windows = 10, p.context = 10; }) ==
        "conflict: context of the second report: got 10, wanted 5, as in the first: pairs need the same tokens");
  // ids of a text that is longer differ; of the same text and fewer windows only their number does
  auto fewer = a;
  fewer.report.sets[0].value.windows = 10;
  CHECK(starts(refusal([&] { studies::compare_reports(a, fewer); }),
               "conflict: windows of the second report: got 10, wanted 20"));
  fewer = a;
  fewer.report.sets[0].value.sha256 = "00";
  CHECK(starts(refusal([&] { studies::compare_reports(a, fewer); }),
               "conflict: windows' ids of the second report: got sha256 '00'"));
  fewer = a;
  fewer.sums.window_starts[3] += 1;
  CHECK(starts(refusal([&] { studies::compare_reports(a, fewer); }),
               "conflict: windows of the second report: got other places"));
  fewer = a;
  fewer.cluster = "document";
  CHECK(starts(refusal([&] { studies::compare_reports(a, fewer); }),
               "conflict: clusters of the second report: got 'document'"));
  fewer = a;
  fewer.sums.ids[0] = 77;
  CHECK(starts(refusal([&] { studies::compare_reports(a, fewer); }),
               "conflict: clusters of the second report: got other numbers"));
  CHECK(refused([](auto& p) { p.alterations = {alteration::zero_stream}; }) ==
        "conflict: arms: got none that both reports have, wanted one at least");
}

TEST_CASE("the table and the JSON say the same, and too few clusters make no claims") {
  const folders f;
  auto p = noisy();
  p.model = "bad \x1b[31m name";
  const auto a = f.write(p, "a");
  const auto b = f.write(
      shifted(p, [](int l, resect::index_t) { return support::token_values{l == 0 ? -0.5 : 0, 0, 0, 0}; }), "b");
  const auto d = studies::compare_reports(a, b);
  const auto text = studies::diff_table(a, b, d);
  CHECK(text.find("\x1b") == text.npos);
  CHECK(text.find("  - skip differs: KL in layer 0.\n") != text.npos);
  CHECK(text.find("  - intact models: no difference.\n") != text.npos);
  const auto j = studies::json::parse(resect::io::json_text(studies::diff_json(a, b, d)));
  CHECK(j["schema"] == 1);
  REQUIRE(j["rows"].size() == 6);
  CHECK(j["rows"][0]["metrics"]["kl"]["difference"]["value"].get<double>() == Approx(-0.5));
  CHECK(j["rows"][0]["metrics"]["kl"]["differs"] == true);
  CHECK(j["rows"][1]["metrics"]["kl"]["differs"] == false);
  CHECK(j["rows"][3]["seeds_b"] == studies::json{1, 2, 3, 4, 5});
  CHECK(j["baseline"]["differs"] == false);

  p.windows = 4;
  const auto few = f.write(p, "c");
  const auto other = f.write(shifted(p, [](int, resect::index_t) { return support::token_values{1, 0, 0, 0}; }), "d");
  const auto none = studies::compare_reports(few, other);
  CHECK(!row_of(none, "skip", 0).measures[0].differs);
  CHECK(studies::diff_json(few, other, none)["rows"][0]["metrics"]["kl"]["p"].is_null());
  CHECK(studies::diff_findings(few, none).front().find("Too few clusters (4, 6 are needed)") == 0);
}

TEST_CASE("an arm is a pair with the arm of its key, or with the only one at its place") {
  const folders f;
  auto a = noisy();
  a.alterations = {alteration::reinit};
  auto b = a;
  b.reinit.std = 0.5f;
  const auto other = studies::compare_reports(f.write(a, "a"), f.write(b, "b"));
  REQUIRE(other.tables[0].rows.size() == 3);
  CHECK(other.tables[0].rows[1].a.arm == "reinit.reset 1");
  CHECK(other.tables[0].rows[1].b.arm == "reinit.reset 1: std 0.5");
  CHECK(other.notes == std::vector<std::string>{"reinit: nothing else in A, std 0.5 in B"});
  CHECK(studies::diff_json(f.write(a, "a"), f.write(b, "b"), other)["rows"][1]["arm_b"] == "reinit.reset 1: std 0.5");

  b = a;
  b.says = "something else";
  CHECK(studies::compare_reports(f.write(a, "a"), f.write(b, "b")).notes ==
        std::vector<std::string>{"reinit: what is done in A, something else in B"});
}

TEST_CASE("arms that are no single layers are paired and named by their keys") {
  const folders f;
  auto p = noisy();
  p.alterations = {alteration::skip};
  p.span = 2;
  const auto a = f.write(p, "a");
  CHECK(a.report.rows[1].arm == "skip 1-2");
  auto moved = shifted(p, [](int l, resect::index_t) { return support::token_values{l == 0 ? 0.5 : 0.0, 0, 0, 0}; });
  moved.layers = 4;
  const auto b = f.write(moved, "b");
  const auto d = studies::compare_reports(a, b);
  REQUIRE(d.tables[0].rows.size() == 2);
  CHECK(d.tables[0].rows[0].a.layers == std::vector{0, 1});
  const auto text = studies::diff_table(a, b, d);
  CHECK(text.find("  skip 0-1") != text.npos);
  CHECK(text.find("  only in B: skip 2-3\n") != text.npos);
  CHECK(text.find("skip differs: KL in skip 0-1.") != text.npos);
  const auto j = studies::diff_json(a, b, d);
  CHECK(j["rows"][0]["first"] == 0);
  CHECK(j["rows"][0]["last"] == 2);
  CHECK(j["only_b"]["arms"] == studies::json{"skip 2-3"});
}

TEST_CASE("arms that stand in no table are compared, without marks and ranks") {
  const folders f;
  auto p = noisy();
  p.alterations = {alteration::skip};
  p.all_together = true;
  const auto a = f.write(p, "a"),
             b = f.write(
                 shifted(p, [](int l, resect::index_t) { return support::token_values{l == -1 ? 0.5 : 0.0, 0, 0, 0}; }),
                 "b");
  REQUIRE(a.tables.size() == 2);
  CHECK(a.tables[1].name.empty());
  const auto d = studies::compare_reports(a, b);
  CHECK(d.tables[1].rows[0].a.layers == std::vector{0, 1, 2});
  CHECK(d.tables[1].rows[0].measures[0].difference.value == Approx(0.5));
  CHECK(d.tables[1].rows[0].rank_a.value == 0);
  CHECK(studies::diff_json(a, b, d)["rows"][3]["table"].is_null());
  CHECK(studies::diff_table(a, b, d).find("in no table differs: KL in skip 0-2.") != std::string::npos);
}
