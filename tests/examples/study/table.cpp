// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <sstream>

#include <study/report/table.hpp>
#include <support/catch.hpp>

#include "records.hpp"

namespace {

std::string joined(const studies::value_and_half& v) { return v.value + "±" + v.half; }

}  // namespace

TEST_CASE("a value has as many decimals as two digits of its interval's half-width") {
  CHECK(joined(studies::split(support::around(1.23456, 0.0312))) == "1.235±0.031");
  CHECK(joined(studies::split(support::around(123.456, 31.2))) == "123±31");
  CHECK(joined(studies::split(support::around(0.7512, 0.0204), 100)) == "75.1±2.0");
  CHECK(joined(studies::split(support::around(0.5, 0.01), 1, studies::sign::always)) == "+0.500±0.010");
  CHECK(joined(studies::split(support::around(-0.00001, 0.01))) == "0.000±0.010");  // no "-0.000"
  CHECK(joined(studies::split(support::around(0.5, 0.01, 8))) == "0.500±0.010*");   // few clusters
  CHECK(joined(studies::split(support::around(0.5, 0.01, 5))) == "0.500±–");        // too few
  CHECK(joined(studies::split(support::around(0, 0))) == "0.00±0.00");
}

TEST_CASE("an interval is written with its ends") {
  CHECK(studies::with_interval(support::around(1.23456, 0.0312)) == "1.235 [1.203, 1.266]");
  CHECK(studies::with_interval(support::around(1.23456, 0.0312, 9)) == "1.235 [1.203, 1.266]*");
  CHECK(studies::with_interval(support::around(1.23456, 0.0312, 2)) == "1.23 [no interval]");
  CHECK(studies::with_interval(studies::estimate{}) == "n/a [no interval]");
}

TEST_CASE("numbers and times are readable") {
  CHECK(studies::grouped(0) == "0");
  CHECK(studies::grouped(999) == "999");
  CHECK(studies::grouped(1000) == "1,000");
  CHECK(studies::grouped(-1234567) == "-1,234,567");
  CHECK(studies::duration(1.25) == "1.2 s");
  CHECK(studies::duration(59.4) == "59 s");
  CHECK(studies::duration(185) == "3 min 05 s");
  CHECK(studies::duration(3720) == "1 h 02 min");
  CHECK(studies::duration(std::nan("")) == "unknown");
  CHECK(studies::plain(1234.5) == "1234");
  CHECK(studies::plain(0.012345) == "0.0123");
}

TEST_CASE("columns are aligned, also where characters have several bytes") {
  studies::text_table t;
  t.add("layer", std::vector<std::string>{"1", "10"});
  t.add("Δ", std::vector<studies::value_and_half>{{"1.5", "0.25"}, {"12", "3*"}});
  t.add("mark", std::vector<std::string>{"", "critical"}, studies::align::left);
  CHECK(t.text() ==
        "  layer           Δ  mark\n"
        "      1  1.5 ± 0.25\n"
        "     10   12 ± 3*    critical\n");
}

TEST_CASE("the table fits a terminal and shows no mean without its interval") {
  for (const resect::index_t clusters : {32, 8, 4}) {
    const auto text = studies::study_table(support::small_study(clusters));
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      INFO(line);
      CHECK(studies::display_width(line) <= 100);
      CHECK((line.empty() || line.back() != ' '));
    }
    CHECK((text.find("too few") != text.npos || text.find("Too few clusters (4, 6 are needed)") != text.npos) ==
          (clusters < 6));
    CHECK((text.find("* only 8 clusters") != text.npos) == (clusters == 8));
    CHECK(text.find("nan") == text.npos);
  }
}

TEST_CASE("a row of the table says what was measured") {
  const auto text = studies::study_table(support::small_study());
  CHECK(text.find("skip: the layer is left out\n") != text.npos);
  CHECK(text.find("reinit: random weights in place of the layer's, seeds 1–2\n") != text.npos);
  CHECK(text.find("      0     2.00 ± 0.20     1 [1–1]  75.0 ± 2.0  +1.9000 ± 0.0040  0.900 ± 0.010  critical\n") !=
        text.npos);
  CHECK(text.find("seed sd") != text.npos);
  CHECK(text.find("perplexity 4.50 [4.10, 4.90], 2,048 tokens in 32 windows") != text.npos);
}

TEST_CASE("long findings are broken between words") {
  const std::string text =
      studies::detail::wrapped(std::string(60, 'a') + " " + std::string(60, 'b') + " c", "  - ", "    ");
  CHECK(text == "  - " + std::string(60, 'a') + "\n    " + std::string(60, 'b') + " c\n");
}
