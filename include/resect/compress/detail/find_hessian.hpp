// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/model/weight.hpp>
#include <resect/quant/hessian.hpp>

// The H of a named matrix.
namespace RESECT_NAMESPACE::compress::detail {

// The one among `all` whose owner has the layer and the name of a matrix. Errors: invalid_argument (none), conflict (two),
// shape_mismatch (of another width).
inline result<const quant::hessian*> try_find_hessian(std::span<const quant::hessian> all,
                                                      const model::weight_desc& w) {
  const quant::hessian* found = nullptr;
  for (const quant::hessian& h : all) {
    if (h.owner().layer != w.layer || !(h.owner().matrix == w.name.view())) continue;
    if (found != nullptr) return error{errc::conflict, text("H of layer ", w.layer, ", ", w.name.view()), "two", "one"};
    found = &h;
  }
  if (found != nullptr && found->size() != w.cols)
    return error{errc::shape_mismatch, text("H of layer ", w.layer, ", ", w.name.view()),
                 text(found->size(), " x ", found->size()), text(w.cols, " x ", w.cols)};
  if (found != nullptr) return found;
  return error{errc::invalid_argument, text("H of layer ", w.layer, ", ", w.name.view()),
               text("none among ", all.size()), "one whose owner is this matrix"};
}

// Whether none of these belongs to another model than that of a fingerprint; what is not said agrees with all.
// Error: conflict.
inline status check_model(std::span<const quant::hessian> all, std::uint64_t model) noexcept {
  for (const quant::hessian& h : all)
    if (status s = h.check_owner({model, h.owner().layer, h.owner().matrix}); !s) return s;
  return {};
}

}  // namespace RESECT_NAMESPACE::compress::detail
