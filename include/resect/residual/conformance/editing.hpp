// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <resect/residual/conformance/observing.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/select.hpp>

// The checks that need a host of the edit level.
namespace resect::inline RESECT_NAMESPACE_TAG::residual::conformance {

// What one edit did to the logits of a pass.
template <class H>
void editor_effect(bench<H>& b) {
  b.run("T0.b", "callbacks that could write change no logit", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          auto got = b.edited(b.batch, b.reached(access::write),
                              [](const tap&, matrix_view<float>) { return edit::unchanged; });
          if (!got) return got.error();
          c.note = flips_of(compare_logits(worst{c}, *got, b.base, 1.0), b.batch.size());
          return {};
        });
}

// A callback that writes, at one site of one layer, the rows that make(place) returns.
template <class Make>
auto writing(site where, int layer, Make make) {
  return [=](const tap& at, matrix_view<float> h) {
    if (at.where != where || (is_layer_site(where) && at.layer != layer)) return edit::unchanged;
    for (index r = 0; r < h.rows; ++r) {
      const row_meta& m = at.rows[static_cast<std::size_t>(r)];
      if ((m.flags & row_meta::pad) != 0) continue;
      const std::vector<float> row = make(row_place{m.seq, m.pos});
      for (index c = 0; c < h.cols && c < static_cast<index>(row.size()); ++c)
        h(r, c) = row[static_cast<std::size_t>(c)];
    }
    return edit::modified;
  };
}

// T2: what is written is what everything after it reads. The stream of another text, written whole at any place, must
// lead to the other text's logits: no matter how small a part of the host still reads what was there, it shows.
template <class H>
void write_sticks(bench<H>& b) {
  const auto copy = [](std::span<const float> x) { return std::vector<float>(x.begin(), x.end()); };
  b.run("T2.a", "another text's stream, written, gives its logits", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          bool any = false;
          auto st = b.each_writable([&](site s, int l) -> status {
            if (is_delta(s)) return {};
            any = true;
            auto got =
                b.edited(b.batch, {s}, writing(s, l, [&](row_place p) { return copy(b.base_other.find(s, l, p)); }));
            if (!got) return got.error();
            compare_logits(worst{c}, *got, b.base_other, 1.0, s, l);
            return {};
          });
          return any || !st ? st : b.not_applicable(c, "the host has no such site to write");
        });
  b.run("T2.b", "another text's stream, reached by a delta, gives them", "logits: relative difference", b.o.rounding,
        [&](check& c) -> status {
          bool any = false;
          auto st = b.each_writable([&](site s, int l) -> status {
            if (!is_delta(s)) return {};
            const site from = s == site::attn_delta ? site::resid_pre : site::resid_mid;
            const site to = s == site::attn_delta ? site::resid_mid : site::resid_post;
            if (!b.reads(from, l) || !b.reads(to, l)) return {};
            any = true;
            auto got = b.edited(b.batch, {s}, writing(s, l, [&](row_place p) {
                                  auto delta = copy(b.base_other.find(to, l, p));
                                  const auto h = b.base.find(from, l, p);
                                  for (std::size_t i = 0; i < delta.size() && i < h.size(); ++i) delta[i] -= h[i];
                                  return delta;
                                }));
            if (!got) return got.error();
            compare_logits(worst{c}, *got, b.base_other, b.scale, s, l);
            return {};
          });
          return any || !st ? st : b.not_applicable(c, "the host has no delta to write, or not the stream around it");
        });
  b.run("T2.c", "without the edit the model is as before", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          const site_set written = b.reached(access::write);
          if (written.empty()) return b.not_applicable(c, "the host has no site to write");
          auto got = b.edited(b.batch, written, [&](const tap& at, matrix_view<float> h) {
            return writing(at.where, at.layer,
                           [&](row_place p) { return copy(b.base_other.find(at.where, at.layer, p)); })(at, h);
          });
          if (!got) return got.error();
          auto after = b.fresh(b.batch, site_set{});
          if (!after) return after.error();
          compare_logits(worst{c}, *after, b.base, 1.0);
          return {};
        });
}

// The plan of T5: a dose on one layer for some positions, and a change that depends on the position.
inline plan varied_plan(int n_layers) {
  step s;
  s.what = step::kind::rows;
  s.where = site::resid_post;
  s.range = layer(0);
  s.name = "conformance";
  s.hash = 1;
  s.overwrites = false;
  s.on_rows = [](const tap& at, matrix_view<float> h) {
    for (index r = 0; r < h.rows; ++r)
      for (index c = 0; c < h.cols; ++c)
        h(r, c) *= 1.0f + 0.05f * static_cast<float>(at.rows[static_cast<std::size_t>(r)].pos % 5);
  };
  plan p;
  if (auto dosed = try_at(range(2, 6), scale_delta(layer(n_layers / 2), 0.5f))) (void)p.try_add(std::move(*dosed));
  if (auto later = try_at(!range(0, 1), std::move(s))) (void)p.try_add(std::move(*later));
  return p;
}

// T5: a text in one go, in chunks and row by row is the same text.
template <class H>
void prefill_is_decode(bench<H>& b) {
  const index length = longest(b.batch);
  const auto rows_between = [&](index first, index last) {
    std::vector<row_meta> out;
    for (const std::int32_t seq : sequences_of(b.batch))
      for (row_meta row : part_of(b.batch, seq, first, last)) {
        if (last - first == 1 && first > 0) row.flags |= row_meta::decode;
        out.push_back(row);
      }
    return out;
  };
  // first a prefill, then chunks of `size`; `forward` runs one batch
  const auto compare = [&](check& c, const record& want, index prefill, index size, auto forward) -> status {
    b.forget(b.batch);
    for (index first = 0; first < length; first = first == 0 ? prefill : first + size) {
      const auto rows = rows_between(first, first == 0 ? prefill : first + size);
      if (auto s = forward(rows); !s) return s;
      const auto logits = b.host.logits();
      if (logits.rows != static_cast<index>(rows.size()) || logits.cols != static_cast<index>(want.vocab))
        return error{errc::shape_mismatch, "logits of the host", text(logits.rows, " x ", logits.cols),
                     text(rows.size(), " x ", want.vocab)};
      for (std::size_t r = 0; r < rows.size(); ++r) {
        std::vector<float> row;
        for (index v = 0; v < logits.cols; ++v) row.push_back(logits(static_cast<index>(r), v));
        const row_place place{rows[r].seq, rows[r].pos};
        worst{c}.see(difference(row, want.logits_of(place)) / std::max(b.scale, largest(want.logits)), site::logits, 0,
                     place);
      }
    }
    return {};
  };
  const auto make = [&](std::string_view id, std::string_view what, auto want, auto forward, bool by_row) {
    b.run(id, what, "logits: relative difference", b.o.rounding, [&](check& c) -> status {
      if (length < 2) return b.not_applicable(c, "no sequence of two rows");
      result<record> whole = want();
      if (!whole) return whole.error();
      for (const index prefill : by_row ? std::vector<index>{1, 3} : std::vector<index>{2, 5})
        if (auto s = compare(c, *whole, prefill, by_row ? 1 : 3, forward); !s) return s;
      return {};
    });
  };
  const auto base = [&]() -> result<record> { return b.base; };
  const auto intact = [&](const std::vector<row_meta>& rows) {
    auto ignore = [](const tap&, matrix_view<const float>) {};
    return b.host.try_forward(rows, site_set{}, ignore);
  };
  make("T5.a", "in chunks is in one go", base, intact, false);
  make("T5.b", "row by row is in one go", base, intact, true);
  if constexpr (editable_host<H>) {
    const plan p = varied_plan(b.n_layers());
    bool has_sites = b.host.describe().n_streams == 1;
    for (int l = 0; l < b.n_layers(); ++l)
      has_sites = has_sites && b.writes(site::resid_post, l) && b.reads(site::resid_pre, l);
    const auto under_plan = [&](const std::vector<row_meta>& rows) { return residual::try_forward(b.host, p, rows); };
    const auto whole = [&]() -> result<record> {
      if (auto s = under_plan(b.batch); !s) return s.error();
      record out = b.base;
      const auto logits = b.host.logits();
      if (logits.rows * logits.cols != static_cast<index>(out.logits.size()))
        return error{errc::shape_mismatch, "logits of the host", text(logits.rows, " x ", logits.cols),
                     text(out.asked.size(), " x ", out.vocab)};
      for (index r = 0; r < logits.rows; ++r)
        for (index v = 0; v < logits.cols; ++v)
          out.logits[static_cast<std::size_t>(r * logits.cols + v)] = logits(r, v);
      return out;
    };
    constexpr std::string_view chunks = "in chunks is in one go, under a plan",
                               rows = "row by row is in one go, under a plan";
    if (has_sites) {
      make("T5.c", chunks, whole, under_plan, false);
      make("T5.d", rows, whole, under_plan, true);
    } else {
      for (const auto& [id, what] : {std::pair<std::string_view, std::string_view>{"T5.c", chunks}, {"T5.d", rows}})
        b.skip(id, what, "a plan needs to read resid_pre and to write resid_post in every layer, of one stream");
    }
    b.run("T5.e", "a cache knows its length and its plan", "wrong lengths and epochs", 0.0, [&](check& c) -> status {
      const worst w{c};
      auto look = [](const tap&, matrix_view<float>) { return edit::unchanged; };
      const auto with_epoch = [&](const std::vector<row_meta>& rows_, std::uint64_t epoch) {
        return b.host.try_forward(rows_, hooks<float>{{}, {}, look, epoch});
      };
      b.forget(b.batch);
      const auto expect = [&](index most, std::uint64_t epoch) {
        for (const std::int32_t seq : sequences_of(b.batch)) {
          const auto n = static_cast<index>(part_of(b.batch, seq, 0, most).size());
          w.count(b.host.cached(seq) != n, {}, -1, {seq, -1});
          w.count(b.host.cache_epoch(seq) != (n == 0 ? 0 : epoch), {}, -1, {seq, -1});
        }
      };
      expect(0, 0);
      if (auto s = with_epoch(rows_between(0, 2), edited_epoch); !s) return s;
      expect(2, edited_epoch);
      if (auto s = with_epoch(rows_between(2, length), edited_epoch); !s) return s;
      expect(length, edited_epoch);
      b.forget(b.batch);
      expect(0, 0);
      return {};
    });
  }
}

// T6.e: what stands in pad rows reaches no text.
template <class H>
void pads_are_ignored(bench<H>& b) {
  b.run("T6.e", "what is written into pads reaches no text", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          if (b.base.pads == 0) return b.not_applicable(c, "no tap showed a pad row: ragged batches are packed");
          return b.each_writable([&](site s, int l) -> status {
            auto got = b.edited(b.batch, {s}, [&](const tap& at, matrix_view<float> h) {
              if (is_layer_site(s) && at.layer != l) return edit::unchanged;
              for (index r = 0; r < h.rows; ++r)
                if ((at.rows[static_cast<std::size_t>(r)].flags & row_meta::pad) != 0)
                  for (index i = 0; i < h.cols; ++i) h(r, i) = i % 2 == 0 ? 3.0f : -5.0f * h(r, i) + 1.0f;
              return edit::modified;
            });
            if (!got) return got.error();
            compare_logits(worst{c}, *got, b.base, 1.0, s, l);
            return {};
          });
        });
}

// T8: a value that is not finite, put into one row, is an error of the host or is seen in that row's logits.
template <class H>
void not_finite_is_seen(bench<H>& b) {
  std::int32_t seq = b.batch.front().seq;
  index length = 0;
  for (const std::int32_t candidate : sequences_of(b.batch)) {
    const auto n = static_cast<index>(part_of(b.batch, candidate, 0, longest(b.batch)).size());
    if (n > length) {
      seq = candidate;
      length = n;
    }
  }
  const row_place victim{seq, static_cast<std::int32_t>(length / 2)};
  check others;
  bool any = false, reported = false;
  index earlier = 0;  // rows before the victim that were not finite either
  const auto poison = [&](check& c, float value) {
    return b.each_writable([&](site s, int l) -> status {
      any = true;
      auto got = b.edited(b.batch, {s}, [&](const tap& at, matrix_view<float> h) {
        if (is_layer_site(s) && at.layer != l) return edit::unchanged;
        for (index r = 0; r < h.rows; ++r) {
          const row_meta& m = at.rows[static_cast<std::size_t>(r)];
          if (m.seq == victim.seq && m.pos == victim.pos && (m.flags & row_meta::pad) == 0) h(r, 0) = value;
        }
        return edit::modified;
      });
      if (!got && got.error().code != errc::not_finite) return got.error();
      reported = reported || !got;
      if (!got) return {};
      worst{c}.count(all_finite(got->logits_of(victim)), s, l, victim);
      for (const row_place place : b.base.asked)
        if (place.seq == victim.seq) earlier += place.pos < victim.pos && !all_finite(got->logits_of(place));
        else worst{others}.see(difference(got->logits_of(place), b.base.logits_of(place)), s, l, place);
      return {};
    });
  };
  const auto make = [&](std::string_view id, std::string_view what, float value) {
    b.run(id, what, "places from which it became a finite logit", 0.0, [&](check& c) -> status {
      reported = false;
      earlier = 0;
      auto st = poison(c, value);
      if (!any && st) return b.not_applicable(c, "the host has no site to write");
      if (reported) c.note = "the host reports it as an error";
      else if (earlier > 0) c.note = "earlier rows of the sequence are not finite either: a mask that multiplies by 0";
      return st;
    });
  };
  make("T8.a", "NaN in a row is an error or shows in its logits", std::numeric_limits<float>::quiet_NaN());
  make("T8.b", "infinity in a row is an error or shows in its logits", std::numeric_limits<float>::infinity());
  b.run("T8.c", "NaN and infinity stay in their sequence", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          if (!any) return b.not_applicable(c, "the host has no site to write");
          if (sequences_of(b.batch).size() < 2) return b.not_applicable(c, "one sequence only");
          worst{c}.see(others.measured, others.where, others.layer, {others.seq, others.pos});
          return {};
        });
}

}  // namespace resect::inline RESECT_NAMESPACE_TAG::residual::conformance
