// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <vector>

#include <resect/conformance/editing.hpp>

// T2.k and T2.l: writes at the deltas of layers that do not show resid_mid, where T2.b does not apply.
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

// f(layer) → status for the visited layers that hide resid_mid and let both deltas be written.
template <class H, class F>
status each_hidden_sum(bench<H>& b, check& c, F f) {
  bool any = false;
  for (const int l : b.layers) {
    if (b.reads(site::resid_mid, l) || !b.writes(site::attn_delta, l) || !b.writes(site::mlp_delta, l) ||
        !b.reads(site::resid_pre, l) || !b.reads(site::resid_post, l))
      continue;
    any = true;
    if (auto s = f(l); !s) return s;
  }
  return any ? status{} : b.not_applicable(c, "no layer without resid_mid lets both deltas be written");
}

// f(resid_pre, resid_post, place) for the rows of a pass that showed both.
template <class H, class F>
void each_row_around(const bench<H>& b, const record& got, int layer, F f) {
  for (const row_meta& row : b.batch) {
    const auto before = got.find(site::resid_pre, layer, row.place()),
               after = got.find(site::resid_post, layer, row.place());
    if (!before.empty() && !after.empty()) f(before, after, row.place());
  }
}

// T2.k and T2.l
template <class H>
void delta_writes_stick(bench<H>& b) {
  using rows = std::span<const float>;
  b.run("T2.k", "Zeros written at attn_delta and mlp_delta leave resid_post at resid_pre",
        "stream: largest |difference|", 0.0, [&](check& c) -> status {
          return each_hidden_sum(b, c, [&](int l) -> status {
            for (const site s : {site::attn_delta, site::mlp_delta}) c.covers.insert(s);
            return under_delta_writes(b, l, delta_value::zero, delta_value::zero, [&](const record& got) {
              each_row_around(b, got, l, [&](rows before, rows after, token_place place) {
                worst{c}.see(difference(after, before), site::resid_post, l, place);
              });
            });
          });
        });
  b.run("T2.l", "resid_post is resid_pre plus what is written at attn_delta or mlp_delta",
        "difference, relative to the row", b.o.identity, [&](check& c) -> status {
          return each_hidden_sum(b, c, [&](int l) -> status {
            for (const site s : {site::attn_delta, site::mlp_delta}) {
              c.covers.insert(s);
              const auto at = [s](site where) { return s == where ? delta_value::stream : delta_value::zero; };
              const auto st =
                  under_delta_writes(b, l, at(site::attn_delta), at(site::mlp_delta), [&](const record& got) {
                    each_row_around(b, got, l, [&](rows before, rows after, token_place place) {
                      const rows parts[] = {before, b.base_other.find(site::resid_pre, l, place)};
                      worst{c}.see(sum_deviation(parts, after), site::resid_post, l, place);
                    });
                  });
              if (!st) return st;
            }
            return {};
          });
        });
}

}  // namespace RESECT_NAMESPACE::conformance
