// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <vector>

#include <resect/core/matrix.hpp>
#include <resect/model/row.hpp>
#include <resect/random/distributions.hpp>

// Rows of a stream with a known map between them.
namespace planted {

using resect::index_t;
using resect::matrix;

inline matrix<float> gaussian_rows(index_t rows, index_t cols, std::uint64_t stream, double sd = 1) {
  matrix<float> out(rows, cols);
  resect::random::fill_gaussian(out.data.span(), 17, stream, 0, sd);
  return out;
}

// Sequences of ten rows.
inline std::vector<resect::model::row_meta> rows_of(index_t count) {
  std::vector<resect::model::row_meta> out;
  for (std::int32_t r = 0; r < static_cast<std::int32_t>(count); ++r) out.push_back({r / 10, r % 10, r % 7, 0});
  return out;
}

// y = x + W·x + b + noise, with a mean of x that is large beside its spread.
struct affine_pair {
  matrix<float> x, y, w;
  std::vector<float> b;

  affine_pair(index_t rows, index_t width, double noise, std::uint64_t stream = 0)
      : x(gaussian_rows(rows, width, 3 * stream + 1)),
        y(gaussian_rows(rows, width, 3 * stream + 2, noise)),
        w(gaussian_rows(width, width, 1000, 0.3)) {
    const auto offsets = gaussian_rows(2, width, 1001, 2);
    for (index_t c = 0; c < width; ++c) b.push_back(offsets(0, c));
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < width; ++c) x(r, c) += offsets(1, c);
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < width; ++c) {
        double sum = static_cast<double>(x(r, c)) + static_cast<double>(b[static_cast<std::size_t>(c)]);
        for (index_t i = 0; i < width; ++i) sum += static_cast<double>(w(c, i)) * static_cast<double>(x(r, i));
        y(r, c) += static_cast<float>(sum);
      }
  }
};

}  // namespace planted
