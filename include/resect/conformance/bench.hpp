// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <utility>
#include <vector>

#include <resect/conformance/probe.hpp>

namespace RESECT_NAMESPACE::conformance {

// Options of the conformance suite: tolerances, layers to visit, seed, wanted level.
struct conformance_options {
  short_text<64> host{};   // the name of the host in the certificate
  double rounding = 1e-4;  // allowed where two ways of computing may round differently: relative to the largest logit
  double identity = 1e-6;  // allowed in a site identity: relative to the largest value of the row
  int layers = 0;          // layers that the checks of one layer at a time visit, spread evenly; 0: all
  std::uint64_t seed = 1;  // of the generated batch
  host_level level =
      host_level::observe;  // that the host must have: below it check T0.d fails and names what is missing
};

}  // namespace RESECT_NAMESPACE::conformance

namespace RESECT_NAMESPACE::conformance {

// The epoch that the suite gives to caches while its own edits are active.
inline constexpr std::uint64_t edited_epoch = 0x636f6e666f726du;

// A host under test, with the texts and the reference passes that all checks share. `Catches` is a template argument
// so that units with and without exceptions instantiate different functions (one-definition rule).
template <observable_host H, bool Catches = RESECT_EXCEPTIONS>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
class bench {
 public:
  H& host;
  conformance_options o;
  std::vector<row_meta> batch, other;  // the text, and another one in the same places
  std::int32_t unused_seq = 0;         // this sequence and the ones after it are not in the batch
  record base;                         // of `batch`: every site
  record base_other;                   // of `other`
  double scale = 1.0;                  // largest logit of `base`
  std::vector<int> layers;             // those that checks of one layer visit
  std::vector<check> checks;

  bench(H& h, const conformance_options& options, std::vector<row_meta> rows)
      : host(h), o(options), batch(std::move(rows)), other(other_text(batch, h.describe().n_vocab)) {
    for (row_meta& row : batch) row.flags |= row_meta::wants_logits;
    for (row_meta& row : other) row.flags |= row_meta::wants_logits;
    for (const row_meta& row : batch) unused_seq = std::max(unused_seq, row.seq + 1);
    const int n = h.describe().n_layers, m = o.layers <= 0 ? n : std::min(n, o.layers);
    for (int i = 0; i < m; ++i)
      layers.push_back(m == 1 ? 0 : static_cast<int>(static_cast<index_t>(i) * (n - 1) / (m - 1)));
  }

  int n_layers() const { return host.describe().n_layers; }
  bool reads(site s, int layer) const { return host.supports(s, layer) != access::none; }
  bool writes(site s, int layer) const { return host.supports(s, layer) == access::write; }
  // The sites of the model that have this access somewhere.
  site_set reached(access wanted) const {
    site_set out;
    for (const site s : all_sites)
      for (int l = 0; l < (is_layer_site(s) ? n_layers() : 1); ++l)
        if (host.supports(s, l) >= wanted) out.insert(s);
    return out;
  }
  // f(site, layer) for every place that can be written, at the layers that are visited.
  template <class F>
  status each_writable(F f) const {
    for (const site s : all_sites)
      for (const int l : is_layer_site(s) ? layers : std::vector<int>{0})
        if (writes(s, l))
          if (auto st = f(s, l); !st) return st;
    return {};
  }

  void forget(batch_view b) {
    for (const std::int32_t seq : sequences_of(b)) host.forget(seq);
  }
  // After the last check: whatever the suite may have left, with a host that may throw here too.
  void forget_all() {
#if RESECT_EXCEPTIONS
    try {
#endif
      for (const std::int32_t seq : sequences_of(batch))
        for (const std::int32_t shift : {0, unused_seq + renamed, unused_seq + unused}) host.forget(seq + shift);
#if RESECT_EXCEPTIONS
    } catch (...) {
    }
#endif
  }
  static constexpr std::int32_t renamed = 3, unused = 100;  // beyond unused_seq: where T6.c and T7.b put the sequences

  // One pass that goes on from what is cached.
  result<record> pass(batch_view b, site_set read) {
    record out;
    auto look = [&](const tap& at, matrix_view<const float> h) { out.add(at, h); };
    if (auto s = host.try_forward(b, read, look); !s) return s.error();
    return finished(std::move(out), b);
  }
  result<record> fresh(batch_view b, site_set read) {
    forget(b);
    return pass(b, read);
  }
  result<record> fresh(batch_view b) { return fresh(b, reached(access::read)); }
  // One pass that goes on from what is cached, with a callback f(tap, rows) → edit at `write`; what is shown is
  // recorded. Plans leave `read` empty, and a host may treat a site that is read and written unlike one that is only
  // written.
  template <class F>
  result<record> edited_on(batch_view b, site_set read, site_set write, F&& f)
    requires editable_host<H>
  {
    record out;
    auto call = [&](const tap& at, matrix_view<float> h) {
      edit done = edit::unchanged;
      if (write.contains(at.where)) done = f(at, h);
      out.add(at, h);
      return done;
    };
    const status s = host.try_forward(b, hooks<float>{read, write, call, edited_epoch});
    if (!s) return s.error();
    return finished(std::move(out), b);
  }
  // The same from nothing.
  template <class F>
  result<record> edited(batch_view b, site_set read, site_set write, F&& f)
    requires editable_host<H>
  {
    forget(b);
    return edited_on(b, read, write, f);
  }

  // Logits of every row of a state, and as a site the norm before them; `rows_at` says how many rows the call from a
  // row on is to give.
  template <class State, class Rows>
    requires surgical_host<H>
  result<record> head(const State& state, Rows rows_at) {
    record out;
    const batch_view rows = host.rows(state);
    const auto n = static_cast<index_t>(rows.size());
    const model_desc& m = host.describe();
    out.vocab = static_cast<std::size_t>(m.n_vocab);
    out.logits.resize(rows.size() * out.vocab);
    std::vector<float> norm(static_cast<std::size_t>(n * m.d_model));
    for (const row_meta& row : rows) out.asked.push_back({row.seq, row.pos});
    const matrix_view<float> normed{norm.data(), n, m.d_model}, logits{out.logits.data(), n, m.n_vocab};
    for (index_t first = 0; first < n;) {
      const index_t some = std::clamp<index_t>(rows_at(first), 1, n - first);
      const auto s = host.try_head(state, first, normed.middle_rows(first, some), logits.middle_rows(first, some));
      if (!s) return s.error();
      first += some;
    }
    out.add({site::head_norm, 0, rows}, normed);
    out.sort();
    return out;
  }
  template <class State>
    requires surgical_host<H>
  result<record> head(const State& state) {
    return head(state, [&](index_t) { return static_cast<index_t>(host.rows(state).size()); });
  }
  // Layers [0, L) of a batch in one go, without callbacks.
  result<record> by_state(batch_view b)
    requires surgical_host<H>
  {
    auto state = host.try_embed(b);
    if (!state) return state.error();
    if (auto s = host.try_run(*state, 0, n_layers(), no_hooks<float>()); !s) return s.error();
    return head(*state);
  }

  // |got − want| of a row, relative to the row; of a delta, to the stream it is added to where that is larger: a delta
  // may be next to nothing, its rounding is not.
  double apart(std::span<const float> got, std::span<const float> want, site where, int layer,
               token_place place) const {
    const double d = difference(got, want);
    if (d == 0.0 || !(d < wrong)) return d;
    const site sum = where == site::attn_delta ? site::resid_mid : site::resid_post;
    const double around = is_delta(where) ? largest(base.find(sum, layer, place)) : 0.0;
    return d / std::max({largest(want), around, 1e-30});
  }
  // What a pass over `ran` showed, against the same rows of `want`; no tolerance allows a row that is shown twice, is
  // none of those that ran, or is missing where must(site, layer, row).
  template <class Must>
  void same_rows(const worst& w, const record& got, const record& want, batch_view ran, Must must) const {
    if (!got.bad_call.empty()) w.see(wrong);
    const shown_row* last = nullptr;
    for (const shown_row& r : got.rows) {
      const bool twice = last != nullptr && last->stage == r.stage && last->place == r.place;
      last = &r;
      const bool stranger = !is_what_it_says(r, ran);
      w.see(
          twice || stranger ? wrong : apart(got.of(r), want.find(r.where, r.layer, r.place), r.where, r.layer, r.place),
          r.where, r.layer, r.place);
    }
    for (const site s : all_sites)
      for (int l = 0; l < (is_layer_site(s) ? n_layers() : 1); ++l)
        for (const row_meta& row : ran)
          if (reads(s, l) && must(s, l, row) && got.find(s, l, {row.seq, row.pos}).empty())
            w.see(wrong, s, l, {row.seq, row.pos});
  }

  // Makes a check of f(check) → status. An error of the host or an exception is a failure, and says so.
  template <class F>
  void run(std::string_view id, std::string_view what, std::string_view measure, double tolerance, F f) {
    check c;
    c.id = id;
    c.name = what;
    c.measure = measure;
    c.tolerance = tolerance;
    const auto broken = [&](std::string_view why) {
      c.result = verdict::fail;
      c.measured = wrong;
      c.note = why;
    };
#if RESECT_EXCEPTIONS
    try {
      if (status s = f(c); !s) broken(s.error().message().view());
    } catch (const std::exception& e) {
      broken(e.what());
    } catch (...) {
      broken("the host threw something");
    }
#else
    if (status s = f(c); !s) broken(s.error().message().view());
#endif
    if (c.result == verdict::pass && !(c.measured <= c.tolerance)) c.result = verdict::fail;
    if (c.result == verdict::not_applicable) c.measured = 0.0;
    checks.push_back(c);
  }
  static status not_applicable(check& c, std::string_view why) {
    c.result = verdict::not_applicable;
    c.note = why;
    return {};
  }
  void skip(std::string_view id, std::string_view what, std::string_view why) {
    run(id, what, "", 0.0, [&](check& c) { return not_applicable(c, why); });
  }

 private:
  result<record> finished(record out, batch_view b) {
    const matrix_view<const float> logits = host.logits();
    const auto asked =
        std::count_if(b.begin(), b.end(), [](const row_meta& r) { return (r.flags & row_meta::wants_logits) != 0; });
    if (logits.rows != asked || (asked > 0 && logits.cols != host.describe().n_vocab))
      return error{errc::shape_mismatch, "logits of the host", text(logits.rows, " x ", logits.cols),
                   text(asked, " x ", host.describe().n_vocab)};
    if (auto s = check_view(logits, "logits of the host"); !s) return s.error();
    out.vocab = static_cast<std::size_t>(logits.cols);
    for (const row_meta& row : b)
      if ((row.flags & row_meta::wants_logits) != 0) out.asked.push_back({row.seq, row.pos});
    for (index_t r = 0; r < logits.rows; ++r)
      for (index_t c = 0; c < logits.cols; ++c) out.logits.push_back(logits(r, c));
    out.sort();
    return out;
  }
};

}  // namespace RESECT_NAMESPACE::conformance
