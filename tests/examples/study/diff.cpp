// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <filesystem>
#include <fstream>

#include <resect/random/distributions.hpp>
#include <study/report/diff_json.hpp>
#include <study/report/diff_text.hpp>
#include <support/catch.hpp>

#include "stored_study.hpp"

namespace {

namespace fs = std::filesystem;
using resect::study::alteration;
using support::planted_study;

struct folders {
  fs::path root = fs::temp_directory_path() / "resect_diff_test";
  folders() { fs::remove_all(root); }
  ~folders() { fs::remove_all(root); }

  studies::stored_report write(const planted_study& p, const std::string& name) const {
    support::write_study(p, root / name);
    return studies::read_report((root / name).string());
  }
};

double noise(std::uint64_t stream, int layer, resect::index_t cluster, int t) {
  return resect::random::gaussian(7, stream, static_cast<std::uint64_t>((layer * 1000 + cluster) * 100 + t));
}

// A study whose tokens vary a lot, alike in every study.
planted_study noisy() {
  planted_study p;
  p.windows = 20;
  p.alterations = {alteration::skip, alteration::reinit};
  p.nll = [](resect::index_t c, int t) { return 2 + noise(0, 99, c, t); };
  p.token = [](alteration, int l, std::uint64_t seed, resect::index_t c, int t) {
    const double x = noise(seed, l, c, t);
    return support::token_values{2.0 - 0.5 * l + 0.1 * x * x, x > 0 ? 1.0 : 0.0, 0.5 + x, std::tanh(x)};
  };
  return p;
}

// The same with something added to each measure of a layer.
planted_study shifted(const planted_study& from, std::function<support::token_values(int layer, resect::index_t c)> by) {
  planted_study p = from;
  p.token = [token = from.token, by](alteration a, int l, std::uint64_t seed, resect::index_t c, int t) {
    auto v = token(a, l, seed, c, t);
    const auto d = by(l, c);
    return support::token_values{v.kl + d.kl, v.top1, v.dlnppl + d.dlnppl, v.cosine + d.cosine};
  };
  return p;
}

std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const resect::exception& e) {
    return e.what();
  }
  return "";
}

const studies::row_difference& row_of(const studies::report_difference& d, const std::string& name, int layer) {
  for (const auto& t : d.tables)
    for (const auto& row : t.rows)
      if (t.alteration == name && row.layer == layer) return row;
  throw std::out_of_range(name);
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("a stored study reads back with the sums that it was written from") {
  const folders f;
  const auto r = f.write(noisy(), "a");
  REQUIRE(r.tables.size() == 2);
  CHECK(r.tables[0].alteration == "skip");
  REQUIRE(r.tables[1].rows.size() == 3);
  CHECK(r.tables[1].rows[2].seeds == std::vector<std::int64_t>{1, 2, 3, 4, 5});
  CHECK(r.tables[0].rows[1].runs.size() == 1);
  double kl = 0, nll = 0;
  for (int t = 0; t < 5; ++t) kl += noisy().token(alteration::reinit, 2, 4, 13, t).kl;
  for (int t = 0; t < 4; ++t) nll += noisy().nll(13, t);
  CHECK(r.tables[1].rows[2].runs[3][0].sum(13) == Approx(kl).epsilon(1e-14));
  CHECK(r.tables[1].rows[2].runs[3][0].count(13) == 5);
  CHECK(r.nll.sum(13) == Approx(nll).epsilon(1e-14));
  CHECK(r.nll.count(13) == 4);
  CHECK(studies::read_report((f.root / "a" / "report.json").string()).model.name == "tiny");
}

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

TEST_CASE("a rate of 1 has an interval as the study gives it; one of no width, as it was before, is read too") {
  const folders f;
  planted_study p;
  p.alterations = {alteration::skip, alteration::reinit};
  f.write(p, "a");
  const auto path = f.root / "a" / "report.json";
  auto report = studies::json::parse(read(path));
  for (auto& row : report["rows"]) {
    auto& rate = row["metrics"]["top1_agreement"];
    CHECK(rate["value"] == 1);
    CHECK(rate["lo"] < 0.8);
    rate["lo"] = rate["hi"] = 1;
  }
  studies::write_file(path.string(), report.dump());
  const auto r = studies::read_report(path.string());
  CHECK(studies::compare_reports(r, r).tables[0].rows[0].measures[1].a.lo < 0.8);
  report["rows"][0]["metrics"]["top1_agreement"]["lo"] = 0.9;
  studies::write_file(path.string(), report.dump());
  CHECK(refusal([&] { studies::read_report(path.string()); }).find("report.rows[0].metrics.top1_agreement.lo") !=
        std::string::npos);
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
  CHECK(said("/findings/0", {{"layers", {7}}}) == "No difference: every number is the same in both.");
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
        "conflict: reinit: seeds of the second report: got 3, which the first has at another place or beside others, "
        "wanted the same seeds, or none of the same");
  p.seed = 1;
  p.seeds = 6;
  const auto more = f.write(p, "d");
  CHECK(refusal([&] { studies::compare_reports(a, more); }) ==
        "conflict: reinit: seeds of the second report: got 6, wanted 5, as in the first");
}

TEST_CASE("a layer that moves in the order is seen, with ranks among the layers of both") {
  const folders f;
  auto p = noisy();
  p.alterations = {alteration::skip};
  const auto a = f.write(p, "a");
  const auto b = f.write(shifted(p,
                                 [](int l, resect::index_t) {
                                   return support::token_values{l == 2 ? 5.0 : 0.0, 0, 0, 0};
                                 }),
                         "b");
  const auto d = studies::compare_reports(a, b);
  CHECK(row_of(d, "skip", 2).rank_a.value == 3);
  CHECK(row_of(d, "skip", 2).rank_b.value == 1);
  CHECK(row_of(d, "skip", 2).rank_differs);
  CHECK(row_of(d, "skip", 0).rank_b.value == 2);
  p.layers = 2;
  const auto fewer = studies::compare_reports(a, f.write(p, "c"));
  REQUIRE(fewer.tables[0].rows.size() == 2);
  CHECK(fewer.tables[0].only_a == std::vector<int>{2});
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
  fewer.evaluation.windows = 10;
  CHECK(starts(refusal([&] { studies::compare_reports(a, fewer); }),
               "conflict: windows of the second report: got 10, wanted 20"));
  fewer = a;
  fewer.evaluation.sha256 = "00";
  CHECK(starts(refusal([&] { studies::compare_reports(a, fewer); }),
               "conflict: windows' ids of the second report: got sha256 '00'"));
  fewer = a;
  fewer.window_starts[3] += 1;
  CHECK(starts(refusal([&] { studies::compare_reports(a, fewer); }),
               "conflict: windows of the second report: got other places"));
  fewer = a;
  fewer.cluster = "document";
  CHECK(starts(refusal([&] { studies::compare_reports(a, fewer); }),
               "conflict: clusters of the second report: got 'document'"));
  fewer = a;
  fewer.cluster_ids[0] = 77;
  CHECK(starts(refusal([&] { studies::compare_reports(a, fewer); }),
               "conflict: clusters of the second report: got other numbers"));
  CHECK(refused([](auto& p) { p.alterations = {alteration::zero_stream}; }) ==
        "conflict: altered layers: got none that both reports have, wanted one at least");
}

TEST_CASE("a report.json that is not what it should be is refused by the field") {
  const folders f;
  f.write(noisy(), "a");
  const auto path = f.root / "a" / "report.json";
  const auto good = studies::json::parse(read(path));
  const auto refused = [&](const char* at, studies::json value) {
    studies::json bad = good;
    const studies::json::json_pointer where{at};
    auto& parent = bad.at(where.parent_pointer());
    if (value != "remove") bad[where] = std::move(value);
    else if (parent.is_array()) parent.erase(parent.begin());
    else parent.erase(where.back());
    studies::write_file(path.string(), bad.dump());
    return refusal([&] { studies::read_report(path.string()); });
  };
  CHECK(refused("/schema", 2) == "malformed: report.schema: got '2', wanted 1");
  CHECK(refused("/schema", "remove") == "malformed: report.schema: got 'nothing', wanted a value");
  CHECK(refused("/schema", 1.5) == "malformed: report.schema: got 'a number with a fraction', wanted an integer");
  CHECK(refused("/seed", -1) == "malformed: report.seed: got '-1', wanted 0 to 9007199254740992");
  CHECK(refused("/seed", ~std::uint64_t{0}) ==
        "malformed: report.seed: got '18446744073709551615', wanted 0 to 9007199254740992");
  CHECK(refused("/text", 3) == "malformed: report.text: got 'number', wanted an object");
  CHECK(refused("/text/sha256", nullptr) == "malformed: report.text.sha256: got 'null', wanted a string");
  CHECK(refused("/clusters", "../a/clusters.npz") ==
        "malformed: report.clusters: got '../a/clusters.npz', wanted the name of a file beside it");
  CHECK(refused("/clusters", "gone.npz").find("gone.npz, which is not a file") != std::string::npos);
  CHECK(refused("/options/alterations", studies::json{"skip", "../x"}) ==
        "malformed: report.options.alterations: got '../x', wanted a name as skip");
  CHECK(refused("/options/alterations/1", "skip") ==
        "malformed: report.options.alterations: got 'skip', wanted each once");
  CHECK(refused("/options/alterations/1", "melt") ==
        "malformed: clusters.npz: got no array 'melt_layer', wanted all arrays of a study");
  CHECK(refused("/evaluation/clusters", 19) == "shape mismatch: clusters.npz: 'cluster_id': got 20, wanted 19");
  CHECK(refused("/rows/1/metrics/kl/value", nullptr) ==
        "malformed: report.rows[1].metrics.kl.value: got 'null', wanted a number");
  CHECK(refused("/rows/4/metrics/dlnppl/value", 7).find("report.rows[4].metrics.dlnppl.value: got '7', wanted ") !=
        std::string::npos);
  CHECK(refused("/rows/4/metrics/dlnppl/value", 7).find(", which clusters.npz gives") != std::string::npos);
  for (const char* place : {"/rows/0/metrics/kl/lo", "/rows/5/metrics/cosine_head_norm/se", "/rows/9/metrics/dlnppl/hi",
                            "/rows/0/metrics/top1_agreement/n", "/rows/4/metrics/kl/n_clusters", "/baseline/nll/se",
                            "/baseline/perplexity/value", "/rows/3/seed_sd/kl", "/rows/3/seed_sd/dlnppl"}) {
    std::string name = place;
    for (char& c : name) c = c == '/' ? '.' : c;
    INFO(place);
    const auto why = refused(place, good.at(studies::json::json_pointer(place)).get<int>() + 3);
    CHECK(why.find(name.substr(name.rfind('.'))) != std::string::npos);
    CHECK(why.find(", which clusters.npz gives") != std::string::npos);
  }
  CHECK(refused("/rows/0/metrics/kl/hi", nullptr) ==
        "malformed: report.rows[0].metrics.kl.hi: got 'null', wanted a number");
  CHECK(good["rows"][0]["mark"] == "critical");
  CHECK(refused("/rows/0/mark", nullptr) ==
        "malformed: report.rows[0].mark: got '', wanted 'critical', which clusters.npz gives");
  CHECK(refused("/rows/0/mark", "negligible").find("got 'negligible'") != std::string::npos);
  CHECK(good["rows"][0]["rank"]["value"] == 1);
  CHECK(refused("/rows/0/rank/value", 2) == "malformed: report.rows[0].rank.value: got '2', wanted 1 to 1");
  CHECK(refused("/rows/0/rank/hi", 4) == "malformed: report.rows[0].rank.hi: got '4', wanted 1 to 3");
  CHECK(refused("/rows/0/rank/lo", 2) == "malformed: report.rows[0].rank.lo: got '2', wanted 1 to 1");
  CHECK(refused("/options/level", 0.9) == "malformed: report.options.level: got '0.9', wanted 0.95");
  CHECK(refused("/baseline/nll/value", 1).find("report.baseline.nll.value: got '1'") != std::string::npos);
  CHECK(refused("/rows/0", good["rows"][1]) == "malformed: report.rows: got two of skip 1 -1, wanted each row once");
  CHECK(refused("/rows/0", "remove") == "malformed: report.rows: got 20, wanted 21, as clusters.npz");
  CHECK(refused("/rows/4/seed", 9) == "malformed: report.rows[4].seed: got '9', wanted a seed that clusters.npz has");
  CHECK(refused("/rows/0/first", 5).find("report.rows[0].last") != std::string::npos);

  studies::write_file(path.string(), "{\"schema\": 1, \"seed\": 1e999}");
  CHECK(refusal([&] { studies::read_report(path.string()); }).find("a JSON error at byte") != std::string::npos);
  studies::write_file(path.string(), good.dump());
  CHECK(refusal([&] { studies::read_report(path.string()); }) == "");
}

TEST_CASE("sums of another study are not taken for this one's") {
  const folders f;
  f.write(noisy(), "a");
  f.write(shifted(noisy(),
                  [](int l, resect::index_t) {
                    return support::token_values{l == 2 ? 1e-6 : 0, 0, 0, 0};
                  }),
          "b");
  fs::copy_file(f.root / "b" / "clusters.npz", f.root / "a" / "clusters.npz", fs::copy_options::overwrite_existing);
  const auto said = refusal([&] { studies::read_report((f.root / "a").string()); });
  CHECK(said.find("malformed: report.rows[2].metrics.kl.value: got ") == 0);
}

TEST_CASE("bytes of clusters.npz are never trusted") {
  const folders f;
  f.write(noisy(), "a");
  const auto path = f.root / "a" / "clusters.npz";
  const std::string good = read(path);
  int refused = 0, accepted = 0;
  const auto attempt = [&](const std::string& bytes) {
    studies::write_file(path.string(), bytes);
    refusal([&] { studies::read_report((f.root / "a").string()); }).empty() ? ++accepted : ++refused;
  };
  for (std::size_t cut = 0; cut < good.size(); cut += good.size() / 23) attempt(good.substr(0, cut));
  CHECK(accepted == 0);
  // flips in the headers and all over the directory
  const std::size_t directory = good.find("PK\x01\x02");
  for (std::size_t at = directory; at < good.size(); at += 11) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << at % 8));
    attempt(bad);
  }
  for (std::size_t at = 0; at < 200; at += 3) {
    std::string bad = good;
    bad[at] = static_cast<char>(~bad[at]);
    attempt(bad);
  }
  CHECK(refused > 100);
  CHECK(accepted < refused);  // dates and version numbers are not read
}

TEST_CASE("an archive of arrays is read by name and type") {
  const std::vector<double> values{1.5, -2};
  resect::io::npz_archive archive;
  archive.add<double>("x", values, {2});
  const auto npz = studies::npz_file::try_parse(archive.bytes(), "file").value();
  REQUIRE(npz.size() == 1);
  CHECK(npz.try_read<double>("x")->values == values);
  CHECK(npz.try_read<double>("x")->shape == std::vector<resect::index_t>{2});
  CHECK(npz.try_read<double>("y").error().message().view() ==
        "malformed: file: got no array 'y', wanted all arrays of a study");
  CHECK(npz.try_read<std::int64_t>("x").error().message().view() ==
        "unsupported: file: 'x': npy elements: got f64, wanted i64");
  std::string bytes = archive.bytes();
  bytes[bytes.find("PK\x01\x02") + 10] = 8;  // deflated
  CHECK(studies::npz_file::try_parse(bytes, "file").error().got == "'x.npy' compressed");
  bytes = archive.bytes();
  bytes[150] = static_cast<char>(~bytes[150]);
  CHECK(studies::npz_file::try_parse(bytes, "file").error().got == "'x.npy' with a wrong checksum");
  CHECK(studies::npz_file::try_parse("PK", "file").error().got == "no ZIP directory");
}

TEST_CASE("the table and the JSON say the same, and too few clusters make no claims") {
  const folders f;
  auto p = noisy();
  p.model = "bad \x1b[31m name";
  const auto a = f.write(p, "a");
  const auto b = f.write(shifted(p,
                                 [](int l, resect::index_t) {
                                   return support::token_values{l == 0 ? -0.5 : 0, 0, 0, 0};
                                 }),
                         "b");
  const auto d = studies::compare_reports(a, b);
  const auto text = studies::diff_table(a, b, d);
  CHECK(text.find("\x1b") == text.npos);
  CHECK(text.find("  - skip differs: KL in layer 0.\n") != text.npos);
  CHECK(text.find("  - intact models: no difference.\n") != text.npos);
  const auto j = studies::json::parse(studies::report_text(studies::diff_json(a, b, d)));
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
