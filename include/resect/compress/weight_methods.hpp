// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/compress/detail/search_words.hpp>
#include <resect/compress/weight_method.hpp>
#include <resect/core/algorithm.hpp>
#include <resect/core/hash.hpp>
#include <resect/factor/truncated_svd.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/quantize.hpp>

// Methods of storing a layer's matrices with fewer bytes, for the compression study.
namespace RESECT_NAMESPACE::compress {

namespace detail {

template <class F>
inline constexpr bool is_plain_affine = false;
template <int Bits, quant::zero_point Zero>
inline constexpr bool is_plain_affine<quant::affine<Bits, Zero>> = true;

// What an affine method is called and identified by, and its bits.
template <class R, class S>
weight_method affine_method(const quant::affine_format& f, const R& rule, const S& search) {
  const bool symmetric = f.zero == quant::zero_point::symmetric;
  weight_method m;
  m.name = text<48>("quantize ", f.bits, " bit", symmetric ? " symmetric" : "");
  if (f.group > 0) m.name.append(", group ").append(f.group);
  m.id = "resect.quantize/1";
  m.hash = fingerprint{}
               .add(m.id)
               .add(static_cast<std::uint64_t>(f.bits))
               .add(static_cast<std::uint64_t>(f.group))
               .add(static_cast<std::uint64_t>(symmetric))
               .add(search.hash())
               .add(rule.hash())
               .value();
  m.fields.add("bits", static_cast<double>(f.bits)).add("group", static_cast<double>(f.group));
  m.fields.add("zero", symmetric ? "symmetric" : "integer");
  m.stored_bits = [f](const model::weight_desc& w) {
    double bits = 0;
    static_cast<void>(quant::try_visit(f, [&](const auto& format) -> status {
      bits = quant::stored_bits(format, w.rows, w.cols);
      return {};
    }));
    return bits;
  };
  return m;
}

// What quantize_weights says of the search and the rule, and what runs.
template <class F, class R, class S>
void finish(weight_method& m, const F& format, const R& rule, const S& search) {
  m.name.append(suffix_of(search).view()).append(suffix_of(rule).view());
  m.fields.add("scale", search.name());
  if (std::same_as<R, quant::nearest> && is_plain(search)) m.fields.complete();
  m.apply = [format, search, rule](const model::weight_desc&, matrix_view<float> values, executor_ref exec) -> status {
    const auto run = [&](const auto& f) -> status {
      const auto q = quant::try_quantize(exec, values, f, rule, search);
      if (!q) return q.error();
      return quant::try_dequantize(exec, *q, values);
    };
    if constexpr (quant::static_format<F>) return run(format);
    else return quant::try_visit(format, run);
  };
}

}  // namespace detail

// Quantizes every matrix to an affine format that is known at run time and dequantizes it. The name says bits, group,
// and a scale search that is not min_max. Bits count codes, scales and zero points. Errors while it runs: as
// quant::try_quantize.
template <class R = quant::nearest, class S = quant::min_max>
weight_method quantize_weights(const quant::affine_format& f, const R& rule = {}, const S& search = {}) {
  weight_method m = detail::affine_method(f, rule, search);
  detail::finish(m, f, rule, search);
  return m;
}

// The same in a format that is known at compile time: quantize_weights(quant::affine<4>{.group = 64}, quant::nearest{},
// quant::mse_scale{}). Of other formats than plain affine ones the name begins with the format's: "e2m1/e8m0, group 32".
template <quant::static_format F, class R = quant::nearest, class S = quant::min_max>
  requires quant::rounding_rule<R, executor_ref, F, S>
weight_method quantize_weights(const F& format, const R& rule = {}, const S& search = {}) {
  if constexpr (detail::is_plain_affine<F>) {
    if (format.group_rows == 1) {
      using G = typename F::grid_type;
      const quant::affine_format same{G::bits, G::zero, format.group};
      weight_method m = detail::affine_method(same, rule, search);
      detail::finish(m, format, rule, search);
      return m;
    }
  }
  weight_method m;
  m.name = F::name();
  if (format.group > 0) m.name.append(", group ").append(format.group);
  m.id = "resect.quantize.format/1";
  fingerprint print;
  print.add(m.id).add(F::name().view());
  print.add(static_cast<std::uint64_t>(format.group)).add(static_cast<std::uint64_t>(format.group_rows));
  if constexpr (requires { format.grid.levels(); }) print.add(format.grid.levels());
  m.hash = print.add(search.hash()).add(rule.hash()).value();
  m.fields.add("group", static_cast<double>(format.group));
  m.stored_bits = [format](const model::weight_desc& w) { return quant::stored_bits(format, w.rows, w.cols); };
  detail::finish(m, format, rule, search);
  return m;
}

// Replaces every matrix by its best product L·R of a given rank (randomized truncated SVD). A matrix whose smaller
// extent is at most the rank stays unchanged. `backend` is kept by reference. Bits count fp32 factors, or the matrix
// where it stays. Targets of energy and error are not used: the rank is the same for all.
// Errors while it runs: as factor::try_truncated_svd.
template <panel_backend<float> Backend>
  requires std::same_as<typename Backend::space, host_space>
weight_method factorize_weights(Backend& backend, factor::truncated_svd_options options) {
  options.energy = options.error = 0;
  weight_method m;
  m.name = text<48>("rank ", options.rank);
  m.id = "resect.low_rank/1";
  m.hash = fingerprint{}
               .add(m.id)
               .add(static_cast<std::uint64_t>(options.rank))
               .add(static_cast<std::uint64_t>(options.oversampling))
               .add(static_cast<std::uint64_t>(options.power_iterations))
               .add(static_cast<std::uint64_t>(options.method))
               .add(static_cast<std::uint64_t>(options.block))
               .add(options.seed)
               .value();
  m.fields.add("rank", static_cast<double>(options.rank))
      .add("oversampling", static_cast<double>(options.oversampling));
  m.fields.add("power_iterations", static_cast<double>(options.power_iterations));
  const bool krylov = options.method == factor::svd_method::block_krylov;
  m.fields.add("method", krylov ? "block_krylov" : "subspace_iteration")
      .add("block", static_cast<double>(options.block));
  m.fields.add("seed", static_cast<double>(options.seed)).complete();
  m.stored_bits = [rank = options.rank](const model::weight_desc& w) {
    const index_t stored = rank < algo::min(w.rows, w.cols) ? rank * (w.rows + w.cols) : w.rows * w.cols;
    return 32.0 * static_cast<double>(stored);
  };
  m.apply = [&backend, options](const model::weight_desc& w, matrix_view<float> values, executor_ref) -> status {
    if (options.rank >= algo::min(w.rows, w.cols)) return {};
    const auto svd = factor::try_truncated_svd(backend, values, options);
    if (!svd) return svd.error();
    return factor::balanced_factors(*svd).try_to_dense(backend, values);
  };
  return m;
}

}  // namespace RESECT_NAMESPACE::compress
