// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/finite.hpp>
#include <resect/residual/scale.hpp>

// Deltas replaced by their means over reference rows.
namespace RESECT_NAMESPACE::residual {

// The mean delta of every layer over reference rows, of all rows or of the rows at each position, stored with fingerprints
// of the model and of the reference. residual::try_means makes it from a row_store, study::try_delta_means from a text.
struct delta_means {
  int n_layers = 0;
  index_t width = 0;
  index_t rows = 0;         // number of averaged rows
  std::uint64_t model = 0;  // fingerprint of the model (0: not known); plans refuse to run on another one
  std::uint64_t reference =
      0;                      // tells references apart: of try_means row_store::hash, of study the windows' fingerprint
  array<float> mean;          // (n_layers, width), or (n_layers, positions, width)
  index_t positions = 0;      // 0: one mean for all positions
  delta what = delta::block;  // whose delta

  // The means of one layer.
  template <class = void>
  std::span<const float> of(int l) const noexcept {
    const index_t n = values_of_layer();
    return {mean.data() + static_cast<index_t>(l) * n, static_cast<std::size_t>(n)};
  }
  index_t values_of_layer() const noexcept { return (positions == 0 ? 1 : positions) * width; }
};

namespace operators {

// Δ_l := μ_l, or μ_l at the row's position.
template <delta Which>
struct mean_delta {
  static constexpr std::string_view id = Which == delta::block       ? "resect.mean_delta/1"
                                         : Which == delta::attention ? "resect.mean_delta.attention/1"
                                                                     : "resect.mean_delta.mlp/1";
  int first_layer = 0;
  index_t width = 0, positions = 0;
  std::uint64_t model = 0, reference = 0;
  array<float> mean;  // (layers, positions or 1, width)

  operator_facts facts() const noexcept {
    operator_facts f{.overwrites = true, .width = width, .model = model};
    if (Which == delta::block) f.what = form::block, f.reads_output = false;
    else f.sites = {detail::site_of(Which)};
    return f;
  }
  void fields(field_visitor& v) const {
    v.number("positions", static_cast<double>(positions), 0.0);
    v.key("model", model, listed_by::source);
    v.key("reference", reference, listed_by::source);
    v.values("mean", mean.span(), listed_by::source);  // reports name the reference rows beside their table
  }
  status check_row(int, const row_meta& row) const noexcept {
    if (positions == 0 || (row.pos >= 0 && row.pos < positions)) return {};
    return error{errc::invalid_argument, text("means of ", plain_name(id)),
                 text("sequence ", row.seq, " position ", row.pos), text("a position below ", positions)};
  }
  status apply(const tap& at, matrix_view<const float> in, matrix_view<float> h) const noexcept {
    const float* const all = mean.data() + (at.layer - first_layer) * (positions == 0 ? 1 : positions) * width;
    for (index_t r = 0; r < h.rows; ++r) {
      const float* m = all;
      if (positions != 0) {
        const row_meta& row = at.rows[static_cast<std::size_t>(r)];
        if (!check_row(at.layer, row)) continue;  // a pad
        m += row.pos * width;
      }
      for (index_t c = 0; c < h.cols; ++c) h(r, c) = Which == delta::block ? in(r, c) + m[c] : m[c];
    }
    return {};
  }
};

}  // namespace operators

// Replaces the delta of each layer by its mean over the reference rows, Δ_l := μ_l, or by the mean at the row's position;
// a layer whose block delta is replaced does not run. Errors: invalid_argument where `means` does not cover the range;
// shape_mismatch where the extents of `means` do not fit the number of its values; not_finite for a mean of the range that is
// NaN or infinite. plan::check reports invalid_argument for a model with another fingerprint. With means by position a pass
// reports invalid_argument for a row at a position that has none.
template <class = void>
result<step> try_mean_delta(layer_range where, const delta_means& means) {
  if (where.first < 0 || where.last > means.n_layers || where.first >= where.last)
    return error{errc::invalid_argument, "layers of mean_delta", text("[", where.first, ", ", where.last, ")"),
                 text("layers 0 to ", means.n_layers - 1, " of the means")};
  if (means.width < 1 || means.positions < 0 || means.mean.size() != means.n_layers * means.values_of_layer())
    return error{errc::shape_mismatch, "means of mean_delta", text(means.mean.size(), " values"),
                 means.positions == 0 ? text(means.n_layers, " x ", means.width)
                                      : text(means.n_layers, " x ", means.positions, " x ", means.width)};
  array<float> mean;
  for (int l = where.first; l < where.last; ++l)
    for (const float x : means.of(l)) {
      if (!is_finite(x))
        return error{errc::not_finite, text("means of mean_delta in layer ", l), text(x), "finite means"};
      mean.push_back(x);
    }
  const auto make = [&]<delta Which>() {
    return operators::mean_delta<Which>{where.first, means.width,     means.positions,
                                        means.model, means.reference, std::move(mean)};
  };
  switch (means.what) {
    case delta::attention: return step { where, site::attn_delta, make.template operator()<delta::attention>() };
    case delta::mlp: return step { where, site::mlp_delta, make.template operator()<delta::mlp>() };
    default: return step { where, make.template operator()<delta::block>() };
  }
}

#if RESECT_EXCEPTIONS
template <class = void>
step mean_delta(layer_range where, const delta_means& means) {
  return value_or_throw(try_mean_delta(where, means));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
