// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/bits_plot.hpp>

#include <string>

#include <study/report/findings.hpp>
#include <study/report/report_html.hpp>
#include <study/report/table.hpp>
#include <support/catch.hpp>

#include "records.hpp"

namespace {

using Catch::Matchers::Contains;

// Two methods without data and a calibrated one, of all layers.
studies::study_record methods() {
  auto r = support::small_study();
  r.tables = {{"quantize", "every matrix"}};
  r.report.rows.clear();
  const auto add = [&](const char* method, double bits, double calibrated, double kl) {
    auto one = support::row("quantize", 0, kl, 0.05, "critical", 1);
    one.arm = method + std::to_string(bits);
    one.layers = {0, 1, 2};
    one.parameters = {{"method", {0, method}}};
    one.numbers = {{"bits_per_weight", bits}, {"calibrated", calibrated}};
    support::append(r, one);
  };
  add("plain", 4.25, 0, 0.01);
  add("plain", 2.25, 0, 0.2);
  add("worse", 4.5, 0, 0.02);
  add("feedback", 2.25, 1, 0.1);
  r.tables[0].compared = true;
  r.tables[0].varying = {"method"};
  r.tables[0].columns = {{"bits_per_weight", "bits/weight"}};
  return r;
}

}  // namespace

TEST_CASE("KL against bits: a block a method by ascending bits, then the front of those without data") {
  const auto r = methods();
  REQUIRE(studies::compares_bits(r));
  CHECK(studies::bits_data(r) ==
        "# bits a weight, KL with interval\n"
        "2.25 0.2 0.18 0.22 \n4.25 0.01 0.009 0.011 \n\n\n"
        "4.5 0.02 0.018 0.022 \n\n\n"
        "2.25 0.1 0.09 0.11 \n\n\n"
        "2.25 0.2 0.18 0.22 \n4.25 0.01 0.009 0.011 \n\n\n");
  const std::string script = studies::bits_script(r);
  CHECK_THAT(script, Contains("index 2 using 1:2:3:4") && Contains("index 3 using 1:2 with lines"));
  CHECK(script.find("title 'worse'") < script.find("set label 3 'calibrated'"));
  CHECK(script.find("title 'feedback'") > script.find("set label 3 'calibrated'"));
  auto without = r;
  without.report.rows[1].numbers.clear();
  CHECK(!studies::compares_bits(without));
  CHECK(!studies::compares_bits(support::small_study()));
}

TEST_CASE(
    "rows that their layers do not tell apart stand under their parameters; a recipe's own words and tables are "
    "shown") {
  auto r = methods();
  r.said = {{"best", "quantize", "feedback has the least KL.", {}}};
  r.extras = {{"effects", "factors", {"effect", "KL ×"}, {{"full H", "0.50 [0.40, 0.60]"}}}};
  const std::string table = studies::study_table(r), page = studies::report_html(r, studies::find(r));
  CHECK_THAT(table, Contains("method") && Contains("bits/weight") && Contains("0.50 [0.40, 0.60]"));
  CHECK_THAT(table, !Contains("0–2"));
  CHECK_THAT(page, Contains("feedback has the least KL.") && Contains("0.50 <small>[0.40, 0.60]</small>"));
  CHECK_THAT(page, Contains("against what is stored") && !Contains("matter most"));
}
