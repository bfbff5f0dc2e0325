// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

#include <resect/conformance/bench.hpp>

// The checks that need a host of the observe level only.
namespace RESECT_NAMESPACE::conformance {

// The number of rows whose most likely token differs.
inline short_text<200> flips_of(int flips, std::size_t rows) noexcept {
  if (flips == 0) return {};
  return text<200>(flips, " of ", rows, " rows have another most likely token");
}

// T0: observing changes no logit.
template <class H>
void observer_effect(bench<H>& b) {
  b.run("T0.a", "Observing sites in try_forward leaves every logit as it was", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          auto blind = b.fresh(b.batch, site_set{});
          if (!blind) return blind.error();
          c.note = flips_of(compare_logits(worst{c}, b.base, *blind, 1.0), blind->asked.size());
          return {};
        });
}

// Rows that add up to `sum`, element by element: the largest deviation, relative to the largest value.
inline double sum_deviation(std::span<const std::span<const float>> parts, std::span<const float> sum) noexcept {
  double d = 0.0, scale = largest(sum);
  for (const auto part : parts) {
    if (part.size() != sum.size()) return wrong;
    scale = std::max(scale, largest(part));
  }
  for (std::size_t i = 0; i < sum.size(); ++i) {
    double e = -static_cast<double>(sum[i]);
    for (const auto part : parts) e += static_cast<double>(part[i]);
    if (std::isnan(e)) return wrong;
    d = std::max(d, std::fabs(e));
  }
  return d == 0.0 ? 0.0 : d / scale;
}

// Sites that add up to another one, for every row of every layer of which wanted(layer) that was shown at all of them;
// false: none was.
template <class H, class Wanted>
bool check_sum(const bench<H>& b, check& c, const record& shown, std::initializer_list<site> parts, site sum,
               Wanted wanted) {
  bool any = false;
  std::vector<std::span<const float>> rows;
  for (int l = 0; l < b.n_layers(); ++l)
    for (const row_meta& row : b.batch) {
      const token_place place = row.place();
      const auto want = shown.find(sum, l, place);
      rows.clear();
      bool all = wanted(l) && !want.empty();
      for (const site s : parts) {
        rows.push_back(shown.find(s, l, place));
        all = all && !rows.back().empty();
      }
      if (!all) continue;
      any = true;
      for (const site s : parts) c.covers.insert(s);
      worst{c}.see(sum_deviation(rows, want), sum, l, place);
    }
  return any;
}
template <class H>
bool check_sum(const bench<H>& b, check& c, const record& shown, site first, site second, site sum) {
  return check_sum(b, c, shown, {first, second}, sum, [](int) { return true; });
}
// C4, in layers where resid_mid is not shown (a parallel block has none, a fused add and norm hides it). A host may round
// the stream after each of the two additions: the tolerance is twice that of one.
template <class H>
bool check_block_sum(const bench<H>& b, check& c, const record& shown) {
  return check_sum(b, c, shown, {site::resid_pre, site::attn_delta, site::mlp_delta}, site::resid_post,
                   [&](int l) { return !b.reads(site::resid_mid, l); });
}

// T1: each site shows the value that its name says.
template <class H>
void site_identities(bench<H>& b) {
  b.run("T1.a", "try_forward shows every row once at each supported site, in pass order",
        "rows missing, twice or out of order", 0.0, [&](check& c) -> status {
          const worst w{c};
          if (!b.base.bad_call.empty()) {
            c.note = b.base.bad_call.view();
            w.see(wrong);
          }
          for (const site s : all_sites)
            for (int l = 0; l < (is_layer_site(s) ? b.n_layers() : 1); ++l)
              for (const row_meta& row : b.batch) {
                const token_place place{row.seq, row.pos};
                w.count(b.base.find(s, l, place).empty() == b.reads(s, l), s, l, place);
              }
          std::vector<const shown_row*> shown;
          for (const shown_row& r : b.base.rows) shown.push_back(&r);
          std::sort(shown.begin(), shown.end(), [](const shown_row* x, const shown_row* y) {
            return std::tie(x->place, x->call) < std::tie(y->place, y->call);
          });
          for (std::size_t i = 1; i < shown.size(); ++i)
            w.count(shown[i]->place == shown[i - 1]->place && shown[i]->stage <= shown[i - 1]->stage, shown[i]->where,
                    shown[i]->layer, shown[i]->place);
          return {};
        });
  const auto sum = [&](std::string_view id, std::string_view what, site x, site y, site z) {
    b.run(id, what, "difference, relative to the row", b.o.identity, [&](check& c) -> status {
      return check_sum(b, c, b.base, x, y, z) ? status{}
                                              : b.not_applicable(c, "the host does not show all three sites");
    });
  };
  sum("T1.b", "resid_mid equals resid_pre + attn_delta", site::resid_pre, site::attn_delta, site::resid_mid);
  sum("T1.c", "resid_post equals resid_mid + mlp_delta", site::resid_mid, site::mlp_delta, site::resid_post);
  b.run("T1.j", "resid_post equals resid_pre + attn_delta + mlp_delta", "difference, relative to the row",
        2.0 * b.o.identity, [&](check& c) -> status {
          if (check_block_sum(b, c, b.base)) return {};
          bool mid = true;
          for (int l = 0; l < b.n_layers(); ++l) mid = mid && b.reads(site::resid_mid, l);
          return b.not_applicable(c, mid ? "resid_mid is shown in every layer: T1.b and T1.c say it"
                                         : "no layer without resid_mid shows both deltas");
        });
  b.run("T1.d", "resid_pre of a layer equals resid_post of the layer before it", "largest |difference|", 0.0,
        [&](check& c) -> status {
          bool any = false;
          const auto same = [&](site s, int layer, site next, int next_layer) {
            for (const row_meta& row : b.batch) {
              const token_place place{row.seq, row.pos};
              const auto x = b.base.find(s, layer, place), y = b.base.find(next, next_layer, place);
              if (x.empty() || y.empty()) continue;
              any = true;
              worst{c}.see(difference(x, y), next, next_layer, place);
            }
          };
          same(site::embed_out, 0, site::resid_pre, 0);
          for (int l = 0; l + 1 < b.n_layers(); ++l) same(site::resid_post, l, site::resid_pre, l + 1);
          same(site::resid_post, b.n_layers() - 1, site::head_in, 0);
          return any ? status{} : b.not_applicable(c, "the host shows no two such sites");
        });
  b.run("T1.e", "Site logits shows the values that logits() returns", "largest |difference|", 0.0,
        [&](check& c) -> status {
          if (!b.reads(site::logits, 0)) return b.not_applicable(c, "the host does not show the logits");
          for (const token_place place : b.base.asked)
            worst{c}.see(difference(b.base.find(site::logits, 0, place), b.base.logits_of(place)), site::logits, 0,
                         place);
          return {};
        });
}

// T4: tap.rows describes each row; a token changes the later rows of its sequence and no other row. One token of the
// batch is changed at a time: the first, the middle and the last of every sequence, at most 24 tokens.
template <class H>
void row_map(bench<H>& b) {
  check label, causal, isolated;
  const auto changed_everywhere = [&](const record& got, const shown_row& r) {
    return is_delta(r.where) || difference(got.find(r.where, r.layer, r.place), b.base.of(r)) > 0.0;
  };
  const auto walk = [&]() -> status {
    for (const shown_row& r : b.base.rows) worst{label}.count(!is_what_it_says(r, b.batch), r.where, r.layer, r.place);
    int left = 24;
    for (std::size_t i = 0; i < b.batch.size(); ++i) {
      const row_meta row = b.batch[i];
      const bool is_last = i + 1 == b.batch.size() || b.batch[i + 1].seq != row.seq;
      const index_t length = static_cast<index_t>(part_of(b.batch, row.seq, 0, longest(b.batch)).size());
      if (!(row.pos == 0 || is_last || row.pos == length / 2) || left-- <= 0) continue;
      auto changed = b.batch;
      changed[i].token = b.other[i].token;
      auto got = b.fresh(changed);
      if (!got) return got.error();
      for (const shown_row& r : b.base.rows) {
        if (r.place.seq == row.seq && r.place.pos > row.pos) continue;
        if (r.place == row.place()) {
          worst{label}.count(!changed_everywhere(*got, r), r.where, r.layer, r.place);
          continue;
        }
        worst{r.place.seq == row.seq ? causal : isolated}.see(
            difference(got->find(r.where, r.layer, r.place), b.base.of(r)), r.where, r.layer, r.place);
      }
      for (const token_place place : b.base.asked) {
        const double d = difference(got->logits_of(place), b.base.logits_of(place));
        if (place == row.place()) worst{label}.count(d == 0.0, site::logits, 0, place);
        else if (place.seq != row.seq) worst{isolated}.see(d, site::logits, 0, place);
        else if (place.pos < row.pos) worst{causal}.see(d, site::logits, 0, place);
      }
    }
    return {};
  };
  const auto take = [](check& to, const check& from) { worst{to}.take(from); };
  b.run("T4.a", "tap.rows names the sequence, position and token of every row shown", "rows with wrong meta data", 0.0,
        [&](check& c) -> status {
          auto s = walk();
          take(c, label);
          return s;
        });
  b.run("T4.b", "try_forward keeps the rows before a changed token as they were", "largest |difference|", 0.0,
        [&](check& c) -> status {
          take(c, causal);
          return longest(b.batch) > 1 ? status{} : b.not_applicable(c, "no sequence of two rows");
        });
  b.run("T4.c", "try_forward keeps the sequences without the changed token as they were", "largest |difference|", 0.0,
        [&](check& c) -> status {
          take(c, isolated);
          return sequences_of(b.batch).size() > 1 ? status{} : b.not_applicable(c, "one sequence only");
        });
  // Runtimes gather the rows that want logits inside the last layer; what T4.a has seen of a batch where all of them do
  // says nothing about that.
  b.run("T4.d", "try_forward shows the same rows where few of them want logits", "difference, relative to the row",
        b.o.rounding, [&](check& c) -> status {
          const auto few = few_want_logits(b.batch);
          auto got = b.fresh(few);
          if (!got) return got.error();
          b.same_rows(worst{c}, *got, b.base, few, [&](site s, int l, const row_meta& row) {
            const bool may_be_gathered = is_layer_site(s) ? l + 1 == b.n_layers() : s != site::embed_out;
            return !may_be_gathered || (row.flags & row_meta::wants_logits) != 0;
          });
          return {};
        });
}

// T6: a sequence's logits do not depend on how it is batched.
template <class H>
void batch_invariance(bench<H>& b) {
  constexpr std::string_view measure = "logits: relative difference";
  const auto sequences = sequences_of(b.batch);
  // the batch in another form, and what the place of a row is called there
  const auto invariant = [&](std::string_view id, std::string_view what, auto passes) {
    b.run(id, what, measure, b.o.rounding, [&](check& c) -> status {
      int flips = 0;
      auto st = passes([&](const std::vector<row_meta>& form, std::int32_t seq_shift) -> status {
        auto got = b.fresh(form, site_set{});
        if (!got) return got.error();
        b.forget(form);
        for (token_place& place : got->asked) place.seq -= seq_shift;
        const record want = logits_of(b.base, got->asked);
        if (want.asked.size() != got->asked.size()) worst{c}.see(wrong);
        flips += compare_logits(worst{c}, *got, want, b.scale);
        return {};
      });
      if (c.note.empty()) c.note = flips_of(flips, b.batch.size());
      return st;
    });
  };
  invariant("T6.a", "try_forward gives a sequence alone the logits that it has in the batch", [&](auto pass) -> status {
    for (const std::int32_t seq : sequences)
      if (auto s = pass(part_of(b.batch, seq, 0, longest(b.batch)), 0); !s) return s;
    return {};
  });
  invariant("T6.b", "try_forward gives the same logits in any order of the sequences", [&](auto pass) -> status {
    std::vector<row_meta> reversed;
    for (auto seq = sequences.rbegin(); seq != sequences.rend(); ++seq)
      for (const row_meta& row : part_of(b.batch, *seq, 0, longest(b.batch))) reversed.push_back(row);
    return pass(reversed, 0);
  });
  invariant("T6.c", "try_forward gives the same logits whatever a sequence's number is", [&](auto pass) -> status {
    const std::int32_t shift = b.unused_seq + b.renamed;
    auto renamed = b.batch;
    for (row_meta& row : renamed) row.seq += shift;
    return pass(renamed, shift);
  });
  invariant("T6.d", "try_forward gives a row the same logits where other rows want none",
            [&](auto pass) -> status { return pass(few_want_logits(b.batch), 0); });
}

// T7: a repeated pass gives the same bits, whatever ran in between.
template <class H>
void determinism(bench<H>& b) {
  const auto same = [](const worst& w, const record& got, const record& want) {
    compare_rows(w, got, want, [](const shown_row&) { return true; });
    compare_logits(w, got, want, 1.0);
  };
  b.run("T7.a", "The same try_forward gives the same bits again", "largest |difference|", 0.0, [&](check& c) -> status {
    for (int i = 0; i < 2; ++i) {
      auto again = b.fresh(b.batch);
      if (!again) return again.error();
      same(worst{c}, *again, b.base);
    }
    return {};
  });
  b.run("T7.b", "forget(seq) leaves no trace of the earlier text", "largest |difference|", 0.0,
        [&](check& c) -> status {
          // the other text in sequences that were never used, and in those that held this text before
          auto unused = b.other;
          for (row_meta& row : unused) row.seq += b.unused_seq + b.unused;
          auto want = b.fresh(unused);
          if (!want) return want.error();
          b.forget(unused);
          for (shown_row& r : want->rows) r.place.seq -= b.unused_seq + b.unused;
          for (token_place& place : want->asked) place.seq -= b.unused_seq + b.unused;
          want->sort();
          auto before = b.fresh(b.batch);
          if (!before) return before.error();
          auto got = b.fresh(b.other);
          if (!got) return got.error();
          same(worst{c}, *got, *want);
          return {};
        });
  b.run("T7.c", "forget(seq) leaves the caches of the other sequences as they were", "logits: relative difference",
        b.o.rounding, [&](check& c) -> status {
          const auto sequences = sequences_of(b.batch);
          const index_t length = longest(b.batch);
          std::vector<row_meta> first, second;
          bool any = false;
          for (const std::int32_t seq : sequences) {
            const auto half = (static_cast<index_t>(part_of(b.batch, seq, 0, length).size()) + 1) / 2;
            for (const row_meta& row : part_of(b.batch, seq, 0, half)) first.push_back(row);
            const auto rest = part_of(b.batch, seq, seq == sequences[0] ? 0 : half, length);
            any = any || (seq != sequences[0] && !rest.empty());
            second.insert(second.end(), rest.begin(), rest.end());
          }
          if (!any) return b.not_applicable(c, "no second sequence of two rows");
          if (auto s = b.fresh(first, site_set{}); !s) return s.error();
          b.host.forget(sequences[0]);
          auto got = b.pass(second, site_set{});
          if (!got) return got.error();
          for (const token_place place : got->asked)
            worst{c}.see(difference(got->logits_of(place), b.base.logits_of(place)) / b.scale, site::logits, 0, place);
          return {};
        });
}

}  // namespace RESECT_NAMESPACE::conformance
