// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/residual/plan.hpp>

// What partial and whole passes ask of a plan.
namespace RESECT_NAMESPACE::residual::detail {

// The sites inside layers at which a plan edits rows while a layer runs.
template <class = void>
site_set inner_sites(const plan& p) noexcept {
  site_set sites;
  for (const step& s : p.steps())
    if (s.what == step::kind::rows && s.where != site::resid_pre && s.where != site::resid_post) sites.insert(s.where);
  return sites;
}

template <class = void>
bool covers(const step& s, int l) noexcept {
  return l >= s.range.first && l < s.range.last;
}

template <class = void>
bool apply_rows(const plan& p, const tap& at, matrix_view<float> h) {
  bool changed = false;
  for (const step& s : p.steps())
    if (s.what == step::kind::rows && s.where == at.where && covers(s, at.layer)) {
      s.on_rows(at, h);
      changed = true;
    }
  return changed;
}

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
    if (s.what == step::kind::weights) continue;
    if (auto st = reaches(s, s.what == step::kind::rows ? s.where : site::resid_post, access::write); !st) return st;
    if (s.what == step::kind::rows) continue;
    if (auto st = reaches(s, site::resid_pre, access::read); !st) return st;
  }
  return {};
}

template <class F>
bool any_step(const plan& p, const F& is) {
  for (const step& s : p.steps())
    if (is(s)) return true;
  return false;
}

}  // namespace RESECT_NAMESPACE::residual::detail
