// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <vector>

#include <resect/residual/operators.hpp>
#include <resect/study/detail/layer_walk.hpp>
#include <resect/study/windows.hpp>

namespace RESECT_NAMESPACE::study {

// Measures the mean delta of every layer over the counted rows of the intact model, for residual::mean_delta. Rows
// that are not counted (a BOS) are left out. Sums in double, in the order of rows. Cost: one pass.
// Errors: invalid_argument without a counted row; what the host says.
template <model::surgical_host H>
result<residual::delta_means> try_delta_means(H& host, const token_windows& windows) {
  if (auto s = windows.check("calibration windows"); !s) return s.error();
  const auto& m = host.describe();
  residual::delta_means out;
  out.n_layers = m.n_layers;
  out.width = m.d_model;
  out.model = m.fingerprint;
  out.reference = windows.fingerprint();
  for (const index_t cluster : windows.cluster) out.rows += cluster >= 0;
  if (out.rows == 0) return error{errc::invalid_argument, "calibration rows", "0", "1 or more"};
  std::vector<double> sum;
  const auto walked = detail::try_walk_layers(
      host, windows, "calibration windows",
      [&](int, matrix_view<const float> before, matrix_view<const float> after) -> status {
        sum.assign(static_cast<std::size_t>(m.d_model), 0.0);
        for (index_t r = 0; r < after.rows; ++r) {
          if (windows.cluster[static_cast<std::size_t>(r)] < 0) continue;
          for (index_t c = 0; c < after.cols; ++c)
            sum[static_cast<std::size_t>(c)] += static_cast<double>(after(r, c)) - static_cast<double>(before(r, c));
        }
        for (const double s : sum) out.mean.push_back(static_cast<float>(s / static_cast<double>(out.rows)));
        return {};
      });
  if (!walked) return walked.error();
  return out;
}

#if RESECT_EXCEPTIONS
// The mean delta of every layer; throws the error of try_delta_means.
template <model::surgical_host H>
residual::delta_means delta_means_of(H& host, const token_windows& windows) {
  return value_or_throw(try_delta_means(host, windows));
}
#endif

}  // namespace RESECT_NAMESPACE::study
