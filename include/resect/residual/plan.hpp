// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <utility>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/residual/step.hpp>

namespace RESECT_NAMESPACE::residual {

// A list of steps that alter a model, ordered by site, priority and layer. A value type; threads may share a plan.
// try_add refuses a step that contradicts an earlier one.
//   plan p = plan{} | skip(layers(6, 8)) | scale_delta(layer(3), 0.5f);
class plan {
 public:
  // Adds one step and keeps the order. Errors (the plan stays as it was):
  //   invalid_argument  a step without identity, since caches tell plans apart by it; an empty or negative range; no
  //                     site, one outside the layers, or one at which the operator has no meaning; an operator on a
  //                     block or a span at a site, one on a block in the place of a span, one on products without the
  //                     name of a weight; a selection that holds no row, or a predicate without identity
  //   null_pointer      no operator, or one that does not do what the step's form asks
  //   what the operator's `check` says, e.g. of a factor that is not finite
  //   conflict          two overwriting steps at one place; a step inside a replaced or skipped layer; unless their
  //                     rows are provably disjoint
  // Cost: two searches and a comparison with the steps near its layers, for each place and priority of the plan; steps
  // that come before others in the order move them.
  template <class = void>
  status try_add(step s) {
    if (s.range.first < 0 || s.range.last <= s.range.first)
      return error{errc::invalid_argument, text("layers of ", s.name.view()),
                   text("[", s.range.first, ", ", s.range.last, ")"), "0 <= first < last"};
    if (auto st = check_form(s); !st) return st;
    if (auto st = s.rows.check(); !st) return st.error().within(text("rows of ", s.name.view()).view());
    if (auto st = s.op.check(); !st) return st;
    if (const step* const other = contradicting(s))
      return error{errc::conflict, text(s.name.view(), " on layers [", s.range.first, ", ", s.range.last, ")"),
                   text("also ", other->name.view(), " on layers [", other->range.first, ", ", other->range.last, ")"),
                   "steps that do not undo each other"};
    longest_ = algo::max(longest_, s.range.last - s.range.first);
    steps_.push_back(std::move(s));
    for (index_t i = steps_.size() - 1; i > 0 && before(steps_[i], steps_[i - 1]); --i)
      algo::swap(steps_[i], steps_[i - 1]);
    return {};
  }

#if RESECT_EXCEPTIONS
  template <class = void>
  friend plan operator|(plan p, step s) {
    value_or_throw(p.try_add(std::move(s)));
    return p;
  }
#endif

  // Checks that the plan fits the model: its layers exist, its widths equal d_model, values that were measured on a model
  // (means) were measured on this one, as far as both fingerprints are known, and the model has one stream.
  template <class = void>
  status check(const model_desc& model) const noexcept {
    if (!empty() && model.n_streams != 1)
      return error{errc::unsupported, "residual streams of the model", text(model.n_streams), "1"};
    for (const step& s : steps_) {
      if (s.range.last > model.n_layers)
        return error{errc::invalid_argument, text("layers of ", s.name.view()),
                     text("[", s.range.first, ", ", s.range.last, ")"), text("layers 0 to ", model.n_layers - 1)};
      if (s.width() != 0 && s.width() != model.d_model)
        return error{errc::shape_mismatch, text("width of ", s.name.view()), text(s.width()),
                     text("d_model = ", model.d_model)};
      const std::uint64_t measured = s.op.facts().model;
      if (measured != 0 && model.fingerprint != 0 && measured != model.fingerprint)
        return error{errc::invalid_argument, text("model of ", s.name.view()), text("fingerprint ", measured),
                     text("fingerprint ", model.fingerprint, ", the host's")};
    }
    return {};
  }

  // Checks that every sequence of whole texts has the flags that the plan's selections read.
  template <class = void>
  status check_marks(batch_view whole) const noexcept {
    for (const step& s : steps_)
      for (const std::uint32_t mark : {row_meta::sequence_end, row_meta::prompt_end}) {
        if ((s.rows.flags() & mark) == 0) continue;
        for (std::size_t i = 0, marked = 0; i < whole.size(); ++i) {
          marked += (whole[i].flags & mark) != 0;
          if (i + 1 < whole.size() && whole[i + 1].seq == whole[i].seq) continue;
          if (marked == 0)
            return error{errc::invalid_argument, text("rows of ", s.name.view()),
                         text("no row of sequence ", whole[i].seq, " marked as the last",
                              mark == row_meta::sequence_end ? "" : " of its prompt"),
                         "a batch that mark_ends has marked"};
          marked = 0;
        }
      }
    return {};
  }
  // Both checks.
  template <class = void>
  status check(const model_desc& model, batch_view whole) const noexcept {
    if (auto s = check(model); !s) return s;
    return check_marks(whole);
  }

  bool empty() const noexcept { return steps_.empty(); }
  const array<step>& steps() const noexcept { return steps_; }

  // A hash of all steps in their order; 0 for the empty plan. A host stores it with a KV cache as the cache's epoch.
  template <class = void>
  std::uint64_t fingerprint() const noexcept {
    if (empty()) return 0;
    resect::fingerprint f;
    for (const step& s : steps_)
      f.add(s.identity()).add(static_cast<std::uint64_t>(s.range.first)).add(static_cast<std::uint64_t>(s.range.last));
    return f.value() == 0 ? 1 : f.value();
  }

 private:
  // Whether operator and form of a step belong together.
  template <class = void>
  static status check_form(const step& s) {
    if (!s.op.has(s.what))
      return error{errc::null_pointer, text("operator of ", s.name.view()), "none", "an operator of the step's form"};
    if (s.op.id().empty())
      return error{errc::invalid_argument,
                   text("identity of ", s.name.empty() ? "a step without a name" : s.name.view()), "no id",
                   "an id that differs between operators, as \"mine.operator/1\""};
    const operator_facts& about = s.op.facts();
    const bool on_rows = s.what == form::rows;
    if (on_rows && !is_layer_site(s.where))
      return error{errc::invalid_argument, text("site of ", s.name.view()),
                   s.where == site::embed_out ? "none, or embed_out" : name(s.where), "a site of a layer"};
    if (on_rows && about.what != form::rows)
      return error{errc::invalid_argument, text("operator of ", s.name.view(), " at ", name(s.where)),
                   about.what == form::block ? "one on a block" : "one that is not on rows", "an operator on rows"};
    if (s.what == form::replace && about.what == form::block)
      return error{errc::invalid_argument, text("operator of ", s.name.view(), " in place of a span"),
                   "one on a block, which changes the delta of a layer that runs", "a map of the stream"};
    const site where = on_rows ? s.where : site::resid_post;  // a span's output is the stream after its last layer
    if ((on_rows || (s.what == form::replace && about.what == form::rows)) && !about.sites.empty() &&
        !about.sites.contains(where))
      return error{errc::invalid_argument, text("site of ", s.name.view()), name(where),
                   "a site at which the operator has a meaning"};
    if (s.what == form::products && s.weight.all())
      return error{errc::invalid_argument, text("weight of ", s.name.view()), "no name",
                   "the name of one matrix, as swap_product(layers, name, operator) takes it"};
    return {};
  }

  // The first step that contradicts `s`, or null. Steps of one place and priority stand by their first layer, and no step
  // is longer than `longest_`: only those that begin near `s` are asked.
  template <class = void>
  const step* contradicting(const step& s) const {
    const auto earlier_place = [](const step& a, const step& b) {
      return order(a) != order(b) ? order(a) < order(b) : a.priority < b.priority;
    };
    const auto earlier_layer = [](const step& a, int first) { return a.range.first < first; };
    const step* const end = steps_.data() + steps_.size();
    for (const step* place = steps_.data(); place != end;) {
      const step* const next = algo::upper_bound(place, end, *place, earlier_place);
      const step* other = algo::lower_bound(place, next, s.range.first - longest_, earlier_layer);
      for (; other != next && other->range.first <= s.range.last; ++other)
        if (contradicts(s, *other) && !provably_disjoint(s.rows, other->rows)) return other;
      place = next;
    }
    return nullptr;
  }

  // by layer last: where ranges overlap, priorities decide in every layer that they share
  static bool before(const step& a, const step& b) noexcept {
    if (order(a) != order(b)) return order(a) < order(b);
    if (a.priority != b.priority) return a.priority < b.priority;
    return a.range.first < b.range.first;
  }
  // weights are changed before a layer runs, sites follow the forward pass, the block's output comes after
  static int order(const step& s) noexcept {
    switch (s.what) {
      case form::weights:
      case form::products: return 0;
      case form::rows: return s.where == site::resid_post ? 2 * n_sites : 1 + static_cast<int>(s.where);
      default: return n_sites + 1;
    }
  }
  static bool overlap(layer_range a, layer_range b) noexcept { return a.first < b.last && b.first < a.last; }
  static bool overwrites(const step& s) noexcept { return s.op.facts().overwrites; }
  static bool removes_layer(const step& s) noexcept {
    return s.what == form::replace || (s.what == form::block && !s.reads_output());
  }
  // `a` skips the layer for its rows, and `b` edits that layer's internal sites on some of those rows
  static bool removes_rows(const step& a, const step& b) noexcept {
    return a.removes_rows() && (b.what == form::rows || b.what == form::block) && acts_inside(b, a);
  }
  static bool between_layers(const step& s) noexcept {
    return s.what == form::rows && (s.where == site::resid_pre || s.where == site::resid_post);
  }
  // the layers that read what such a step writes: resid_post(l) is resid_pre(l + 1)
  static layer_range readers(const step& s) noexcept {
    return s.where == site::resid_pre ? s.range : layer_range{s.range.first + 1, s.range.last + 1};
  }
  static bool acts_inside(const step& s, const step& removed) noexcept {
    if (!between_layers(s)) return true;
    if (removed.what == form::block) return false;  // the stream between the layers is still there
    return s.where == site::resid_pre ? s.range.last > removed.range.first + 1 : s.range.first < removed.range.last - 1;
  }
  static bool contradicts(const step& a, const step& b) noexcept {
    if (between_layers(a) && between_layers(b))
      return overwrites(a) && overwrites(b) && overlap(readers(a), readers(b));
    if (!overlap(a.range, b.range)) return false;
    if (removes_layer(a) && acts_inside(b, a)) return true;
    if (removes_layer(b) && acts_inside(a, b)) return true;
    if (removes_rows(a, b) || removes_rows(b, a)) return true;
    const bool same_place = a.what == b.what && (a.what != form::rows || a.where == b.where) &&
                            (a.weight.all() || b.weight.all() || a.weight.name == b.weight.name.view());
    return same_place && overwrites(a) && overwrites(b);
  }

  array<step> steps_;
  int longest_ = 0;  // layers of the longest step
};

}  // namespace RESECT_NAMESPACE::residual
