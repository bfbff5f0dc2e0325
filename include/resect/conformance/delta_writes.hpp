// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <vector>

#include <resect/conformance/editing.hpp>

// T2.k: writes at the deltas of layers that do not show resid_mid, where T2.b does not apply.
namespace RESECT_NAMESPACE::conformance {

// The values that a pass writes at one delta of a layer: none, zeros, or rows of another text's stream.
enum class delta_value : std::uint8_t { kept, zero, stream };

// A callback that writes both deltas of a layer; the stream of the other text stands for a row of a size that shows.
template <class H>
auto writing_deltas(const bench<H>& b, int layer, delta_value attn, delta_value mlp) {
  return [&b, layer, attn, mlp](const tap& at, matrix_view<float> h) {
    const delta_value value = at.where == site::attn_delta  ? attn
                              : at.where == site::mlp_delta ? mlp
                                                            : delta_value::kept;
    if (at.layer != layer || value == delta_value::kept) return edit::unchanged;
    for (index_t r = 0; r < h.rows; ++r) {
      const row_meta& m = at.rows[static_cast<std::size_t>(r)];
      if ((m.flags & row_meta::pad) != 0) continue;
      const auto x = b.base_other.find(site::resid_pre, layer, m.place());
      for (index_t c = 0; c < h.cols; ++c)
        h(r, c) =
            value == delta_value::zero || c >= static_cast<index_t>(x.size()) ? 0.0f : x[static_cast<std::size_t>(c)];
    }
    return edit::modified;
  };
}

// What resid_pre and resid_post of a layer were under such a callback, in a whole pass and, where the host has them, in a
// partial one.
template <class H, class F>
status under_delta_writes(bench<H>& b, int layer, delta_value attn, delta_value mlp, F f) {
  const site_set around{site::resid_pre, site::resid_post};
  site_set deltas;
  for (const site s : {site::attn_delta, site::mlp_delta})
    if (b.writes(s, layer)) deltas.insert(s);
  auto write = writing_deltas(b, layer, attn, mlp);
  auto whole = b.edited(b.batch, around, deltas, write);
  if (!whole) return whole.error();
  f(*whole);
  if constexpr (surgical_host<H>) {
    auto state = b.host.try_embed(b.batch);
    if (!state) return state.error();
    if (auto s = b.host.try_run(*state, 0, layer, no_hooks<float>()); !s) return s;
    record shown;
    auto call = [&](const tap& at, matrix_view<float> h) {
      const edit done = deltas.contains(at.where) ? write(at, h) : edit::unchanged;
      shown.add(at, h);
      return done;
    };
    if (auto s = b.host.try_run(*state, layer, layer + 1, hooks<float>{around, deltas, call, edited_epoch}); !s)
      return s;
    shown.sort();
    f(shown);
  }
  return {};
}

// resid_post of a layer is resid_pre plus what was written at its deltas: nothing, or rows x at one of them.
template <class H>
status check_delta_writes(bench<H>& b, check& c, int layer) {
  const auto see = [&](const record& got, bool with_x, site written) {
    c.covers.insert(written);
    for (const row_meta& row : b.batch) {
      const auto before = got.find(site::resid_pre, layer, row.place()),
                 after = got.find(site::resid_post, layer, row.place());
      if (before.empty() || after.empty()) continue;
      const auto x = b.base_other.find(site::resid_pre, layer, row.place());
      const std::span<const float> parts[] = {before, x};
      const double d = with_x ? sum_deviation(parts, after) : difference(after, before) == 0.0 ? 0.0 : wrong;
      worst{c}.see(d, site::resid_post, layer, row.place());
    }
  };
  if (auto s = under_delta_writes(b, layer, delta_value::zero, delta_value::zero,
                                  [&](const record& r) { see(r, false, site::mlp_delta); });
      !s)
    return s;
  if (auto s = under_delta_writes(b, layer, delta_value::stream, delta_value::zero,
                                  [&](const record& r) { see(r, true, site::attn_delta); });
      !s)
    return s;
  return under_delta_writes(b, layer, delta_value::zero, delta_value::stream,
                            [&](const record& r) { see(r, true, site::mlp_delta); });
}

// T2.k
template <class H>
void delta_writes_stick(bench<H>& b) {
  b.run("T2.k", "resid_post is resid_pre plus what is written at the deltas", "difference, relative to the row",
        b.o.identity, [&](check& c) -> status {
          bool any = false;
          for (const int l : b.layers) {
            if (b.reads(site::resid_mid, l) || !b.writes(site::attn_delta, l) || !b.writes(site::mlp_delta, l) ||
                !b.reads(site::resid_pre, l) || !b.reads(site::resid_post, l))
              continue;
            any = true;
            if (auto s = check_delta_writes(b, c, l); !s) return s;
          }
          return any ? status{} : b.not_applicable(c, "no layer without resid_mid lets both deltas be written");
        });
}

}  // namespace RESECT_NAMESPACE::conformance
