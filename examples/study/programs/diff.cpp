// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Two layer studies of the same text, compared in pairs: what does the second model do otherwise?
#include <cstdio>
#include <string>

#include <study/io/cli.hpp>
#include <study/io/input.hpp>
#include <study/io/output.hpp>
#include <study/report/diff_json.hpp>
#include <study/report/diff_text.hpp>

namespace {

struct arguments {
  std::string a, b, json;
};

int run(const arguments& given) {
  const auto a = studies::read_report(given.a);
  const auto b = studies::read_report(given.b);
  studies::check_output_file(given.json, "--json", {a.path, a.clusters, b.path, b.clusters});
  const auto difference = studies::compare_reports(a, b);
  if (!given.json.empty()) studies::write_file(given.json, resect::io::json_text(studies::diff_json(a, b, difference)));
  std::fputs(studies::diff_table(a, b, difference).c_str(), stdout);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App options{
      "Compares two reports of ./run study on the same text, cluster by cluster: for every altered layer the "
      "difference "
      "of each measure, second minus first, with its interval.",
      "diff"};
  arguments given;
  options.add_option("A", given.a, "first report: its folder, or its report.json")->required();
  options.add_option("B", given.b, "second report")->required();
  options.add_option("--json", given.json, "write the comparison here too, for programs");
  if (const int done = studies::parse(options, argc, argv); done >= 0) return done;
  return studies::guarded("diff", [&] { return run(given); });
}
