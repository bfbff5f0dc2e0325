// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include <resect/core/finite.hpp>
#include <resect/core/scratch.hpp>
#include <resect/residual/plan.hpp>

// A coder of rows (a sparse autoencoder, for one) spliced into the stream.
namespace RESECT_NAMESPACE::residual {

// A coder of rows: f = encode(h), ĥ = decode(f), with an identity. encode writes all `features()` values of f, decode all
// `width()` values of ĥ.
template <class C>
concept row_codec = requires(const C& c, field_visitor& v, std::span<const float> in, std::span<float> out) {
  { c.id } -> std::convertible_to<std::string_view>;
  c.fields(v);
  { c.width() } -> std::convertible_to<index_t>;
  { c.features() } -> std::convertible_to<index_t>;
  { c.encode(in, out) } noexcept;
  { c.decode(in, out) } noexcept;
};
// A coder that also reconstructs whole blocks of rows at once: out (B, d) ← decode(encode(x)) of every row of x (B, d), up to
// rounding; out may be x. Splices that drop the error and edit no feature go through it.
template <class C>
concept block_codec = row_codec<C> && requires(const C& c, matrix_view<const float> x, matrix_view<float> out) {
  { c.try_recode(x, out) } -> std::same_as<status>;
};
// An edit of the features of one row, with an identity.
template <class E>
concept feature_edit = requires(const E& e, field_visitor& v, const row_meta& row, std::span<float> f) {
  { e.id } -> std::convertible_to<std::string_view>;
  e.fields(v);
  { e.apply(row, f) } noexcept;
};
// An edit that a plan can refuse: check(features) gives an error where the edit does not fit a coder of so many features.
template <class E>
concept checked_edit = feature_edit<E> && requires(const E& e) {
  { e.check(index_t{}) } -> std::same_as<status>;
};

// What becomes of h − decode(encode(h)), the error of the coder: `keep` adds it again, so that only the edit counts; `drop`
// leaves it out, so that the coder's damage counts, too.
enum class codec_error : std::uint8_t { keep, drop };

// The edit that changes no feature.
struct no_edit {
  static constexpr std::string_view id = "resect.features.keep/1";
  void fields(field_visitor&) const noexcept {}
  void apply(const row_meta&, std::span<float>) const noexcept {}
};
// Sets one feature to factor·f + value: 0 and 0 ablate it, 0 and c clamp it.
struct edit_feature {
  static constexpr std::string_view id = "resect.features.edit/1";
  index_t feature = 0;
  float factor = 0, value = 0;
  void fields(field_visitor& v) const {
    v.number("feature", static_cast<double>(feature));
    v.number("feature_factor", static_cast<double>(factor));
    v.number("feature_value", static_cast<double>(value));
  }
  status check(index_t features) const {
    if (feature < 0 || feature >= features)
      return error{errc::invalid_argument, "feature of edit_feature", text(feature), text("0 to ", features - 1)};
    for (const float x : {factor, value})
      if (!is_finite(x)) return error{errc::not_finite, "factor or value of edit_feature", text(x), "finite numbers"};
    return {};
  }
  void apply(const row_meta&, std::span<float> f) const noexcept {
    if (feature < 0 || feature >= static_cast<index_t>(f.size())) return;
    float& x = f[static_cast<std::size_t>(feature)];
    x = factor * x + value;
  }
};

namespace operators {

// keep: h + dec(f′) − dec(f); drop: dec(f′).
template <row_codec C, feature_edit E>
struct codec {
  std::string_view id;
  codec_error error;
  C code;
  E edit;

  operator_facts facts() const noexcept { return {.width = code.width()}; }
  void fields(field_visitor& v) const {
    v.word("code", code.id);
    code.fields(v);
    v.word("edit", edit.id);
    edit.fields(v);
  }
  status check() const {
    if constexpr (checked_edit<E>) return edit.check(code.features());
    else return {};
  }
  status apply(const tap& at, matrix_view<const float>, matrix_view<float> h) const {
    if constexpr (block_codec<C> && std::same_as<E, no_edit>)
      if (error == codec_error::drop) return code.try_recode(h, h);
    scratch_frame memory{at.memory};
    const index_t n = code.features();
    const auto f = memory.take<float>(n), edited = memory.take<float>(n);
    const auto before = memory.take<float>(h.cols), after = memory.take<float>(h.cols);
    for (index_t r = 0; r < h.rows; ++r) {
      code.encode(h.row_span(r), f);
      std::memcpy(edited.data(), f.data(), f.size_bytes());
      edit.apply(at.rows[static_cast<std::size_t>(r)], edited);
      const bool same = std::memcmp(edited.data(), f.data(), f.size_bytes()) == 0;
      if (error == codec_error::keep && same) continue;  // no bit of h changes, nor the sign of a zero
      code.decode(edited, after);
      if (error == codec_error::keep) code.decode(f, before);
      for (index_t c = 0; c < h.cols; ++c) {
        const auto i = static_cast<std::size_t>(c);
        h(r, c) = error == codec_error::keep ? h(r, c) + (after[i] - before[i]) : after[i];
      }
    }
    return {};
  }
};

}  // namespace operators

// Splices a coder into the rows at a site: f = encode(h), f′ = edit(f); with codec_error::keep
// h := h + (decode(f′) − decode(f)), where an edit that changes no feature changes no bit; with codec_error::drop
// h := decode(f′), where no_edit measures the damage of the coder alone.
//   splice(codec_error::keep, layer(6), site::resid_post, sae, edit_feature{1234, 0, 0})
// Cost: of a block_codec that of its blocks where it can; else one encode a row, and one decode (drop) or two (keep) where the edit changes it. Three roundings an element
// besides the coder's. A plan refuses an edit_feature of a feature that the coder lacks (invalid_argument) or with values
// that are not finite.
template <row_codec C, feature_edit E = no_edit>
step splice(codec_error error, layer_range where, site at, C code, E edit = {}) {
  const std::string_view id = error == codec_error::keep ? "resect.codec.keep/1" : "resect.codec.drop/1";
  return {where, at, operators::codec<C, E>{id, error, std::move(code), std::move(edit)}};
}

}  // namespace RESECT_NAMESPACE::residual
