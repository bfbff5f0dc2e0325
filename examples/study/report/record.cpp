// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/record.hpp>

namespace studies {

std::string begin_text(const resect::io::report_rules& r) {
  return r.bos ? "id " + std::to_string(*r.bos) + ": " + r.bos_rule : r.bos_rule;
}

row_list rows_of(const study_record& r, const table_record& t) {
  row_list out;
  for (const std::size_t i : t.rows) out.push_back(&r.report.rows[i]);
  return out;
}

row_list rows_of(const study_record& r, std::string_view table) {
  const auto* found = find_table(r, table);
  return found ? rows_of(r, *found) : row_list{};
}

estimate find_estimate(const std::vector<resect::io::named<estimate>>& list, std::string_view name) {
  const auto* found = resect::io::find_named(list, name);
  return found ? *found : estimate{};
}

measures measures_of(const report_row& row) {
  return {find_estimate(row.metrics, "kl"), find_estimate(row.metrics, "top1_agreement"),
          find_estimate(row.metrics, "dlnppl"), find_estimate(row.metrics, "cosine_head_norm")};
}

double number_of(const std::vector<resect::io::named<double>>& list, std::string_view name) {
  const auto* found = resect::io::find_named(list, name);
  return found ? *found : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace studies
