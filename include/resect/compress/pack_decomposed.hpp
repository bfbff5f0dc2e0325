// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <string>
#include <utility>

#include <resect/compress/decompose.hpp>
#include <resect/compress/packing_method.hpp>

// Q + L·R as artifacts store it.
namespace RESECT_NAMESPACE::compress {

// The parts of a decomposition as bytes: try_values gives what its try_to_dense does. Errors: what the parts' check finds.
template <quant::static_format Q, factor_format F>
result<stored_matrix> try_stored(const decomposition<Q, F>& d) {
  auto out = detail::try_stored(d.q);
  if (!out || d.rank() == 0) return out;
  if (auto s = d.factors.check(); !s) return s.error();
  auto l = quant::try_pack(d.factors.l);
  if (!l) return l.error();
  auto r = quant::try_pack(d.factors.r);
  if (!r) return r.error();
  out->l = std::move(*l);
  out->r = std::move(*r);
  if (auto s = out->check(); !s) return s.error();
  return out;
}

namespace detail {

// Of everything in the options that changes what try_decompose makes.
inline std::uint64_t options_hash(const decompose_options& o) {
  fingerprint f;
  f.add(static_cast<std::uint64_t>(o.rank)).add(static_cast<std::uint64_t>(o.rounds));
  f.add(static_cast<std::uint64_t>(o.trial_rounds)).add(o.least_gain);
  for (const starting_point s : o.starts) f.add(static_cast<std::uint64_t>(s));
  f.add(static_cast<std::uint64_t>(o.codes)).add(quant::gptq{{}, o.feedback}.hash());
  f.add(static_cast<std::uint64_t>(o.downdate)).add(static_cast<std::uint64_t>(o.factors.basis));
  f.add(static_cast<std::uint64_t>(o.factors.codes)).add(static_cast<std::uint64_t>(o.factors.rounds));
  return f.add(o.factors.seed).value();
}

}  // namespace detail

// Stores every matrix as Q + L·R, by try_decompose with its own H: the one whose owner has its layer and name. `backend` and
// `hessians` are kept by reference. Errors while it runs: conflict (an H of another model, two of one matrix),
// invalid_argument (no H of a matrix, a rank above its smaller extent), shape_mismatch (an H of another width), as
// try_decompose.
template <class B, quant::static_format Q, factor_format F, class S = quant::min_max>
  requires(host_rounding_backend<B> && quant::scale_search<S, typename Q::grid_type, typename Q::store_type>)
packing_method pack_decomposed(B& backend, const Q& format, const F& factors, std::span<const quant::hessian> hessians,
                               const decompose_options& options, const S& search = {}) {
  packing_method m;
  m.id = pack_decomposed_id;
  m.options = "rank " + std::to_string(options.rank) + ": q " + detail::format_options(format);
  ((m.options += "; l, r ") += detail::format_options(factors)) += ", ";
  m.options += search.name();
  m.hash = fingerprint{}
               .add(detail::format_hash(m.id, format))
               .add(detail::format_hash(m.id, factors))
               .add(detail::options_hash(options))
               .add(search.hash())
               .value();
  m.seed = options.factors.seed;
  detail::read_hessians(m, hessians);
  m.make = [&backend, format, factors, hessians, options, search](
               const model::weight_desc& w, matrix_view<const float> values, executor_ref) -> result<stored_matrix> {
    const auto h = detail::try_find_hessian(hessians, w);
    if (!h) return h.error();
    const auto d = try_decompose(backend, values, quant::moment_view(**h), format, factors, options, search);
    if (!d) return d.error();
    return try_stored(*d);
  };
  return m;
}

}  // namespace RESECT_NAMESPACE::compress
