// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <string>
#include <string_view>
#include <utility>

#include <resect/core/backend.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/matrix.hpp>
#include <resect/quant/formats/all.hpp>
#include <resect/quant/packed.hpp>

namespace RESECT_NAMESPACE::compress {

// The name of a part that holds plain floats, little-endian, row by row.
inline constexpr std::string_view plain_floats = "f32";

// What stands for a matrix W (m, n): Ŵ = Q + L·R, with Q or the pair left out. Each part is packed in a format of its own,
// or plain floats. A part without bytes is left out. L is stored by its columns, so that its groups lie along components.
struct stored_matrix {
  index_t rows = 0, cols = 0;
  quant::packed q;  // (m, n)
  quant::packed l;  // (r, m): Lᵀ
  quant::packed r;  // (r, n)

  bool has_base() const noexcept { return !q.bytes.empty(); }
  bool has_pair() const noexcept { return !l.bytes.empty() || !r.bytes.empty(); }
  index_t rank() const noexcept { return has_pair() ? r.rows : 0; }
  index_t bytes() const noexcept { return q.bytes.size() + l.bytes.size() + r.bytes.size(); }

  // "q int4s/f16", "q int3s/f16, rank 64: l int8s/f16, r int8s/f16".
  std::string format() const {
    std::string out;
    const auto add = [&](const char* name, const quant::packed& p) { ((out += name) += ' ') += p.format.view(); };
    if (has_base()) add("q", q);
    if (!has_pair()) return out;
    if (has_base()) out += ", ";
    out += "rank " + std::to_string(rank()) + ": ";
    add("l", l);
    add(", r", r);
    return out;
  }

  // Whether the parts make a matrix of these extents, and plain parts have its bytes; nothing is allocated. Errors:
  // invalid_argument (no part, no row or column, a rank outside 1 … min(m, n)), shape_mismatch, malformed (bytes).
  status check() const noexcept {
    const auto fits = [&](const quant::packed& p, std::string_view name, index_t m, index_t n) -> status {
      const auto part = text("part ", name, " of a stored matrix");
      if (p.rows != m || p.cols != n)
        return error{errc::shape_mismatch, part, text(p.rows, " x ", p.cols), text(m, " x ", n)};
      if (p.format == plain_floats && p.bytes.size() / 4 / n != m)
        return error{errc::malformed, part, text(p.bytes.size(), " bytes"), text("floats of ", m, " x ", n)};
      return {};
    };
    if (rows < 1 || cols < 1)
      return error{errc::invalid_argument, "stored matrix", text(rows, " x ", cols), "at least 1 x 1"};
    if (!has_base() && !has_pair())
      return error{errc::invalid_argument, "stored matrix", "neither Q nor L and R", "a part"};
    if (has_base())
      if (auto s = fits(q, "q", rows, cols); !s) return s;
    if (!has_pair()) return {};
    const index_t most = rows < cols ? rows : cols;
    if (r.rows < 1 || r.rows > most)
      return error{errc::invalid_argument, "rank of a stored matrix", text(r.rows), text("1 to ", most)};
    if (auto s = fits(l, "l", r.rows, rows); !s) return s;
    return fits(r, "r", r.rows, cols);
  }
};

// A part of plain floats. Errors: null_pointer, bad_stride, not_finite.
inline result<quant::packed> try_plain_part(matrix_view<const float> values) {
  if (auto s = check_view(values, "part of a stored matrix"); !s) return s.error();
  if (auto s = check_finite(values, "part of a stored matrix"); !s) return s.error();
  quant::packed out{plain_floats, values.rows, values.cols, array<std::byte>(4 * values.rows * values.cols)};
  index_t at = 0;
  for (index_t i = 0; i < values.rows; ++i)
    for (index_t j = 0; j < values.cols; ++j)
      for (int shift = 0; shift < 32; shift += 8)
        out.bytes[at++] = static_cast<std::byte>(std::bit_cast<std::uint32_t>(values(i, j)) >> shift & 0xFF);
  return out;
}

namespace detail {

// The values of one part. `List` has the formats that are known.
template <class List, executor E>
status try_part_values(E& exec, const quant::packed_view& part, matrix_view<float> out) {
  if (part.format != plain_floats)
    return quant::try_visit<List>(part, [&]<quant::static_format F>(const quant::packed_matrix<F>& m) -> status {
      constexpr index_t height = quant::grid_shape{F::grid_type::shape}.rows;
      exec.bulk((out.rows + height - 1) / height, [&](index_t i) {
        const index_t first = i * height, left = out.rows - first;
        m.decode_rows(first, out.middle_rows(first, left < height ? left : height));
      });
      return {};
    });
  if (static_cast<index_t>(part.bytes.size()) != 4 * part.rows * part.cols)
    return error{errc::malformed, "part of plain floats", text(part.bytes.size(), " bytes"),
                 text(4 * part.rows * part.cols)};
  std::size_t at = 0;
  for (index_t i = 0; i < part.rows; ++i)
    for (index_t j = 0; j < part.cols; ++j) {
      std::uint32_t bits = 0;
      for (int shift = 0; shift < 32; shift += 8) bits |= std::to_integer<std::uint32_t>(part.bytes[at++]) << shift;
      out(i, j) = std::bit_cast<float>(bits);
    }
  return {};
}

// The values of one part, as doubles.
template <class List, executor E>
result<matrix<double>> try_wide_values(E& exec, const quant::packed_view& part) {
  matrix<float> narrow(part.rows, part.cols);
  if (auto s = try_part_values<List>(exec, part, narrow.view()); !s) return s.error();
  matrix<double> wide(part.rows, part.cols);
  for (index_t i = 0; i < wide.data.size(); ++i) wide.data[i] = static_cast<double>(narrow.data[i]);
  return wide;
}

}  // namespace detail

// out := Q + L·R, out (m, n), summed in double and rounded once. `List` names the formats of the parts (all_formats, or
// fewer of the user's own). Cost: a decode a code, 2mnr flop, and 8(m + r)(n + r) bytes where there is a pair. Errors: those
// of check(); unsupported (a format that is not in List), malformed (bytes), not_finite (a value); shape_mismatch,
// null_pointer, bad_stride (out). `out` is unspecified then.
template <class List = quant::all_formats, dense_backend<double> B>
  requires std::same_as<typename B::space, host_space>
status try_values(B& exec, const stored_matrix& from, matrix_view<float> out) {
  if (auto s = from.check(); !s) return s;
  if (auto s = check_view(out, from.rows, from.cols, "out"); !s) return s;
  if (from.has_base())
    if (auto s = detail::try_part_values<List>(exec, from.q.view(), out); !s) return s.error().within("q");
  if (from.has_pair()) {
    const auto l = detail::try_wide_values<List>(exec, from.l.view()),
               r = detail::try_wide_values<List>(exec, from.r.view());
    if (!l) return l.error().within("l");
    if (!r) return r.error().within("r");
    matrix<double> sum(from.rows, from.cols);
    if (auto s = exec.try_gemm(1.0, l->view().transposed(), r->view(), 0.0, sum.view()); !s) return s;
    exec.bulk(from.rows, [&](index_t i) {
      for (index_t j = 0; j < from.cols; ++j)
        out(i, j) = static_cast<float>((from.has_base() ? static_cast<double>(out(i, j)) : 0.0) + sum(i, j));
    });
  }
  const matrix_view<const float> values = out;
  return check_finite(values, "values of a stored matrix");
}

}  // namespace RESECT_NAMESPACE::compress
