// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include <student/planted_spans.hpp>

#include <resect/student/trainer.hpp>

// Rows with targets for students, and students whose parameters are all different from what a new one has.
namespace planted {

namespace student = resect::student;

// Sequences of these lengths: x standard normal, y = x + bend·f of six features f = |⟨m, x⟩| − 0.8, x of this row and,
// halved, of the row before; column c gets feature c mod 6. No affine map sees them.
inline student::row_pairs bent_pairs(const std::vector<int>& lengths, index_t width, double bend,
                                     std::uint64_t stream = 0) {
  student::row_pairs out;
  out.task = {{2, 4}, 77, {}};
  std::int32_t seq = 0;
  for (const int length : lengths) {
    for (std::int32_t pos = 0; pos < length; ++pos) {
      out.rows.push_back({seq, pos, (seq + pos) % 5, 0});
      out.document.push_back(seq);
    }
    ++seq;
  }
  out.x = gaussian_rows(out.rows.size(), width, 50 + stream);
  out.y = out.x;
  const auto map = gaussian_rows(width, width, 49, 1 / std::sqrt(static_cast<double>(width)));
  for (index_t r = 0; r < out.x.rows; ++r)
    for (index_t c = 0; c < width; ++c) {
      double sum = 0;
      for (index_t i = 0; i < width; ++i) {
        const double before = out.rows[r].pos > 0 ? static_cast<double>(out.x(r - 1, i)) : 0;
        sum += static_cast<double>(map(c % 6, i)) * (static_cast<double>(out.x(r, i)) + 0.5 * before);
      }
      out.y(r, c) += static_cast<float>(bend * (std::fabs(sum) - 0.8));
    }
  return out;
}

inline student::block_shape small_shape(student::block_kind kind = student::block_kind::transformer) {
  return {.kind = kind, .width = 32, .hidden = 20, .heads = 4, .kv_heads = 2, .head_dim = 8};
}

// A student that adds something: every parameter is moved.
template <class T>
student::network<T> moved_student(const student::block_shape& shape, index_t blocks, const student::row_pairs& pairs) {
  auto out = resect::value_or_throw(student::try_new_student<T>(shape, blocks, pairs, 3));
  std::uint64_t part = 0;
  student::visit_parts_of(
      out, [&](index_t, std::string_view, resect::array<T>& x, index_t, index_t, student::part_role) {
        ++part;
        for (index_t i = 0; i < x.size(); ++i)
          x[i] += static_cast<T>(0.1 * resect::random::gaussian(9, part, static_cast<std::uint64_t>(i)));
      });
  return out;
}

}  // namespace planted
