// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/residual/plan.hpp>

// What a plan asks of a host before it runs there.
namespace RESECT_NAMESPACE::residual::detail {

// Checks that the host supports every site in `sites` that a step uses: at a site that a kernel has fused away the
// edit would be lost silently.
template <observable_host H>
status check_access(const H& host, const plan& p, site_set sites) {
  const auto reaches = [&](const step& s, site where, access wanted) -> status {
    if (!sites.contains(where)) return {};
    for (int l = s.range.first; l < s.range.last; ++l)
      if (host.supports(where, l) < wanted)
        return error{errc::unsupported, text(s.name.view(), " in layer ", l),
                     text("a host that cannot ", wanted == access::write ? "write" : "read", " ", name(where)),
                     "one that can"};
    return {};
  };
  for (const step& s : p.steps()) {
    if (s.what == form::weights || s.what == form::products) continue;
    if (auto st = reaches(s, s.what == form::rows ? s.where : site::resid_post, access::write); !st) return st;
    if (s.what == form::rows) continue;
    if (auto st = reaches(s, site::resid_pre, access::read); !st) return st;
  }
  return {};
}

// Checks that the host shows every site in `want` in some layer: rows of other sites would silently be missing.
template <observable_host H>
status check_shown(const H& host, site_set want) {
  for (int i = 0; i < n_sites; ++i) {
    const auto where = static_cast<site>(i);
    if (!want.contains(where)) continue;
    const int n = is_layer_site(where) ? host.describe().n_layers : 1;
    int l = 0;
    while (l < n && host.supports(where, l) == access::none) ++l;
    if (l == n)
      return error{errc::unsupported, text("site ", name(where), " to observe"), "a host that cannot read it",
                   "one that can"};
  }
  return {};
}

// Every layer of [first, last) must have the weight that a step names, with its extents, and a host of products where a
// step computes them.
template <surgical_host H>
status check_weights(const H& host, const plan& p, int first, int last) {
  for (const step& s : p.steps()) {
    if (s.what != form::weights && s.what != form::products) continue;
    if (s.what == form::products && !product_host<H>)
      return error{errc::unsupported, text("products for ", s.name.view()), "a host without try_override_product",
                   "a product_host"};
    for (int l = algo::max(first, s.range.first); l < algo::min(last, s.range.last) && !s.weight.all(); ++l) {
      const weight_desc* w = nullptr;
      for (const weight_desc& x : host.weights(l))
        if (w == nullptr && s.weight.selects(x)) w = &x;
      const auto operand = [&] { return text(s.weight.name.view(), " of layer ", l, " for ", s.name.view()); };
      if (w == nullptr)
        return error{errc::invalid_argument, operand(), "no such weight", "the name of a weight of the layer"};
      if ((s.weight.rows != 0 && s.weight.rows != w->rows) || (s.weight.cols != 0 && s.weight.cols != w->cols))
        return error{errc::shape_mismatch, operand(), text(s.weight.rows, " x ", s.weight.cols),
                     text(w->rows, " x ", w->cols)};
    }
  }
  return {};
}

// What a host of the edit level says to steps on weights.
inline status check_no_weights(const plan& p) {
  for (const step& s : p.steps())
    if (s.what == form::weights || s.what == form::products)
      return error{errc::unsupported, text("weights for ", s.name.view()), "a host without try_override_weight",
                   "one of the surgery level"};
  return {};
}

}  // namespace RESECT_NAMESPACE::residual::detail
