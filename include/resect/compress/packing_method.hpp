// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <resect/compress/artifact.hpp>
#include <resect/compress/detail/find_hessian.hpp>
#include <resect/compress/detail/search_words.hpp>
#include <resect/core/shared_function.hpp>
#include <resect/quant/gptq.hpp>
#include <resect/quant/hessian.hpp>
#include <resect/quant/quantize.hpp>

namespace RESECT_NAMESPACE::compress {

// A function that makes what stands for a weight matrix, as it is stored, with its identity.
struct packing_method {
  using function = shared_function<result<stored_matrix>(const model::weight_desc& w, matrix_view<const float> values,
                                                         executor_ref exec)>;

  std::string_view id;          // "resect.pack/1": the method and its revision; a literal, kept by reference
  std::string options;          // what it was asked for, as artifacts show it
  std::uint64_t hash = 0;       // of everything that changes the parts, but H
  std::uint64_t seed = 0;       // of what it draws
  std::string corpus = "none";  // the texts that H was gathered from
  function make;
  shared_function<result<std::uint64_t>(const model::weight_desc& w)> hessian{};  // hash of H; empty: it reads none
  // Whether it may be used on the model of this fingerprint; empty: on any. Asked before anything is made.
  shared_function<status(std::uint64_t model)> check_model{};
};

namespace detail {

template <quant::static_format F>
result<stored_matrix> try_stored(const quant::quantized<F>& q) {
  auto packed = quant::try_pack(q);
  if (!packed) return packed.error();
  stored_matrix out;
  out.rows = q.rows;
  out.cols = q.cols;
  out.q = std::move(*packed);
  return out;
}

template <quant::static_format F>
std::string format_options(const F& f) {
  return std::string(F::name().view()) + ", group " + std::to_string(f.group) + " x " + std::to_string(f.group_rows);
}
template <quant::static_format F>
std::uint64_t format_hash(std::string_view id, const F& f) {
  fingerprint print;
  print.add(id).add(F::name().view()).add(static_cast<std::uint64_t>(f.group));
  print.add(static_cast<std::uint64_t>(f.group_rows));
  if constexpr (requires { f.grid.levels(); }) print.add(f.grid.levels());
  return print.value();
}

// "text 0x…", of every text once.
inline std::string corpus_of(std::span<const quant::hessian> hessians) {
  array<quant::hessian_text> seen;
  std::string out;
  for (const quant::hessian& h : hessians)
    for (const quant::hessian_text& t : h.texts()) {
      bool known = false;
      for (const quant::hessian_text& s : seen) known = known || s == t;
      if (known) continue;
      seen.push_back(t);
      if (!out.empty()) out += ", ";
      (((out += t.name.view()) += ' ') += hexadecimal(t.hash).view());
    }
  return out;
}

// Lets a method read these: the H of a matrix is the one whose owner has its layer and name.
inline void read_hessians(packing_method& m, std::span<const quant::hessian> hessians) {
  m.corpus = corpus_of(hessians);
  m.hessian = [hessians](const model::weight_desc& w) -> result<std::uint64_t> {
    const auto h = try_find_hessian(hessians, w);
    if (!h) return h.error();
    return (*h)->hash();
  };
  m.check_model = [hessians](std::uint64_t model) -> status { return detail::check_model(hessians, model); };
}

}  // namespace detail

// Quantizes every matrix by a rounding rule and a search that read no H. Errors while it runs: as quant::try_quantize.
template <quant::static_format F, class R = quant::nearest, class S = quant::min_max>
  requires quant::rounding_rule<R, executor_ref, F, S>
packing_method pack_weights(const F& format, const R& rule = {}, const S& search = {}) {
  packing_method m;
  m.id = pack_weights_id;
  m.options = detail::format_options(format);
  m.options += ", ";
  m.options += search.name();
  m.options += detail::suffix_of(rule).view();
  m.hash = fingerprint{}.add(detail::format_hash(m.id, format)).add(search.hash()).add(rule.hash()).value();
  m.make = [format, rule, search](const model::weight_desc&, matrix_view<const float> values,
                                  executor_ref exec) -> result<stored_matrix> {
    const auto q = quant::try_quantize(exec, values, format, rule, search);
    if (!q) return q.error();
    return detail::try_stored(*q);
  };
  return m;
}

// Rounds every matrix by quant::gptq with its own H: the one whose owner has its layer and name. `backend` and `hessians` are
// kept by reference. Errors while it runs: conflict (an H of another model, two of one matrix), invalid_argument (no H of a
// matrix), shape_mismatch (one of another width), as quant::try_quantize.
template <class Backend, quant::static_format F, class S = quant::min_max>
  requires quant::rounding_rule<quant::gptq, Backend, F, S>
packing_method pack_gptq(Backend& backend, const F& format, std::span<const quant::hessian> hessians,
                         const quant::gptq_options& options = {}, const S& search = {}) {
  packing_method m;
  m.id = pack_gptq_id;
  m.options = detail::format_options(format);
  ((m.options += ", ") += quant::gptq{{}, options}.name().view()) += ", ";
  m.options += search.name();
  m.hash = fingerprint{}
               .add(detail::format_hash(m.id, format))
               .add(quant::gptq{{}, options}.hash())
               .add(search.hash())
               .value();
  detail::read_hessians(m, hessians);
  m.make = [&backend, format, hessians, options, search](const model::weight_desc& w, matrix_view<const float> values,
                                                         executor_ref) -> result<stored_matrix> {
    const auto h = detail::try_find_hessian(hessians, w);
    if (!h) return h.error();
    const auto q = quant::try_quantize(backend, values, format, quant::gptq{**h, options}, search);
    if (!q) return q.error();
    return detail::try_stored(*q);
  };
  return m;
}

}  // namespace RESECT_NAMESPACE::compress
