// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/stored_report.hpp>

namespace studies {

namespace detail {

void refuse_report(const std::string& where, std::string_view got, std::string_view wanted) {
  fail({resect::errc::malformed, std::string_view(where), got, wanted});
}

std::string row_place(std::size_t i) { return "report.rows[" + std::to_string(i) + "]"; }

bool same_arm(const report_row& a, const report_row& b) {
  const auto same = [](const auto& x, const auto& y) {
    return x.name == y.name && x.value.number == y.value.number && x.value.text == y.value.text;
  };
  return a.operation == b.operation && a.layers == b.layers && a.matrix == b.matrix &&
         std::equal(a.parameters.begin(), a.parameters.end(), b.parameters.begin(), b.parameters.end(), same);
}

std::vector<stored_table> tables_of(const resect::io::report& r) {
  std::vector<stored_table> out;
  std::size_t runs = 0;
  for (std::size_t i = 0; i < r.rows.size(); ++i) {
    const report_row& row = r.rows[i];
    const std::string name = row.verdict ? row.verdict->table : "";
    auto to = std::find_if(out.begin(), out.end(), [&](const stored_table& t) { return t.name == name; });
    if (to == out.end()) to = out.insert(out.end(), stored_table{name, {}, {}});
    to->rows.push_back({i, {}});
    auto& of = to->rows.back().runs;
    if (row.seeds.empty()) of.push_back(runs++);
    for (std::size_t k = 0; k < row.seeds.size(); ++k) {
      const bool there = ++i < r.rows.size();
      if (!there || r.rows[i].seed != row.seeds[k] || !r.rows[i].seeds.empty() || !same_arm(row, r.rows[i]))
        refuse_report(row_place(to->rows.back().row) + ".seeds", "other rows behind it",
                      resect::text("a row of the same arm for seed ", row.seeds[k]).view());
      of.push_back(runs++);
    }
  }
  return out;
}

}  // namespace detail

}  // namespace studies
