// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/residual/plan.hpp>

namespace RESECT_NAMESPACE::residual::detail {

// The steps of a plan by layer and place, in the plan's order: what a pass asks at every tap, found once. The table points
// into the plan. Built again, it takes no memory where it has grown.
class step_table {
 public:
  // The place of a step in a layer: its weights, one of the five sites, its block, or the span that replaces it.
  enum place : int { weights = 0, first_site = 1, block = 6, span = 7, n_places = 8 };

  step_table() = default;

  // The table of the empty plan, in a model of no layers.
  void clear() noexcept {
    steps_.clear();
    begins_.clear();
    n_layers_ = 0;
    epoch_ = 0;
    inner_ = {}, written_ = {};
    changes_weights_ = reads_marks_ = checks_rows_ = false;
  }

  template <class = void>
  void build(const plan& p, int n_layers) {
    n_layers_ = n_layers;
    epoch_ = p.fingerprint();
    inner_ = {}, written_ = {};
    changes_weights_ = reads_marks_ = checks_rows_ = false;
    begins_.assign(index_t{n_places} * n_layers + 1, 0);
    for (const step& s : p.steps()) {
      note(s);
      for (int l = algo::max(s.range.first, 0); l < algo::min(s.range.last, n_layers); ++l)
        ++begins_[number(l, place_of(s)) + 1];
    }
    for (index_t i = 1; i < begins_.size(); ++i) begins_[i] += begins_[i - 1];
    steps_.resize(begins_.back());
    for (const step& s : p.steps())
      for (int l = algo::max(s.range.first, 0); l < algo::min(s.range.last, n_layers); ++l)
        steps_[begins_[number(l, place_of(s))]++] = &s;
    for (index_t i = begins_.size() - 1; i > 0; --i) begins_[i] = begins_[i - 1];
    begins_[0] = 0;
  }

  std::uint64_t epoch() const noexcept { return epoch_; }
  bool empty() const noexcept { return steps_.empty(); }
  std::span<const step* const> at(int layer, int where) const noexcept {
    const index_t i = number(layer, where);
    return {steps_.data() + begins_[i], static_cast<std::size_t>(begins_[i + 1] - begins_[i])};
  }
  std::span<const step* const> at(site where, int layer) const noexcept {
    return is_layer_site(where) && layer < n_layers_ ? at(layer, static_cast<int>(where))
                                                     : std::span<const step* const>{};
  }
  // The span that replaces the layer, or null.
  const step* span_of(int layer) const noexcept {
    const auto found = at(layer, span);
    return found.empty() ? nullptr : found.front();
  }
  bool touches(int layer) const noexcept { return begins_[number(layer, 0)] != begins_[number(layer + 1, 0)]; }
  // Whether the layer runs: no step replaces it or leaves it out.
  bool runs(int layer) const noexcept {
    for (const step* s : at(layer, block))
      if (!s->reads_output()) return false;
    return span_of(layer) == nullptr;
  }

  site_set inner_sites() const noexcept { return inner_; }  // sites edited while a layer runs
  site_set written() const noexcept { return written_; }    // sites that whole passes write
  bool changes_weights() const noexcept { return changes_weights_; }
  bool reads_marks() const noexcept { return reads_marks_; }
  bool checks_rows() const noexcept { return checks_rows_; }

 private:
  static_assert(static_cast<int>(site::resid_pre) == first_site && static_cast<int>(site::resid_post) == block - 1);

  static int place_of(const step& s) noexcept {
    switch (s.what) {
      case form::rows: return static_cast<int>(s.where);
      case form::block: return block;
      case form::replace: return span;
      default: return weights;
    }
  }
  static index_t number(int layer, int where) noexcept { return index_t{n_places} * layer + where; }

  void note(const step& s) noexcept {
    const bool on_rows = s.what == form::rows, on_weights = s.what == form::weights || s.what == form::products;
    changes_weights_ = changes_weights_ || on_weights;
    reads_marks_ = reads_marks_ || s.rows.flags() != 0;
    checks_rows_ = checks_rows_ || s.op.facts().checks_rows;
    for (const operation& o : s.after) checks_rows_ = checks_rows_ || o.facts().checks_rows;
    if (on_weights) return;
    if (on_rows && s.where != site::resid_pre && s.where != site::resid_post) inner_.insert(s.where);
    written_.insert(on_rows ? s.where : site::resid_post);
    if (!on_rows) written_.insert(site::resid_pre);
  }

  array<const step*> steps_;
  array<index_t> begins_;  // of each place of each layer
  int n_layers_ = 0;
  std::uint64_t epoch_ = 0;
  site_set inner_, written_;
  bool changes_weights_ = false, reads_marks_ = false, checks_rows_ = false;
};

}  // namespace RESECT_NAMESPACE::residual::detail
