// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include <resect/model/host.hpp>

// References to hosts of floats that do not say the host's type, one type for each level. Whatever takes a host is compiled
// once for such a reference, and tests of many hosts share it.
namespace support {

namespace erased {

using resect::model::access;
using resect::model::batch_view;
using resect::model::model_desc;
using resect::model::site;
using resect::model::site_set;
using resect::model::weight_desc;
using float_view = resect::matrix_view<float>;
using float_hooks = resect::model::hooks<float>;
using float_observer = resect::model::observer<float>;

struct box {  // of a state or of an overridden weight
  virtual ~box() = default;
};
template <class T>
struct box_of final : box {
  explicit box_of(T&& v) : value(std::move(v)) {}
  T value;
};
using held = std::unique_ptr<box>;
template <class T>
held hold(T value) {
  return std::make_unique<box_of<T>>(std::move(value));
}
template <class T>
T& inside(const held& h) {
  return static_cast<box_of<T>&>(*h).value;
}

struct observable {
  virtual ~observable() = default;
  virtual const model_desc& describe() const = 0;
  virtual access supports(site s, int layer) const = 0;
  virtual resect::status try_forward(batch_view b, site_set want, float_observer look) = 0;
  virtual resect::matrix_view<const float> logits() const = 0;
  virtual void forget(std::int32_t seq) = 0;
};
struct editable : observable {
  using observable::try_forward;
  virtual resect::status try_forward(batch_view b, const float_hooks& k) = 0;
  virtual std::uint64_t cache_epoch(std::int32_t seq) const = 0;
  virtual resect::index_t cached(std::int32_t seq) const = 0;
};
struct surgical : editable {
  virtual resect::result<held> try_embed(batch_view b) = 0;
  virtual resect::status try_run(const held& s, int first, int last, const float_hooks& k) = 0;
  virtual held snapshot(const held& s) = 0;
  virtual float_view stream(const held& s) = 0;
  virtual batch_view rows(const held& s) const = 0;
  virtual resect::status try_head(const held& s, resect::index_t row, float_view norm, float_view logits) = 0;
  virtual std::span<const weight_desc> weights(int layer) const = 0;
  virtual resect::status try_read_weight(const weight_desc& w, float_view out) const = 0;
  virtual resect::result<held> try_override_weight(const weight_desc& w, resect::matrix_view<const float> values) = 0;
};

template <class Level, class H>
class observable_of : public Level {
 public:
  explicit observable_of(H& host) : host_(host) {}
  const model_desc& describe() const override {
    static_assert(std::is_reference_v<decltype(host_.describe())>, "what is referred to has to live on");
    return host_.describe();
  }
  access supports(site s, int layer) const override { return host_.supports(s, layer); }
  resect::status try_forward(batch_view b, site_set want, float_observer look) override {
    return host_.try_forward(b, want, look);
  }
  resect::matrix_view<const float> logits() const override { return host_.logits(); }
  void forget(std::int32_t seq) override { host_.forget(seq); }

 protected:
  H& host_;
};
template <class Level, class H>
class editable_of : public observable_of<Level, H> {
 public:
  using observable_of<Level, H>::observable_of;
  using observable_of<Level, H>::try_forward;
  resect::status try_forward(batch_view b, const float_hooks& k) override { return this->host_.try_forward(b, k); }
  std::uint64_t cache_epoch(std::int32_t seq) const override { return this->host_.cache_epoch(seq); }
  resect::index_t cached(std::int32_t seq) const override { return this->host_.cached(seq); }
};
template <class H>
class surgical_of final : public editable_of<surgical, H> {
  using state = typename H::state;

 public:
  using editable_of<surgical, H>::editable_of;
  resect::result<held> try_embed(batch_view b) override {
    auto s = this->host_.try_embed(b);
    if (!s) return s.error();
    return hold(std::move(*s));
  }
  resect::status try_run(const held& s, int first, int last, const float_hooks& k) override {
    return this->host_.try_run(inside<state>(s), first, last, k);
  }
  held snapshot(const held& s) override { return hold(this->host_.snapshot(inside<state>(s))); }
  float_view stream(const held& s) override { return this->host_.stream(inside<state>(s)); }
  batch_view rows(const held& s) const override { return this->host_.rows(inside<state>(s)); }
  resect::status try_head(const held& s, resect::index_t row, float_view norm, float_view logits) override {
    return this->host_.try_head(inside<state>(s), row, norm, logits);
  }
  std::span<const weight_desc> weights(int layer) const override { return this->host_.weights(layer); }
  resect::status try_read_weight(const weight_desc& w, float_view out) const override {
    return this->host_.try_read_weight(w, out);
  }
  resect::result<held> try_override_weight(const weight_desc& w, resect::matrix_view<const float> values) override {
    auto guard = this->host_.try_override_weight(w, values);
    if (!guard) return guard.error();
    return hold(std::move(*guard));
  }
};

}  // namespace erased

// What the references have in common. Their members are const, as those of a pointer: the host is what changes.
template <class Level>
class ref_of_level {
 public:
  using value = float;
  using space = resect::host_space;

  const resect::model::model_desc& describe() const { return host_->describe(); }
  resect::model::access supports(resect::model::site s, int layer) const { return host_->supports(s, layer); }
  resect::status try_forward(resect::model::batch_view b, resect::model::site_set want,
                             erased::float_observer look) const {
    return host_->try_forward(b, want, look);
  }
  resect::matrix_view<const float> logits() const { return host_->logits(); }
  void forget(std::int32_t seq) const { host_->forget(seq); }

  static constexpr bool edits = std::derived_from<Level, erased::editable>;
  resect::status try_forward(resect::model::batch_view b, const erased::float_hooks& k) const
    requires edits
  {
    return host_->try_forward(b, k);
  }
  std::uint64_t cache_epoch(std::int32_t seq) const
    requires edits
  {
    return host_->cache_epoch(seq);
  }
  resect::index_t cached(std::int32_t seq) const
    requires edits
  {
    return host_->cached(seq);
  }

 protected:
  explicit ref_of_level(std::shared_ptr<Level> host) : host_(std::move(host)) {}
  std::shared_ptr<Level> host_;
};

// One for each level. Their constructors are not inline: where one is compiled elsewhere, a file that calls it is not
// compiled for the host's type.
class observe_ref : public ref_of_level<erased::observable> {
 public:
  template <resect::model::observable_host H>
    requires(!std::derived_from<H, observe_ref>)
  observe_ref(H& host);
};

class edit_ref : public ref_of_level<erased::editable> {
 public:
  template <resect::model::editable_host H>
    requires(!std::derived_from<H, edit_ref>)
  edit_ref(H& host);
};

class host_ref : public ref_of_level<erased::surgical> {
 public:
  class state {
    friend host_ref;
    explicit state(erased::held s) : inner(std::move(s)) {}
    erased::held inner;
  };
  class weight_override {
    friend host_ref;
    explicit weight_override(erased::held w) : inner(std::move(w)) {}
    erased::held inner;
  };

  template <resect::model::surgical_host H>
    requires(!std::derived_from<H, host_ref>)
  host_ref(H& host);

  resect::result<state> try_embed(resect::model::batch_view b) const {
    auto s = host_->try_embed(b);
    if (!s) return s.error();
    return state(std::move(*s));
  }
  resect::status try_run(state& s, int first, int last, const erased::float_hooks& k) const {
    return host_->try_run(s.inner, first, last, k);
  }
  state snapshot(const state& s) const { return state(host_->snapshot(s.inner)); }
  erased::float_view stream(state& s) const { return host_->stream(s.inner); }
  resect::model::batch_view rows(const state& s) const { return host_->rows(s.inner); }
  resect::status try_head(const state& s, resect::index_t row, erased::float_view norm,
                          erased::float_view logits) const {
    return host_->try_head(s.inner, row, norm, logits);
  }
  std::span<const resect::model::weight_desc> weights(int layer) const { return host_->weights(layer); }
  resect::status try_read_weight(const resect::model::weight_desc& w, erased::float_view out) const {
    return host_->try_read_weight(w, out);
  }
  resect::result<weight_override> try_override_weight(const resect::model::weight_desc& w,
                                                      resect::matrix_view<const float> values) const {
    auto guard = host_->try_override_weight(w, values);
    if (!guard) return guard.error();
    return weight_override(std::move(*guard));
  }
};

template <resect::model::observable_host H>
  requires(!std::derived_from<H, observe_ref>)
observe_ref::observe_ref(H& host)
    : ref_of_level(std::make_shared<erased::observable_of<erased::observable, H>>(host)) {}
template <resect::model::editable_host H>
  requires(!std::derived_from<H, edit_ref>)
edit_ref::edit_ref(H& host) : ref_of_level(std::make_shared<erased::editable_of<erased::editable, H>>(host)) {}
template <resect::model::surgical_host H>
  requires(!std::derived_from<H, host_ref>)
host_ref::host_ref(H& host) : ref_of_level(std::make_shared<erased::surgical_of<H>>(host)) {}

static_assert(resect::model::observable_host<observe_ref> && !resect::model::editable_host<observe_ref>);
static_assert(resect::model::editable_host<edit_ref> && !resect::model::surgical_host<edit_ref>);
static_assert(resect::model::surgical_host<host_ref>);

}  // namespace support
