// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <resect/conformance/observing.hpp>

// The checks that need a host of the edit level.
namespace RESECT_NAMESPACE::conformance {

// T0.b: a write callback that changes nothing.
template <class H>
void editor_effect(bench<H>& b) {
  b.run("T0.b", "A try_forward callback that changes nothing leaves every logit as it was",
        "logits: largest |difference|", 0.0, [&](check& c) -> status {
          int flips = 0;
          for (const site_set read : {b.reached(access::read), site_set{}}) {
            auto got = b.edited(b.batch, read, b.reached(access::write),
                                [](const tap&, matrix_view<float>) { return edit::unchanged; });
            if (!got) return got.error();
            flips += compare_logits(worst{c}, *got, b.base, 1.0);
          }
          c.note = flips_of(flips, 2 * b.batch.size());
          return {};
        });
}

// A callback that writes, at one site of one layer, the rows that make(place) returns.
template <class Make>
auto writing(site where, int layer, Make make) {
  return [=](const tap& at, matrix_view<float> h) {
    if (at.where != where || (is_layer_site(where) && at.layer != layer)) return edit::unchanged;
    for (index_t r = 0; r < h.rows; ++r) {
      const row_meta& m = at.rows[static_cast<std::size_t>(r)];
      if ((m.flags & row_meta::pad) != 0) continue;
      const std::vector<float> row = make(m.place());
      for (index_t c = 0; c < h.cols && c < static_cast<index_t>(row.size()); ++c)
        h(r, c) = row[static_cast<std::size_t>(c)];
    }
    return edit::modified;
  };
}

// The site at which a delta is in the stream; any other site itself.
constexpr site after_edit(site s) noexcept {
  return s == site::attn_delta ? site::resid_mid : s == site::mlp_delta ? site::resid_post : s;
}

// At each writable layer in turn, rewrites text A's stream into text B's and, at the next layer, back. Adds the
// difference (h := to + (h − from)) instead of assigning, so that an edit that is lost or applied twice changes the
// logits. Also checks the rows that the callback gets. Deviations go to a check, relative to the row or to the
// largest logit.
// Where a layer hides resid_mid, an edit at attn_delta moves it by the difference of h + a, and the layer's mlp_delta is
// overwritten with the other text's: that leads to its resid_post whether the MLP reads h or h + a.
template <class H>
class switching {
 public:
  switching(const switching&) = delete;
  switching& operator=(const switching&) = delete;
  switching(const bench<H>& b, site s, check& c) : b_(b), where_(s), worst_{c} {
    for (int l = 0; l < (is_layer_site(s) ? b.n_layers() : 1); ++l)
      if (b.writes(s, l) && (b.reads(after_edit(s), l) || moves_hidden_sum(l))) layers_.push_back(l);
  }
  bool any() const noexcept { return !layers_.empty(); }
  // The sites that the edits write.
  site_set writes() const noexcept {
    site_set out{where_};
    for (const int l : layers_)
      if (moves_hidden_sum(l)) out.insert(site::mlp_delta);
    return out;
  }
  // Logits at the end of a pass over rows of the text: those of the text that the last edit led to.
  void ends(const record& got) {
    compare_logits(worst_, got, logits_of(text_after(layers_.size()), got.asked), b_.scale, where_);
    if (edited_ < layers_.size()) worst_.see(wrong, where_, -1, nowhere);  // an even number leads back to the text
    edited_ = 0;
  }

  edit operator()(const tap& at, matrix_view<float> h) {
    const auto here = std::find(layers_.begin(), layers_.end(), is_layer_site(where_) ? at.layer : 0);
    if (here == layers_.end()) return edit::unchanged;
    const auto before = static_cast<std::size_t>(here - layers_.begin());
    const record &from = text_after(before), &to = text_after(before + 1);
    const bool hidden = moves_hidden_sum(*here);
    if (hidden && at.where == site::mlp_delta)
      return writing(at.where, *here, [&](token_place p) { return copied(to.find(at.where, *here, p)); })(at, h);
    if (at.where != where_) return edit::unchanged;
    ++edited_;
    std::vector<float> row(static_cast<std::size_t>(h.cols));
    for (index_t r = 0; r < h.rows && r < static_cast<index_t>(at.rows.size()); ++r) {
      const row_meta& m = at.rows[static_cast<std::size_t>(r)];
      if ((m.flags & row_meta::pad) != 0) continue;
      const token_place place{m.seq, m.pos};
      for (index_t c = 0; c < h.cols; ++c) row[static_cast<std::size_t>(c)] = h(r, c);
      worst_.see(b_.apart(row, from.find(where_, *here, place), where_, *here, place), where_, *here, place);
      const auto x = hidden ? hidden_sum(from, *here, place) : copied(from.find(after_edit(where_), *here, place));
      const auto y = hidden ? hidden_sum(to, *here, place) : copied(to.find(after_edit(where_), *here, place));
      for (std::size_t i = 0; i < row.size() && i < x.size() && i < y.size(); ++i)
        h(r, static_cast<index_t>(i)) = is_delta(where_) ? row[i] + (y[i] - x[i]) : y[i] + (row[i] - x[i]);
    }
    return edit::modified;
  }

 private:
  bool moves_hidden_sum(int l) const {
    return where_ == site::attn_delta && !b_.reads(site::resid_mid, l) && b_.reads(site::resid_pre, l) &&
           b_.writes(site::mlp_delta, l);
  }
  static std::vector<float> copied(std::span<const float> x) { return {x.begin(), x.end()}; }
  // h + a, where no site shows it.
  static std::vector<float> hidden_sum(const record& of, int l, token_place place) {
    auto out = copied(of.find(site::resid_pre, l, place));
    const auto a = of.find(site::attn_delta, l, place);
    for (std::size_t i = 0; i < out.size() && i < a.size(); ++i) out[i] += a[i];
    return out;
  }
  const record& text_after(std::size_t edits) const noexcept { return edits % 2 == 0 ? b_.base : b_.base_other; }
  const bench<H>& b_;
  site where_;
  worst worst_;
  std::vector<int> layers_;
  std::size_t edited_ = 0;  // callbacks of this pass
};

// f(edits) → status for every site with an edit that can be switched.
template <class H, class F>
status each_switching(bench<H>& b, check& c, F f) {
  bool any = false;
  for (const site s : all_sites) {
    switching<H> edits(b, s, c);
    if (!edits.any()) continue;
    any = true;
    if (auto st = f(edits); !st) return st;
  }
  return any ? status{} : b.not_applicable(c, "the host has no site to write");
}

// T2: every consumer after a site reads the written rows. The stream of another text, written at any site, must give
// the other text's logits: a part of the host that still reads the old rows changes them. The two texts swap roles in
// every pass, so that logits left over from the pass before are noticed.
template <class H>
void write_sticks(bench<H>& b) {
  const auto copy = [](std::span<const float> x) { return std::vector<float>(x.begin(), x.end()); };
  check once;
  int passes = 0;
  // one place is written, and nothing is read: make(place, from, to) → row
  const auto rewritten = [&](check& c, site s, int l, double scale, auto make) -> status {
    const bool back = passes++ % 2 == 1;
    const record &from = back ? b.base_other : b.base, &to = back ? b.base : b.base_other;
    auto got = b.edited(back ? b.other : b.batch, site_set{}, {s},
                        writing(s, l, [&](token_place p) { return make(p, from, to); }));
    if (!got) return got.error();
    compare_logits(worst{c}, *got, to, scale, s, l);
    const shown_row* last = nullptr;
    for (const shown_row& r : got->rows) {
      const bool twice = last != nullptr && last->stage == r.stage && last->place == r.place;
      worst{once}.count(twice || r.where != s, r.where, r.layer, r.place);
      last = &r;
    }
    for (int at = 0; at < (is_layer_site(s) ? b.n_layers() : 1); ++at)
      for (const row_meta& row : b.batch)
        worst{once}.count(b.writes(s, at) && got->find(s, at, {row.seq, row.pos}).empty(), s, at, {row.seq, row.pos});
    return {};
  };
  b.run("T2.a", "Another text's stream, written in try_forward, gives that text's logits",
        "logits: largest |difference|", 0.0, [&](check& c) -> status {
          bool any = false;
          auto st = b.each_writable([&](site s, int l) -> status {
            if (is_delta(s)) return {};
            any = true;
            return rewritten(c, s, l, 1.0,
                             [&](token_place p, const record&, const record& to) { return copy(to.find(s, l, p)); });
          });
          return any || !st ? st : b.not_applicable(c, "the host has no such site to write");
        });
  b.run("T2.b", "A written attn_delta or mlp_delta moves the stream by its own value", "logits: relative difference",
        b.o.rounding, [&](check& c) -> status {
          bool any = false;
          auto st = b.each_writable([&](site s, int l) -> status {
            const site before = s == site::attn_delta ? site::resid_pre : site::resid_mid;
            if (!is_delta(s) || !b.reads(before, l) || !b.reads(after_edit(s), l)) return {};
            any = true;
            return rewritten(c, s, l, b.scale, [&](token_place p, const record& from, const record& to) {
              auto delta = copy(to.find(after_edit(s), l, p));
              const auto h = from.find(before, l, p);
              for (std::size_t i = 0; i < delta.size() && i < h.size(); ++i) delta[i] -= h[i];
              return delta;
            });
          });
          return any || !st ? st : b.not_applicable(c, "the host has no delta to write with the stream around it");
        });
  b.run("T2.c", "try_forward gives the intact logits after a pass with writes", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          const site_set written = b.reached(access::write);
          if (written.empty()) return b.not_applicable(c, "the host has no site to write");
          auto got = b.edited(b.batch, b.reached(access::read), written, [&](const tap& at, matrix_view<float> h) {
            return writing(at.where, at.layer,
                           [&](token_place p) { return copy(b.base_other.find(at.where, at.layer, p)); })(at, h);
          });
          if (!got) return got.error();
          auto after = b.fresh(b.batch, site_set{});
          if (!after) return after.error();
          compare_logits(worst{c}, *after, b.base, 1.0);
          return {};
        });
  for (const bool all : {true, false}) {
    b.run(all ? "T2.e" : "T2.f",
          all ? "A write in try_forward acts exactly once in every layer"
              : "A write in try_forward acts exactly once where few rows want logits",
          "difference, relative to the row", b.o.rounding, [&](check& c) -> status {
            const auto rows = all ? b.batch : few_want_logits(b.batch);
            return each_switching(b, c, [&](switching<H>& edits) -> status {
              auto got = b.edited(rows, site_set{}, edits.writes(), edits);
              if (!got) return got.error();
              edits.ends(*got);
              return {};
            });
          });
  }
  b.run("T2.g", "try_forward with writes alone shows every row of the site once",
        "rows missing, twice or of other sites", 0.0, [&](check& c) -> status {
          if (passes == 0) return b.not_applicable(c, "the host has no site to write");
          worst{c}.take(once);
          return {};
        });
}

// T6.e: values in pad rows reach no row of text.
template <class H>
void pads_are_ignored(bench<H>& b) {
  b.run("T6.e", "Values written into pad rows of try_forward reach no logit", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          if (b.base.pads == 0) return b.not_applicable(c, "no tap showed a pad row: ragged batches are packed");
          return b.each_writable([&](site s, int l) -> status {
            auto got = b.edited(b.batch, b.reached(access::read), {s}, [&](const tap& at, matrix_view<float> h) {
              if (is_layer_site(s) && at.layer != l) return edit::unchanged;
              for (index_t r = 0; r < h.rows; ++r)
                if ((at.rows[static_cast<std::size_t>(r)].flags & row_meta::pad) != 0)
                  for (index_t i = 0; i < h.cols; ++i) h(r, i) = i % 2 == 0 ? 3.0f : -5.0f * h(r, i) + 1.0f;
              return edit::modified;
            });
            if (!got) return got.error();
            compare_logits(worst{c}, *got, b.base, 1.0, s, l);
            return {};
          });
        });
}

// T8: NaN or infinity written into one row is an error of the host or appears in that row's logits.
template <class H>
void not_finite_is_seen(bench<H>& b) {
  std::int32_t seq = b.batch.front().seq;
  index_t length = 0;
  for (const std::int32_t candidate : sequences_of(b.batch)) {
    const auto n = static_cast<index_t>(part_of(b.batch, candidate, 0, longest(b.batch)).size());
    if (n > length) {
      seq = candidate;
      length = n;
    }
  }
  const token_place victim{seq, static_cast<std::int32_t>(length / 2)};
  check others;
  bool any = false, reported = false;
  index_t earlier = 0;  // rows before the victim that were not finite either
  const auto poison = [&](check& c, float value) {
    return b.each_writable([&](site s, int l) -> status {
      any = true;
      // read as well as written, which T2 never is
      auto got = b.edited(b.batch, b.reached(access::read), {s}, [&](const tap& at, matrix_view<float> h) {
        if (is_layer_site(s) && at.layer != l) return edit::unchanged;
        for (index_t r = 0; r < h.rows; ++r) {
          const row_meta& m = at.rows[static_cast<std::size_t>(r)];
          if (m.seq == victim.seq && m.pos == victim.pos && (m.flags & row_meta::pad) == 0) h(r, 0) = value;
        }
        return edit::modified;
      });
      if (!got && got.error().code != errc::not_finite) return got.error();
      reported = reported || !got;
      if (!got) return {};
      worst{c}.count(all_finite(got->logits_of(victim)), s, l, victim);
      for (const token_place place : b.base.asked)
        if (place.seq == victim.seq) earlier += place.pos < victim.pos && !all_finite(got->logits_of(place));
        else worst{others}.see(difference(got->logits_of(place), b.base.logits_of(place)), s, l, place);
      return {};
    });
  };
  const auto make = [&](std::string_view id, std::string_view what, float value) {
    b.run(id, what, "places with finite logits", 0.0, [&](check& c) -> status {
      reported = false;
      earlier = 0;
      auto st = poison(c, value);
      if (!any && st) return b.not_applicable(c, "the host has no site to write");
      if (reported) c.note = "the host reports it as an error";
      else if (earlier > 0) c.note = "earlier rows of the sequence are not finite either: a mask that multiplies by 0";
      return st;
    });
  };
  make("T8.a", "try_forward reports NaN written into a row, or its logits show it",
       std::numeric_limits<float>::quiet_NaN());
  make("T8.b", "try_forward reports infinity written into a row, or its logits show it",
       std::numeric_limits<float>::infinity());
  b.run("T8.c", "try_forward keeps NaN and infinity in the sequence they are written into",
        "logits: largest |difference|", 0.0, [&](check& c) -> status {
          if (!any) return b.not_applicable(c, "the host has no site to write");
          if (sequences_of(b.batch).size() < 2) return b.not_applicable(c, "one sequence only");
          worst{c}.take(others);
          return {};
        });
}

}  // namespace RESECT_NAMESPACE::conformance
