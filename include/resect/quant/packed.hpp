// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>
#include <string_view>

#include <resect/core/hash.hpp>
#include <resect/quant/detail/bits.hpp>
#include <resect/quant/quantized.hpp>

// Quantized matrices as bytes, in one layout of our own, the same in memory and in artifacts. Little-endian:
//   bytes 0–3    "RQ02"
//   4–7          number of 32-bit words of the grid's state (a codebook), u32
//   8–15, 16–23  group, group_rows, i64
//   24–31, 32–39 rows, columns, i64
//   40–47        hash of the format's name (core/hash.hpp), u64
//   48–          the state; then the headers of super-blocks, the parameters of groups, the codes: three streams of numbers
//                of header_bits, store.bits and code_bits bits, from the lowest bit of a byte on, each stream from a new byte
// Headers and parameters in the order of blocks, codes row by row. Nothing is padded but the last byte of each stream, with
// zeros, and nothing follows the last one. The extents and the name of the format stand beside the bytes, too, and both agree.
namespace RESECT_NAMESPACE::quant {

// A matrix of a format that is known at run time only: what a file holds.
struct packed_view {
  std::string_view format;  // format::name()
  index_t rows = 0;
  index_t cols = 0;
  std::span<const std::byte> bytes;
};

// The same, with its bytes.
struct packed {
  short_text<48> format;
  index_t rows = 0;
  index_t cols = 0;
  array<std::byte> bytes;
  packed_view view() const noexcept { return {format.view(), rows, cols, bytes.span()}; }
};

namespace detail {

inline constexpr std::uint64_t packed_magic = 0x32305152;  // "RQ02"
inline constexpr index_t packed_head = 48 * 8;             // bits

inline std::uint64_t format_mark(std::string_view name) noexcept { return fingerprint{}.add(name).value(); }

template <grid G>
inline constexpr bool has_state = requires(const G& g) {
  { g.state_bits() } -> std::convertible_to<index_t>;
};

inline index_t whole_bytes(index_t bits) noexcept { return (bits + 7) / 8 * 8; }

// Where the three streams begin, in bits.
struct packed_places {
  index_t headers = 0, parameters = 0, codes = 0, end = 0;
};
template <static_format F>
packed_places places_of(const F& f, const part_counts& n, index_t state_words) noexcept {
  packed_places at;
  at.headers = packed_head + 32 * state_words;
  at.parameters = whole_bytes(at.headers + n.headers * F::store_type::header_bits);
  at.codes = whole_bytes(at.parameters + n.groups * f.store.template bits<parameters_of<F>>());
  at.end = whole_bytes(at.codes + n.code_rows * n.code_cols * f.grid.code_bits());
  return at;
}

}  // namespace detail

// A packed matrix whose format is known: what visit hands out. A view; reads parts where they lie.
template <static_format F>
class packed_matrix {
 public:
  using format_type = F;

  const F& format() const noexcept { return format_; }
  index_t rows() const noexcept { return rows_; }
  index_t cols() const noexcept { return cols_; }
  const part_counts& parts() const noexcept { return parts_; }

  // Reads the head, the headers and the parameters once. Errors: unsupported (the format's name), malformed (bytes of another
  // format, too few or too many), shape_mismatch (of a matrix of other extents), not_finite (parameters), what check_format
  // finds.
  static result<packed_matrix> try_make(const packed_view& view) {
    using G = typename F::grid_type;
    if (view.format != F::name().view())
      return error{errc::unsupported, "format of a packed matrix", view.format, F::name().view()};
    packed_matrix out;
    out.rows_ = view.rows;
    out.cols_ = view.cols;
    out.bytes_ = view.bytes;
    const auto size = static_cast<index_t>(view.bytes.size());
    if (size < detail::packed_head / 8 || detail::get_bits(view.bytes, 0, 32) != detail::packed_magic)
      return error{errc::malformed, "packed matrix", text(size, " bytes without its mark"),
                   "RQ02 and a head of 48 bytes"};
    if (status s = check_head(view); !s) return s.error();
    const auto words = static_cast<index_t>(detail::get_bits(view.bytes, 32, 32));
    out.format_.group = static_cast<index_t>(detail::get_bits(view.bytes, 64, 64));
    out.format_.group_rows = static_cast<index_t>(detail::get_bits(view.bytes, 128, 64));
    if (size < detail::packed_head / 8 + 4 * words || (words > 0 && !detail::has_state<G>))
      return error{errc::malformed, "packed matrix", text(words, " words of the grid's own"),
                   "those that the bytes hold"};
    if constexpr (detail::has_state<G>) {
      array<std::uint32_t> state(words);
      for (index_t i = 0; i < words; ++i)
        state[i] = static_cast<std::uint32_t>(detail::get_bits(view.bytes, detail::packed_head + 32 * i, 32));
      auto grid = G::try_read_state(state.span());
      if (!grid) return grid.error();
      out.format_.grid = std::move(*grid);
    }
    if (status s = check_format(out.format_, view.rows, view.cols); !s) return s.error();
    out.parts_ = count_parts(out.format_, view.rows, view.cols);
    if (stored_bits(out.format_, view.rows, view.cols) > 8.0 * static_cast<double>(size))
      return out.wrong_size(size, text("at least ", stored_bits(out.format_, view.rows, view.cols) / 8));
    out.at_ = detail::places_of(out.format_, out.parts_, words);
    if (size * 8 != out.at_.end) return out.wrong_size(size, text(out.at_.end / 8));
    if (status s = out.check_parameters(); !s) return s.error();
    return out;
  }

  detail::header_of<F> header(index_t i, index_t g) const noexcept {
    constexpr int bits = F::store_type::header_bits;
    constexpr index_t super = F::store_type::super_groups;
    if constexpr (bits == 0) return {};
    else {
      const index_t n = super == 0 ? 0 : i * parts_.supers_per_row + g / (super == 0 ? 1 : super);
      return format_.store.unpack_header(detail::get_bits(bytes_, at_.headers + n * bits, bits));
    }
  }
  // Of block g of row i of blocks.
  detail::parameters_of<F> parameters(index_t i, index_t g) const noexcept {
    const int bits = format_.store.template bits<detail::parameters_of<F>>();
    const index_t n = i * format_.layout(rows_, cols_).per_row() + g;
    return format_.store.template unpack<detail::parameters_of<F>>(
        detail::get_bits(bytes_, at_.parameters + n * bits, bits), header(i, g));
  }
  detail::code_of<F> code(index_t at) const noexcept {
    const int bits = format_.grid.code_bits();
    return detail::get_code<detail::code_of<F>>(bytes_, at_.codes + at * bits, bits);
  }

  // out := the values of rows [first, first + out.rows); first is a multiple of the grid's shape's rows, and so is out.rows where
  // rows follow.
  void decode_rows(index_t first, matrix_view<float> out) const noexcept {
    constexpr grid_shape shape = F::grid_type::shape;
    const block_layout layout = format_.layout(rows_, cols_);
    for (index_t r = first; r < first + out.rows; r += shape.rows)
      for (index_t g = 0; g < layout.per_row(); ++g) {
        const auto p = parameters(r / layout.height(), g);
        const index_t end = layout.first(g) + layout.size(g);
        for (index_t c = layout.first(g); c < end; c += shape.cols) {
          float values[static_cast<std::size_t>(shape.size())];
          format_.grid.decode(code(r / shape.rows * parts_.code_cols + c / shape.cols), p, values);
          for (index_t y = 0; y < shape.rows && r + y < first + out.rows; ++y)
            for (index_t x = 0; x < shape.cols && c + x < end; ++x)
              out(r - first + y, c + x) = values[y * shape.cols + x];
        }
      }
  }

 private:
  error wrong_size(index_t size, short_text<120> wanted) const noexcept {
    return {errc::malformed, "packed matrix", text(size, " bytes"), text(wanted.view(), " for ", rows_, " x ", cols_)};
  }
  // Whether the head says what stands beside the bytes. Errors: shape_mismatch, malformed.
  static status check_head(const packed_view& view) noexcept {
    const auto rows = static_cast<index_t>(detail::get_bits(view.bytes, 192, 64));
    const auto cols = static_cast<index_t>(detail::get_bits(view.bytes, 256, 64));
    if (rows != view.rows || cols != view.cols)
      return error{errc::shape_mismatch, "packed matrix", text(view.rows, " x ", view.cols),
                   text(rows, " x ", cols, ", as its bytes say")};
    if (detail::get_bits(view.bytes, 320, 64) == detail::format_mark(view.format)) return {};
    return error{errc::malformed, "packed matrix", text("bytes of another format than ", view.format), view.format};
  }
  // Errors: not_finite.
  status check_parameters() const noexcept {
    const index_t per_row = format_.layout(rows_, cols_).per_row();
    for (index_t g = 0; g < parts_.groups; ++g)
      if (!detail::finite_parameters(format_.grid, parameters(g / per_row, g % per_row)))
        return error{errc::not_finite,
                     text("parameters of group ", g % per_row, " of row ",
                          format_.layout(rows_, cols_).first_row(g / per_row), " of a packed matrix"),
                     "NaN or infinity", "finite numbers"};
    return {};
  }

  F format_{};
  index_t rows_ = 0, cols_ = 0;
  part_counts parts_;
  detail::packed_places at_;
  std::span<const std::byte> bytes_;
};

namespace detail {
// Whether every code lies in its first code_bits() bits, so that packing loses nothing; of codes that are numbers.
// Errors: invalid_argument.
template <static_format F>
status check_codes(const quantized<F>& q) {
  using C = code_of<F>;
  const int bits = q.format.grid.code_bits();
  if constexpr (std::is_unsigned_v<C>) {
    if (bits >= std::numeric_limits<C>::digits) return {};
    const index_t per_row = q.parts().code_cols;
    for (index_t c = 0; c < q.codes.size(); ++c)
      if (q.codes[c] >> bits != 0)
        return error{errc::invalid_argument, text("code ", c % per_row, " of row ", c / per_row),
                     text(static_cast<std::uint64_t>(q.codes[c])), text("less than 2^", bits)};
  }
  return {};
}
}  // namespace detail

// The bytes of a quantized matrix. Errors: what q.check finds; invalid_argument (a number as code that needs more than
// code_bits() bits); not_finite (parameters).
template <static_format F>
result<packed> try_pack(const quantized<F>& q) {
  using G = typename F::grid_type;
  if (status s = q.check(); !s) return s.error();
  if (status s = detail::check_codes(q); !s) return s.error();
  for (index_t g = 0; g < q.parameters.size(); ++g)
    if (!detail::finite_parameters(q.format.grid, q.parameters[g]))
      return error{errc::not_finite, text("parameters of group ", g), "NaN or infinity", "finite numbers"};
  packed out;
  out.format = F::name();
  out.rows = q.rows;
  out.cols = q.cols;
  index_t words = 0;
  if constexpr (detail::has_state<G>) words = q.format.grid.state_bits() / 32;
  const part_counts n = q.parts();
  const detail::packed_places at = detail::places_of(q.format, n, words);
  out.bytes.resize(at.end / 8);
  const std::span<std::byte> to = out.bytes.span();
  detail::put_bits(to, 0, detail::packed_magic, 32);
  detail::put_bits(to, 32, static_cast<std::uint64_t>(words), 32);
  detail::put_bits(to, 64, static_cast<std::uint64_t>(q.format.group), 64);
  detail::put_bits(to, 128, static_cast<std::uint64_t>(q.format.group_rows), 64);
  detail::put_bits(to, 192, static_cast<std::uint64_t>(q.rows), 64);
  detail::put_bits(to, 256, static_cast<std::uint64_t>(q.cols), 64);
  detail::put_bits(to, 320, detail::format_mark(out.format.view()), 64);
  if constexpr (detail::has_state<G>) {
    array<std::uint32_t> state(words);
    q.format.grid.write_state(state.span());
    for (index_t i = 0; i < words; ++i) detail::put_bits(to, detail::packed_head + 32 * i, state[i], 32);
  }
  constexpr int header_bits = F::store_type::header_bits;
  for (index_t h = 0; h < n.headers; ++h)
    detail::put_bits(to, at.headers + h * header_bits, q.format.store.pack_header(q.headers[h]), header_bits);
  const int bits = q.format.store.template bits<detail::parameters_of<F>>(), code_bits = q.format.grid.code_bits();
  const index_t per_row = q.layout().per_row();
  for (index_t g = 0; g < n.groups; ++g)
    detail::put_bits(to, at.parameters + g * bits,
                     q.format.store.pack(q.parameters[g], q.header_at(g / per_row, g % per_row)), bits);
  for (index_t c = 0; c < q.codes.size(); ++c) detail::put_code(to, at.codes + c * code_bits, q.codes[c], code_bits);
  return out;
}

// The quantized matrix of such bytes: its codes, parameters and headers; `outcome` is not stored. pack(unpack(bytes)) are the
// same bytes where pack wrote them. Errors: as packed_matrix::try_make.
template <static_format F>
result<quantized<F>> try_unpack(const packed_view& view) {
  const auto from = packed_matrix<F>::try_make(view);
  if (!from) return from.error();
  quantized<F> out;
  out.format = from->format();
  if (status s = out.try_resize(view.rows, view.cols); !s) return s.error();
  const index_t per_row = out.layout().per_row();
  const part_counts n = out.parts();
  if constexpr (F::store_type::header_bits > 0) {
    constexpr index_t super = F::store_type::super_groups;
    for (index_t h = 0; h < n.headers; ++h)
      out.headers[h] =
          super == 0 ? from->header(0, 0) : from->header(h / n.supers_per_row, h % n.supers_per_row * super);
  }
  for (index_t g = 0; g < n.groups; ++g) out.parameters[g] = from->parameters(g / per_row, g % per_row);
  for (index_t c = 0; c < out.codes.size(); ++c) out.codes[c] = from->code(c);
  return out;
}

// Formats among which visit looks. The user's own may be shorter, and hold formats of his own.
template <static_format... F>
struct format_list {};

namespace detail {
template <class Visit, class First, class... Rest>
auto visit_packed(const packed_view& view, Visit& f,
                  format_list<First, Rest...>) -> decltype(f(packed_matrix<First>{})) {
  if (view.format == First::name().view()) {
    auto m = packed_matrix<First>::try_make(view);
    if (!m) return m.error();
    return f(static_cast<const packed_matrix<First>&>(*m));
  }
  if constexpr (sizeof...(Rest) > 0) return visit_packed(view, f, format_list<Rest...>{});
  else
    return error{errc::unsupported, "format of a packed matrix", view.format, "one of the list that visit was given"};
}
}  // namespace detail

// f(packed_matrix<F>) of the format in List whose name the view has; f returns a status or a result, of one type for all of
// them. Errors: unsupported (a format that is not in the list), what packed_matrix::try_make finds, what f returns.
template <class List, class Visit>
auto try_visit(const packed_view& view, Visit&& f) {
  return detail::visit_packed(view, f, List{});
}

#if RESECT_EXCEPTIONS
template <static_format F>
packed pack(const quantized<F>& q) {
  return value_or_throw(try_pack(q));
}
template <static_format F>
quantized<F> unpack(const packed_view& view) {
  return value_or_throw(try_unpack<F>(view));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
