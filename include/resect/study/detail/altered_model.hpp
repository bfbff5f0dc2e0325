// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/model/host.hpp>
#include <resect/residual/run.hpp>
#include <resect/study/detail/outputs.hpp>
#include <resect/study/detail/paths.hpp>
#include <resect/study/detail/snapshots.hpp>

namespace RESECT_NAMESPACE::study {

namespace detail {

// Whether every element is +0.
inline bool is_zero(matrix_view<const float> h) noexcept {
  for (index_t r = 0; r < h.rows; ++r)
    for (index_t c = 0; c < h.cols; ++c)
      if (std::bit_cast<std::uint32_t>(h(r, c)) != 0) return false;
  return true;
}

// Where arms have lost their stream: once every element is +0, the run's history is gone, so a second run that is at
// zero before the same layer, with the same steps to come, ends as the first one did.
class lost_streams {
 public:
  // The arm that was at zero here before, or nothing; then `arm` is remembered.
  std::optional<std::size_t> seen(int layer, std::uint64_t suffix, std::size_t arm) {
    for (const place& p : places_)
      if (p.layer == layer && p.suffix == suffix && p.arm != arm) return p.arm;
    places_.push_back({layer, suffix, arm});
    return std::nullopt;
  }

 private:
  struct place {
    int layer;
    std::uint64_t suffix;
    std::size_t arm;
  };
  std::vector<place> places_;
};

// What all arms of one call share.
template <class Backend, model::surgical_host H>
struct visit_context {
  Backend& backend;
  H& host;
  index_t rows;
  snapshots<typename H::state>& kept;
  lost_streams lost;
  std::span<const residual::schedule> schedules;  // of all arms
  residual::pass_memory memory;

  double state_bytes() const noexcept { return 4.0 * static_cast<double>(rows) * host.describe().d_model; }
};

}  // namespace detail

// One altered model in the middle of its pass: what a visitor of study::runner gets. It stands before layer(), with the
// stream that the plan left there.
template <class Backend, model::surgical_host H>
class altered_model {
 public:
  altered_model(detail::visit_context<Backend, H>& context, const detail::path& path, typename H::state state,
                int layer, std::optional<std::size_t> twin)
      : context_(context), path_(path), state_(std::move(state)), layer_(layer), twin_(twin) {}

  const residual::plan& plan() const noexcept { return *path_.plan; }
  H& host() const noexcept { return context_.host; }
  int layer() const noexcept { return layer_; }
  // The stream (rows, d_model) before layer(), to read; the rows are described by rows().
  matrix_view<const float> stream() { return context_.host.stream(state_); }
  model::batch_view rows() const { return context_.host.rows(state_); }

  // An earlier arm of the same call from which this one differs in nothing that is still to come: the same plan, or both
  // have lost their stream. What that arm gave holds for this one; known as soon as the run gets there.
  std::optional<std::size_t> twin() const noexcept { return twin_; }

  // Runs layers [layer(), to) under the plan; stops early where a twin is found. Errors: what residual::try_run reports;
  // invalid_argument for a layer before layer().
  status try_run_to(int to) {
    if (to < layer_ || to > path_.layers())
      return error{errc::invalid_argument, "layer to run to", text(to), text(layer_, " to ", path_.layers())};
    if (auto s = try_run_steps(to); !s) return s;
    return layer_ < path_.last_touched() ? status{} : try_run_rest(to);
  }

  // The same for a stretch that other arms share: their steps are still to come, so no twin is looked for.
  status try_run_shared(int to) {
    if (auto s = try_run_steps(to); !s) return s;
    return layer_ < to ? try_run(to) : status{};
  }

  // Runs what is left of the model and hands out its outputs, a chunk of rows at a time: call(first_row, norm, logits) →
  // status. Where a twin is found nothing is handed out.
  template <class F>
  status try_outputs(head_workspace& work, F call) {
    if (auto s = try_run_to(path_.layers()); !s || twin_) return s;
    return detail::for_head_chunks(context_.host, state_, context_.rows, work, std::move(call));
  }

  // The state before layer().
  const typename H::state& state() const noexcept { return state_; }
  typename H::state take_state() && { return std::move(state_); }

 private:
  // From a state that an earlier call left, where there is one further on.
  void resume(int to) {
    for (int l = to; l > layer_; --l)
      if (const auto* found = context_.kept.find(l, path_.prefix_of(l))) {
        state_ = context_.host.snapshot(*found);
        layer_ = l;
        return;
      }
  }

  status try_run(int to) {
    auto done = residual::try_run(context_.backend, context_.host, context_.schedules[path_.arm], state_, layer_, to,
                                  context_.memory);
    layer_ = to;
    return done;
  }

  // Up to the last layer before `to` that a step touches.
  status try_run_steps(int to) {
    resume(to);
    const int touched = algo::min(path_.last_touched(), to);
    while (layer_ < touched)
      if (auto s = try_run_touched(touched); !s) return s;
    return {};
  }

  // Up to the next touched layer, and through it.
  status try_run_touched(int end) {
    int next = layer_;
    while (next < end && path_.of(next) == 0) ++next;
    if (next > layer_)
      if (auto s = try_run(next); !s) return s;
    if (layer_ == end) return {};
    if (context_.kept.wants(layer_, path_.prefix_of(layer_), context_.state_bytes()))
      context_.kept.put(layer_, path_.prefix_of(layer_), context_.state_bytes(), context_.host.snapshot(state_));
    return try_run(path_.end_of_unit(layer_));
  }

  // Layers that no step touches, after the last one that a step does.
  status try_run_rest(int to) {
    while (layer_ <= to && detail::is_zero(stream())) {
      if (auto earlier = context_.lost.seen(layer_, path_.suffix_of(layer_), path_.arm)) {
        twin_ = earlier;
        return {};
      }
      if (layer_ == to) return {};
      if (auto s = try_run(layer_ + 1); !s) return s;
    }
    return layer_ < to ? try_run(to) : status{};
  }

  detail::visit_context<Backend, H>& context_;
  const detail::path& path_;
  typename H::state state_;
  int layer_;
  std::optional<std::size_t> twin_;
};

}  // namespace RESECT_NAMESPACE::study
