// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <hosts/json.hpp>
#include <study/io/read_npz.hpp>
#include <study/report/check_report.hpp>
#include <study/report/stored_report.hpp>

// A study read back: report.json says what was run on what, clusters.npz beside it holds the sums. Neither is taken on
// trust: every member that is used is checked, and what the sums give has to stand in report.json: the estimates of the
// rows and of the intact model, marks, places by KL, what sparing a compressed layer brings back. Not given by the sums,
// and not checked: norm profiles, bits, errors of weights, the intervals of ranks, estimates by tokens.
namespace studies {

namespace detail {

inline constexpr std::int64_t whole = std::int64_t{1} << 53;  // above, a JSON number is not exact everywhere

template <resect::io::npy_element T>
stored_array<T> read_array(const npz_file& npz, const std::string& name, const std::vector<resect::index_t>& shape) {
  auto out = need(npz.try_read<T>(name));
  if (out.shape == shape) return out;
  resect::short_text<120> got, wanted;
  for (const auto extent : out.shape) got.append(got.empty() ? "" : " x ").append(extent);
  for (const auto extent : shape) wanted.append(wanted.empty() ? "" : " x ").append(extent);
  fail({resect::errc::shape_mismatch, resect::text("clusters.npz: '", name, "'"), got, wanted});
}

// Every number of a report but those that only name it.
nlohmann::json numbers_of(const nlohmann::json& report);

}  // namespace detail

// `path` is a report.json or the folder that holds one. Fails (as input.hpp says) with what is wrong and where.
stored_report read_report(const std::string& path);

}  // namespace studies
