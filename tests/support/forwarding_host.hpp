// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

#include <resect/model/host.hpp>

namespace support {

using resect::model::batch_view;
using resect::model::edit;
using resect::model::row_meta;
using resect::model::site;
using resect::model::tap;
using resect::model::weight_desc;
using float_hooks = resect::model::hooks<float>;
using float_view = resect::matrix_view<float>;

// How a wrapper keeps a host: by reference, and what is a reference itself (host_ref) by value.
template <class H>
using kept_host = std::conditional_t<std::copy_constructible<H>, H, H&>;

// What a wrapper around a host hands on of the levels observe and edit; a wrapper hides the members that it changes.
template <resect::model::editable_host H>
class forwarding_host {
 public:
  using value = float;
  using space = resect::host_space;

  explicit forwarding_host(kept_host<H> host) : host_(host) {}
  forwarding_host(const forwarding_host&) = delete;
  forwarding_host& operator=(const forwarding_host&) = delete;

  decltype(auto) describe() const { return host_.describe(); }
  resect::model::access supports(site s, int layer) const { return host_.supports(s, layer); }
  resect::matrix_view<const float> logits() const { return host_.logits(); }
  void forget(std::int32_t seq) { host_.forget(seq); }
  std::uint64_t cache_epoch(std::int32_t seq) const { return host_.cache_epoch(seq); }
  resect::index_t cached(std::int32_t seq) const { return host_.cached(seq); }

 protected:
  kept_host<H> host_;
};

// The same of the surgery level, where the wrapper's states and overrides are the host's.
template <resect::model::surgical_host H>
class forwarding_surgical_host : public forwarding_host<H> {
 public:
  using state = typename H::state;
  using forwarding_host<H>::forwarding_host;

  resect::result<state> try_embed(batch_view b) { return host_.try_embed(b); }
  state snapshot(const state& s) const { return host_.snapshot(s); }
  float_view stream(state& s) const { return host_.stream(s); }
  batch_view rows(const state& s) const { return host_.rows(s); }
  resect::status try_head(const state& s, resect::index_t row, float_view norm, float_view logits) {
    return host_.try_head(s, row, norm, logits);
  }
  decltype(auto) weights(int layer) const { return host_.weights(layer); }
  resect::status try_read_weight(const weight_desc& w, float_view out) const { return host_.try_read_weight(w, out); }
  std::uint64_t weights_epoch() const noexcept
    requires requires(const H& h) { h.weights_epoch(); }
  {
    return host_.weights_epoch();
  }

 protected:
  using forwarding_host<H>::host_;
};

}  // namespace support
