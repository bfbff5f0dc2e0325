// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <string>

#include <resect/io/report.hpp>
#include <resect/io/report_reader.hpp>
#include <support/catch.hpp>

namespace {

namespace io = resect::io;
using resect::metrics::estimate;

estimate around(double x) { return {x, 0.25, x - 0.5, x + 0.5, 640, 10}; }

io::report_row row(std::string arm, std::vector<int> layers) {
  io::report_row out;
  out.arm = std::move(arm);
  out.operation = "skip";
  out.layers = std::move(layers);
  out.metrics = {{"kl", around(2)}, {"cosine_head_norm", around(0.5)}};
  return out;
}

// A report that uses everything the schema has.
io::report whole() {
  io::report r;
  r.command = "./run study";
  r.recipe = "sensitivity";
  r.seed = 7;
  r.models = {{"tiny", "0x01", 6, 256, 224}, {"other", "0x02", 4, 128, 224}};
  r.text = {"a.txt + b.txt", "aa", "bb", 900, 8, 64, {{"a.txt", "a0", 500}, {"b.txt", "b0", 400}}};
  r.sets = {{"evaluation", {"a.txt + b.txt", "cc", 8, 64, 10, 900}},
            {"calibration", {"c.txt", "dd", 16, 64, 40, 5000}}};
  r.baseline = {{"nll", around(1.5)}, {"perplexity", around(4.5)}};
  r.rules = {"t over clusters", 1, "in front of every window"};
  auto seeded = row("reinit 2", {2});
  seeded.operation = "reinit";
  seeded.parameters = {{"std", {0.02, {}}}, {"gains", {0, "reset"}}};
  seeded.verdict = io::report_verdict{"reinit", "critical", {1, 1, 3}, false};
  seeded.seeds = {7, 8};
  seeded.seed_sd = {{"kl", 0.125}, {"dlnppl", std::nan("")}};
  auto one = row("reinit 2, seed 8", {2});
  one.operation = "reinit";
  one.seed = 8;
  auto apart = row("quantize 0, 3", {0, 3});
  apart.matrix = "mlp.down_proj";
  apart.estimates = {{"restored_kl", around(1)}};
  apart.numbers = {{"weight_error", 0.1}};
  auto empty = row("nothing", {});
  empty.verdict = io::report_verdict{};
  r.rows = {seeded, one, apart, row("skip 2-3", {2, 3}), empty};
  r.findings = {{"critical", "skip", "Layer 2 is critical.", {2}}, {"note", "", "Ünï.", {}}};
  r.clusters = "clusters.npz";
  r.sections = {{"profile", {{{"layer", 0}}}}, {"grid", {{"bits", 4}}}};
  return r;
}

nlohmann::json json_of(const io::report& r) { return nlohmann::json::parse(io::json_text(io::report_json(r))); }

std::string refusal(const resect::result<io::report>& r) { return r ? "" : std::string(r.error().message().view()); }
std::string refusal(const resect::result<nlohmann::ordered_json>& r) {
  return r ? "" : std::string(r.error().message().view());
}

}  // namespace

TEST_CASE("a report that is written and read back is the same report") {
  const auto text = io::json_text(io::report_json(whole()));
  const auto back = io::read_report(text, "report.json");
  CHECK(back.rows[0].arm == "reinit 2");
  CHECK(back.rows[0].parameters[0].value.text == "reset");  // JSON's objects have no order
  CHECK(back.rows[0].verdict->table == "reinit");
  CHECK(back.rows[0].verdict->rank.hi == 3);
  CHECK(std::isnan(*io::find_named(back.rows[0].seed_sd, "dlnppl")));
  CHECK(*back.rows[1].seed == 8);
  CHECK(!back.rows[1].verdict);
  CHECK(back.rows[2].layers == std::vector{0, 3});
  CHECK(io::find_named(back.rows[2].estimates, "restored_kl")->hi == 1.5);
  CHECK(*io::find_named(back.rows[2].numbers, "weight_error") == 0.1);
  CHECK(back.rows[4].verdict->mark.empty());
  CHECK(back.models[1].name == "other");
  CHECK(back.text.parts[1].tokens == 400);
  CHECK(back.sets[1].name == "calibration");
  CHECK(back.rules.bos == 1);
  CHECK(!back.floor);
  CHECK(back.sections["grid"]["bits"] == 4);
  CHECK(nlohmann::json::parse(io::json_text(io::report_json(back))) == nlohmann::json::parse(text));
}

TEST_CASE("report.json has the members of schema 1, in their order") {
  const auto j = io::report_json(whole());
  std::string names;
  for (const auto& [name, value] : j.items()) names += name + " ";
  CHECK(names ==
        "schema resect command recipe seed model models text evaluation calibration baseline rules floor clusters "
        "profile "
        "grid rows findings ");
  CHECK(j["schema"] == 1);
  CHECK(j["model"]["name"] == "tiny");
  CHECK(j["floor"].is_null());
  CHECK(j["rules"]["bos"]["id"] == 1);
  CHECK(j["evaluation"]["tokens"] == 900);
  CHECK(j["rows"][0]["parameters"]["std"] == 0.02);
  auto r = whole();
  r.models.pop_back();
  r.rules.bos.reset();
  CHECK(!io::report_json(r).contains("models"));
  CHECK(io::report_json(r)["rules"]["bos"]["id"].is_null());
}

TEST_CASE("first and last stand in a row only where its layers follow one another") {
  const auto rows = json_of(whole())["rows"];
  CHECK(rows[0]["first"] == 2);
  CHECK(rows[0]["last"] == 3);
  CHECK(rows[3]["first"] == 2);
  CHECK(rows[3]["last"] == 4);
  for (const int i : {2, 4}) {
    CHECK(rows[static_cast<std::size_t>(i)]["first"].is_null());
    CHECK(rows[static_cast<std::size_t>(i)]["last"].is_null());
  }
  CHECK(rows[2]["layers"] == nlohmann::json{0, 3});
}

TEST_CASE("what does not exist is null, and whole parameters have no fraction") {
  auto r = whole();
  r.rows[1].metrics[0].value = estimate{};
  r.rows[1].parameters = {{"bits", {3, {}}}, {"ratio", {std::nan(""), {}}}};
  const auto j = json_of(r);
  const auto& kl = j["rows"][1]["metrics"]["kl"];
  for (const char* part : {"value", "se", "lo", "hi"}) CHECK(kl[part].is_null());
  CHECK(kl["n"] == 0);
  CHECK(j["rows"][1]["parameters"]["bits"].is_number_integer());
  CHECK(j["rows"][1]["parameters"]["ratio"].is_null());
  CHECK(j["rows"][4]["mark"].is_null());
  CHECK(j["rows"][4]["rank"]["value"].is_null());
  CHECK(!j["rows"][1].contains("rank"));
  CHECK(j["rows"][1]["matrix"].is_null());
}

TEST_CASE("a report in which two rows have one arm is neither written nor read") {
  auto r = whole();
  r.rows[3].arm = "reinit 2";
  CHECK(refusal(io::try_report_json(r)) ==
        "conflict: report.rows[3].arm: got a second 'reinit 2', wanted each arm once");
  r.rows[3].arm.clear();
  CHECK(refusal(io::try_report_json(r)) ==
        "invalid argument: report.rows[3].arm: got nothing, wanted a name that no other row has");
  auto j = json_of(whole());
  j["rows"][4]["arm"] = "reinit 2, seed 8";
  CHECK(refusal(io::try_report_of(j)) ==
        "conflict: report.rows[4].arm: got a second 'reinit 2, seed 8', wanted each arm once");
}

TEST_CASE("what the schema cannot hold is not written") {
  const auto refused = [](auto change) {
    auto r = whole();
    change(r);
    return refusal(io::try_report_json(r));
  };
  CHECK(refused([](auto& r) { r.models.clear(); }) == "invalid argument: report.models: got none, wanted one at least");
  CHECK(refused([](auto& r) { r.sets.erase(r.sets.begin()); }) ==
        "invalid argument: report.sets: got no evaluation, wanted it first");
  CHECK(refused([](auto& r) { r.sets[1].name = "rows"; }) ==
        "invalid argument: report.sets: got 'rows', wanted evaluation, calibration, selection or train");
  CHECK(refused([](auto& r) { r.sets[1].name = "evaluation"; }) ==
        "invalid argument: report.sets: got 'evaluation', wanted each once");
  CHECK(refused([](auto& r) { r.sections["rows"] = 1; }) ==
        "invalid argument: report.sections: got 'rows', wanted a name that the schema does not use");
  CHECK(refused([](auto& r) { r.seed = (std::uint64_t{1} << 53) + 1; }).find("report.seed: got 9007199254740993") !=
        std::string::npos);
  CHECK(refused([](auto& r) { r.rows[1].seed = ~std::uint64_t{0}; }).find("report.rows[1].seed") != std::string::npos);
  CHECK(refused([](auto& r) { r.rows[0].seeds[1] = ~std::uint64_t{0}; }).find("report.rows[0].seeds") !=
        std::string::npos);
  CHECK(refused([](auto& r) { r.rows[2].layers = {3, 0}; }) ==
        "invalid argument: report.rows[2].layers: got layer 0, wanted ascending layers, each once");
  CHECK(refused([](auto& r) { r.rows[2].layers = {-1}; }).find("got layer -1") != std::string::npos);
  CHECK(refused([](auto& r) { r.rows[2].numbers[0].name = "arm"; }) ==
        "invalid argument: report.rows[2].numbers: got 'arm', wanted a name that nothing else of the row has");
  CHECK(refused([](auto& r) { r.rows[2].estimates[0].name = "rank"; }).find("report.rows[2].estimates: got 'rank'") !=
        std::string::npos);
  CHECK(refused([](auto& r) { r.rows[2].metrics[1].name = "kl"; }) ==
        "invalid argument: report.rows[2].names: got a second 'kl', wanted each once");
}

TEST_CASE("a report.json that is not what it should be is refused by the member") {
  const auto good = json_of(whole());
  const auto refused = [&](const char* at, nlohmann::json value) {
    auto bad = good;
    const nlohmann::json::json_pointer where{at};
    if (value == "remove") bad.at(where.parent_pointer()).erase(where.back());
    else bad[where] = std::move(value);
    return refusal(io::try_report_of(bad));
  };
  CHECK(refused("/command", "x") == "");
  CHECK(refused("/schema", 7) == "malformed: report.schema: got '7', wanted 1");
  CHECK(refused("/schema", "remove") == "malformed: report.schema: got 'nothing', wanted a value");
  CHECK(refused("/schema", 1.5) == "malformed: report.schema: got 'a number with a fraction', wanted an integer");
  CHECK(refused("/seed", -1) == "malformed: report.seed: got '-1', wanted 0 to 9007199254740992");
  CHECK(refused("/seed", ~std::uint64_t{0}) ==
        "malformed: report.seed: got '18446744073709551615', wanted 0 to 9007199254740992");
  CHECK(refused("/text", 3) == "malformed: report.text: got 'number', wanted an object");
  CHECK(refused("/text/sha256", nullptr) == "malformed: report.text.sha256: got 'null', wanted a string");
  CHECK(refused("/models/1/layers", 0) == "malformed: report.models[1].layers: got '0', wanted 1 to 1048576");
  CHECK(refused("/evaluation", "remove") == "malformed: report.evaluation: got 'nothing', wanted a value");
  CHECK(refused("/baseline/nll/n", 0.5) ==
        "malformed: report.baseline.nll.n: got 'a number with a fraction', wanted an integer");
  CHECK(refused("/rules/bos", nullptr) == "malformed: report.rules.bos: got 'null', wanted an object");
  CHECK(refused("/rows", nlohmann::json::object()) == "malformed: report.rows: got 'object', wanted an array");
  CHECK(refused("/rows/1/arm", "remove") == "malformed: report.rows[1].arm: got 'nothing', wanted a value");
  CHECK(refused("/rows/1/arm", "") ==
        "malformed: report.rows[1].arm: got nothing, wanted a name that no other row has");
  CHECK(refused("/rows/1/metrics/kl/value", "2") ==
        "malformed: report.rows[1].metrics.kl.value: got 'string', wanted a number");
  CHECK(refused("/rows/3/layers", {3, 2}) ==
        "malformed: report.rows[3].layers: got 2 after 3, wanted ascending layers, each once");
  CHECK(refused("/rows/3/first", 1) == "malformed: report.rows[3].first: got '1', wanted 2, as in layers");
  CHECK(refused("/rows/3/last", nullptr) == "malformed: report.rows[3].last: got 'null', wanted 4, as in layers");
  CHECK(refused("/rows/2/last", 4) ==
        "malformed: report.rows[2].last: got '4', wanted null, as these layers are no span");
  CHECK(refused("/rows/0/rank/lo", 0) == "malformed: report.rows[0].rank.lo: got '0', wanted 1 to 9007199254740992");
  CHECK(refused("/rows/0/control", 1) == "malformed: report.rows[0].control: got 'number', wanted true or false");
  CHECK(refused("/rows/2/restored_kl/se", "remove") ==
        "malformed: report.rows[2].restored_kl.se: got 'nothing', wanted a value");
  CHECK(refused("/rows/2/weight_error", "much") ==
        "malformed: report.rows[2].weight_error: got 'string', wanted a number");
  CHECK(refused("/findings/0/layers/0", "x") ==
        "malformed: report.findings[0].layers[0]: got 'string', wanted an integer");
  CHECK(refused("/text/parts/1/name", 4) == "malformed: report.text.parts[1].name: got 'number', wanted a string");
}

TEST_CASE("every member of a report.json that is taken away is missed, or is one that may be missing") {
  const auto good = json_of(whole());
  int refused = 0;
  for (const auto& [name, value] : good.items()) {
    auto bad = good;
    bad.erase(name);
    const bool optional = name == "resect" || name == "models" || name == "calibration" ||
                          good[name] == nlohmann::json{} || name == "profile" || name == "grid" || name == "model";
    INFO(name);
    if (name == "floor") CHECK(!io::try_report_of(bad));
    else CHECK(static_cast<bool>(io::try_report_of(bad)) == optional);
    refused += !io::try_report_of(bad);
  }
  CHECK(refused >= 11);
}

TEST_CASE("bytes that are no report are refused by the name of the file") {
  CHECK(refusal(io::try_read_report("[]", "r.json")) == "malformed: r.json: got array, wanted an object");
  CHECK(refusal(io::try_read_report("{\"schema\": 1, \"seed\": 1e999}", "r.json"))
            .find("malformed: r.json: got a JSON error") == 0);
  CHECK(refusal(io::try_read_report("{\"schema\": 1, \"schema\": 1}", "r.json")).find("a second key 'schema'") !=
        std::string::npos);
  CHECK(refusal(io::try_read_report("{}", "r.json")) == "malformed: report.schema: got 'nothing', wanted a value");
  const auto text = io::json_text(io::report_json(whole()));
  for (std::size_t cut = 0; cut + 2 < text.size(); cut += 97)
    CHECK(!io::try_read_report(std::string_view(text).substr(0, cut), "r.json"));
}

TEST_CASE("a report takes names that are not UTF-8, and is the same text every time") {
  auto r = whole();
  r.models[0].name = "bad \xff name \"quoted\"";
  CHECK(json_of(r)["model"]["name"] == "bad \xef\xbf\xbd name \"quoted\"");
  CHECK(io::json_text(io::report_json(r)) == io::json_text(io::report_json(r)));
}
