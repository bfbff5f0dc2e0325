// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/conformance/editing.hpp>
#include <resect/core/copy.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/select.hpp>

// T5: a text that is run in one pass, in chunks or row by row gives the same logits.
namespace RESECT_NAMESPACE::conformance {

// How a text is cut: `prefill` rows of every sequence, then `size` rows at a time.
struct cut {
  index_t prefill, size;
};
// The two ways of cutting, each with two starts.
inline constexpr cut in_chunks[] = {{2, 3}, {5, 3}}, by_row[] = {{1, 1}, {3, 1}};

// Whether every second sequence is one row behind the others: caches of one pass then differ in length, whatever the
// lengths of the texts are.
enum class pace : std::uint8_t { even, staggered };

// Rows [first, last) of every sequence, one row earlier of every second one where they are staggered; single rows that
// continue a sequence are flagged as such.
inline std::vector<row_meta> rows_between(batch_view batch, index_t first, index_t last, pace how = pace::even) {
  std::vector<row_meta> out;
  index_t behind = 0;
  for (const std::int32_t seq : sequences_of(batch)) {
    for (row_meta row : part_of(batch, seq, first - behind, last - behind)) {
      if (last - first == 1 && row.pos > 0) row.flags |= row_meta::decode;
      out.push_back(row);
    }
    if (how == pace::staggered) behind = 1 - behind;
  }
  return out;
}

// f(rows) → status for the parts of the batch, from nothing.
template <class H, class F>
status each_part(bench<H>& b, cut how, F f) {
  b.forget(b.batch);
  for (index_t first = 0, last = how.prefill; first <= longest(b.batch); first = last, last += how.size) {
    const auto rows = rows_between(b.batch, first, last, pace::staggered);
    if (rows.empty()) continue;
    if (auto s = f(rows); !s) return s;
  }
  return {};
}

// A check of f(check, cut) → status over ways of cutting the text up.
template <class H, class Cuts, class F>
void when_cut(bench<H>& b, std::string_view id, std::string_view what, std::string_view measure, const Cuts& cuts,
              F f) {
  b.run(id, what, measure, b.o.rounding, [&](check& c) -> status {
    if (longest(b.batch) < 2) return b.not_applicable(c, "no sequence of two rows");
    for (const cut how : cuts)
      if (auto s = f(c, how); !s) return s;
    return {};
  });
}

// The host's logits now, of rows that all asked for them.
template <class H>
result<record> logits_now(bench<H>& b, batch_view rows) {
  record out;
  const auto logits = b.host.logits();
  if (logits.rows != static_cast<index_t>(rows.size()) || logits.cols != b.host.describe().n_vocab)
    return error{errc::shape_mismatch, "logits of the host", text(logits.rows, " x ", logits.cols),
                 text(rows.size(), " x ", b.host.describe().n_vocab)};
  out.vocab = static_cast<std::size_t>(logits.cols);
  for (const row_meta& row : rows) out.asked.push_back({row.seq, row.pos});
  materialized(logits, out.logits);
  return out;
}

// T5.a to T5.d: forward(rows) → status in parts, against `want`.
template <class H, class Cuts, class Want, class Forward>
void parts_are_whole(bench<H>& b, std::string_view id, std::string_view what, const Cuts& cuts, Want want,
                     Forward forward) {
  when_cut(b, id, what, "logits: relative difference", cuts, [&](check& c, cut how) -> status {
    result<record> whole = want();
    if (!whole) return whole.error();
    const double scale = std::max(b.scale, largest(whole->logits));
    return each_part(b, how, [&](const std::vector<row_meta>& rows) -> status {
      if (auto s = forward(rows); !s) return s;
      auto got = logits_now(b, rows);
      if (!got) return got.error();
      for (const token_place place : got->asked)
        worst{c}.see(difference(got->logits_of(place), whole->logits_of(place)) / scale, site::logits, 0, place);
      return {};
    });
  });
}

// The plan of T5: a dose on one layer for some positions, and a change that depends on the position.
inline plan varied_plan(int n_layers) {
  step s{layer(0), site::resid_post, named("resect.conformance/1", 1, [](const tap& at, matrix_view<float> h) {
           for (index_t r = 0; r < h.rows; ++r)
             for (index_t c = 0; c < h.cols; ++c)
               h(r, c) *= 1.0f + 0.05f * static_cast<float>(at.rows[static_cast<std::size_t>(r)].pos % 5);
         })};
  plan p;
  if (auto dosed = try_at(range(2, 6), scale_delta(layer(n_layers / 2), 0.5f))) (void)p.try_add(std::move(*dosed));
  if (auto later = try_at(!range(0, 1), std::move(s))) (void)p.try_add(std::move(*later));
  return p;
}

// The edits of T5.g: the same changes made by a callback that reads and writes, without a plan.
template <class H>
result<record> varied_by_hand(bench<H>& b) {
  record input;
  const int dosed = b.n_layers() / 2;
  const auto vary = [&](const tap& at, matrix_view<float> h) {
    if (at.where == site::resid_pre && at.layer == dosed) {
      input.add(at, h);
      input.sort();
    }
    if (at.where != site::resid_post) return edit::unchanged;
    for (index_t r = 0; r < h.rows; ++r) {
      const row_meta& m = at.rows[static_cast<std::size_t>(r)];
      const auto before = input.find(site::resid_pre, at.layer, {m.seq, m.pos});
      for (index_t c = 0; c < h.cols; ++c) {
        if (at.layer == dosed && m.pos >= 2 && m.pos < 6 && c < static_cast<index_t>(before.size()))
          h(r, c) = 0.5f * before[static_cast<std::size_t>(c)] + 0.5f * h(r, c);
        if (at.layer == 0 && m.pos >= 1) h(r, c) *= 1.0f + 0.05f * static_cast<float>(m.pos % 5);
      }
    }
    return edit::modified;
  };
  return b.edited(b.batch, {site::resid_pre, site::resid_post}, {site::resid_pre, site::resid_post}, vary);
}

// T5.c, d and g.
template <class H>
void plans_in_parts(bench<H>& b) {
  constexpr std::string_view chunks = "try_forward in chunks, under a plan, gives the logits of one pass",
                             rows = "try_forward row by row, under a plan, gives the logits of one pass",
                             steps = "try_forward under a plan gives the logits of the same edits by callbacks";
  bool has_sites = b.host.describe().n_streams == 1;
  for (int l = 0; l < b.n_layers(); ++l)
    has_sites = has_sites && b.writes(site::resid_post, l) && b.reads(site::resid_pre, l);
  if (!has_sites) {
    for (const auto& [id, what] : {std::pair{std::string_view{"T5.c"}, chunks}, {"T5.d", rows}, {"T5.g", steps}})
      b.skip(id, what, "plans need resid_pre to read, resid_post to write");
    return;
  }
  const plan p = varied_plan(b.n_layers());
  const auto forward = [&](const std::vector<row_meta>& part) { return residual::try_forward(b.host, p, part); };
  const auto whole = [&]() -> result<record> {
    if (auto s = forward(b.batch); !s) return s.error();
    return logits_now(b, b.batch);
  };
  parts_are_whole(b, "T5.c", chunks, in_chunks, whole, forward);
  parts_are_whole(b, "T5.d", rows, by_row, whole, forward);
  b.run("T5.g", steps, "logits: relative difference", b.o.rounding, [&](check& c) -> status {
    auto want = varied_by_hand(b);
    if (!want) return want.error();
    auto got = whole();
    if (!got) return got.error();
    check changed;
    compare_logits(worst{changed}, *got, b.base, 1.0);
    compare_logits(worst{c}, *got, *want, std::max(b.scale, largest(want->logits)));
    if (changed.measured == 0.0) {
      c.measured = wrong;
      c.note = "under the plan the logits are the intact model's";
    }
    return {};
  });
}

// T5: prefill is decode.
template <class H>
void prefill_is_decode(bench<H>& b) {
  const auto base = [&]() -> result<record> { return b.base; };
  const auto intact = [&](const std::vector<row_meta>& rows) {
    auto ignore = [](const tap&, matrix_view<const float>) {};
    return b.host.try_forward(rows, site_set{}, ignore);
  };
  parts_are_whole(b, "T5.a", "try_forward in chunks gives the logits of one pass", in_chunks, base, intact);
  parts_are_whole(b, "T5.b", "try_forward row by row gives the logits of one pass", by_row, base, intact);
  const cut both[] = {in_chunks[0], by_row[1]};
  when_cut(b, "T5.f", "try_forward on a cache shows the rows of one whole pass", "difference, relative to the row",
           both, [&](check& c, cut how) {
             return each_part(b, how, [&](const std::vector<row_meta>& rows) -> status {
               auto got = b.pass(rows, b.reached(access::read));
               if (!got) return got.error();
               b.same_rows(worst{c}, *got, b.base, rows, [](site, int, const row_meta&) { return true; });
               return {};
             });
           });
  if constexpr (editable_host<H>) {
    plans_in_parts(b);
    b.run("T5.e", "cached(seq) and cache_epoch(seq) tell the length and plan of a cache", "wrong lengths and epochs",
          0.0, [&](check& c) -> status {
            const worst w{c};
            const index_t length = longest(b.batch);
            auto look = [](const tap&, matrix_view<float>) { return edit::unchanged; };
            const auto with_epoch = [&](const std::vector<row_meta>& rows, std::uint64_t epoch) {
              return b.host.try_forward(rows, hooks<float>{{}, {}, look, epoch});
            };
            b.forget(b.batch);
            const auto expect = [&](index_t most, std::uint64_t epoch) {
              for (const std::int32_t seq : sequences_of(b.batch)) {
                const auto n = static_cast<index_t>(part_of(b.batch, seq, 0, most).size());
                w.count(b.host.cached(seq) != n, {}, -1, {seq, -1});
                w.count(b.host.cache_epoch(seq) != (n == 0 ? 0 : epoch), {}, -1, {seq, -1});
              }
            };
            expect(0, 0);
            if (auto s = with_epoch(rows_between(b.batch, 0, 2), edited_epoch); !s) return s;
            expect(2, edited_epoch);
            if (auto s = with_epoch(rows_between(b.batch, 2, length), edited_epoch); !s) return s;
            expect(length, edited_epoch);
            b.forget(b.batch);
            expect(0, 0);
            return {};
          });
    when_cut(b, "T5.h", "try_forward on a cache applies every write exactly once", "difference, relative to the row",
             both, [&](check& c, cut how) {
               return each_switching(b, c, [&](switching<H>& edits) {
                 return each_part(b, how, [&](const std::vector<row_meta>& rows) -> status {
                   auto got = b.edited_on(rows, site_set{}, edits.writes(), edits);
                   if (!got) return got.error();
                   edits.ends(*got);
                   return {};
                 });
               });
             });
  }
}

}  // namespace RESECT_NAMESPACE::conformance
