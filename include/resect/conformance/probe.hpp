// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <resect/conformance/certificate.hpp>
#include <resect/conformance/words.hpp>
#include <resect/core/finite.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/selection.hpp>

// Helpers of the checks: records of passes, row by row, and comparisons of records.
namespace RESECT_NAMESPACE::conformance {

// Every site, in the order of the forward pass.
inline constexpr site all_sites[n_sites] = {site::embed_out, site::resid_pre, site::attn_delta,
                                            site::resid_mid, site::mlp_delta, site::resid_post,
                                            site::head_in,   site::head_norm, site::logits};
// A measure that no tolerance allows.
inline constexpr double wrong = std::numeric_limits<double>::infinity();

// Whether the site holds what is added, not the stream.
constexpr bool is_delta(site s) noexcept { return s == site::attn_delta || s == site::mlp_delta; }

// Order of sites in a forward pass.
constexpr int stage_of(site s, int layer) noexcept {
  if (is_layer_site(s)) return 1 + layer * n_sites + static_cast<int>(s);
  return s == site::embed_out ? 0 : (1 << 28) + static_cast<int>(s);
}

// A row that a callback was shown, as the callback left it.
struct shown_row {
  int stage = 0;
  token_place place;
  int call = 0;  // number of the callback in its pass
  site where = site::embed_out;
  int layer = 0;
  row_meta meta;
  std::size_t offset = 0, cols = 0;
};

// One pass: every row that was shown, by what it is, and the logits by the place that asked for them.
class record {
 public:
  std::vector<shown_row> rows;  // sorted by stage, place, call; no pads
  std::vector<float> values;
  std::vector<token_place> asked;  // rows of `logits`
  std::vector<float> logits;
  std::size_t vocab = 0;
  index_t pads = 0;  // pad rows that were shown
  int calls = 0;
  short_text<120> bad_call;  // the first callback whose rows and matrix did not fit each other

  void add(const tap& at, matrix_view<const float> h) {
    ++calls;
    if (static_cast<std::size_t>(h.rows) != at.rows.size() || h.cols < 1) {
      if (bad_call.empty())
        bad_call = text(name(at.where), " of layer ", at.layer, ": a matrix of ", h.rows, " rows and ", at.rows.size(),
                        " rows of meta data");
      return;
    }
    for (index_t r = 0; r < h.rows; ++r) {
      const row_meta& m = at.rows[static_cast<std::size_t>(r)];
      if ((m.flags & row_meta::pad) != 0) {
        ++pads;
        continue;
      }
      const auto cols = static_cast<std::size_t>(h.cols);
      rows.push_back({stage_of(at.where, at.layer), {m.seq, m.pos}, calls, at.where, at.layer, m, values.size(), cols});
      for (index_t c = 0; c < h.cols; ++c) values.push_back(h(r, c));
    }
  }
  void sort() {
    std::sort(rows.begin(), rows.end(), [](const shown_row& a, const shown_row& b) {
      return std::tie(a.stage, a.place, a.call) < std::tie(b.stage, b.place, b.call);
    });
  }

  std::span<const float> of(const shown_row& r) const noexcept { return {values.data() + r.offset, r.cols}; }
  // Empty where no such row was shown. The last one, where it was shown more than once.
  std::span<const float> find(site where, int layer, token_place place) const noexcept {
    const auto key = std::pair(stage_of(where, layer), place);
    auto at = std::upper_bound(rows.begin(), rows.end(), key, [](const auto& k, const shown_row& r) {
      return std::tie(k.first, k.second) < std::tie(r.stage, r.place);
    });
    if (at == rows.begin()) return {};
    --at;
    if (at->stage != key.first || at->place != key.second) return {};
    return of(*at);
  }
  // The logits of a place; empty where the place wanted none.
  std::span<const float> logits_of(token_place place) const noexcept {
    const auto at = std::find(asked.begin(), asked.end(), place);
    if (at == asked.end()) return {};
    return {logits.data() + static_cast<std::size_t>(at - asked.begin()) * vocab, vocab};
  }
};

// Largest |a − b|; infinity where extents differ or one value is NaN and the other is not.
inline double difference(std::span<const float> a, std::span<const float> b) noexcept {
  if (a.size() != b.size() || a.empty()) return wrong;
  double out = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    const double d = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    out = std::isnan(d) ? wrong : std::max(out, d);
  }
  return out;
}
// The largest finite magnitude; NaN and infinities are skipped.
inline double largest(std::span<const float> a) noexcept {
  double out = 0.0;
  for (const float x : a)
    if (is_finite(x)) out = std::max(out, std::fabs(static_cast<double>(x)));
  return out;
}
// Whether every value is finite.
inline bool all_finite(std::span<const float> a) noexcept {
  return !first_not_finite(matrix_view<const float>{a.data(), 1, static_cast<index_t>(a.size())});
}

// The place of a deviation that belongs to no single row.
inline constexpr token_place nowhere{-1, -1};

// The worst deviation of a check, with its place.
struct worst {
  check& of;
  void see(double measured) const { see(measured, {}, -1, nowhere); }
  void see(double measured, std::optional<site> where, int layer, token_place place) const {
    if (where) of.covers.insert(*where);
    if (!(measured > of.measured)) return;
    of.measured = measured;
    of.where = where;
    of.layer = where && !is_layer_site(*where) ? -1 : layer;
    of.seq = place.seq;
    of.pos = place.pos;
  }
  // The worst that another check has seen, and the sites that it covered.
  void take(const check& from) const {
    of.covers = of.covers | from.covers;
    if (!(from.measured > of.measured)) return;
    of.measured = from.measured;
    of.where = from.where;
    of.layer = from.layer;
    of.seq = from.seq;
    of.pos = from.pos;
  }
  // Counts one fault; the place of the first fault is kept.
  void count(bool bad, std::optional<site> where, int layer, token_place place) const {
    if (where) of.covers.insert(*where);
    if (!bad) return;
    if (of.measured == 0.0) see(1.0, where, layer, place);
    else of.measured += 1.0;
  }
};

// Logits of `got` against `want`, place by place: largest difference over `scale`; counts places whose most likely
// token differs.
inline int compare_logits(const worst& w, const record& got, const record& want, double scale,
                          std::optional<site> where = {}, int layer = -1) {
  int flips = 0;
  for (const token_place place : want.asked) {
    const auto a = got.logits_of(place), b = want.logits_of(place);
    const double d = difference(a, b);
    w.see(d == 0.0 ? 0.0 : d / (scale > 0.0 ? scale : 1.0), where, layer, place);
    const auto top = [](std::span<const float> x) { return std::max_element(x.begin(), x.end()) - x.begin(); };
    flips += a.size() != b.size() || top(a) != top(b);
  }
  return flips;
}

// The logits of these places alone, without rows.
inline record logits_of(const record& whole, std::span<const token_place> places) {
  record out;
  out.vocab = whole.vocab;
  for (const token_place place : places) {
    const auto row = whole.logits_of(place);
    if (row.empty()) continue;
    out.asked.push_back(place);
    out.logits.insert(out.logits.end(), row.begin(), row.end());
  }
  return out;
}

// Every row of `want` for which keep(row), against the same row of `got`.
template <class Keep>
void compare_rows(const worst& w, const record& got, const record& want, Keep keep) {
  for (const shown_row& r : want.rows)
    if (keep(r)) w.see(difference(got.find(r.where, r.layer, r.place), want.of(r)), r.where, r.layer, r.place);
}

// --- batches ------------------------------------------------------------------------------------------------

// The sequences of a batch, in their order.
inline std::vector<std::int32_t> sequences_of(batch_view batch) {
  std::vector<std::int32_t> out;
  for (const row_meta& row : batch)
    if (out.empty() || out.back() != row.seq) out.push_back(row.seq);
  return out;
}

// Rows [first, last) of a batch.
inline std::vector<row_meta> part_of(batch_view batch, std::int32_t seq, index_t first, index_t last) {
  std::vector<row_meta> out;
  for (const row_meta& row : batch)
    if (row.seq == seq && row.pos >= first && row.pos < last) out.push_back(row);
  return out;
}

// Length of the longest sequence.
inline index_t longest(batch_view batch) noexcept {
  index_t out = 0;
  for (const row_meta& row : batch) out = std::max<index_t>(out, row.pos + 1);
  return out;
}

// Whether a row that was shown is one of those that ran, with its token and its flags.
inline bool is_what_it_says(const shown_row& r, batch_view ran) noexcept {
  const auto meant = std::find_if(ran.begin(), ran.end(),
                                  [&](const row_meta& m) { return m.seq == r.place.seq && m.pos == r.place.pos; });
  return meant != ran.end() && meant->token == r.meta.token && (meant->flags & ~r.meta.flags) == 0;
}

// The same rows with few that want logits: the last of every sequence, and some before it.
inline std::vector<row_meta> few_want_logits(batch_view batch) {
  std::vector<row_meta> out(batch.begin(), batch.end());
  for (std::size_t i = 0; i + 1 < out.size(); ++i)
    if (out[i + 1].seq == out[i].seq && out[i].pos % 3 != 1) out[i].flags &= ~row_meta::wants_logits;
  return out;
}

// Ragged sequences of random tokens: drawn by Philox at (seed, row), every row asking for its logits.
inline std::vector<row_meta> default_batch(const model_desc& model, std::uint64_t seed) {
  std::vector<row_meta> out;
  const random::philox_stream draws{seed, 0x636f6e66u};
  std::int32_t seq = 0;
  for (const std::int32_t length : {7, 1, 11, 4}) {
    for (std::int32_t pos = 0; pos < length; ++pos) {
      const auto token =
          random::integer_below(draws, out.size(), static_cast<std::uint64_t>(std::max(1, model.n_vocab)));
      out.push_back({seq, pos, static_cast<std::int32_t>(token), row_meta::wants_logits});
    }
    ++seq;
  }
  return out;
}

// Other tokens in the same places: id + a shift that depends on the row, never 0.
inline std::vector<row_meta> other_text(batch_view batch, int n_vocab) {
  std::vector<row_meta> out(batch.begin(), batch.end());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto shift = 1 + static_cast<std::int64_t>(i * 7 % static_cast<std::size_t>(n_vocab - 1));
    out[i].token = static_cast<std::int32_t>((out[i].token + shift) % n_vocab);
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::conformance
