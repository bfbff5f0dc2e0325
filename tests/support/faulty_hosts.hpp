// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <support/forwarding_host.hpp>

// Wrappers around a right host that do one thing wrong, each a thing that real runtimes have been seen to do.
namespace support {

enum class fault {
  none,
  refuses,                  // every pass is an error
  throws,                   // every callback ends in an exception
  throws_a_number,          // in one that is no std::exception
  forget_throws,            // forget() ends in an exception
  observing_rounds,         // rows that are looked at are rounded to bf16
  writing_rounds,           // the same, where a callback may write
  site_missing,             // says that it shows resid_mid, never does
  site_twice,               // shows resid_post twice
  rows_reordered,           // a tap's rows are in another order than its matrix
  tokens_misnamed,          // a tap says another token of a row than the batch
  flags_lost,               // a tap's rows want no logits
  row_unnamed,              // a tap has one row fewer than its matrix
  mid_is_pre,               // hands out resid_pre as resid_mid
  delta_before_scale,       // shows the MLP's delta before a scale that is applied when it is added
  post_before_add,          // shows resid_post before the MLP's delta is added
  last_pre_differs,         // shows the last layer's input otherwise than it is
  logits_short,             // the last row of logits is missing where a sequence is continued
  shown_logits_differ,      // shows logits before a cap that logits() has
  states_differ,            // a state begins with another embedding than a whole pass
  writes_late,              // what is written at resid_pre is seen from the next layer on
  writes_to_a_copy,         // what is written is seen by nobody
  deltas_to_a_copy,         // the same, for deltas only
  edits_persist,            // a pass after an edited one still carries some of it
  override_sticks,          // an overridden weight is not put back
  override_without_effect,  // an overridden weight is not used
  cut_matters,              // a pass that begins above layer 0 differs
  snapshot_shares,          // a snapshot is the state itself
  leaks_future,             // a row sees the next one
  leaks_sequences,          // the last row of a batch sees the first
  cache_off_by_one,         // a continued sequence has one row too many in its cache
  length_wrong,             // cached() counts one too many
  epoch_lost,               // a cache does not remember its plan
  depends_on_company,       // values change with the number of rows in the batch
  depends_on_order,         // values change with the row's number in the batch
  depends_on_number,        // values change with the number of the sequence
  drops_silent_rows,        // rows that want no logits are lost to the ones that do
  differs_every_time,
  forgets_nothing,  // keys and values stay after forget()
  forgets_all,      // forget(one) drops every sequence
  swallows_nan,     // what is not finite becomes 0
  spreads_nan,      // what is not finite reaches every row of the batch
  reports_nan,      // no fault: logits that are not finite are an error
  masks_by_zero,    // no fault: what is not finite reaches earlier rows of its sequence
  shows_no_layer,   // no fault: says that it shows no site inside or between layers
  writes_nowhere,   // no fault: says that it shows rows and takes none
  copies_back,      // no fault: a callback gets a copy, which counts where it says that it modified it
};

template <resect::model::surgical_host H>
class faulty_host : public forwarding_host<H> {
 public:
  using hooks = float_hooks;
  using view = float_view;

  struct state {  // shared by what calls itself a copy
    std::shared_ptr<typename H::state> inner;
  };
  struct weight_override {
    std::optional<typename H::weight_override> inner = {};
    std::shared_ptr<std::vector<float>> pretended = {};  // what is read, though nothing uses it
  };

  faulty_host(H& host, fault f) : forwarding_host<H>(host), fault_(f) {}

  resect::model::access supports(site s, int layer) const {
    if (fault_ == fault::shows_no_layer && is_layer_site(s)) return resect::model::access::none;
    const auto can = host_.supports(s, layer);
    return fault_ == fault::writes_nowhere ? std::min(can, resect::model::access::read) : can;
  }

  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return resect::model::try_observe(*this, b, want, look);
  }
  resect::status try_forward(batch_view b, const hooks& k) {
    if (fault_ == fault::refuses) return resect::error{resect::errc::out_of_memory, "batch", "no memory", "some"};
    const std::uint64_t epoch = fault_ == fault::epoch_lost ? 0 : k.epoch;
    std::vector<row_meta> rows(b.begin(), b.end());
    batches_.push_back(rows);
    continued_ = !rows.empty() && rows.front().pos > 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (fault_ == fault::cache_off_by_one && (i == 0 || rows[i - 1].seq != b[i].seq) && b[i].pos > 0 &&
          shift_[b[i].seq] == 0) {
        const row_meta junk{b[i].seq, b[i].pos, 0, 0};
        if (auto s = host_.try_forward({&junk, 1}, quiet(epoch)); !s) return s;
        shift_[b[i].seq] = 1;
      }
      rows[i].pos += static_cast<std::int32_t>(shift_[rows[i].seq]);
    }
    auto s = intercepted(k, epoch, [&](const hooks& mine) { return host_.try_forward(rows, mine); });
    const auto out = host_.logits();
    logits_.assign(out.data, out.data + out.rows * out.cols);
    if (fault_ == fault::shown_logits_differ)
      for (float& x : logits_) x = 3.0f * std::tanh(x / 3.0f);
    for (const float x : logits_)
      if (fault_ == fault::reports_nan && s && !std::isfinite(x))
        return resect::error{resect::errc::not_finite, "logits", "NaN or infinity", "finite values"};
    return s;
  }
  resect::matrix_view<const float> logits() const {
    const auto out = host_.logits();
    const bool is_short = fault_ == fault::logits_short && continued_ && out.rows > 1;
    return {logits_.data(), out.rows - (is_short ? 1 : 0), out.cols};
  }
  // The batches that were run, in their order.
  const std::vector<std::vector<row_meta>>& batches() const { return batches_; }
  void forget(std::int32_t seq) {
    if (fault_ == fault::forget_throws) throw std::runtime_error("nothing is forgotten here");
    if (fault_ == fault::forgets_nothing) {
      shift_[seq] = host_.cached(seq);
      return;
    }
    if (fault_ == fault::forgets_all)
      for (const auto& [other, shift] : shift_) host_.forget(other);
    shift_[seq] = 0;
    host_.forget(seq);
  }
  std::uint64_t cache_epoch(std::int32_t seq) const { return cached(seq) == 0 ? 0 : host_.cache_epoch(seq); }
  resect::index_t cached(std::int32_t seq) const {
    const auto at = shift_.find(seq);
    const auto n = host_.cached(seq) - (at == shift_.end() ? 0 : at->second);
    return fault_ == fault::length_wrong && n > 0 ? n + 1 : n;
  }

  resect::result<state> try_embed(batch_view b) {
    auto s = host_.try_embed(b);
    if (!s) return s.error();
    const auto h = host_.stream(*s);
    if (fault_ == fault::states_differ) each(h, [](float x) { return 1.01f * x; });
    if (fault_ == fault::differs_every_time) h(0, 0) += 0.01f * static_cast<float>(++passes_);
    return state{std::make_shared<typename H::state>(std::move(*s))};
  }
  resect::status try_run(state& s, int first, int last, const hooks& k) {
    if (fault_ == fault::cut_matters && first > 0 && first < last)
      each(host_.stream(*s.inner), [](float x) { return 1.0001f * x; });
    return intercepted(k, k.epoch, [&](const hooks& mine) { return host_.try_run(*s.inner, first, last, mine); });
  }
  state snapshot(const state& s) const {
    if (fault_ == fault::snapshot_shares) return s;
    return {std::make_shared<typename H::state>(host_.snapshot(*s.inner))};
  }
  view stream(state& s) const { return host_.stream(*s.inner); }
  batch_view rows(const state& s) const { return host_.rows(*s.inner); }
  resect::status try_head(const state& s, resect::index_t row, view norm, view logits) {
    return host_.try_head(*s.inner, row, norm, logits);
  }
  auto weights(int layer) const { return host_.weights(layer); }
  resect::status try_read_weight(const weight_desc& w, view out) const {
    if (auto s = host_.try_read_weight(w, out); !s) return s;
    std::size_t i = 0;
    if (const auto pretended = pretended_.lock()) each(out, [&](float) { return (*pretended)[i++]; });
    return {};
  }
  resect::result<weight_override> try_override_weight(const weight_desc& w, resect::matrix_view<const float> values) {
    if (fault_ == fault::override_without_effect) {  // and the values are read back
      auto pretended = std::make_shared<std::vector<float>>();
      for (resect::index_t r = 0; r < values.rows; ++r)
        for (resect::index_t c = 0; c < values.cols; ++c) pretended->push_back(values(r, c));
      pretended_ = pretended;
      return weight_override{{}, std::move(pretended)};
    }
    auto guard = host_.try_override_weight(w, values);
    if (!guard) return guard.error();
    if (fault_ != fault::override_sticks) return weight_override{std::move(*guard), {}};
    stuck_.push_back(std::move(*guard));
    return weight_override{};
  }

 private:
  template <class F>
  static void each(view h, F f) {
    for (resect::index_t r = 0; r < h.rows; ++r)
      for (resect::index_t c = 0; c < h.cols; ++c) h(r, c) = f(h(r, c));
  }
  static hooks quiet(std::uint64_t epoch) {
    auto k = resect::model::no_hooks<float>();
    k.epoch = epoch;
    return k;
  }
  static std::vector<float> values_of(view h) {
    std::vector<float> out;
    each(h, [&](float x) { return out.push_back(x), x; });
    return out;
  }

  // Runs a pass whose callbacks see every site first, do what is wrong, and hand on to the caller's.
  template <class F>
  resect::status intercepted(const hooks& k, std::uint64_t epoch, F pass) {
    resect::model::site_set all;
    for (int i = 0; i < resect::model::n_sites; ++i) all.insert(static_cast<site>(i));
    pass_ = {};
    ++passes_;
    pass_.carries_over = std::exchange(was_edited_, false);
    auto mine = [&](const tap& inner, view h) {
      std::vector<row_meta> rows(inner.rows.begin(), inner.rows.end());
      for (row_meta& row : rows) row.pos -= static_cast<std::int32_t>(shift_[row.seq]);
      const tap at{inner.where, inner.layer, rows};
      break_stream(at, h);
      edit done = edit::unchanged;
      if (k.read.contains(at.where) || k.write.contains(at.where)) done = show(k, at, h);
      was_edited_ = was_edited_ || (done == edit::modified && fault_ == fault::edits_persist);
      break_values(at, h);
      return done;
    };
    return pass(hooks{all, all, mine, epoch});
  }

  // What is wrong with the stream itself, whoever looks.
  void break_stream(const tap& at, view h) {
    const bool begins = at.where == site::resid_pre && at.layer == 0;
    const auto n = h.rows;
    if (pass_.carries_over && begins) each(h, [](float x) { return 1.01f * x; });
    if (fault_ == fault::differs_every_time && begins) h(0, 0) += 0.01f * static_cast<float>(passes_);
    if (fault_ == fault::depends_on_company && begins)
      each(h, [&](float x) { return x * (1.0f + 0.01f * static_cast<float>(n)); });
    for (resect::index_t r = 0; r < n && begins; ++r) {
      const auto& row = at.rows[static_cast<std::size_t>(r)];
      if (fault_ == fault::depends_on_order) h(r, 0) += 0.01f * static_cast<float>(r);
      if (fault_ == fault::depends_on_number) h(r, 0) += 0.01f * static_cast<float>(row.seq);
      if (fault_ == fault::drops_silent_rows && !(row.flags & row_meta::wants_logits))
        for (resect::index_t c = 0; c < h.cols; ++c) h(r, c) = 0.0f;
    }
    if (at.where == site::resid_post && at.layer == 0) {
      for (resect::index_t r = 0; r + 1 < n && fault_ == fault::leaks_future; ++r)
        if (at.rows[static_cast<std::size_t>(r)].seq == at.rows[static_cast<std::size_t>(r + 1)].seq)
          h(r, 1) += 0.1f * h(r + 1, 1);
      if (fault_ == fault::leaks_sequences && n > 1) h(n - 1, 1) += 0.1f * h(0, 1);
    }
    if (at.where == site::resid_pre && at.layer > 0 && !pass_.late.empty()) {
      std::size_t i = 0;
      each(h, [&](float x) { return x + pass_.late[i++]; });
      pass_.late.clear();
    }
  }

  // What is wrong with how it is shown and written.
  edit show(const hooks& k, const tap& at, view h) {
    if (fault_ == fault::throws) throw std::runtime_error("a callback of this host ends badly");
    if (fault_ == fault::throws_a_number) throw 7;
    if (at.where == site::resid_pre) pass_.pre = values_of(h);
    if (at.where == site::resid_mid) pass_.mid = values_of(h);
    if (fault_ == fault::site_missing && at.where == site::resid_mid) return edit::unchanged;
    if (fault_ == fault::observing_rounds || (fault_ == fault::writing_rounds && !k.write.empty()))
      each(h, [](float x) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0xffff0000u); });
    auto copy = values_of(h);
    const view copied{copy.data(), h.rows, h.cols};
    const bool is_delta = at.where == site::attn_delta || at.where == site::mlp_delta;
    if (fault_ == fault::mid_is_pre && at.where == site::resid_mid && copy.size() == pass_.pre.size()) copy = pass_.pre;
    else if (fault_ == fault::post_before_add && at.where == site::resid_post && copy.size() == pass_.mid.size())
      copy = pass_.mid;
    else if (fault_ == fault::last_pre_differs && at.where == site::resid_pre &&
             at.layer == host_.describe().n_layers - 1)
      each(copied, [](float x) { return 1.01f * x; });
    else if (fault_ == fault::delta_before_scale && at.where == site::mlp_delta)
      each(copied, [](float x) { return 2.0f * x; });
    else if (fault_ == fault::writes_to_a_copy || (fault_ == fault::deltas_to_a_copy && is_delta)) {
    } else if (fault_ == fault::writes_late && at.where == site::resid_pre) {
      const auto before = copy;
      const auto done = k.call(at, copied);
      if (done == edit::modified)
        for (std::size_t i = 0; i < copy.size(); ++i) pass_.late.push_back(copy[i] - before[i]);
      return done;
    } else if (fault_ == fault::copies_back) {
      const edit done = k.call(at, copied);
      std::size_t i = 0;
      if (done == edit::modified) each(h, [&](float) { return copy[i++]; });
      return done;
    } else {
      return on_host(k, at, h);
    }
    const view shown{copy.data(), h.rows, h.cols};
    return k.call(at, shown);
  }

  edit on_host(const hooks& k, const tap& at, view h) {
    if (fault_ == fault::rows_reordered && at.rows.size() > 2) {
      std::vector<row_meta> rows(at.rows.begin(), at.rows.end());
      std::swap(rows[0], rows[1]);
      return k.call({at.where, at.layer, rows}, h);
    }
    if (fault_ == fault::tokens_misnamed || fault_ == fault::flags_lost) {
      std::vector<row_meta> rows(at.rows.begin(), at.rows.end());
      for (row_meta& row : rows) {
        row.token += fault_ == fault::tokens_misnamed;
        if (fault_ == fault::flags_lost) row.flags &= ~row_meta::wants_logits;
      }
      return k.call({at.where, at.layer, rows}, h);
    }
    if (fault_ == fault::row_unnamed && at.where == site::attn_delta)
      return k.call({at.where, at.layer, at.rows.first(at.rows.size() - 1)}, h);
    if (fault_ == fault::site_twice && at.where == site::resid_post) k.call(at, h);
    return k.call(at, h);
  }

  // What is wrong with values that are not finite.
  void break_values(const tap& at, view h) {
    for (resect::index_t r = h.rows - 2; r >= 0 && fault_ == fault::masks_by_zero; --r)
      if (at.rows[static_cast<std::size_t>(r)].seq == at.rows[static_cast<std::size_t>(r + 1)].seq)
        for (resect::index_t c = 0; c < h.cols; ++c) h(r, c) += 0.0f * h(r + 1, c);
    if (fault_ == fault::swallows_nan) each(h, [](float x) { return std::isfinite(x) ? x : 0.0f; });
    if (fault_ != fault::spreads_nan) return;
    float bad = 0.0f;
    each(h, [&](float x) { return bad = std::isfinite(x) ? bad : x, x; });
    if (bad != 0.0f) each(h, [&](float) { return bad; });
  }

  struct of_a_pass {
    std::vector<float> pre, mid, late;
    bool carries_over = false;
  };

  using forwarding_host<H>::host_;
  fault fault_;
  of_a_pass pass_;
  int passes_ = 0;
  bool was_edited_ = false;
  std::map<std::int32_t, resect::index_t> shift_;  // rows that the inner cache has before position 0
  std::vector<float> logits_;
  std::vector<std::vector<row_meta>> batches_;
  bool continued_ = false;
  std::vector<typename H::weight_override> stuck_;
  std::weak_ptr<std::vector<float>> pretended_;
};

// A host of the edit level that fills ragged batches up to a rectangle, as runtimes with fixed shapes do; its taps show
// the pad rows.
enum class padding {
  apart,  // pads are rows of nobody
  read,   // pads come first in their sequence and are attended to
};

template <resect::model::editable_host H>
class padded_host : public forwarding_host<H> {
 public:
  using hooks = float_hooks;
  using view = float_view;

  padded_host(H& host, padding how) : forwarding_host<H>(host), how_(how) {}

  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return resect::model::try_observe(*this, b, want, look);
  }
  resect::status try_forward(batch_view b, const hooks& k) {
    std::map<std::int32_t, std::size_t> length;
    std::size_t width = 0;
    for (const auto& row : b) width = std::max(width, ++length[row.seq]);
    std::vector<row_meta> inner, outer;  // what the host gets, and what its rows are called
    const auto pad = [&](std::int32_t seq, bool begins) {
      const auto missing = static_cast<std::int32_t>(width - length[seq]);
      if (missing == 0 || (how_ == padding::read && !begins)) return;
      const bool read = how_ == padding::read;
      if (!read) host_.forget(pad_sequence + seq);
      for (std::int32_t i = 0; i < missing; ++i) {
        inner.push_back({read ? seq : pad_sequence + seq, i, i % 3, row_meta::pad});
        outer.push_back({seq, -missing + i, i % 3, row_meta::pad});
      }
      if (read) shift_[seq] = missing;
    };
    for (std::size_t i = 0; i < b.size(); ++i) {
      if (i == 0 || b[i - 1].seq != b[i].seq) pad(b[i].seq, b[i].pos == 0);
      inner.push_back(b[i]);
      inner.back().pos += shift_[b[i].seq];
      outer.push_back(b[i]);
    }
    std::vector<row_meta> wanted;
    for (const auto& row : outer)
      if (row.flags & row_meta::wants_logits) wanted.push_back(row);
    auto renamed = [&](const tap& at, view h) {
      return k.call({at.where, at.layer, at.rows.size() == outer.size() ? outer : wanted}, h);
    };
    auto s = host_.try_forward(inner, hooks{k.read, k.write, renamed, k.epoch});
    if (how_ == padding::apart)
      for (const auto& [seq, n] : length) host_.forget(pad_sequence + seq);
    return s;
  }
  void forget(std::int32_t seq) {
    shift_[seq] = 0;
    host_.forget(seq);
  }
  resect::index_t cached(std::int32_t seq) const {
    const auto at = shift_.find(seq);
    const auto n = host_.cached(seq);
    return n == 0 || at == shift_.end() ? n : n - at->second;
  }

 private:
  static constexpr std::int32_t pad_sequence = 1 << 30;
  using forwarding_host<H>::host_;
  padding how_;
  std::map<std::int32_t, std::int32_t> shift_;  // pads in the cache before position 0
};

// What is left of a host when only its first levels are wanted.
template <resect::model::editable_host H>
class observed_only : public forwarding_host<H> {
 public:
  explicit observed_only(H& host) : forwarding_host<H>(host) {}
  resect::model::access supports(site s, int layer) const {
    return host_.supports(s, layer) == resect::model::access::none ? resect::model::access::none
                                                                      : resect::model::access::read;
  }
  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return host_.try_forward(b, want, look);
  }

 private:
  using forwarding_host<H>::host_;
};

}  // namespace support
