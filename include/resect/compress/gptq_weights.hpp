// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/compress/detail/find_hessian.hpp>
#include <resect/compress/detail/search_words.hpp>
#include <resect/compress/weight_method.hpp>
#include <resect/core/hash.hpp>
#include <resect/quant/gptq.hpp>
#include <resect/quant/quantize.hpp>

namespace RESECT_NAMESPACE::compress {

// Rounds every matrix to a format by quant::gptq with the matrix's own H and dequantizes it. The H of a matrix is the
// one whose owner has its layer and name (quant::gather_hessians sets them); an H of another model is refused before
// anything runs, where both the model and the owner have a fingerprint. `backend` and `hessians` are kept by reference.
// Bits as quant::stored_bits.
// Errors while it runs: conflict (an H of another model, two of one matrix), invalid_argument (no H of this matrix), as
// quant::try_quantize.
template <class Backend, quant::static_format F, class S = quant::min_max>
  requires quant::rounding_rule<quant::gptq, Backend, F, S>
weight_method gptq_weights(Backend& backend, const F& format, std::span<const quant::hessian> hessians,
                           const quant::gptq_options& options = {}, const S& search = {}) {
  weight_method m;
  m.name = text<48>(F::name().view(), ", ", quant::gptq{{}, options}.name().view());
  m.name.append(detail::suffix_of(search).view());
  if (format.group > 0) m.name.append(", group ").append(format.group);
  m.id = "resect.gptq/2";
  fingerprint f;
  f.add(m.id).add(F::name().view()).add(static_cast<std::uint64_t>(format.group));
  f.add(static_cast<std::uint64_t>(format.group_rows)).add(quant::gptq{{}, options}.hash());
  f.add(search.hash());
  if constexpr (requires { format.grid.levels(); }) f.add(format.grid.levels());
  for (const quant::hessian& h : hessians) f.add(h.hash());
  m.hash = f.value();
  m.fields.add("format", F::name().view()).add("group", static_cast<double>(format.group));
  m.fields.add("sweeps", static_cast<double>(options.sweeps)).add("refits", static_cast<double>(options.refits));
  m.stored_bits = [format](const model::weight_desc& w) { return quant::stored_bits(format, w.rows, w.cols); };
  m.apply = [&backend, format, hessians, options, search](const model::weight_desc& w, matrix_view<float> values,
                                                          executor_ref) -> status {
    const auto h = detail::try_find_hessian(hessians, w);
    if (!h) return h.error();
    const auto q = quant::try_quantize(backend, values, format, quant::gptq{**h, options}, search);
    if (!q) return q.error();
    return quant::try_dequantize(backend, *q, values);
  };
  m.check_model = [hessians](std::uint64_t model) -> status { return detail::check_model(hessians, model); };
  return m;
}

}  // namespace RESECT_NAMESPACE::compress
