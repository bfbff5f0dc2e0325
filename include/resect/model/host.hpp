// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include <resect/core/executor.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/shared_function.hpp>
#include <resect/core/view.hpp>
#include <resect/model/row.hpp>
#include <resect/model/weight.hpp>

namespace RESECT_NAMESPACE::model {

// Access to a site: `write` includes `read`.
enum class access : std::uint8_t { none, read, write };
// The answer of a callback: whether it changed the rows that it got.
enum class edit : std::uint8_t { unchanged, modified };

// Description of a host's model: name, extents and a fingerprint. `fingerprint` is a hash of the weights' stored
// bytes and differs between models.
struct model_desc {
  short_text<120> name;
  std::uint64_t fingerprint = 0;
  int n_layers = 0;
  int d_model = 0;
  int n_vocab = 0;
  int n_streams = 1;  // more than one (hyper-connections): refused by the operators here
  bool tied_head = false;
};

// A callback that reads rows; the host calls it at every wanted site.
template <class T, class Space = host_space>
using observer = function_ref<void(const tap&, matrix_view<const T, Space>)>;
// A callback that may write rows; every later consumer in the pass reads the written values. The host passes each row
// exactly once: an edit is not necessarily idempotent.
template <class T, class Space = host_space>
using editor = function_ref<edit(const tap&, matrix_view<T, Space>)>;

// The callback of a pass, the sites at which the host calls it, and the epoch that the host stores with the KV cache.
// The host calls once at a site that is in `read`, in `write` or in both; plans leave `read` empty.
template <class T, class Space = host_space>
struct hooks {
  site_set read;
  site_set write;
  editor<T, Space> call;
  std::uint64_t epoch = 0;
};

namespace detail {
template <class T, class Space>
inline constexpr auto ignore_rows = [](const tap&, matrix_view<T, Space>) { return edit::unchanged; };
}  // namespace detail

// Hooks that want no site: the pass is that of the intact model.
template <class T, class Space = host_space>
hooks<T, Space> no_hooks() noexcept {
  return {{}, {}, detail::ignore_rows<T, Space>, 0};
}

// The number of the overrides that a host's weights are under: 0 without overrides, and of a host that does not tell it
// (see `surgical_host`).
template <class H>
std::uint64_t weights_epoch_of(const H& host) noexcept {
  if constexpr (requires { host.weights_epoch(); }) return host.weights_epoch();
  else return 0;
}

// The epoch of caches that grow under a plan while the host's weights are as they are now: the plan's own epoch where no
// weight is overridden, else a hash of it and of weights_epoch(). A host without weights_epoch() always has the plan's own:
// weights that change behind its caches are not noticed.
template <class H>
std::uint64_t cache_epoch_under(const H& host, std::uint64_t plan) noexcept {
  const std::uint64_t weights = weights_epoch_of(host);
  if (weights == 0) return plan;
  const std::uint64_t both = fingerprint{}.add(plan).add(weights).value();
  return both == 0 ? 1 : both;
}

// Checks that every cached sequence that the batch continues has the epoch `epoch` (0: the intact model, no weight
// overridden; see cache_epoch_under). Error: stale_cache names the sequence and both epochs.
template <class H>
status check_caches(H& host, batch_view batch, std::uint64_t epoch) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const row_meta& row = batch[i];
    const bool begins = i == 0 || batch[i - 1].seq != row.seq;
    if (begins && row.pos != 0 && host.cached(row.seq) > 0 && host.cache_epoch(row.seq) != epoch)
      return error{errc::stale_cache, text("cache of sequence ", row.seq), text("plan ", host.cache_epoch(row.seq)),
                   text("plan ", epoch, weights_epoch_of(host) != 0 ? " (weights overridden)" : "", "; forget(",
                        row.seq, "), or start at position 0")};
  }
  return {};
}

// Observes the intact model on an editable host: `look` gets the rows of every site in `want`, nothing is written,
// and the caches get epoch 0 (under overridden weights: cache_epoch_under). An editable host implements level 1 by it.
// Errors: stale_cache where a sequence continues a cache that grew under a plan or under other weights (nothing runs
// then); else the answer of host.try_forward(batch, hooks).
// residual::try_observe(host, plan, …) observes a model under a plan.
template <class H>
status try_observe(H& host, batch_view batch, site_set want, observer<typename H::value, typename H::space> look) {
  if constexpr (requires { host.cache_epoch(std::int32_t{}), host.cached(std::int32_t{}); })
    if (auto s = check_caches(host, batch, cache_epoch_under(host, 0)); !s) return s;
  using hooks_of = hooks<typename H::value, typename H::space>;
  auto call = [&](const tap& at, matrix_view<typename H::value, typename H::space> rows) {
    look(at, rows);
    return edit::unchanged;
  };
  return host.try_forward(batch, hooks_of{want, {}, call, cache_epoch_under(host, 0)});
}
#if RESECT_EXCEPTIONS
// The throwing form.
template <class H>
void observe(H& host, batch_view batch, site_set want, observer<typename H::value, typename H::space> look) {
  value_or_throw(try_observe(host, batch, want, look));
}
#endif

// Level 1, observe: a host whose activations can be read. `value` is the element type of activations, `space` their
// memory space. The matrices of a host have rows of contiguous elements (col_stride 1); the row stride is free.
//   describe()                 the model
// supports(site, layer) the access at this site (none where a fused kernel never has the value)
//   try_forward(batch, want, observer)   runs all layers; rows of a sequence continue its cache, if any (a host of level 2
//                              may return try_observe(*this, batch, want, observer))
//   logits()                   (rows that want logits, n_vocab) of the last forward, in batch order
// forget(seq) drops the cache of one sequence
template <class H>
concept observable_host =
    requires(H& h, const H& c, batch_view b, site_set want, observer<typename H::value, typename H::space> o) {
      typename H::value;
      typename H::space;
      { c.describe() } -> std::convertible_to<const model_desc&>;
      { c.supports(site{}, int{}) } -> std::same_as<access>;
      { h.try_forward(b, want, o) } -> std::same_as<status>;
      { c.logits() } -> std::convertible_to<matrix_view<const typename H::value, typename H::space>>;
      { h.forget(std::int32_t{}) };
    };

// Level 2, edit: a host whose callbacks may write; every cached sequence remembers the plan that it grew under.
//   cache_epoch(seq)           epoch of its cache, 0 for none or for the intact model
//   cached(seq)                number of positions in its cache
template <class H>
concept editable_host = observable_host<H> &&
                        requires(H& h, const H& c, batch_view b, const hooks<typename H::value, typename H::space>& k) {
                          { h.try_forward(b, k) } -> std::same_as<status>;
                          { c.cache_epoch(std::int32_t{}) } -> std::same_as<std::uint64_t>;
                          { c.cached(std::int32_t{}) } -> std::convertible_to<index_t>;
                        };

// Level 3, surgery: a host that can cut a pass between any two layers and override weights. A `state` is the residual
// stream of a batch of whole sequences (from position 0) between two layers; it is moved, and copied by `snapshot`
// alone.
//   try_embed(batch)               the stream before layer 0
//   try_run(state, a, b, hooks)    layers [a, b), with callbacks at the sites of these layers as in a whole pass: all
//                                  rows, and the tap's layer is the model's, wherever the run begins
//   snapshot(state)                a copy
// stream(state) the stream of the state (rows, d_model), to read or to write
// rows(state) the meta data of these rows
//   try_head(state, row, norm, logits)   final norm and output matrix for norm.rows rows from `row` on; norm is what
//                                  site::head_norm shows
// weights(layer) the weights of the layer
// try_read_weight(w, out) writes the values of w to `out`, dequantized
//   try_override_weight(w, values) replaces them, in partial and in whole passes, until the returned guard is
//                                  destroyed; then what was there before is back, be it an override; moving the
//                                  guard cannot throw
// Optional: weights_epoch() returns a number that changes when an override begins and is what it was when it ends, 0
// without overrides (override_epoch). A residual::schedule then refuses weights of another epoch than it was made for, and
// passes refuse a cache that grew under other weights. Without it neither is noticed.
template <class H>
concept surgical_host =
    editable_host<H> && std::movable<typename H::state> && std::movable<typename H::weight_override> &&
    std::is_nothrow_move_constructible_v<typename H::weight_override> &&
    requires(H& h, const H& c, batch_view b, typename H::state& s, const typename H::state& cs, int l,
             const hooks<typename H::value, typename H::space>& k,
             matrix_view<typename H::value, typename H::space> out, const weight_desc& w, matrix_view<float> values) {
      { h.try_embed(b) } -> std::same_as<result<typename H::state>>;
      { h.try_run(s, l, l, k) } -> std::same_as<status>;
      { h.snapshot(cs) } -> std::same_as<typename H::state>;
      { h.stream(s) } -> std::same_as<matrix_view<typename H::value, typename H::space>>;
      { h.rows(cs) } -> std::convertible_to<batch_view>;
      { h.try_head(cs, index_t{}, out, out) } -> std::same_as<status>;
      { c.weights(l) } -> std::convertible_to<std::span<const weight_desc>>;
      { c.try_read_weight(w, values) } -> std::same_as<status>;
      { h.try_override_weight(w, matrix_view<const float>{}) } -> std::same_as<result<typename H::weight_override>>;
    };

// The host's own product with a weight: y (rows, out) := x·Wᵀ, x (rows, in), with overridden values where there are
// any.
template <class T, class Space = host_space>
using own_product = function_ref<status(matrix_view<const T, Space> x, matrix_view<T, Space> y)>;
// A function that replaces the host's product with a weight: y := f(w, x, own). The host calls it once for each
// product of a pass, with all rows of the pass.
template <class T, class Space = host_space>
using product_function = shared_function<status(const weight_desc& w, matrix_view<const T, Space> x,
                                                matrix_view<T, Space> y, own_product<T, Space> own)>;

// Optional: a surgical host that lets a function compute the product with a weight. Uses: packed weights, low-rank
// terms, recording the inputs of a matrix.
//   try_override_product(w, f)     the product of matrix w is f's, in whole and in partial passes, until the returned guard
//                                  is destroyed; then what was there before is back. What f reports ends the pass
template <class H>
concept product_host = surgical_host<H> && std::movable<typename H::product_override> &&
                       requires(H& h, const weight_desc& w, product_function<typename H::value, typename H::space> f) {
                         { h.try_override_product(w, f) } -> std::same_as<result<typename H::product_override>>;
                       };

}  // namespace RESECT_NAMESPACE::model
