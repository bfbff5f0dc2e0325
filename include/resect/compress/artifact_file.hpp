// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/compress/artifact.hpp>
#include <resect/io/safetensors_writer.hpp>

// Artifacts as safetensors files, which Python's package loads. `__metadata__` holds "resect.checksum" first, of the whole
// file, then the fingerprint; one file a matrix, and one that lists them. Tensors of the matrix attn.q of layer 3:
//   layers.3.attn.q.sketch    F64 [K]       random/sketch.hpp
//   layers.3.attn.q.quality   F64 [3]       correlation, relative error, ‖W‖_F²
//   layers.3.attn.q.numbers   I64 [6]       rows, columns, rank, layer, seed and revision of the sketch
//   layers.3.attn.q.q, .l, .r U8 [bytes]    packed (quant/packed.hpp), or F32 [rows, columns]; .l is Lᵀ
// Needs nlohmann-json.
namespace RESECT_NAMESPACE::compress {

namespace detail {

using metadata_list = std::vector<std::pair<std::string, std::string>>;

inline constexpr std::string_view checksum_key = "resect.checksum";
// What every artifact file begins with, behind the length of its header; 16 digits follow.
inline constexpr std::string_view checksum_begin = "{\"__metadata__\":{\"resect.checksum\":\"0x";
inline constexpr std::size_t checksum_at = 8 + checksum_begin.size();
inline constexpr std::string_view no_checksum = "0x0000000000000000";

// Of all bytes but the 16 digits of the checksum itself.
inline short_text<18> checksum_of(std::span<const std::byte> file) {
  fingerprint f;
  f.add_bytes(file.data(), checksum_at).add_bytes(file.data() + checksum_at + 16, file.size() - checksum_at - 16);
  return hexadecimal(f.value());
}

// A file with its checksum in place.
inline result<array<std::byte>> try_seal(std::span<const io::safetensor> tensors, const metadata_list& fields) {
  metadata_list all{{std::string(checksum_key), std::string(no_checksum)}};
  all.insert(all.end(), fields.begin(), fields.end());
  auto out = io::try_write_safetensors(tensors, all);
  if (!out) return out.error();
  const auto sum = checksum_of(std::as_const(*out).span());
  for (std::size_t i = 0; i < 16; ++i)
    (*out)[static_cast<index_t>(checksum_at + i)] = static_cast<std::byte>(sum.view()[2 + i]);
  return out;
}

// The checksum that a file states. Errors: malformed (no artifact file, cut short, any byte changed).
inline result<std::string> try_checksum(std::span<const std::byte> file) {
  const std::string_view all = io::as_text(file);
  if (all.size() < checksum_at + 16 || all.substr(8, checksum_begin.size()) != checksum_begin)
    return error{errc::malformed, "artifact file", text(file.size(), " bytes without a checksum"),
                 "a safetensors file that begins with resect.checksum"};
  std::string stated = "0x" + std::string(all.substr(checksum_at, 16));
  const auto is = checksum_of(file);
  if (stated == is.view()) return result<std::string>(std::move(stated));
  return error{errc::malformed, "checksum of an artifact file", is.view(),
               text(io::shown(stated).view(), ", as the file states")};
}

// What a sealed file says. Errors: malformed.
inline result<io::safetensors_contents> try_unseal(std::span<const std::byte> file) {
  if (const auto sum = try_checksum(file); !sum) return sum.error();
  return io::try_read_safetensors(file);
}

inline result<std::string> try_field(const io::safetensors_contents& file, std::string_view name) {
  for (const auto& [key, value] : file.metadata())
    if (key.substr(0, 7) == "resect." && std::string_view(key).substr(7) == name)
      return result<std::string>(std::string(value));
  return error{errc::malformed, text("artifact file: resect.", name), "no such field", "a text"};
}

// Reads every field. Errors: malformed (one that is missing), invalid_argument (one that is empty).
template <class Identity>
status try_read_fields(const io::safetensors_contents& file, Identity& to) {
  status out;
  for_each_field(to, [&](std::string_view name, std::string& value) {
    if (!out) return;
    auto found = try_field(file, name);
    if (found) value = std::move(*found);
    else out = found.error();
  });
  return out ? check_fields(to) : out;
}
template <class Identity>
void add_fields(const Identity& from, metadata_list& to) {
  for_each_field(from, [&](std::string_view name, const std::string& value) {
    to.emplace_back("resect." + std::string(name), value);
  });
}

// Numbers of 8 bytes, little-endian, as a tensor's bytes.
template <class T>
array<std::byte> bytes_of(std::span<const T> values) {
  array<std::byte> out;
  for (const T v : values)
    for (int shift = 0; shift < 64; shift += 8)
      out.push_back(static_cast<std::byte>(std::bit_cast<std::uint64_t>(v) >> shift & 0xFF));
  return out;
}
template <class T>
result<array<T>> try_numbers(const io::safetensors_contents& file, const std::string& name, std::string_view dtype,
                             index_t least, index_t most) {
  const io::safetensor* t = file.find(name);
  if (t == nullptr || t->dtype != dtype || t->extents.size() != 1 || t->values < least || t->values > most)
    return error{errc::malformed, text("tensor ", io::shown(name).view()), "none of that kind",
                 text(dtype, " [", least, "] to [", most, "]")};
  array<T> out;
  for (index_t i = 0; i < t->values; ++i)
    out.push_back(std::bit_cast<T>(io::load_little<std::uint64_t>(t->bytes.data() + 8 * i)));
  return out;
}

// The name that the tensors of a matrix begin with; the first words of matrix_text are "layer 3, attn.q, ".
inline std::string tensor_prefix(index_t layer, std::string_view matrix) {
  const std::size_t begin = matrix.find(", ") + 2, end = matrix.rfind(", ");
  return "layers." + std::to_string(layer) + '.' + std::string(matrix.substr(begin, end - begin)) + '.';
}
inline index_t layer_of(std::string_view matrix) noexcept {
  index_t out = 0;
  for (const char c : matrix.substr(0, matrix.find(',')))
    out = c >= '0' && c <= '9' ? 10 * (out % 1'000'000'000) + (c - '0') : 0;
  return out;
}

inline result<quant::packed> try_part(const io::safetensors_contents& file, const std::string& name, index_t rows,
                                      index_t cols, std::string_view format) {
  const io::safetensor* t = file.find(name);
  if (t == nullptr) return error{errc::malformed, text("tensor ", io::shown(name).view()), "no such tensor", "a part"};
  const bool plain = format == plain_floats;
  if (t->dtype != (plain ? "F32" : "U8") || (plain && t->extents != std::vector<index_t>{rows, cols}) ||
      (!plain && t->extents.size() != 1))
    return error{errc::malformed, text("tensor ", io::shown(name).view()), t->dtype,
                 text(plain ? "F32" : "U8", " of ", rows, " x ", cols)};
  quant::packed out{format, rows, cols, array<std::byte>(t->bytes)};
  if (!(out.format == format))
    return error{errc::malformed, text("format of ", io::shown(name).view()), io::shown(format).view(), "a short name"};
  return out;
}

}  // namespace detail

// The bytes of an artifact. Same artifact, same bytes. Errors: invalid_argument (an empty field), what stored.check finds,
// what io::try_write_safetensors finds.
inline result<array<std::byte>> try_write_artifact(const artifact& a) {
  if (auto s = check_fields(a.id); !s) return s.error();
  if (auto s = a.stored.check(); !s) return s.error();
  const index_t layer = detail::layer_of(a.id.matrix);
  const std::string prefix = detail::tensor_prefix(layer, a.id.matrix);
  const double quality[] = {a.quality.correlation, a.quality.relative_error, a.sketch.squared_norm};
  const std::int64_t numbers[] = {a.stored.rows,
                                  a.stored.cols,
                                  a.stored.rank(),
                                  layer,
                                  std::bit_cast<std::int64_t>(a.sketch.seed),
                                  std::int64_t{a.sketch.revision}};
  const auto sketch = detail::bytes_of(a.sketch.buckets.span());
  const auto quality_bytes = detail::bytes_of(std::span<const double>(quality));
  const auto number_bytes = detail::bytes_of(std::span<const std::int64_t>(numbers));
  detail::metadata_list fields{{"resect.kind", "matrix"}};
  detail::add_fields(a.id, fields);
  std::vector<io::safetensor> tensors{{prefix + "sketch", "F64", {a.sketch.buckets.size()}, 0, sketch.span()},
                                      {prefix + "quality", "F64", {3}, 0, quality_bytes.span()},
                                      {prefix + "numbers", "I64", {6}, 0, number_bytes.span()}};
  const auto add = [&](const char* name, const quant::packed& p) {
    fields.emplace_back("resect.part." + std::string(name), std::string(p.format.view()));
    io::safetensor t{prefix + name, "U8", {p.bytes.size()}, 0, p.bytes.span()};
    if (p.format == plain_floats) {
      t.dtype = "F32";
      t.extents = {p.rows, p.cols};
    }
    tensors.push_back(std::move(t));
  };
  if (a.stored.has_base()) add("q", a.stored.q);
  if (a.stored.has_pair()) {
    add("l", a.stored.l);
    add("r", a.stored.r);
  }
  return detail::try_seal(tensors, fields);
}

// The artifact that these bytes hold. Nothing of them is trusted. Errors: malformed (cut short, any byte changed, no
// artifact, a field or tensor that is missing), invalid_argument (an empty field), conflict (another revision), what
// stored.check finds.
inline result<artifact> try_read_artifact(std::span<const std::byte> bytes) {
  const auto file = detail::try_unseal(bytes);
  if (!file) return file.error();
  artifact out;
  if (auto s = detail::try_read_fields(*file, out.id); !s) return s.error();
  if (out.id.run.revision != artifact_revision)
    return error{errc::conflict, text("artifact of ", out.id.matrix, ": revision"),
                 std::string_view(out.id.run.revision), artifact_revision};
  const std::string prefix = detail::tensor_prefix(detail::layer_of(out.id.matrix), out.id.matrix);
  const auto numbers = detail::try_numbers<std::int64_t>(*file, prefix + "numbers", "I64", 6, 6);
  if (!numbers) return numbers.error();
  const auto quality = detail::try_numbers<double>(*file, prefix + "quality", "F64", 3, 3);
  if (!quality) return quality.error();
  auto sketch = detail::try_numbers<double>(*file, prefix + "sketch", "F64", 8, 4096);
  if (!sketch) return sketch.error();
  const index_t rows = (*numbers)[0], cols = (*numbers)[1], rank = (*numbers)[2];
  out.stored.rows = rows;
  out.stored.cols = cols;
  out.quality = {(*quality)[0], (*quality)[1]};
  out.sketch = {static_cast<std::uint32_t>((*numbers)[5]),
                std::bit_cast<std::uint64_t>((*numbers)[4]),
                rows,
                cols,
                (*quality)[2],
                std::move(*sketch)};
  const auto read = [&](const char* name, index_t m, index_t n, quant::packed& to) -> status {
    const auto format = detail::try_field(*file, "part." + std::string(name));
    if (!format) return {};  // the part is left out
    auto part = detail::try_part(*file, prefix + name, m, n, *format);
    if (!part) return part.error();
    to = std::move(*part);
    return {};
  };
  if (auto s = read("q", rows, cols, out.stored.q); !s) return s.error();
  if (auto s = read("l", rank, rows, out.stored.l); !s) return s.error();
  if (auto s = read("r", rank, cols, out.stored.r); !s) return s.error();
  if (auto s = out.stored.check(); !s) return s.error();
  return out;
}

// The artifacts of a model, as the file "artifact.safetensors" lists them: it is written last, so that it is there only
// where all others are.
struct artifact_list {
  artifact_run run;
  std::vector<std::pair<std::string, std::string>> files;  // name, checksum
};
// The name of its file.
inline constexpr std::string_view artifact_list_name = "artifact.safetensors";

// Its bytes. Errors: invalid_argument (an empty field), what io::try_write_safetensors finds.
inline result<array<std::byte>> try_write_artifact_list(const artifact_list& list) {
  if (auto s = check_fields(list.run); !s) return s.error();
  detail::metadata_list fields{{"resect.kind", "model"}};
  detail::add_fields(list.run, fields);
  for (const auto& [name, checksum] : list.files) fields.emplace_back("resect.file." + name, checksum);
  return detail::try_seal({}, fields);
}

// The list that these bytes hold. Errors: malformed, invalid_argument (an empty field), conflict (another revision).
inline result<artifact_list> try_read_artifact_list(std::span<const std::byte> bytes) {
  const auto file = detail::try_unseal(bytes);
  if (!file) return file.error();
  const auto kind = detail::try_field(*file, "kind");
  if (!kind || *kind != "model")
    return error{errc::malformed, "list of artifacts", kind ? std::string_view(*kind) : "no kind",
                 "the kind \"model\""};
  artifact_list out;
  if (auto s = detail::try_read_fields(*file, out.run); !s) return s.error();
  if (out.run.revision != artifact_revision)
    return error{errc::conflict, "list of artifacts: revision", std::string_view(out.run.revision), artifact_revision};
  constexpr std::string_view begin = "resect.file.";
  for (const auto& [key, value] : file->metadata())
    if (std::string_view(key).substr(0, begin.size()) == begin) out.files.emplace_back(key.substr(begin.size()), value);
  return result<artifact_list>(std::move(out));
}

}  // namespace RESECT_NAMESPACE::compress
