// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <resect/io/report.hpp>
#include <study/io/input.hpp>
#include <study/report/findings.hpp>
#include <study/report/record.hpp>

// report.json, schema 1 (resect/io/report.hpp), with the sections of the study program: options, tables, profile, floor_of_kl,
// grid and compressions.
namespace studies {

using json = nlohmann::ordered_json;

namespace detail {

json to_json(const measures& m);

json to_json(const quantiles& q);

json floor_json(const resect::study::kl_floor& f);

}  // namespace detail

json report_json(const study_record& r, const std::vector<finding>& findings);

}  // namespace studies
