// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <vector>

#include <support/forwarding_host.hpp>

namespace support {

// Any host of the surgery level, with a count of what is asked of it, and ways to make it fail.
template <resect::model::surgical_host H>
class counting_host : public forwarding_surgical_host<H> {
 public:
  using state = typename H::state;
  using weight_override = typename H::weight_override;
  using hooks = float_hooks;
  using view = float_view;

  struct counts {
    int embeds = 0, forwards = 0, runs = 0, snapshots = 0, streams = 0, overrides = 0, forgets = 0;
    int hook_calls = 0;            // of the caller's hooks
    std::vector<int> layers = {};  // how often layer l was run by try_run
    int layer_runs() const noexcept {
      int sum = 0;
      for (const int x : layers) sum += x;
      return sum;
    }
    friend bool operator==(const counts&, const counts&) = default;
  };

  explicit counting_host(H& host) : forwarding_surgical_host<H>(host) { reset(); }
  void reset() { n = counts{.layers = std::vector<int>(static_cast<std::size_t>(host_.describe().n_layers), 0)}; }
  counts n;
  int refuse_override = -1;  // this one, counted from 0, fails
  int refuse_layer = -1;     // running this layer fails

  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> call) {
    ++n.forwards;
    return host_.try_forward(b, want, call);
  }
  resect::status try_forward(batch_view b, const hooks& k) {
    ++n.forwards;
    return with_counting(k, [&](const hooks& counted) { return host_.try_forward(b, counted); });
  }
  void forget(std::int32_t seq) {
    ++n.forgets;
    host_.forget(seq);
  }

  resect::result<state> try_embed(batch_view b) {
    ++n.embeds;
    return host_.try_embed(b);
  }
  resect::status try_run(state& s, int first, int last, const hooks& k) {
    ++n.runs;
    if (first <= refuse_layer && refuse_layer < last)
      return resect::error{resect::errc::unsupported, resect::text("layer ", refuse_layer), "a refusal", "none"};
    for (int l = std::max(first, 0); l < std::min(last, host_.describe().n_layers); ++l)
      ++n.layers[static_cast<std::size_t>(l)];
    return with_counting(k, [&](const hooks& counted) { return host_.try_run(s, first, last, counted); });
  }
  state snapshot(const state& s) {
    ++n.snapshots;
    return host_.snapshot(s);
  }
  view stream(state& s) {
    ++n.streams;
    return host_.stream(s);
  }
  resect::result<weight_override> try_override_weight(const weight_desc& w, resect::matrix_view<const float> values) {
    if (n.overrides++ == refuse_override) return resect::error{resect::errc::out_of_memory, "weight", {}, {}};
    return host_.try_override_weight(w, values);
  }

 private:
  using forwarding_surgical_host<H>::host_;

  template <class F>
  resect::status with_counting(const hooks& k, F f) {
    auto call = [&](const tap& at, view rows) {
      ++n.hook_calls;
      return k.call(at, rows);
    };
    return f(hooks{k.read, k.write, call, k.epoch});
  }
};

}  // namespace support
