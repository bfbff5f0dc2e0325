// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>
#include <vector>

#include <resect/conformance/editing.hpp>
#include <resect/conformance/surgery.hpp>

// T1 and T2 on states: sites in partial passes, writes in partial passes, and try_head on some rows.
namespace RESECT_NAMESPACE::conformance {

// Layers [0, n) in pieces that begin at 0 and at each of `cuts`: f(state, first, last) → status runs one.
template <class H, class F>
status run_in_pieces(bench<H>& b, typename H::state& state, const std::vector<int>& cuts, F f) {
  for (std::size_t i = 0; i <= cuts.size(); ++i)
    if (auto s = f(state, i == 0 ? 0 : cuts[i - 1], i == cuts.size() ? b.n_layers() : cuts[i]); !s) return s;
  return {};
}
// Nowhere, in the middle, at every layer.
template <class H>
std::vector<std::vector<int>> ways_to_cut(const bench<H>& b) {
  std::vector<std::vector<int>> out(1);
  if (b.n_layers() > 1) out.push_back({b.n_layers() / 2});
  if (b.n_layers() > 2) {
    out.emplace_back();
    for (int l = 1; l < b.n_layers(); ++l) out.back().push_back(l);
  }
  return out;
}

// T1.g to T1.i and T1.k: try_head on some rows, and the sites of partial passes.
template <class H>
void states_show(bench<H>& b) {
  site_set of_layers;
  for (const site s : all_sites)
    if (is_layer_site(s) && b.reached(access::read).contains(s)) of_layers.insert(s);

  b.run("T1.g", "try_head gives some rows what it gives all rows; its norm is head_norm", "difference, relative",
        b.o.rounding, [&](check& c) -> status {
          auto state = b.host.try_embed(b.batch);
          if (!state) return state.error();
          if (auto s = b.host.try_run(*state, 0, b.n_layers(), no_hooks<float>()); !s) return s;
          auto whole = b.head(*state);
          if (!whole) return whole.error();
          const auto compare = [&](const record& got) {
            compare_logits(worst{c}, got, b.base, b.scale, site::logits);
            for (const token_place place : got.asked) {
              const auto norm = got.find(site::head_norm, 0, place);
              const auto want = (b.reads(site::head_norm, 0) ? b.base : *whole).find(site::head_norm, 0, place);
              worst{c}.see(b.apart(norm, want, site::head_norm, 0, place), site::head_norm, 0, place);
            }
          };
          compare(*whole);
          for (const index_t most : {1, 3}) {
            auto got = b.head(*state, [&](index_t first) { return first % most + 1; });
            if (!got) return got.error();
            compare(*got);
          }
          return {};
        });
  if (of_layers.empty()) {
    b.skip("T1.h", "try_run shows at every site what try_forward shows", "the host shows no layer");
    b.skip("T1.i", "try_run shows deltas that add up to resid_mid and resid_post", "the host shows no layer");
    b.skip("T1.k", "try_run shows two deltas that add up to resid_post", "the host shows no layer");
    return;
  }
  record uncut;
  b.run("T1.h", "try_run shows at every site what try_forward shows", "difference, relative to the row", b.o.rounding,
        [&](check& c) -> status {
          for (const auto& cuts : ways_to_cut(b)) {
            auto state = b.host.try_embed(b.batch);
            if (!state) return state.error();
            auto st = run_in_pieces(b, *state, cuts, [&](auto& s, int first, int last) -> status {
              record got;
              auto look = [&](const tap& at, matrix_view<float> h) {
                got.add(at, h);
                return edit::unchanged;
              };
              if (auto ran = b.host.try_run(s, first, last, hooks<float>{of_layers, {}, look, edited_epoch}); !ran)
                return ran;
              got.sort();
              b.same_rows(worst{c}, got, b.base, b.batch, [&](site where, int l, const row_meta&) {
                return is_layer_site(where) && l >= first && l < last;
              });
              if (cuts.empty()) uncut = std::move(got);
              return {};
            });
            if (!st) return st;
          }
          return {};
        });
  b.run("T1.i", "try_run shows deltas that add up to resid_mid and resid_post", "difference, relative to the row",
        b.o.identity, [&](check& c) -> status {
          const bool first = check_sum(b, c, uncut, site::resid_pre, site::attn_delta, site::resid_mid);
          const bool second = check_sum(b, c, uncut, site::resid_mid, site::mlp_delta, site::resid_post);
          return first || second ? status{} : b.not_applicable(c, "the host shows no delta beside resid_mid");
        });
  b.run("T1.k", "try_run shows two deltas that add up to resid_post", "difference, relative to the row",
        2.0 * b.o.identity, [&](check& c) -> status {
          return check_block_sum(b, c, uncut) ? status{}
                                              : b.not_applicable(c, "no layer without resid_mid shows both deltas");
        });
}

// T2.h and T2.i: T2 in partial passes, one layer at a time, as plans run them, and several at once.
template <class H>
void states_stick(bench<H>& b) {
  b.run("T2.h", "Another text's stream, written in try_run, gives that text's stream", "stream: largest |difference|",
        0.0, [&](check& c) -> status {
          auto own = b.host.try_embed(b.batch), other = b.host.try_embed(b.other);
          if (!own) return own.error();
          if (!other) return other.error();
          int at = 0;
          bool any = false;
          for (const int l : b.layers) {
            for (auto* each : {&*own, &*other})
              if (auto s = b.host.try_run(*each, at, l, no_hooks<float>()); !s) return s;
            at = l;
            record shown;
            auto look = [&](const tap& where, matrix_view<float> h) {
              shown.add(where, h);
              return edit::unchanged;
            };
            auto target = b.host.snapshot(*other);
            const hooks<float> looks{{site::resid_pre, site::resid_mid, site::resid_post}, {}, look, edited_epoch};
            if (auto s = b.host.try_run(target, l, l + 1, looks); !s) return s;
            shown.sort();
            const auto want = stream_of(b.host, target);
            for (const site s : {site::resid_pre, site::resid_mid, site::resid_post}) {
              if (!b.writes(s, l)) continue;
              any = true;
              auto copy = b.host.snapshot(*own);
              auto write = writing(s, l, [&](token_place p) {
                const auto row = shown.find(s, l, p);
                return std::vector<float>(row.begin(), row.end());
              });
              if (auto st = b.host.try_run(copy, l, l + 1, hooks<float>{{}, {s}, write, edited_epoch}); !st) return st;
              worst{c}.see(difference(stream_of(b.host, copy), want), s, l, nowhere);
            }
          }
          return any ? status{} : b.not_applicable(c, "the host has no such site to write");
        });
  b.run("T2.i", "A write at a site acts exactly once in every layer of try_run", "difference, relative to the row",
        b.o.rounding, [&](check& c) -> status {
          bool any = false;
          for (const site s : all_sites) {
            switching<H> edits(b, s, c);
            if (!is_layer_site(s) || !edits.any()) continue;
            any = true;
            for (const auto& cuts : ways_to_cut(b)) {
              auto state = b.host.try_embed(b.batch);
              if (!state) return state.error();
              auto st = run_in_pieces(b, *state, cuts, [&](auto& piece, int first, int last) {
                return b.host.try_run(piece, first, last, hooks<float>{{}, edits.writes(), edits, edited_epoch});
              });
              if (!st) return st;
              auto got = b.head(*state);
              if (!got) return got.error();
              edits.ends(*got);
            }
          }
          return any ? status{} : b.not_applicable(c, "the host has no such site to write");
        });
}

}  // namespace RESECT_NAMESPACE::conformance
