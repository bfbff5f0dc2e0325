// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <resect/compress/stored_matrix.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/operand.hpp>
#include <resect/model/weight.hpp>
#include <resect/random/sketch.hpp>
#include <resect/version.hpp>

// What was made of a matrix, with the identity of the matrix that it was made from: an artifact of one model cannot go on
// another one. artifact_file.hpp has its bytes, graft.hpp puts artifacts on a model.
namespace RESECT_NAMESPACE::compress {

// The revision of artifacts: raised where bytes, hashes or checks change.
inline constexpr std::string_view artifact_revision = "resect.artifact/3";

// The methods of this library, each with its revision, which is raised where the method makes other parts of the same input.
inline constexpr std::string_view pack_weights_id = "resect.pack/1", pack_gptq_id = "resect.pack_gptq/1",
                                  pack_decomposed_id = "resect.pack_decomposed/1";

// Where artifacts come from, the same for all matrices of one run. Every field is text and none may be empty: what does
// not apply says "none".
struct artifact_run {
  std::string model;     // fingerprint of the model
  std::string method;    // id with its revision: "resect.pack_gptq/1"
  std::string options;   // all that changes what the method makes, with its hash
  std::string corpus;    // the texts that H was gathered from
  std::string seed;      // of the method
  std::string version;   // of the library
  std::string revision;  // artifact_revision

  friend bool operator==(const artifact_run&, const artifact_run&) = default;
};

// The fingerprint of one artifact.
struct artifact_identity {
  artifact_run run;
  std::string matrix;   // "layer 3, attn.q, 256 x 256"
  std::string source;   // hash of the matrix's values in fp32
  std::string format;   // of the parts
  std::string hessian;  // hash of H

  friend bool operator==(const artifact_identity&, const artifact_identity&) = default;
};

// f(name, text) for every field, in one order: the list that is stored, compared and checked.
template <class Run, class F>
  requires std::same_as<std::remove_const_t<Run>, artifact_run>
void for_each_field(Run& r, F f) {
  f("model", r.model);
  f("method", r.method);
  f("options", r.options);
  f("corpus", r.corpus);
  f("seed", r.seed);
  f("version", r.version);
  f("revision", r.revision);
}
template <class Identity, class F>
  requires std::same_as<std::remove_const_t<Identity>, artifact_identity>
void for_each_field(Identity& id, F f) {
  for_each_field(id.run, f);
  f("matrix", id.matrix);
  f("source", id.source);
  f("format", id.format);
  f("hessian", id.hessian);
}

// Error: invalid_argument names the first field that is empty.
template <class Identity>
status check_fields(const Identity& id) {
  status out;
  for_each_field(id, [&](std::string_view name, const std::string& value) {
    if (out && value.empty())
      out = error{errc::invalid_argument, text("fingerprint field ", name), "an empty text", "what it is, or \"none\""};
  });
  return out;
}

namespace detail {
// What an error shows of a text that differs from another one: all of it, or, where both agree in more than an error shows,
// the end of what is equal and what differs.
inline std::string shown_difference(std::string_view t, std::string_view other) {
  constexpr std::size_t most = 120, before = 20;
  if (t.size() <= most && other.size() <= most) return std::string(t);
  std::size_t same = 0;
  while (same < t.size() && same < other.size() && t[same] == other[same]) ++same;
  if (same < most / 2) return std::string(t);
  std::size_t from = same - before;
  while (from < same && (static_cast<unsigned char>(t[from]) & 0xC0) == 0x80) ++from;  // inside a character of UTF-8
  return "…" + std::string(t.substr(from));
}
// The id of a method without its revision: "resect.pack".
constexpr std::string_view method_stem(std::string_view id) noexcept { return id.substr(0, id.rfind('/')); }

// Whether a method of this library has the revision that it has now; of other methods nothing is known. Error: conflict.
inline status check_method_revision(std::string_view id, std::string_view whole) {
  for (const std::string_view known : {pack_weights_id, pack_gptq_id, pack_decomposed_id})
    if (method_stem(id) == method_stem(known) && id != known)
      return error{errc::conflict, text(whole, ": revision of the method"), id, known};
  return {};
}
}  // namespace detail

// Whether two identities agree in every field. Error: conflict names the first field that differs, with both texts, as a
// part of what `whole` names; of long texts what differs is shown.
template <class Identity>
status check_same(const Identity& got, const Identity& wanted, std::string_view whole) {
  array<std::string> all;
  for_each_field(wanted, [&](std::string_view, const std::string& value) { all.push_back(value); });
  status out;
  index_t i = 0;
  for_each_field(got, [&](std::string_view name, const std::string& value) {
    const std::string& other = all[i++];
    if (out && value != other)
      out = error{errc::conflict, text(whole, ": ", name), std::string_view(detail::shown_difference(value, other)),
                  std::string_view(detail::shown_difference(other, value))};
  });
  return out;
}

// "layer 3, attn.q, 256 x 256".
inline std::string matrix_text(const model::weight_desc& w) {
  return std::string(text("layer ", w.layer, ", ", w.name.view(), ", ", w.rows, " x ", w.cols).view());
}

// Hash of a matrix's extents and values, row by row. Distinguishes matrices and does not resist an adversary.
inline std::uint64_t source_hash(matrix_view<const float> w) {
  fingerprint f;
  f.add(static_cast<std::uint64_t>(w.rows)).add(static_cast<std::uint64_t>(w.cols));
  array<float> row(w.cols);
  for (index_t r = 0; r < w.rows; ++r) {
    for (index_t c = 0; c < w.cols; ++c) row[c] = w(r, c);
    f.add(std::as_const(row).span());
  }
  return f.value();
}

// How near Ŵ is to W. A wrong artifact of a study had a correlation of −0.013 where right ones have 0.96.
struct artifact_quality {
  double correlation = 0;     // of the entries, about their means; of a constant matrix 1 where Ŵ = W, else 0
  double relative_error = 0;  // ‖W − Ŵ‖_F / ‖W‖_F; 0/0 = 0
};

// Sums in double in a fixed order, about the means. Error: shape_mismatch.
inline result<artifact_quality> try_quality(matrix_view<const float> w, matrix_view<const float> approximation) {
  if (auto s = check_view(approximation, w.rows, w.cols, "the approximation"); !s) return s.error();
  const double n = static_cast<double>(w.rows) * static_cast<double>(w.cols);
  double mean_w = 0, mean_a = 0, squares = 0, lost = 0;
  const auto each = [&](auto f) {
    for (index_t r = 0; r < w.rows; ++r)
      for (index_t c = 0; c < w.cols; ++c) f(static_cast<double>(w(r, c)), static_cast<double>(approximation(r, c)));
  };
  each([&](double x, double y) {
    mean_w += x;
    mean_a += y;
    squares += x * x;
    lost += (x - y) * (x - y);
  });
  mean_w /= n;
  mean_a /= n;
  double ww = 0, aa = 0, wa = 0;
  each([&](double x, double y) {
    ww += (x - mean_w) * (x - mean_w);
    aa += (y - mean_a) * (y - mean_a);
    wa += (x - mean_w) * (y - mean_a);
  });
  artifact_quality out;
  out.relative_error = lost == 0 ? 0 : std::sqrt(lost / squares);
  out.correlation = ww > 0 && aa > 0 ? wa / (std::sqrt(ww) * std::sqrt(aa)) : lost == 0 ? 1 : 0;
  return out;
}
// The same of any operands of floats.
template <operand_of<float> W, operand_of<float> A>
result<artifact_quality> try_quality(const W& w, const A& approximation) {
  return on_view(w, "W", [&](matrix_view<const float> of) {
    return on_view(approximation, "the approximation",
                   [&](matrix_view<const float> by) { return try_quality(of, by); });
  });
}

// One matrix: its fingerprint, a sketch of its source, what stands for it, and how near that is.
struct artifact {
  artifact_identity id;
  random::matrix_sketch sketch;
  artifact_quality quality;
  stored_matrix stored;
};

// The artifact of W (m, n), as `stored` stands for it. `hessian` is the hash of H in text, or "none"; the sketch has the
// given seed. Errors: invalid_argument (an empty field, a Ŵ other than 0 of W = 0), what try_values and random::try_sketch find.
template <class List = quant::all_formats, dense_backend<double> B>
result<artifact> try_make_artifact(B& exec, const artifact_run& run, const model::weight_desc& w,
                                   matrix_view<const float> values, std::string hessian, stored_matrix stored,
                                   random::sketch_options sketch = {}) {
  if (auto s = check_view(values, w.rows, w.cols, "W"); !s) return s.error();
  matrix<float> made(w.rows, w.cols);
  if (auto s = try_values<List>(exec, stored, made.view()); !s) return s.error();
  auto of_source = random::try_sketch(exec, values, sketch);
  if (!of_source) return of_source.error();
  const auto quality = try_quality(values, std::as_const(made).view());
  if (!quality) return quality.error();
  if (!(quality->relative_error - quality->relative_error == 0))
    return error{errc::invalid_argument, text("what stands for ", matrix_text(w)), "values other than 0", "0, as W is"};
  artifact out;
  out.id = {run, matrix_text(w), std::string(hexadecimal(source_hash(values)).view()), stored.format(),
            std::move(hessian)};
  out.sketch = std::move(*of_source);
  out.quality = *quality;
  out.stored = std::move(stored);
  if (auto s = check_fields(out.id); !s) return s.error();
  return out;
}

// Whether an artifact was made from these values of this matrix, in this revision, and is as near to them as it says:
// revision, that of the method where it is of this library, matrix, hash of the source, sketch, format, correlation and relative error. `made` (m, n) receives Ŵ.
//   Errors: conflict names what differs, with the artifact's identity first and the matrix's second; where the sources
//   differ it says how far they are apart by their sketches. What try_values finds.
template <class List = quant::all_formats, dense_backend<double> B>
status try_check_artifact(B& exec, const artifact& a, const model::weight_desc& w, matrix_view<const float> values,
                          matrix_view<float> made) {
  const auto whole = text("artifact of ", a.id.matrix);
  const auto differs = [&](std::string_view what, short_text<120> got, short_text<120> wanted) -> status {
    return error{errc::conflict, text(whole.view(), ": ", what), got, wanted};
  };
  if (auto s = check_view(values, w.rows, w.cols, "W"); !s) return s;
  if (a.id.run.revision != artifact_revision) return differs("revision", text(a.id.run.revision), artifact_revision);
  if (auto s = detail::check_method_revision(a.id.run.method, whole.view()); !s) return s;
  if (a.id.matrix != matrix_text(w)) return differs("matrix", text(a.id.matrix), text(matrix_text(w)));
  const auto now = random::try_sketch(exec, values, {a.sketch.seed, a.sketch.buckets.size()});
  if (!now) return now.error().within(whole.view());
  const auto apart = random::try_compare(*now, a.sketch);
  if (!apart) return apart.error().within(whole.view());
  if (const auto hash = hexadecimal(source_hash(values)); a.id.source != hash.view() || !apart->identical)
    return differs("source", text(a.id.source, " of model ", a.id.run.model),
                   text(hash.view(), ", at a relative distance of ", apart->relative));
  if (a.id.format != a.stored.format()) return differs("format", text(a.id.format), text(a.stored.format()));
  if (auto s = try_values<List>(exec, a.stored, made); !s) return s.error().within(whole.view());
  const auto is = try_quality(values, made);
  if (!is) return is.error();
  constexpr double rounding = 1e-5;  // L·R is multiplied by any backend
  if (!(std::abs(is->correlation - a.quality.correlation) <= rounding))
    return differs("correlation", text(a.quality.correlation), text(is->correlation));
  if (!(std::abs(is->relative_error - a.quality.relative_error) <= rounding))
    return differs("relative error", text(a.quality.relative_error), text(is->relative_error));
  return {};
}

}  // namespace RESECT_NAMESPACE::compress
