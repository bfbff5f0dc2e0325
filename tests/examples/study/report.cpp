// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <study/report/plots.hpp>
#include <study/report/report_html.hpp>
#include <study/report/report_json.hpp>
#include <support/catch.hpp>

#include "records.hpp"

namespace {

studies::json report(const studies::study_record& r) {
  return studies::json::parse(resect::io::json_text(studies::report_json(r, studies::find(r))));
}

std::string text_of(const std::vector<studies::finding>& findings, const std::string& kind) {
  std::string out;
  for (const auto& f : findings)
    if (f.kind == kind) out += f.text + "\n";
  return out;
}

bool is_estimate(const studies::json& e) {
  return e.size() == 6 && e.contains("value") && e.contains("se") && e.contains("lo") && e.contains("hi") &&
         e.contains("n") && e.contains("n_clusters");
}

}  // namespace

TEST_CASE("report.json has the fields of schema 1") {
  const auto j = report(support::small_study());
  CHECK(j["schema"] == 1);
  CHECK(j["command"] == "study --model tiny");
  CHECK(j["seed"] == 1);
  CHECK(j["model"]["name"] == "tiny");
  CHECK(j["model"]["fingerprint"] == "0x0123456789abcdef");
  CHECK(j["model"]["layers"] == 3);
  CHECK(j["model"]["d_model"] == 256);
  CHECK(j["text"]["name"] == "heldout.txt");
  CHECK(j["text"]["sha256"] == "aa");
  CHECK(j["text"]["tokens"] == 39090);
  CHECK(j["text"]["sequences"] == 32);
  CHECK(j["text"]["context"] == 64);
  CHECK(j["evaluation"]["sha256"] == "cc");
  CHECK(j["calibration"]["sha256"] == "dd");
  CHECK(j["clusters"] == "clusters.npz");
  for (const auto& [name, e] : j["baseline"].items()) CHECK(is_estimate(e));
  CHECK(j["baseline"]["perplexity"]["value"] == 4.5);
  CHECK(j["profile"].size() == 4);
  CHECK(j["profile"][0]["block_influence"]["value"] == 0.2);
  CHECK(!j["profile"][3].contains("block_influence"));  // what the head reads
}

TEST_CASE("report.json has one row an altered layer, and one a seed") {
  const auto j = report(support::small_study());
  REQUIRE(j["rows"].size() == 3 + 3 * 3 + 3);
  for (const auto& row : j["rows"]) {
    CHECK(row["last"] == row["first"].get<int>() + 1);
    CHECK(row["matrix"].is_null());
    for (const char* metric : {"kl", "top1_agreement", "dlnppl", "cosine_head_norm"})
      CHECK(is_estimate(row["metrics"][metric]));
  }
  const auto& skip = j["rows"][0];
  CHECK(skip["operator"] == "skip");
  CHECK(skip["seed"].is_null());
  CHECK(skip["mark"] == "critical");
  CHECK(skip["rank"]["value"] == 1);
  CHECK(!skip.contains("seeds"));
  const auto& mean = j["rows"][3];
  CHECK(mean["operator"] == "reinit");
  CHECK(mean["seed"].is_null());
  CHECK(mean["seeds"] == studies::json{1, 2});
  CHECK(mean["seed_sd"]["kl"] == 0.25);
  CHECK(j["rows"][4]["seed"] == 1);
  CHECK(j["rows"][5]["seed"] == 2);
  CHECK(!j["rows"][4].contains("mark"));
  CHECK(j["rows"].back()["control"] == true);
}

TEST_CASE("what does not exist is null in report.json") {
  const auto j = report(support::small_study(4));
  CHECK(j["rows"][0]["metrics"]["kl"]["lo"].is_null());
  CHECK(j["rows"][0]["metrics"]["kl"]["hi"].is_null());
  CHECK(j["rows"][0]["rank"]["lo"].is_null());
  CHECK(j["rows"][0]["mark"].is_null());
}

TEST_CASE("report.json takes names that are not UTF-8") {
  auto r = support::small_study();
  r.report.models[0].name = "bad \xff name \"quoted\"";
  CHECK(report(r)["model"]["name"] == "bad \xef\xbf\xbd name \"quoted\"");
}

TEST_CASE("html escapes what comes from outside") {
  CHECK(studies::escaped("a<b>&\"c'\n\x01") == "a&lt;b&gt;&amp;&quot;c&#39;  ");
  auto r = support::small_study();
  r.report.models[0].name = r.report.text.name = r.report.command = "<script>alert('x')</script>";
  const auto html = studies::report_html(r, {{"kind", "", "<i>finding</i>", {}}});
  CHECK(html.find("<script") == html.npos);
  CHECK(html.find("<i>") == html.npos);
  CHECK(html.find("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") != html.npos);
}

TEST_CASE("the page holds tables, pictures, definitions and the command") {
  const auto html = studies::report_html(support::small_study(), studies::find(support::small_study()));
  for (const char* part : {"effects.png", "norms.png", "report.json", "clusters.npz", "study --model tiny", "seed sd",
                           "class=\"mark critical\"", "class=\"mark better\"", "<small>[1.80, 2.20]</small>"})
    CHECK(html.find(part) != html.npos);
  CHECK(html.find("nan") == html.npos);
}

TEST_CASE("findings say what the numbers carry, and no more") {
  const auto found = studies::find(support::small_study());
  CHECK(text_of(found, "most_critical").find("Layer 0 matters most, KL 2.00 [1.80, 2.20] nats, rank 1 [1–1] of 3.") ==
        0);
  CHECK(text_of(found, "critical").find("Layer 0 is critical (Δln PPL above 0.1).\nEvery altered layer is critical") ==
        0);
  CHECK(text_of(found, "negligible") == "Layer 1 is negligible (Δln PPL within ±0.01).\n");
  CHECK(text_of(found, "better").find("without layer 2 ") != std::string::npos);
  CHECK(text_of(found, "saturated").find("Layer 0 is saturated: Δln PPL above 1.50") == 0);  // (4.5 − 1.5)/2
  CHECK(text_of(found, "control").find("A control, not a sensitivity") == 0);
  CHECK(text_of(found, "norm_growth").find("2.00 before layer 0") != std::string::npos);
  CHECK(text_of(found, "unfit_text").empty());
  for (const auto& f : found) CHECK((f.kind == "control" || f.operation != "zero_stream"));

  const auto few = studies::find(support::small_study(4));
  CHECK(few.front().kind == "too_few_clusters");
  CHECK(text_of(few, "critical").empty());
  CHECK(text_of(few, "saturated").empty());
}

TEST_CASE("findings about one alteration make one paragraph") {
  const auto text = studies::paragraphs(
      {{"a", "skip", "One.", {}}, {"b", "skip", "Two.", {}}, {"c", "", "Three.", {}}, {"d", "", "Four.", {}}});
  CHECK(text == std::vector<std::string>{"skip: One. Two.", "Three.", "Four."});
}

TEST_CASE("a model that predicts worse than word frequencies is said to be the wrong one") {
  auto r = support::small_study();
  r.report.baseline[0].value = support::around(9.6, 0.3);
  const auto found = studies::find(r);
  CHECK(found.front().kind == "unfit_text");
  CHECK(found.front().text.find("9.60 [9.30, 9.90] against 4.50 [4.40, 4.60] nats a token") != std::string::npos);
  CHECK(text_of(found, "saturated").empty());
}

TEST_CASE("layers whose rank may be first are named beside the first") {
  auto r = support::small_study();
  r.report.rows[2].verdict->rank = {2, 1, 2};
  CHECK(text_of(studies::find(r), "most_critical").find("Not told apart from layer 2.") != std::string::npos);
}

TEST_CASE("a rank without an interval, of too few clusters, says so") {
  auto r = support::small_study(4);
  for (auto& row : r.report.rows)
    if (row.verdict) row.verdict->rank.lo = row.verdict->rank.hi = 0;
  CHECK(text_of(studies::find(r), "most_critical").find("rank 1 [no interval] of 3.") != std::string::npos);
}

TEST_CASE("lists of layers read like text") {
  CHECK(studies::layers_text({}) == "no layer");
  CHECK(studies::layers_text({3}) == "layer 3");
  CHECK(studies::layers_text({0, 1, 2, 7}) == "layers 0–2 and 7");
  CHECK(studies::layers_text({0, 1, 5}) == "layers 0, 1 and 5");
}

TEST_CASE("tables of spans and of doses name their rows") {
  const auto spans = support::small_spans();
  const auto found = studies::find(spans);
  CHECK(text_of(found, "most_critical") == "Layers 0–1 matter most, KL 2.00 [1.80, 2.20] nats, rank 1 [1–1] of 2.\n");
  CHECK(text_of(found, "critical") == "Every arm is critical (Δln PPL above 0.1).\n");
  CHECK(found.front().layers == std::vector{0, 1});
  CHECK(studies::study_table(spans).find("\n  layers     KL, nats") != std::string::npos);
  CHECK(studies::study_table(spans).find("\n     0–1  2.00 ± 0.20") != std::string::npos);
  CHECK(report(spans)["rows"][1]["first"] == 1);
  CHECK(report(spans)["rows"][1]["last"] == 3);

  const auto doses = support::small_doses();
  CHECK(text_of(studies::find(doses), "negligible") ==
        "Layer 0 (factor 0.5) and layer 0 (factor 2) are negligible (Δln PPL within ±0.01).\n");
  CHECK(studies::study_table(doses).find("\n  layer  factor       KL, nats") != std::string::npos);
  CHECK(studies::report_html(doses, {}).find("<th>factor</th>") != std::string::npos);
}

TEST_CASE("a recipe's own columns stand below its table") {
  auto r = support::small_study();
  r.tables[0].headline = "skip, all layers: KL 3";
  r.tables[0].columns = {{"kl", "alone: S"}, {"restored_kl", "spared: R", true}, {"weight_error", "error"}};
  for (const auto i : r.tables[0].rows) {
    r.report.rows[i].estimates = {{"restored_kl", support::around(0.5, 0.1)}};
    r.report.rows[i].numbers = {{"weight_error", 0.125}};
  }
  const auto text = studies::study_table(r);
  CHECK(text.find("skip, all layers: KL 3\n  layer           alone: S     spared: R  error\n") != text.npos);
  CHECK(text.find("+0.50 ± 0.10  0.125\n") != text.npos);
  const auto html = studies::report_html(r, {});
  CHECK(html.find("<p>skip, all layers: KL 3.</p>") != html.npos);
  CHECK(html.find("<th>spared: R</th><th>error</th>") != html.npos);
}

TEST_CASE("plot scripts hold names only as quoted text") {
  CHECK(studies::detail::in_quotes("it's `x` \\n\n") == "'it''s x n'");
  auto r = support::small_study();
  r.report.models[0].name = "a'; system('touch /tmp/x'); '";
  const auto script = studies::norms_script(r);
  CHECK(script.find("'a''; system(''touch /tmp/x''); '': residual stream of the intact model'") != script.npos);
}

TEST_CASE("a gap in the layers breaks the line of a plot") {
  auto r = support::small_study();
  r.report.rows[2].layers = {5};
  const auto data = studies::effects_data(r, r.tables[0]);
  CHECK(data.find("\n\n5 ") != data.npos);
  CHECK(data.find("\n\n1 ") == data.npos);
  const auto spans = support::small_spans();
  CHECK(studies::effects_data(spans, spans.tables[0]).find("\n1.5 ") != std::string::npos);  // layers 1 and 2
  const auto doses = support::small_doses();
  CHECK(studies::effects_data(doses, doses.tables[0]).find("\n3 ") != std::string::npos);  // its fourth row
  CHECK(studies::effects_script(doses).find("'layer 0 (factor 0.5)' 0, ") != std::string::npos);
}

TEST_CASE("both plots are drawn, also without intervals") {
  if (!studies::check_gnuplot()) return;
  const auto folder = std::filesystem::temp_directory_path() / ("resect_plots_test_" + std::to_string(::getpid()));
  for (const resect::index_t clusters : {32, 4}) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const auto drawn = studies::try_draw_plots(support::small_study(clusters), folder);
    INFO(drawn.error().message().view());
    REQUIRE(drawn);
    for (const char* name : {"norms.png", "effects.png"}) {
      std::ifstream in(folder / name, std::ios::binary);
      std::string magic(8, '\0');
      in.read(magic.data(), 8);
      CHECK(magic == "\x89PNG\r\n\x1a\n");
    }
    CHECK(!std::filesystem::exists(folder / "plots"));
  }
  for (const auto& other : {support::small_spans(), support::small_doses()})
    CHECK(studies::try_draw_plots(other, folder));
  std::filesystem::remove_all(folder);
}
