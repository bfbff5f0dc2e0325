// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <string_view>
#include <utility>

#include <resect/io/npy_reader.hpp>
#include <resect/student/row_pairs.hpp>

// Rows with their targets from NumPy files, of a teacher that runs somewhere else.
namespace RESECT_NAMESPACE::student {

// Files as bytes: h_i and h_j, (rows, width) of f4, and one row of i8 integers {sequence, position, token} for each.
struct pair_files {
  std::span<const std::byte> x, y, rows;
};

// Pairs of such files. Rows apart are those above ten medians of all rows at either end; every sequence is a document.
// Errors: those of the reader; shape_mismatch (extents, rows without targets); invalid_argument (integers that are no
// 32-bit numbers, none at position 0); not_finite.
template <class = void>
result<row_pairs> try_read_pairs(const pair_files& files, residual::layer_range span, std::uint64_t teacher) {
  row_pairs out{{span, teacher, {}}, {}, {}, {}, {}};
  const auto read = [](std::span<const std::byte> bytes, std::string_view name, matrix<float>& to) -> status {
    auto found = io::try_read_npy(bytes);
    if (!found) return found.error().within(name);
    if (found->shape.size() != 2)
      return error{errc::shape_mismatch, name, text(found->shape.size(), " dimensions"), "2: rows and width"};
    auto values = io::try_npy_values<float>(*found);
    if (!values) return values.error().within(name);
    to = matrix<float>(found->shape[0], found->shape[1], array<float>(*values));
    return {};
  };
  if (auto s = read(files.x, "rows of a student", out.x); !s) return s.error();
  if (auto s = read(files.y, "targets of a student's rows", out.y); !s) return s.error();
  auto places = io::try_read_npy(files.rows);
  if (!places) return places.error().within("places of a student's rows");
  if (places->shape.size() != 2 || places->shape[1] != 3 || places->shape[0] != out.x.rows)
    return error{
        errc::shape_mismatch, "places of a student's rows",
        text(places->shape.size(), " dimensions of ", places->shape.empty() ? index_t{0} : places->shape[0], " rows"),
        text(out.x.rows, " x 3: sequence, position, token")};
  auto numbers = io::try_npy_values<std::int64_t>(*places);
  if (!numbers) return numbers.error().within("places of a student's rows");
  for (std::size_t r = 0; r < static_cast<std::size_t>(out.x.rows); ++r) {
    for (std::size_t k = 0; k < 3; ++k)
      if (const std::int64_t n = (*numbers)[3 * r + k]; n < 0 || n > 0x7fffffff)
        return error{errc::invalid_argument, text("places of a student's rows, row ", r), text(n), "0 to 2^31 − 1"};
    out.rows.push_back({static_cast<std::int32_t>((*numbers)[3 * r]), static_cast<std::int32_t>((*numbers)[3 * r + 1]),
                        static_cast<std::int32_t>((*numbers)[3 * r + 2]), 0});
  }
  const auto sequences = detail::sequences_of(out.batch());
  for (index_t s = 0; s < sequences.size(); ++s)
    for (index_t i = 0; i < sequences[s].count; ++i) {
      out.rows[sequences[s].first + i].seq = static_cast<std::int32_t>(s);
      out.document.push_back(s);
    }
  if (auto s = out.check(); !s) return s.error();
  out.task.apart = {apart_limit(out.batch(), out.x.view()), apart_limit(out.batch(), out.y.view())};
  return result<row_pairs>(std::move(out));
}

}  // namespace RESECT_NAMESPACE::student
