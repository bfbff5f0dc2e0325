// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/scratch.hpp>
#include <resect/core/storage_float.hpp>
#include <resect/model/host.hpp>

// Plans, metrics, studies and the conformance suite act on fp32 rows. widened_host lets them act on a host of f16 or
// bf16.
namespace RESECT_NAMESPACE::model {

namespace detail {

// Rounds into `to` the elements of `now` that differ from `before`; the other elements keep their bits, NaN included.
// A value too large for the type becomes infinity, also in types whose conversion saturates by default.
template <small_float T>
void store_changes(matrix_view<const float> now, matrix_view<const T> before, matrix_view<T> to) noexcept {
  for (index_t r = 0; r < now.rows; ++r)
    for (index_t c = 0; c < now.cols; ++c) {
      const auto was = std::bit_cast<std::uint32_t>(static_cast<float>(before(r, c)));
      if (was != std::bit_cast<std::uint32_t>(now(r, c))) to(r, c) = T{now(r, c), overflow::non_finite};
    }
}

// The members of widened_host for the levels observe and edit.
template <observable_host H>
class widened_rows {
  using narrow = typename H::value;
  using narrow_hooks = model::hooks<narrow>;

 public:
  using value = float;
  using space = host_space;

  explicit widened_rows(H& host) noexcept : host_(host) {}
  widened_rows(const widened_rows&) = delete;
  widened_rows& operator=(const widened_rows&) = delete;

  decltype(auto) describe() const { return host_.describe(); }
  access supports(site s, int layer) const { return host_.supports(s, layer); }

  status try_forward(batch_view batch, site_set want, observer<float> look) {
    auto call = [&](const tap& at, matrix_view<const narrow> h) {
      scratch_frame frame(&memory_);
      look(at, widened(frame, h));
    };
    return kept(host_.try_forward(batch, want, observer<narrow>(call)));
  }
  status try_forward(batch_view batch, const hooks<float>& k)
    requires editable_host<H>
  {
    return kept(with_floats(k, [&](const narrow_hooks& mine) { return host_.try_forward(batch, mine); }));
  }

  matrix_view<const float> logits() const noexcept { return {logits_.data(), logit_rows_, logit_cols_}; }
  void forget(std::int32_t seq) { host_.forget(seq); }
  std::uint64_t cache_epoch(std::int32_t seq) const
    requires editable_host<H>
  {
    return host_.cache_epoch(seq);
  }
  index_t cached(std::int32_t seq) const
    requires editable_host<H>
  {
    return host_.cached(seq);
  }

 protected:
  static matrix_view<float> widened(scratch_frame& frame, matrix_view<const narrow> h) {
    const matrix_view<float> out{frame.take<float>(h.rows * h.cols).data(), h.rows, h.cols};
    copy(h, out);
    return out;
  }
  // Runs a pass whose callbacks get floats; changed elements are rounded into the host's rows when a callback
  // returns.
  template <class F>
  status with_floats(const hooks<float>& k, F pass) {
    auto call = [&](const tap& at, matrix_view<narrow> h) {
      scratch_frame frame(&memory_);
      const matrix_view<float> rows = widened(frame, h);
      const edit done = k.call(at, rows);
      if (done == edit::modified) store_changes<narrow>(rows, h, h);
      return done;
    };
    return pass(narrow_hooks{k.read, k.write, call, k.epoch});
  }

  H& host_;
  scratch memory_;

 private:
  status kept(status done) {
    if (!done) return done;
    const matrix_view<const narrow> out = host_.logits();
    logits_.resize(out.rows * out.cols);
    logit_rows_ = out.rows;
    logit_cols_ = out.cols;
    copy(out, matrix_view<float>{logits_.data(), out.rows, out.cols});
    return done;
  }

  array<float> logits_;
  index_t logit_rows_ = 0, logit_cols_ = 0;
};

}  // namespace detail

// Presents a host of f16 or bf16 activations (any small type, in host memory) as a host of floats of the same level.
// It refers to the host, which must outlive it; every thread that runs passes needs its own widened_host.
// Rows and logits are widened, which is exact. Changed elements are rounded once, to the nearest, ties to even,
// when it returns edit::modified: several steps at one site act on the same floats and are rounded together. A value
// too large for the type becomes infinity (f16: from 65520 on; fp8_e4m3, which has none: NaN). A large steering
// strength can cause that: check the range of the host's type first. Elements that a callback left keep their bits.
// A state's stream() is a copy in floats whose address is stable for the life of the state (moved or not). Written
// elements are rounded, in the copy too, at the next call with the state: try_run (also if the host refuses),
// snapshot, try_head or stream. After a run, also a failed one, the copy shows the new stream; during a run, call
// stream again.
//   Weights are floats in every host and go through as they are.
// Memory: floats of the rows of a callback and of the last logits, and of a state's stream after the first stream()
// (6 bytes an element); after two passes of as many rows, nothing more is allocated. Cost: a conversion of each row
// that a callback gets, at about the speed of a copy. Errors: the host's;
//   try_head: invalid_argument for rows outside the state, shape_mismatch, null_pointer or bad_stride for its operands.
template <observable_host H>
  requires(small_float<typename H::value> && std::same_as<typename H::space, host_space>)
class widened_host : public detail::widened_rows<H> {
 public:
  explicit widened_host(H& host) noexcept : detail::widened_rows<H>(host) {}
};

template <surgical_host H>
  requires(small_float<typename H::value> && std::same_as<typename H::space, host_space>)
class widened_host<H> : public detail::widened_rows<H> {
  using narrow = typename H::value;

 public:
  class state {
   public:
    state(state&&) noexcept = default;
    state& operator=(state&&) noexcept = default;

   private:
    friend widened_host;
    explicit state(typename H::state&& s) : narrow_(std::move(s)) {}
    mutable typename H::state narrow_;
    mutable array<float> floats_ = {};  // the stream, after the first call of stream()
    mutable array<narrow> shown_ = {};  // the values last shown: a float that differs was written
    bool is_shown_ = false;
  };
  using weight_override = typename H::weight_override;

  explicit widened_host(H& host) noexcept : detail::widened_rows<H>(host) {}

  result<state> try_embed(batch_view batch) {
    auto s = host_.try_embed(batch);
    if (!s) return s.error();
    return state(std::move(*s));
  }
  status try_run(state& s, int first, int last, const hooks<float>& k) {
    struct shown_at_the_end {
      widened_host& host;
      state& s;
      ~shown_at_the_end() { host.agree(s); }
    };
    agree(s);
    const shown_at_the_end also_where_a_callback_throws{*this, s};
    return this->with_floats(
        k, [&](const model::hooks<narrow>& mine) { return host_.try_run(s.narrow_, first, last, mine); });
  }
  state snapshot(const state& s) {
    agree(s);
    return state(host_.snapshot(s.narrow_));
  }
  matrix_view<float> stream(state& s) {
    const auto h = host_.stream(s.narrow_);
    if (!s.is_shown_) {
      s.floats_.resize(h.rows * h.cols);
      s.shown_.resize(h.rows * h.cols);
      s.is_shown_ = true;
      show(s, h);
    }
    agree(s);
    return {s.floats_.data(), h.rows, h.cols};
  }
  batch_view rows(const state& s) const { return host_.rows(s.narrow_); }
  status try_head(const state& s, index_t row, matrix_view<float> norm, matrix_view<float> logits) {
    const auto most = static_cast<index_t>(rows(s).size());
    if (row < 0 || norm.rows < 0 || norm.rows > most || row > most - norm.rows)
      return error{errc::invalid_argument, "rows of the head", text(norm.rows, " rows from ", row),
                   text("rows within the ", most, " of the state")};
    if (status st = check_view(norm, norm.rows, this->describe().d_model, "norm"); !st) return st;
    if (status st = check_view(logits, norm.rows, this->describe().n_vocab, "logits"); !st) return st;
    agree(s);
    scratch_frame frame(&this->memory_);
    const matrix_view<narrow> narrow_norm{frame.take<narrow>(norm.rows * norm.cols).data(), norm.rows, norm.cols};
    const matrix_view<narrow> narrow_logits{frame.take<narrow>(logits.rows * logits.cols).data(), logits.rows,
                                            logits.cols};
    if (status st = host_.try_head(s.narrow_, row, narrow_norm, narrow_logits); !st) return st;
    copy(narrow_norm, norm);
    copy(narrow_logits, logits);
    return {};
  }

  decltype(auto) weights(int layer) const { return host_.weights(layer); }
  status try_read_weight(const weight_desc& w, matrix_view<float> values) const {
    return host_.try_read_weight(w, values);
  }
  result<weight_override> try_override_weight(const weight_desc& w, matrix_view<const float> values) {
    return host_.try_override_weight(w, values);
  }
  // Where the host tells it.
  std::uint64_t weights_epoch() const noexcept
    requires requires(const H& h) { h.weights_epoch(); }
  {
    return host_.weights_epoch();
  }

 private:
  using detail::widened_rows<H>::host_;

  static void show(const state& s, matrix_view<const narrow> h) {
    copy(h, matrix_view<narrow>{s.shown_.data(), h.rows, h.cols});
    copy(h, matrix_view<float>{s.floats_.data(), h.rows, h.cols});
  }
  // Writes the changed floats into the state, and shows the state's values in them again. An element counts as
  // written only if it differs from the value last shown: the state may have run since.
  void agree(const state& s) {
    if (!s.is_shown_) return;
    const auto h = host_.stream(s.narrow_);
    detail::store_changes<narrow>({s.floats_.data(), h.rows, h.cols}, {s.shown_.data(), h.rows, h.cols}, h);
    show(s, h);
  }
};

}  // namespace RESECT_NAMESPACE::model
