// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/residual/plan.hpp>

// Deltas replaced by their means over reference rows.
namespace RESECT_NAMESPACE::residual {

// The mean delta of every layer over reference rows, stored with fingerprints of the model and of these rows.
struct delta_means {
  int n_layers = 0;
  index_t width = 0;
  index_t rows = 0;             // number of averaged rows
  std::uint64_t model = 0;      // fingerprint of the model
  std::uint64_t reference = 0;  // fingerprint of the reference rows (sequence, position, token)
  array<float> mean;            // (n_layers, width)

  template <class = void>
  std::span<const float> of(int l) const noexcept {
    return {mean.data() + static_cast<index_t>(l) * width, static_cast<std::size_t>(width)};
  }
};

namespace operators {

// Δ_l := μ_l of a block.
struct mean_delta {
  static constexpr std::string_view id = "resect.mean_delta/1";
  int first_layer = 0;
  index_t width = 0;
  std::uint64_t model = 0, reference = 0;
  array<float> mean;  // (layers, width)

  operator_facts facts() const noexcept {
    return {.what = form::block, .overwrites = true, .reads_output = false, .width = width};
  }
  void fields(field_visitor& v) const {
    v.key("model", model, listed_by::source);
    v.key("reference", reference, listed_by::source);
    v.values("mean", mean.span(), listed_by::source);  // reports name the reference rows beside their table
  }
  status apply(const tap& at, matrix_view<const float> in, matrix_view<float> h) const noexcept {
    const float* m = mean.data() + (at.layer - first_layer) * width;
    for (index_t r = 0; r < h.rows; ++r)
      for (index_t c = 0; c < h.cols; ++c) h(r, c) = in(r, c) + m[c];
    return {};
  }
};

}  // namespace operators

// Replaces the delta of each layer by its mean over the reference rows: Δ_l := μ_l; the layer does not run. Errors:
// invalid_argument where `means` does not cover the range; shape_mismatch where the extents of `means` do not fit the
// number of its values.
template <class = void>
result<step> try_mean_delta(layer_range where, const delta_means& means) {
  if (where.first < 0 || where.last > means.n_layers || where.first >= where.last)
    return error{errc::invalid_argument, "layers of mean_delta", text("[", where.first, ", ", where.last, ")"),
                 text("layers 0 to ", means.n_layers - 1, " of the means")};
  if (means.width < 1 || means.mean.size() != means.n_layers * means.width)
    return error{errc::shape_mismatch, "means of mean_delta", text(means.mean.size(), " values"),
                 text(means.n_layers, " x ", means.width)};
  operators::mean_delta op{where.first, means.width, means.model, means.reference, {}};
  for (int l = where.first; l < where.last; ++l)
    for (const float x : means.of(l)) op.mean.push_back(x);
  return step{where, std::move(op)};
}

#if RESECT_EXCEPTIONS
template <class = void>
step mean_delta(layer_range where, const delta_means& means) {
  return value_or_throw(try_mean_delta(where, means));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
