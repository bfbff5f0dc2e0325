// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <optional>
#include <utility>

#include <resect/student/closed_form/affine.hpp>
#include <resect/student/closed_form/channel.hpp>
#include <resect/student/closed_form/cosine.hpp>
#include <resect/student/closed_form/linear_patch.hpp>
#include <resect/student/closed_form/reduced_rank.hpp>
#include <resect/student/closed_form/scalar.hpp>
#include <resect/student/gather_moments.hpp>
#include <resect/student/span_map.hpp>

// Every closed-form map of one span, from one set of moments.
namespace RESECT_NAMESPACE::student {

// Options of fitting all maps of a span: the penalties, the rank of the reduced map (0: an eighth of the width) and the
// cosine fit, which needs rows that were kept.
struct closed_form_options {
  ridge_options ridge{};
  index_t rank = 0;
  cosine_options cosine{};
};

// The maps of one span. `cosine` is empty where the span kept fewer than 8 rows.
struct closed_forms {
  residual::layer_range span;
  apart_rows apart;
  scalar_map scalar;
  channel_map channel;
  linear_patch_map linear_patch;
  affine_fit affine;
  reduced_rank_fit reduced_rank;
  std::optional<cosine_fit> cosine;
  index_t rows = 0, rows_apart = 0;

  // Calls f(name, map) for every map of the span, the identity first: from the least to the most that a map can do.
  template <class F>
  void for_each(F f) const {
    f("identity", identity_map{scalar.columns});
    f("scalar", scalar);
    f("channel", channel);
    f("linear_patch", linear_patch);
    f("reduced_rank", reduced_rank.map);
    f("affine", affine.map);
    if (cosine) f("cosine", cosine->map);
  }
};

// Fits every map of a span. Errors: invalid_argument (a rank below 0) and those of the fits, with the span named.
template <class B>
  requires core_backend<B> && dense_backend<B, float>
result<closed_forms> try_fit_closed_forms(B& exec, const gathered_span& from, const closed_form_options& options = {}) {
  const auto name = text("span [", from.span.first, ", ", from.span.last, ")");
  const auto fit = [&]() -> result<closed_forms> {
    if (options.rank < 0)
      return error{errc::invalid_argument, "rank of the reduced map", text(options.rank),
                   "1 or more, or 0 for an eighth of the width"};
    auto all = try_merged(std::span<const span_moments>(from.folds.span()));
    if (!all) return all.error();
    closed_forms out{from.span, apart_rows_of(*all), {}, {}, {}, {}, {}, {}, all->rows(), all->rows_apart()};
    auto scalar = try_fit_scalar(*all);
    if (!scalar) return scalar.error();
    auto channel = try_fit_channel(*all);
    if (!channel) return channel.error();
    auto patch = try_fit_linear_patch(*all);
    if (!patch) return patch.error();
    auto affine = try_fit_affine(exec, std::span<const span_moments>(from.folds.span()), options.ridge);
    if (!affine) return affine.error();
    const index_t rank = options.rank > 0 ? options.rank : algo::max(index_t{1}, all->width() / 8);
    auto reduced = try_fit_reduced_rank(exec, *all, *affine, rank);
    if (!reduced) return reduced.error();
    if (from.x.rows >= 8) {
      auto cosine = try_fit_cosine(exec, from.x.view(), from.y.view(), affine->map, options.cosine);
      if (!cosine) return cosine.error();
      out.cosine = std::move(*cosine);
    }
    out.scalar = *scalar;
    out.channel = std::move(*channel);
    out.linear_patch = std::move(*patch);
    out.affine = std::move(*affine);
    out.reduced_rank = std::move(*reduced);
    return out;
  };
  auto out = fit();
  if (!out) return out.error().within(name.view());
  return out;
}

}  // namespace RESECT_NAMESPACE::student
