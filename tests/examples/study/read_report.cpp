// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/catch.hpp>

#include "planted_reports.hpp"

namespace {

namespace fs = std::filesystem;
using resect::study::alteration;
using support::folders, support::noise, support::noisy, support::planted_study, support::read, support::refusal,
    support::row_of, support::shifted;

}  // namespace

TEST_CASE("a stored study reads back with the sums that it was written from") {
  const folders f;
  const auto r = f.write(noisy(), "a");
  REQUIRE(r.tables.size() == 2);
  CHECK(r.tables[0].name == "skip");
  CHECK(r.tables[0].says == "what is done");
  REQUIRE(r.tables[1].rows.size() == 3);
  const auto& row = r.tables[1].rows[2];
  CHECK(r.row(row).arm == "reinit.reset 2");
  CHECK(r.row(row).seeds == std::vector<std::uint64_t>{1, 2, 3, 4, 5});
  CHECK(r.tables[0].rows[1].runs.size() == 1);
  double kl = 0, nll = 0;
  for (int t = 0; t < 5; ++t) kl += noisy().token(alteration::reinit, 2, 4, 13, t).kl;
  for (int t = 0; t < 4; ++t) nll += noisy().nll(13, t);
  CHECK(r.run(row, 3)[0].sum(13) == Approx(kl).epsilon(1e-14));
  CHECK(r.run(row, 3)[0].count(13) == 5);
  CHECK(r.sums.nll.sum(13) == Approx(nll).epsilon(1e-14));
  CHECK(r.sums.nll.count(13) == 4);
  CHECK(studies::read_report((f.root / "a" / "report.json").string()).report.models[0].name == "tiny");
}

TEST_CASE("a rate of 1 has an interval as the study gives it, and no other is taken") {
  const folders f;
  planted_study p;
  p.alterations = {alteration::skip, alteration::reinit};
  f.write(p, "a");
  const auto path = f.root / "a" / "report.json";
  auto report = studies::json::parse(read(path));
  for (const auto& row : report["rows"]) {
    CHECK(row["metrics"]["top1_agreement"]["value"] == 1);
    CHECK(row["metrics"]["top1_agreement"]["lo"] < 0.8);
  }
  report["rows"][0]["metrics"]["top1_agreement"]["lo"] = 0.9;
  studies::write_file(path.string(), report.dump());
  CHECK(refusal([&] { studies::read_report(path.string()); }).find("report.rows[0].metrics.top1_agreement.lo") !=
        std::string::npos);
}

TEST_CASE("intervals are computed again by the rule that the report names, and by no other") {
  const folders f;
  planted_study p = noisy();
  p.alterations = {alteration::skip};
  f.write(p, "a");
  const auto path = f.root / "a" / "report.json";
  const auto good = studies::json::parse(read(path));
  const auto named = [&](studies::json report, const std::string& rule) {
    report["rules"]["interval"] = rule;
    studies::write_file(path.string(), report.dump());
    return refusal([&] { studies::read_report(path.string()); });
  };
  const std::string ours = good["rules"]["interval"],
                    plain = "95 %, t over clusters; Wilson of the clusters for rates at 0 or 1";
  CHECK(ours.find(resect::metrics::interval_rule) != std::string::npos);
  CHECK(named(good, ours) == "");
  CHECK(named(good, plain).find("malformed: report.rows[0].metrics.kl.lo: got ") == 0);
  CHECK(named(good, "bootstrap").find("malformed: report.rules.interval: got 'bootstrap', wanted a text with ") == 0);
  auto old = good;
  for (auto& row : old["rows"])
    for (auto& [name, e] : row["metrics"].items()) {
      if (e["se"] == 0) continue;
      const double t = resect::metrics::student_t_quantile(0.975, e["n_clusters"].get<double>() - 1);
      e["lo"] = e["value"].get<double>() - t * e["se"].get<double>();
      e["hi"] = e["value"].get<double>() + t * e["se"].get<double>();
    }
  CHECK(named(old, plain) == "");
  CHECK(named(old, ours).find("malformed: report.rows[0].metrics.kl.lo: got ") == 0);
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
  CHECK(refused("/tables", 3) == "malformed: report.tables: got 'number', wanted an array");
  CHECK(refused("/rows/0/arm", "remove") == "malformed: report.rows[0].arm: got 'nothing', wanted a value");
  CHECK(refused("/rows/0/arm", "skip 1") ==
        "conflict: report.rows[1].arm: got a second 'skip 1', wanted each arm once");
  CHECK(refused("/evaluation/clusters", 19) == "shape mismatch: clusters.npz: 'cluster_id': got 20, wanted 19");
  CHECK(refused("/rows/1/metrics/kl/value", nullptr)
            .find("malformed: report.rows[1].metrics.kl.value: got null, wanted ") == 0);
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
  CHECK(refused("/rows/0/metrics/kl/hi", nullptr).find("malformed: report.rows[0].metrics.kl.hi: got null, wanted ") ==
        0);
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
  CHECK(refused("/rows/0", good["rows"][1]) ==
        "conflict: report.rows[1].arm: got a second 'skip 1', wanted each arm once");
  CHECK(refused("/rows/0", "remove") == "shape mismatch: clusters.npz: 'kl_sum': got 18 x 20, wanted 17 x 20");
  CHECK(refused("/rows/4/seed", 9) ==
        "malformed: report.rows[3].seeds: got other rows behind it, wanted a row of the same arm for seed 1");
  CHECK(refused("/rows/0/first", 5) == "malformed: report.rows[0].first: got '5', wanted 0, as in layers");
  CHECK(refused("/rows/4/layers", {1}).find("report.rows[4].first") != std::string::npos);

  studies::write_file(path.string(), "{\"schema\": 1, \"seed\": 1e999}");
  CHECK(refusal([&] { studies::read_report(path.string()); }).find("a JSON error at byte") != std::string::npos);
  studies::write_file(path.string(), good.dump());
  CHECK(refusal([&] { studies::read_report(path.string()); }) == "");
}

TEST_CASE("a report from before arms had keys is refused as what it is") {
  const folders f;
  f.write(noisy(), "a");
  const auto path = f.root / "a" / "report.json";
  auto old = studies::json::parse(read(path));
  old.erase("recipe");
  for (auto& row : old["rows"]) row.erase("arm");
  studies::write_file(path.string(), old.dump());
  CHECK(refusal([&] { studies::read_report(path.string()); }) ==
        "malformed: report.rows[0].arm: got nothing, as in a report of an earlier version, wanted a report of this "
        "one: run "
        "the study again");
}

TEST_CASE("sums of another study are not taken for this one's") {
  const folders f;
  f.write(noisy(), "a");
  f.write(shifted(noisy(), [](int l, resect::index_t) { return support::token_values{l == 2 ? 1e-6 : 0, 0, 0, 0}; }),
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
