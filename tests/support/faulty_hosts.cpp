// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/faulty_hosts.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace support {

template <class F>
void faulty_host::each(view h, F f) {
  for (resect::index_t r = 0; r < h.rows; ++r)
    for (resect::index_t c = 0; c < h.cols; ++c) h(r, c) = f(h(r, c));
}

template <class F>
resect::status faulty_host::intercepted(const hooks& k, std::uint64_t epoch, F pass) {
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

resect::model::access faulty_host::supports(site s, int layer) const {
  if (fault_ == fault::shows_no_layer && is_layer_site(s)) return resect::model::access::none;
  const auto can = host_.supports(s, layer);
  return fault_ == fault::writes_nowhere ? std::min(can, resect::model::access::read) : can;
}

resect::status faulty_host::try_forward(batch_view b, const hooks& k) {
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

resect::matrix_view<const float> faulty_host::logits() const {
  const auto out = host_.logits();
  const bool is_short = fault_ == fault::logits_short && continued_ && out.rows > 1;
  return {logits_.data(), out.rows - (is_short ? 1 : 0), out.cols};
}

void faulty_host::forget(std::int32_t seq) {
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

resect::index_t faulty_host::cached(std::int32_t seq) const {
  const auto at = shift_.find(seq);
  const auto n = host_.cached(seq) - (at == shift_.end() ? 0 : at->second);
  return fault_ == fault::length_wrong && n > 0 ? n + 1 : n;
}

resect::result<faulty_host::state> faulty_host::try_embed(batch_view b) {
  auto s = host_.try_embed(b);
  if (!s) return s.error();
  const auto h = host_.stream(*s);
  if (fault_ == fault::states_differ) each(h, [](float x) { return 1.01f * x; });
  if (fault_ == fault::differs_every_time) h(0, 0) += 0.01f * static_cast<float>(++passes_);
  return state{std::make_shared<host_ref::state>(std::move(*s))};
}

resect::status faulty_host::try_run(state& s, int first, int last, const hooks& k) {
  if (fault_ == fault::cut_matters && first > 0 && first < last)
    each(host_.stream(*s.inner), [](float x) { return 1.0001f * x; });
  return intercepted(k, k.epoch, [&](const hooks& mine) { return host_.try_run(*s.inner, first, last, mine); });
}

faulty_host::state faulty_host::snapshot(const state& s) const {
  if (fault_ == fault::snapshot_shares) return s;
  return {std::make_shared<host_ref::state>(host_.snapshot(*s.inner))};
}

resect::status faulty_host::try_read_weight(const weight_desc& w, view out) const {
  if (auto s = host_.try_read_weight(w, out); !s) return s;
  std::size_t i = 0;
  if (const auto pretended = pretended_.lock()) each(out, [&](float) { return (*pretended)[i++]; });
  return {};
}

resect::result<faulty_host::weight_override> faulty_host::try_override_weight(const weight_desc& w,
                                                                              resect::matrix_view<const float> values) {
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

float_hooks faulty_host::quiet(std::uint64_t epoch) {
  auto k = resect::model::no_hooks<float>();
  k.epoch = epoch;
  return k;
}

std::vector<float> faulty_host::values_of(view h) {
  std::vector<float> out;
  each(h, [&](float x) { return out.push_back(x), x; });
  return out;
}

void faulty_host::break_stream(const tap& at, view h) {
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

edit faulty_host::show(const hooks& k, const tap& at, view h) {
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

edit faulty_host::on_host(const hooks& k, const tap& at, view h) {
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

void faulty_host::break_values(const tap& at, view h) {
  for (resect::index_t r = h.rows - 2; r >= 0 && fault_ == fault::masks_by_zero; --r)
    if (at.rows[static_cast<std::size_t>(r)].seq == at.rows[static_cast<std::size_t>(r + 1)].seq)
      for (resect::index_t c = 0; c < h.cols; ++c) h(r, c) += 0.0f * h(r + 1, c);
  if (fault_ == fault::swallows_nan) each(h, [](float x) { return std::isfinite(x) ? x : 0.0f; });
  if (fault_ != fault::spreads_nan) return;
  float bad = 0.0f;
  each(h, [&](float x) { return bad = std::isfinite(x) ? bad : x, x; });
  if (bad != 0.0f) each(h, [&](float) { return bad; });
}

resect::status padded_host::try_forward(batch_view b, const hooks& k) {
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

void padded_host::forget(std::int32_t seq) {
  shift_[seq] = 0;
  host_.forget(seq);
}

resect::index_t padded_host::cached(std::int32_t seq) const {
  const auto at = shift_.find(seq);
  const auto n = host_.cached(seq);
  return n == 0 || at == shift_.end() ? n : n - at->second;
}

resect::model::access observed_only::supports(site s, int layer) const {
  return host_.supports(s, layer) == resect::model::access::none ? resect::model::access::none
                                                                 : resect::model::access::read;
}

}  // namespace support
