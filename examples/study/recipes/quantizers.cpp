// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/quantizers.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include <resect/quant.hpp>
#include <resect/quant/column_scales.hpp>
#include <resect/quant/formats/common.hpp>
#include <resect/quant/gptq.hpp>
#include <resect/quant/incoherence.hpp>

namespace studies {

namespace {

namespace quant = resect::quant;
using resect::array;
using resect::index_t;
using resect::matrix_view;
using resect::result;
using resect::model::weight_desc;
using view = matrix_view<float>;

constexpr double scale_bits = 16, seed_bits = 64;  // of a scale of a row or a column; of a matrix's transforms
constexpr int sweeps = 4, refits = 2;

template <int Bits>
using integers = quant::affine_symmetric<Bits, quant::f16_store>;

// One matrix, and what is known of it.
struct task {
  backend& exec;
  const quantizer_options& options;
  const quant::hessian& h;
  view values;

  matrix_view<const float> weights() const { return values; }
};

// h_jj, as weights of a search.
array<float> diagonal(const quant::moment_view& h) {
  array<float> out(h.size());
  for (index_t j = 0; j < h.size(); ++j) out[j] = static_cast<float>(h(j, j));
  return out;
}

quant::gptq_options feedback(int n_sweeps, int n_refits) {
  quant::gptq_options out;
  out.sweeps = n_sweeps;
  out.refits = n_refits;
  out.result = n_sweeps > 0 ? quant::keep::best : quant::keep::last;
  return out;
}

// Quantizes `w` into the task's values. → stored bits
template <class F, class R, class S>
result<double> apply(const task& t, matrix_view<const float> w, const F& format, const R& rule, const S& search) {
  const auto q = quant::try_quantize(t.exec, w, format, rule, search);
  if (!q) return q.error();
  if (auto s = quant::try_dequantize(t.exec, *q, t.values); !s) return s.error();
  return q->stored_bits();
}
template <class F, class R, class S>
result<double> apply(const task& t, const F& format, const R& rule, const S& search) {
  return apply(t, t.weights(), format, rule, search);
}

// values_ij ← values_ij·(row_i·column_j)^±1; an empty list is ones.
void scale(const task& t, std::span<const float> rows, std::span<const float> columns, bool divide) {
  t.exec.bulk(t.values.rows, [&](index_t r) {
    const float row = rows.empty() ? 1.0f : rows[static_cast<std::size_t>(r)];
    for (index_t c = 0; c < t.values.cols; ++c) {
      const float by = columns.empty() ? row : row * columns[static_cast<std::size_t>(c)];
      t.values(r, c) = divide ? t.values(r, c) / by : t.values(r, c) * by;
    }
  });
}

template <class F>
result<double> sinq(const task& t, const F& format) {
  const auto scales = quant::try_sinkhorn_scales(t.exec, t.weights());
  if (!scales) return scales.error();
  scale(t, scales->rows.span(), scales->columns.span(), true);
  const auto bits = apply(t, format, quant::nearest{}, quant::exact{});
  scale(t, scales->rows.span(), scales->columns.span(), false);
  if (!bits) return bits;
  return *bits + scale_bits * static_cast<double>(t.values.rows + t.values.cols);
}

// Magnitudes are root mean squares, as H has them. The power is found with min-max scales, whose search is cheap.
template <class F>
result<double> awq(const task& t, const F& format) {
  array<float> importance = diagonal(t.h), magnitude(importance.size());
  for (index_t j = 0; j < importance.size(); ++j) magnitude[j] = std::sqrt(importance[j]);
  const auto found = quant::try_awq_scales(t.exec, t.weights(), magnitude.span(), importance.span(), format,
                                           quant::nearest{}, quant::min_max{});
  if (!found) return found.error();
  const std::span<const float> s = found->columns.span();
  for (index_t j = 0; j < importance.size(); ++j)
    importance[j] /= s[static_cast<std::size_t>(j)] * s[static_cast<std::size_t>(j)];
  scale(t, {}, s, false);
  const auto bits = apply(t, format, quant::nearest{}, quant::mse_scale{.importance = importance.span()});
  scale(t, {}, s, true);
  if (!bits) return bits;
  return *bits + scale_bits * static_cast<double>(t.values.cols);
}

// Nearest codes or LDLQ of U·W·Vᵀ with V·H·Vᵀ, and back; U and V seeded, of the matrix's own streams.
template <class F>
result<double> rotated(const task& t, const weight_desc& w, const F& format, bool full) {
  const auto stream = static_cast<std::uint64_t>(w.layer) << 16 | static_cast<std::uint64_t>(w.id) << 1;
  const auto u = quant::rotation::try_make(t.values.rows, t.options.seed, stream);
  const auto v = quant::rotation::try_make(t.values.cols, t.options.seed, stream | 1);
  if (!u) return u.error();
  if (!v) return v.error();
  resect::matrix<double> h(t.values.cols, t.values.cols);
  for (index_t i = 0; i < h.rows; ++i)
    for (index_t j = 0; j < h.cols; ++j) h(i, j) = t.h(i, j);
  if (auto s = v->try_rotate_rows(t.exec, h.view()); !s) return s.error();
  if (auto s = v->try_rotate_columns(t.exec, h.view()); !s) return s.error();
  if (auto s = v->try_rotate_rows(t.exec, t.values); !s) return s.error();
  if (auto s = u->try_rotate_columns(t.exec, t.values); !s) return s.error();
  const array<float> importance = diagonal(h);
  const quant::mse_scale search{.importance = importance.span()};
  const auto bits =
      full ? apply(t, format, quant::gptq{h, feedback(sweeps, 0)}, search) : apply(t, format, quant::nearest{}, search);
  if (!bits) return bits;
  if (auto s = u->try_restore_columns(t.exec, t.values); !s) return s.error();
  if (auto s = v->try_restore_rows(t.exec, t.values); !s) return s.error();
  return *bits + seed_bits;
}

// What every width has.
template <int Bits>
result<double> common(const task& t, quantizer q, const integers<Bits>& format) {
  switch (q) {
    case quantizer::min_max: return apply(t, format, quant::nearest{}, quant::min_max{});
    case quantizer::mse: return apply(t, format, quant::nearest{}, quant::mse_scale{});
    default: return apply(t, format, quant::gptq{t.h, feedback(0, 0)}, quant::mse_scale{});
  }
}

// What widths of at most four bits have beside that.
template <int Bits>
result<double> narrow(const task& t, quantizer q, const weight_desc& w, const integers<Bits>& format) {
  const array<float> importance = diagonal(t.h);
  const quant::mse_scale weighted{.importance = importance.span()};
  switch (q) {
    case quantizer::exact: return apply(t, format, quant::nearest{}, quant::exact{});
    case quantizer::sinq: return sinq(t, format);
    case quantizer::two_level: return apply(t, quant::two_level<Bits>{}, quant::nearest{}, quant::two_level_search{});
    case quantizer::weighted_mse: return apply(t, format, quant::nearest{}, weighted);
    case quantizer::awq: return awq(t, format);
    case quantizer::ldlq: return apply(t, format, quant::gptq{t.h, feedback(sweeps, 0)}, weighted);
    case quantizer::ldlq_refit: return apply(t, format, quant::gptq{t.h, feedback(sweeps, refits)}, weighted);
    case quantizer::rotated_nearest: return rotated(t, w, format, false);
    case quantizer::rotated_ldlq: return rotated(t, w, format, true);
    default: return common<Bits>(t, q, format);
  }
}

result<double> quantize(const task& t, quantizer q, int bits, const weight_desc& w) {
  const index_t g = t.options.group;
  switch (q) {
    case quantizer::nf4: return apply(t, quant::nf4{}, quant::nearest{}, quant::exact{});
    case quantizer::mxfp4: return apply(t, quant::mxfp4{}, quant::nearest{}, quant::exact{});
    case quantizer::nvfp4: return apply(t, quant::nvfp4{}, quant::nearest{}, quant::exact{});
    case quantizer::e8: return apply(t, quant::e8{}, quant::gptq{t.h, feedback(sweeps, 0)}, quant::min_max{});
    default: break;
  }
  switch (bits) {
    case 2: return narrow<2>(t, q, w, {.group = g});
    case 3: return narrow<3>(t, q, w, {.group = g});
    case 4: return narrow<4>(t, q, w, {.group = g});
    case 5: return common<5>(t, q, {.group = g});
    case 6: return common<6>(t, q, {.group = g});
    default: return common<8>(t, q, {.group = g});
  }
}

}  // namespace

const std::vector<quantizer_info>& all_quantizers() {
  const std::vector<int> all{2, 3, 4, 5, 6, 8}, few{2, 3, 4}, four{4};
  static const std::vector<quantizer_info> list{
      {quantizer::min_max, "min-max", false, false, all},
      {quantizer::mse, "mse", false, false, all},
      {quantizer::exact, "exact", false, false, few},
      {quantizer::sinq, "sinq", false, false, few},
      {quantizer::two_level, "two-level", false, false, few},
      {quantizer::nf4, "nf4", false, false, four},
      {quantizer::mxfp4, "mxfp4", false, false, four},
      {quantizer::nvfp4, "nvfp4", false, false, four},
      {quantizer::weighted_mse, "weighted-mse", true, false, few},
      {quantizer::awq, "awq", true, false, few},
      {quantizer::gptq, "gptq", true, true, all},
      {quantizer::ldlq, "ldlq", true, true, few},
      {quantizer::ldlq_refit, "ldlq-refit", true, true, few},
      {quantizer::e8, "e8", true, true, {2}},
      {quantizer::rotated_nearest, "rotated-nearest", true, false, few},
      {quantizer::rotated_ldlq, "rotated-ldlq", true, true, few},
  };
  return list;
}

const quantizer_info& info(quantizer q) { return all_quantizers()[static_cast<std::size_t>(q)]; }

result<double> try_quantize_matrix(backend& exec, quantizer q, int bits, const quantizer_options& options,
                                   const weight_desc& w, const quant::hessian& h, view values) {
  if (auto s = h.check_owner({0, w.layer, w.name.view()}); !s) return s.error();
  return quantize(task{exec, options, h, values}, q, bits, w);
}

result<double> try_store_as_q4_1(backend& exec, view values) {
  const quant::hessian none;
  const quantizer_options options;
  return apply(task{exec, options, none, values}, quant::affine_minimum<4>{.group = 32}, quant::nearest{},
               quant::min_max{});
}

}  // namespace studies
