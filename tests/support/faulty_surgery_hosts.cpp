// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/faulty_surgery_hosts.hpp>

#include <algorithm>
#include <bit>

namespace support {

resect::status faulty_surgery_host::try_forward(batch_view b, const hooks& k) {
  std::vector<host_ref::weight_override> originals;
  if (is(surgery_fault::whole_passes_lack_overrides))
    for (const auto& [key, o] : overridden_) {
      auto back = host_.try_override_weight(o.weight, matrix_of(o));
      if (!back) return back.error();
      originals.push_back(std::move(*back));
    }
  const bool continues = std::all_of(b.begin(), b.end(), [](const row_meta& row) { return row.pos > 0; });
  auto call = [&](const tap& at, view h) { return in_whole_pass(k, at, h, b, continues); };
  const auto done = host_.try_forward(b, hooks{k.read, k.write, call, k.epoch});
  while (!originals.empty()) originals.pop_back();
  const auto now = host_.logits();
  const auto n = static_cast<std::size_t>(now.rows * now.cols);
  if (!(is(surgery_fault::keeps_logits) && k.write.contains(site::resid_mid) && n == logits_.size()))
    logits_.assign(now.data, now.data + n);
  return done;
}

resect::matrix_view<const float> faulty_surgery_host::logits() const {
  const auto shape = host_.logits();
  return {logits_.data(), shape.rows, shape.cols};
}

resect::status faulty_surgery_host::try_run(state& s, int first, int last, const hooks& k) {
  if (is(surgery_fault::runs_call_nothing)) {
    auto quiet = resect::model::no_hooks<float>();
    quiet.epoch = k.epoch;
    return host_.try_run(s, first, last, quiet);
  }
  auto call = [&](const tap& at, view h) {
    if (is(surgery_fault::runs_write_to_a_copy)) return on_a_copy(k, at, h);
    if (is(surgery_fault::runs_count_from_first)) return k.call({at.where, at.layer - first, at.rows}, h);
    if (is(surgery_fault::runs_round_what_they_show) && at.where == site::resid_mid && !k.write.contains(at.where)) {
      auto shown = values_of(h);
      for (float& x : shown) x = rounded(x);
      return k.call(at, {shown.data(), h.rows, h.cols});
    }
    return k.call(at, h);
  };
  return host_.try_run(s, first, last, hooks{k.read, k.write, call, k.epoch});
}

float_view faulty_surgery_host::stream(state& s) const {
  const view h = host_.stream(s);
  return {h.data, h.rows - (is(surgery_fault::states_lose_a_row) ? 1 : 0), h.cols, h.row_stride};
}

resect::status faulty_surgery_host::try_head(const state& s, resect::index_t row, view norm, view logits) {
  auto done = host_.try_head(s, is(surgery_fault::head_of_row_0) ? 0 : row, norm, logits);
  for (resect::index_t r = 0; r < norm.rows && is(surgery_fault::head_norm_rounds); ++r)
    for (resect::index_t c = 0; c < norm.cols; ++c) norm(r, c) = rounded(norm(r, c));
  return done;
}

resect::status faulty_surgery_host::try_read_weight(const weight_desc& w, view out) const {
  const auto over = overridden_.find({w.layer, w.id});
  if (is(surgery_fault::reads_the_original) && over != overridden_.end() && over->second.depth > 0) {
    copy(over->second.original, out);
    return {};
  }
  const auto pretended = pretended_.find({w.layer, w.id});
  if (pretended == pretended_.end()) return host_.try_read_weight(w, out);
  copy(pretended->second.back(), out);
  return {};
}

resect::result<faulty_surgery_host::weight_override> faulty_surgery_host::try_override_weight(
    const weight_desc& w, resect::matrix_view<const float> values) {
  if (is(surgery_fault::gains_without_effect) && w.role == resect::model::weight_role::norm_gain) {
    pretended_[{w.layer, w.id}].push_back(values_of(values));
    return weight_override{this, w, {}};
  }
  auto& o = overridden_[{w.layer, w.id}];
  if (o.depth == 0) {
    o.weight = w;
    o.original.resize(static_cast<std::size_t>(w.rows * w.cols));
    if (auto s = host_.try_read_weight(w, {o.original.data(), w.rows, w.cols}); !s) return s.error();
  }
  auto guard = host_.try_override_weight(w, values);
  if (!guard) return guard.error();
  ++o.depth;
  return weight_override{this, w, std::move(*guard)};
}

std::vector<float> faulty_surgery_host::values_of(resect::matrix_view<const float> h) {
  std::vector<float> out;
  for (resect::index_t r = 0; r < h.rows; ++r)
    for (resect::index_t c = 0; c < h.cols; ++c) out.push_back(h(r, c));
  return out;
}

void faulty_surgery_host::copy(const std::vector<float>& values, view out) {
  for (resect::index_t r = 0; r < out.rows; ++r)
    for (resect::index_t c = 0; c < out.cols; ++c) out(r, c) = values[static_cast<std::size_t>(r * out.cols + c)];
}

edit faulty_surgery_host::on_a_copy(const hooks& k, const tap& at, view h) {
  auto copy = values_of(h);
  return k.call(at, {copy.data(), h.rows, h.cols});
}

edit faulty_surgery_host::in_whole_pass(const hooks& k, const tap& at, view h, batch_view batch, bool continues) {
  const bool only_written = k.write.contains(at.where) && !k.read.contains(at.where);
  if (only_written && is(surgery_fault::only_reads_call)) return edit::unchanged;
  if (only_written && is(surgery_fault::writes_call_twice)) k.call(at, h);
  if (is(surgery_fault::gathered_rows_misnamed)) return k.call({at.where, at.layer, batch.first(at.rows.size())}, h);
  if (is(surgery_fault::continuing_shows_old) && at.where == site::resid_mid) {
    auto now = values_of(h);
    auto shown = continues ? shown_ : now;
    shown.resize(now.size());
    shown_ = std::move(now);
    if (continues) return k.call(at, {shown.data(), h.rows, h.cols});
  }
  const bool lost = (is(surgery_fault::continuing_loses_mid) && at.where == site::resid_mid) ||
                    (is(surgery_fault::continuing_loses_one_layer) && at.where == site::resid_post && at.layer == 1);
  return continues && lost ? on_a_copy(k, at, h) : k.call(at, h);
}

void faulty_surgery_host::release(weight_override& guard) {
  const weight_key key{guard.weight_.layer, guard.weight_.id};
  if (!guard.inner_) {
    auto& values = pretended_[key];
    values.pop_back();
    if (values.empty()) pretended_.erase(key);
    return;
  }
  auto& o = overridden_[key];
  o.restored.clear();
  guard.inner_.reset();
  if (--o.depth > 0 && is(surgery_fault::inner_override_restores_all)) {
    if (auto back = host_.try_override_weight(guard.weight_, matrix_of(o))) o.restored.push_back(std::move(*back));
  }
  if (o.depth == 0) overridden_.erase(key);
}

resect::status splitting_host::try_forward(batch_view b, const hooks& k) {
  logits_.clear();
  for (std::size_t first = 0; first < b.size(); first += rows_) {
    if (auto s = host_.try_forward(b.subspan(first, std::min(rows_, b.size() - first)), k); !s) return s;
    const auto part = host_.logits();
    for (resect::index_t r = 0; r < part.rows; ++r)
      for (resect::index_t c = 0; c < part.cols; ++c) logits_.push_back(part(r, c));
  }
  return {};
}

resect::matrix_view<const float> splitting_host::logits() const {
  const resect::index_t cols = host_.describe().n_vocab;
  return {logits_.data(), static_cast<resect::index_t>(logits_.size()) / cols, cols};
}

}  // namespace support
