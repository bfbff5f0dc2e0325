// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <concepts>
#include <span>
#include <string_view>
#include <utility>

#include <resect/model/host.hpp>
#include <resect/quant/hessian.hpp>

// H of a model's matrices, from a host that lets a product be computed by a function.
namespace RESECT_NAMESPACE::quant {

// What the batches are made of: its name and the hash of its ids go into every hessian.
struct gathered_text {
  std::string_view name;
  std::uint64_t hash = 0;
};

// One hessian for each of `matrices`, in their order, of the rows that it reads when the host runs the batches: whole
// sequences from position 0 on, states, no caches. Rows that pad are left out.
//   The override adds x and gives the host's own product, so no bit of the pass changes; layers after the last of
//   `matrices` do not run. Matrices that read the same rows (q, k, v) get a hessian each.
//   Cost: a pass, and N·n² flop in double for each matrix of n columns (hessian::try_add). Memory: the hessians.
//   Errors: invalid_argument (no matrix: another role, a layer that the host lacks), conflict (one twice), shape_mismatch (a host that hands
//   out other rows than those of the batch); those of hessian::try_add and of the host. Overrides have ended then.
template <dense_backend<double> B, model::product_host H>
  requires(std::same_as<typename B::space, host_space> && std::same_as<typename H::space, host_space>)
result<array<hessian>> try_gather_hessians(B& exec, H& host, std::span<const model::weight_desc> matrices,
                                           std::span<const model::batch_view> batches, const gathered_text& text_of) {
  using T = typename H::value;
  const model::model_desc& d = host.describe();
  int last = 0;
  array<hessian> out;
  for (const model::weight_desc& w : matrices) {
    if (w.role != model::weight_role::matrix || w.layer < 0 || w.layer >= d.n_layers)
      return error{errc::invalid_argument, text("layer ", w.layer, ", ", w.name.view()), "no matrix of a layer",
                   text("a matrix of one of ", d.n_layers, " layers")};
    for (const hessian& h : out)
      if (h.owner().layer == w.layer && h.owner().matrix == w.name.view())
        return error{errc::conflict, text("layer ", w.layer, ", ", w.name.view()), "twice", "each matrix once"};
    last = std::max(last, w.layer + 1);
    out.push_back(hessian(w.cols));
    out.back().set_owner(d.fingerprint, w);
    out.back().add_text(text_of.name, text_of.hash);
  }
  model::batch_view batch;
  array<typename H::product_override> held;
  for (index_t i = 0; i < out.size(); ++i) {
    auto add = [&exec, &batch, to = &out[i]](const model::weight_desc& w, matrix_view<const T> x, matrix_view<T> y,
                                             model::own_product<T> own) -> status {
      if (x.rows != static_cast<index_t>(batch.size()))
        return error{errc::shape_mismatch, text("rows that ", w.name.view(), " of layer ", w.layer, " reads"),
                     text(x.rows), text(batch.size(), ", those of the batch")};
      for (index_t first = 0; first < x.rows;) {
        index_t end = first;
        const auto pads = [&](index_t r) {
          return (batch[static_cast<std::size_t>(r)].flags & model::row_meta::pad) != 0;
        };
        while (end < x.rows && !pads(end)) ++end;
        if (end > first)
          if (auto s = to->try_add(exec, x.middle_rows(first, end - first)); !s) return s;
        first = end;
        while (first < x.rows && pads(first)) ++first;
      }
      return own(x, y);
    };
    auto guard = host.try_override_product(matrices[static_cast<std::size_t>(i)], std::move(add));
    if (!guard) return guard.error();
    held.push_back(std::move(*guard));
  }
  for (const model::batch_view b : batches) {
    batch = b;
    auto state = host.try_embed(b);
    if (!state) return state.error();
    if (auto s = host.try_run(*state, 0, last, model::no_hooks<T, host_space>()); !s) return s.error();
  }
  while (!held.empty()) held.pop_back();
  return out;
}

#if RESECT_EXCEPTIONS
template <dense_backend<double> B, model::product_host H>
  requires(std::same_as<typename B::space, host_space> && std::same_as<typename H::space, host_space>)
array<hessian> gather_hessians(B& exec, H& host, std::span<const model::weight_desc> matrices,
                               std::span<const model::batch_view> batches, const gathered_text& text_of) {
  return value_or_throw(try_gather_hessians(exec, host, matrices, batches, text_of));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
