// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <support/forwarding_host.hpp>

// Wrappers around a right host that are wrong in one place only: in passes that write without reading, partial passes,
// passes that continue a cache, gathered rows, the head of some rows, overrides. Whoever looks at whole passes over
// whole texts alone sees nothing of it.
namespace support {

enum class surgery_fault {
  none,
  only_reads_call,              // a site that is written and not read is never shown
  writes_call_twice,            // a callback runs twice at a site that is only written
  keeps_logits,                 // after a pass that writes resid_mid, logits() is that of the pass before
  runs_call_nothing,            // partial passes have no callbacks
  runs_write_to_a_copy,         // what is written in a partial pass is seen by nobody
  runs_count_from_first,        // a partial pass counts its layers from where it begins
  runs_round_what_they_show,    // a partial pass shows resid_mid in bf16
  head_of_row_0,                // the head of some rows is that of the first ones
  head_norm_rounds,             // the head's norm is handed out in bf16
  gathered_rows_misnamed,       // where rows were gathered, the tap says that they are the first of the batch
  continuing_loses_mid,         // what is written at resid_mid is lost where all rows continue a cache
  continuing_loses_one_layer,   // the same at resid_post of layer 1
  continuing_shows_old,         // there resid_mid shows rows of the pass before
  states_lose_a_row,            // the stream of a state lacks the last row
  reads_the_original,           // an overridden weight acts, and is read as what it was
  gains_without_effect,         // an overridden gain is read back, and not used
  whole_passes_lack_overrides,  // overrides act in partial passes only
  inner_override_restores_all,  // an override within an override restores the model's own weight
};

template <resect::model::surgical_host H>
class faulty_surgery_host : public forwarding_surgical_host<H> {
 public:
  using hooks = float_hooks;
  using view = float_view;
  using state = typename H::state;

  class weight_override {
   public:
    weight_override(weight_override&& other) noexcept
        : host_(std::exchange(other.host_, nullptr)), weight_(other.weight_), inner_(std::move(other.inner_)) {
      other.inner_.reset();
    }
    weight_override& operator=(weight_override&& other) noexcept {
      std::swap(host_, other.host_);
      std::swap(weight_, other.weight_);
      std::swap(inner_, other.inner_);
      return *this;
    }
    ~weight_override() {
      if (host_) host_->release(*this);
    }

   private:
    friend faulty_surgery_host;
    weight_override(faulty_surgery_host* host, const weight_desc& w, std::optional<typename H::weight_override> inner)
        : host_(host), weight_(w), inner_(std::move(inner)) {}
    faulty_surgery_host* host_;
    weight_desc weight_;
    std::optional<typename H::weight_override> inner_;
  };

  faulty_surgery_host(H& host, surgery_fault f) : forwarding_surgical_host<H>(host), fault_(f) {}


  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return resect::model::try_observe(*this, b, want, look);
  }
  resect::status try_forward(batch_view b, const hooks& k) {
    std::vector<typename H::weight_override> originals;
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
  resect::matrix_view<const float> logits() const {
    const auto shape = host_.logits();
    return {logits_.data(), shape.rows, shape.cols};
  }

  resect::status try_run(state& s, int first, int last, const hooks& k) {
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
  view stream(state& s) const {
    const view h = host_.stream(s);
    return {h.data, h.rows - (is(surgery_fault::states_lose_a_row) ? 1 : 0), h.cols, h.row_stride};
  }
  resect::status try_head(const state& s, resect::index_t row, view norm, view logits) {
    auto done = host_.try_head(s, is(surgery_fault::head_of_row_0) ? 0 : row, norm, logits);
    for (resect::index_t r = 0; r < norm.rows && is(surgery_fault::head_norm_rounds); ++r)
      for (resect::index_t c = 0; c < norm.cols; ++c) norm(r, c) = rounded(norm(r, c));
    return done;
  }

  resect::status try_read_weight(const weight_desc& w, view out) const {
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
  resect::result<weight_override> try_override_weight(const weight_desc& w, resect::matrix_view<const float> values) {
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

 private:
  struct of_a_weight {
    weight_desc weight;
    std::vector<float> original;
    int depth = 0;
    std::vector<typename H::weight_override> restored;  // on top of the override that it should have left
  };
  using weight_key = std::pair<int, int>;

  bool is(surgery_fault f) const noexcept { return fault_ == f; }
  static float rounded(float x) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0xffff0000u); }
  static std::vector<float> values_of(resect::matrix_view<const float> h) {
    std::vector<float> out;
    for (resect::index_t r = 0; r < h.rows; ++r)
      for (resect::index_t c = 0; c < h.cols; ++c) out.push_back(h(r, c));
    return out;
  }
  static void copy(const std::vector<float>& values, view out) {
    for (resect::index_t r = 0; r < out.rows; ++r)
      for (resect::index_t c = 0; c < out.cols; ++c) out(r, c) = values[static_cast<std::size_t>(r * out.cols + c)];
  }
  static resect::matrix_view<const float> matrix_of(const of_a_weight& o) {
    return {o.original.data(), o.weight.rows, o.weight.cols};
  }
  static edit on_a_copy(const hooks& k, const tap& at, view h) {
    auto copy = values_of(h);
    return k.call(at, {copy.data(), h.rows, h.cols});
  }

  edit in_whole_pass(const hooks& k, const tap& at, view h, batch_view batch, bool continues) {
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

  void release(weight_override& guard) {
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

  using forwarding_surgical_host<H>::host_;
  surgery_fault fault_;
  std::vector<float> logits_, shown_;
  std::map<weight_key, of_a_weight> overridden_;
  std::map<weight_key, std::vector<std::vector<float>>> pretended_;
};

// A right host of the edit level that runs a batch a few rows at a time, as runtimes do above some size: every callback
// comes several times, with other rows.
template <resect::model::editable_host H>
class splitting_host : public forwarding_host<H> {
 public:
  using hooks = float_hooks;
  using view = float_view;

  splitting_host(H& host, std::size_t rows) : forwarding_host<H>(host), rows_(rows) {}
  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return resect::model::try_observe(*this, b, want, look);
  }
  resect::status try_forward(batch_view b, const hooks& k) {
    logits_.clear();
    for (std::size_t first = 0; first < b.size(); first += rows_) {
      if (auto s = host_.try_forward(b.subspan(first, std::min(rows_, b.size() - first)), k); !s) return s;
      const auto part = host_.logits();
      for (resect::index_t r = 0; r < part.rows; ++r)
        for (resect::index_t c = 0; c < part.cols; ++c) logits_.push_back(part(r, c));
    }
    return {};
  }
  resect::matrix_view<const float> logits() const {
    const resect::index_t cols = host_.describe().n_vocab;
    return {logits_.data(), static_cast<resect::index_t>(logits_.size()) / cols, cols};
  }

 private:
  using forwarding_host<H>::host_;
  std::size_t rows_;
  std::vector<float> logits_;
};

}  // namespace support
