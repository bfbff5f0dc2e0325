// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <resect/residual/operators.hpp>
#include <study/io/cli.hpp>
#include <study/io/gnuplot.hpp>
#include <study/recipes/bench.hpp>
#include <study/recipes/study_main.hpp>
#include <support/catch.hpp>

// Recipes of a test's own, run as the program runs its recipes.
namespace {

namespace fs = std::filesystem;
using namespace resect::residual;

struct scratch {
  fs::path path = fs::temp_directory_path() / ("resect_recipes_test_" + std::to_string(::getpid()));
  scratch() { fs::remove_all(path); }
  ~scratch() { fs::remove_all(path); }

  int run(const studies::recipe& r, std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"study",     "--recipe", r.name,        "--sequences", "7",
                                   "--context", "8",        "--layers",    "1,4",         "--threads",
                                   "1",         "--out",    path.string(), "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    return studies::study_main({r}, static_cast<int>(argv.size()), argv.data());
  }
  nlohmann::json report() const { return nlohmann::json::parse(std::ifstream(path / "report.json")); }
};

}  // namespace

TEST_CASE("a recipe is a list of arms: its tables are marked and ranked apart, controls are said to be such") {
  if (!studies::check_gnuplot()) return;
  const scratch s;
  const auto doses = studies::of_arms("doses", "what a layer adds is scaled", [](studies::bench& b) {
    std::vector<studies::arm_table> out{{"scale", "its delta is scaled", {}, false}, {"lost", "a control", {}, true}};
    for (const int l : b.layers()) {
      for (const float g : {0.5f, 0.0f}) out[0].arms.push_back({plan{} | scale_delta(layer(l), g)});
      out[1].arms.push_back({plan{} | zero_stream(layer(l))});
    }
    return out;
  });
  REQUIRE(s.run(doses) == 0);
  const auto report = s.report();
  CHECK(report["recipe"] == "doses");
  REQUIRE(report["rows"].size() == 6);
  CHECK(report["rows"][0]["arm"] == "scale_delta 1: factor 0.5");
  CHECK(report["rows"][0]["parameters"]["factor"] == 0.5);
  CHECK(report["rows"][0]["table"] == "scale");
  CHECK(report["rows"][0]["control"] == false);
  CHECK(report["rows"][4]["table"] == "lost");
  CHECK(report["rows"][4]["control"] == true);
  std::vector<int> places;
  for (int i = 0; i < 4; ++i) places.push_back(report["rows"][static_cast<std::size_t>(i)]["rank"]["value"]);
  std::sort(places.begin(), places.end());
  CHECK(places == std::vector{1, 2, 3, 4});
  CHECK(report["tables"][1]["says"] == "a control");
  CHECK(!report.contains("calibration"));
}

TEST_CASE("a recipe has options, texts and models of its own, and is told what it asked for") {
  if (!studies::check_gnuplot()) return;
  const scratch s;
  int factor = 1, checked = 0;
  studies::recipe two{
      .name = "two", .says = "two models", .roles = {studies::role::train, studies::role::selection}, .models = 2};
  two.declare = [&](CLI::App& app) { app.add_option("--factor", factor, "a number"); };
  two.accept = [&](const studies::common_options& o) { checked += o.models.size() == 2 && factor == 3; };
  two.needs = [](studies::role r) { return r == studies::role::train; };
  two.check = [&](studies::bench& b) { checked += b.models() == 2 && b.studied(1).name == "second"; };
  const auto arms = [](studies::bench& b) {
    return std::vector{studies::arm_table{"skip", "left out", {{plan{} | skip(layer(b.layers().back()))}}, false}};
  };
  two.cost = [&](studies::bench& b) { return b.cost(arms(b)); };
  two.run = [&](studies::bench& b) {
    CHECK(b.windows(studies::role::train).n_windows == 7);
    CHECK(b.windows(studies::role::selection).n_windows == 0);
    CHECK(b.model(1).describe().n_layers == 6);
    b.tabulate(arms(b));
  };
  const std::vector<std::string> given{"--model", "tiny",         "--model", "tiny",     "--model-name",
                                       "first",   "--model-name", "second",  "--factor", "3"};
  REQUIRE(s.run(two, given) == 0);
  CHECK(checked == 2);
  const auto report = s.report();
  CHECK(report["model"]["name"] == "first");
  CHECK(report["models"][1]["name"] == "second");
  CHECK(report["train"]["name"] == "tiny-train.txt");
  CHECK(!report.contains("selection"));

  fs::remove_all(s.path);
  CHECK(s.run(two, {"--model", "tiny"}) == 2);  // two are wanted
  CHECK(s.run(two, {"--model", "tiny", "--model", "tiny", "--model", "tiny"}) == 2);
  CHECK(s.run(two, {"--model", "tiny", "--model", "tiny", "--calibration", "rest"}) == 2);
  CHECK(!fs::exists(s.path));
}

TEST_CASE("two arms of one key are refused when the report is written, and leave no report") {
  if (!studies::check_gnuplot()) return;
  const scratch s;
  const auto twice = studies::of_arms("twice", "the same twice", [](studies::bench&) {
    return std::vector{
        studies::arm_table{"skip", "left out", {{plan{} | skip(layer(1))}, {plan{} | skip(layer(1))}}, false}};
  });
  CHECK(s.run(twice) == 2);
  CHECK(!fs::exists(s.path));
}
