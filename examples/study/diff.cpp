// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Two layer studies of the same text, compared in pairs: what does the second model do otherwise?
#include <cstdio>
#include <string>

#include <study/cli.hpp>
#include <study/diff_json.hpp>
#include <study/diff_text.hpp>
#include <study/input.hpp>
#include <study/output.hpp>

namespace {

struct arguments {
  std::string a, b, json;
};

int run(const arguments& given) {
  const auto a = app::read_report(given.a);
  const auto b = app::read_report(given.b);
  app::check_output_file(given.json, "--json", {a.path, a.clusters, b.path, b.clusters});
  const auto difference = app::compare_reports(a, b);
  if (!given.json.empty()) app::write_file(given.json, app::report_text(app::diff_json(a, b, difference)));
  std::fputs(app::diff_table(a, b, difference).c_str(), stdout);
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
  if (const int done = app::parse(options, argc, argv); done >= 0) return done;
  return app::guarded("diff", [&] { return run(given); });
}
