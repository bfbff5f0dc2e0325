// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <study/io/roles.hpp>
#include <support/catch.hpp>

namespace {

namespace fs = std::filesystem;
namespace study = resect::study;
using studies::role;

const std::string tiny = RESECT_SOURCE_DIR "/examples/models/tiny";
constexpr study::window_options few{.sequences = 6, .context = 32};
const std::vector<role> all{role::calibration, role::selection, role::train};

studies::tokens heldout() { return studies::read_tokens({{tiny + "/heldout.txt", ""}}, tiny, 224); }

// A text of its own ids without documents.
studies::tokens unmarked(int n) {
  studies::tokens out{"ids", "x", {}, {}};
  for (int i = 0; i < n; ++i) out.ids.push_back((7 * i * i + 3 * i) % 211);
  return out;
}

std::map<role, studies::role_set> sets(const std::vector<role>& needed, const studies::role_sources& given,
                                       const studies::tokens& text, const studies::role_defaults& defaults = {}) {
  return studies::make_role_sets(needed, given, defaults, text, study::windows(text.view(), few), few, tiny, 224);
}

std::string refusal(const std::vector<role>& needed, const studies::role_sources& given, const studies::tokens& text) {
  try {
    sets(needed, given, text);
  } catch (const resect::exception& e) {
    return e.what();
  }
  return "";
}

// Every run of 24 ids of the windows.
std::set<std::vector<std::int32_t>> runs(const study::token_windows& w) {
  std::set<std::vector<std::int32_t>> out;
  for (std::size_t i = 0; i + 24 <= w.rows.size(); ++i) {
    if (w.rows[i].seq != w.rows[i + 23].seq) continue;
    std::vector<std::int32_t> run;
    for (std::size_t k = i; k < i + 24; ++k) run.push_back(w.rows[k].token);
    out.insert(run);
  }
  return out;
}

void check_apart(const study::token_windows& a, const study::token_windows& b) {
  const auto of_a = runs(a), of_b = runs(b);
  CHECK(!of_a.empty());
  CHECK(std::none_of(of_b.begin(), of_b.end(), [&](const auto& run) { return of_a.contains(run); }));
}

struct scratch {
  fs::path path = fs::temp_directory_path() / ("resect_roles_test_" + std::to_string(::getpid()));
  scratch() { fs::create_directories(path); }
  ~scratch() { fs::remove_all(path); }

  // A file of some lines of the held-out text.
  std::string lines(const std::string& name, int first, int count) const {
    std::ifstream in(tiny + "/heldout.txt");
    std::ofstream out(path / name);
    std::string line;
    for (int i = 0; std::getline(in, line) && i < first + count; ++i)
      if (i >= first) out << line << "\n";
    return (path / name).string();
  }
};

}  // namespace

TEST_CASE("one role without a text gets what evaluation leaves, as the library cuts it") {
  const auto text = heldout();
  const auto evaluation = study::windows(text.view(), few);
  const auto got = sets({role::selection}, {}, text);
  const auto wanted = study::calibration_windows(text.view(), evaluation, few);
  REQUIRE(got.size() == 1);
  CHECK(got.at(role::selection).windows.fingerprint() == wanted.fingerprint());
  CHECK(got.at(role::selection).windows.unigrams == wanted.unigrams);
  CHECK(sets({role::selection}, {{role::selection, {"rest", ""}}}, text).at(role::selection).windows.fingerprint() ==
        wanted.fingerprint());
  CHECK(sets({}, {}, text).empty());
}

TEST_CASE("several roles share out the documents that evaluation leaves, and no two have the same words") {
  const auto text = heldout();
  const auto evaluation = study::windows(text.view(), few);
  const auto got = sets(all, {}, text);
  REQUIRE(got.size() == 3);
  std::size_t tokens = 0;
  std::set<std::int32_t> documents(evaluation.documents.begin(), evaluation.documents.end());
  for (const auto& [r, set] : got) {
    tokens += set.text.ids.size();
    CHECK(set.windows.n_windows == few.sequences);
    CHECK(set.text.ids.size() > text.ids.size() / 4);
    check_apart(evaluation, set.windows);
    std::set<std::int32_t> own(set.text.documents.begin(), set.text.documents.end());
    for (const auto d : own) CHECK(documents.insert(d).second);  // neither evaluated nor in another set
    for (const auto& [other, second] : got)
      if (other < r) check_apart(second.windows, set.windows);
  }
  CHECK(documents.size() > 1300);  // of 1,376; copies count once
  CHECK(tokens < text.ids.size());
}

TEST_CASE("a document that stands in a text several times goes to one role") {
  const scratch s;
  const auto once = s.lines("once.txt", 0, 120);
  const auto text = studies::read_tokens({{once, ""}, {once, ""}, {once, ""}}, tiny, 224);
  CHECK(text.name == "once.txt + once.txt + once.txt");
  const auto got = sets({role::calibration, role::train}, {}, text);
  check_apart(got.at(role::calibration).windows, got.at(role::train).windows);
  check_apart(study::windows(text.view(), few), got.at(role::train).windows);
}

TEST_CASE("a text without documents is dealt in stretches between the evaluated windows") {
  const auto text = unmarked(2000);
  const auto evaluation = study::windows(text.view(), few);
  const auto got = sets(all, {}, text);
  for (const auto& [r, set] : got) {
    CHECK(set.text.documents.empty());
    CHECK(set.text.ids.size() % 32 == 0);
    CHECK(set.windows.n_clusters == set.windows.n_windows);
    check_apart(evaluation, set.windows);
    for (const auto& [other, second] : got)
      if (other < r) check_apart(second.windows, set.windows);
  }
}

TEST_CASE("a role has its own file, the model's, or the rest, in this order") {
  const scratch s;
  const auto text = heldout();
  const auto mine = s.lines("mine.txt", 300, 200), models = s.lines("models.txt", 700, 200);
  const studies::role_defaults defaults{{role::calibration, models}, {role::train, models}};
  const auto got = sets({role::calibration, role::train}, {{role::calibration, {mine, ""}}}, text, defaults);
  CHECK(got.at(role::calibration).text.name == "mine.txt");
  CHECK(got.at(role::train).text.name == "models.txt");
  check_apart(got.at(role::calibration).windows, got.at(role::train).windows);
  CHECK(
      sets({role::calibration}, {{role::calibration, {"rest", ""}}}, text, defaults).at(role::calibration).text.name ==
      "heldout.txt");
  CHECK(sets({role::calibration}, {{role::calibration, {tiny + "/heldout.txt", ""}}}, text)
            .at(role::calibration)
            .text.name == "heldout.txt");  // the evaluated text itself: its rest
}

TEST_CASE("roles that cannot be kept apart are refused by their names") {
  const scratch s;
  const auto text = heldout();
  const auto mine = s.lines("mine.txt", 300, 200);
  const auto twice =
      refusal({role::calibration, role::train}, {{role::calibration, {mine, ""}}, {role::train, {mine, ""}}}, text);
  CHECK(twice.find("conflict: --train: got ") == 0);
  CHECK(twice.find("which --calibration also names") != std::string::npos);
  const auto one = s.lines("one.txt", 0, 1);
  CHECK(refusal({role::selection}, {{role::selection, {one, ""}}}, text).find("selection: ") != std::string::npos);
  CHECK(refusal(all, {}, unmarked(200)).find("calibration: ") != std::string::npos);
}

TEST_CASE("a small set is said to be small") {
  const auto text = heldout();
  const auto got = sets({role::calibration}, {}, text).at(role::calibration);
  CHECK(studies::small_set_warning(role::calibration, got, 6).find("calibration: 6 windows of 32 tokens in ") == 0);
  auto more = few;
  more.sequences = 24;
  const auto evaluation = study::windows(text.view(), more);
  const studies::role_set enough{text, study::calibration_windows(text.view(), evaluation, more)};
  CHECK(studies::small_set_warning(role::calibration, enough, 24) == "");
  CHECK(studies::small_set_warning(role::calibration, enough, 25) != "");
}

TEST_CASE("the small model brings documents for every role, other models none") {
  CHECK(studies::documents_of(tiny).size() == 3);
  CHECK(studies::documents_of(tiny + "/.").at(role::train).ends_with("/texts/tiny-train.txt"));
  CHECK(studies::documents_of("/").empty());
  for (const auto& [r, path] : studies::documents_of(tiny)) CHECK(fs::is_regular_file(path));
}
