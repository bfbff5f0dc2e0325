// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <support/forwarding_host.hpp>
#include <support/host_ref.hpp>

// Wrappers around a right host that do one thing wrong, each a thing that real runtimes have been seen to do.
namespace support {

enum class fault {
  none,
  refuses,                  // every pass is an error
  throws,                   // every callback ends in an exception
  throws_a_number,          // in one that is no std::exception
  forget_throws,            // forget() ends in an exception
  observing_rounds,         // rows that are looked at are rounded to bf16
  writing_rounds,           // the same, where a callback may write
  site_missing,             // says that it shows resid_mid, never does
  site_twice,               // shows resid_post twice
  rows_reordered,           // a tap's rows are in another order than its matrix
  tokens_misnamed,          // a tap says another token of a row than the batch
  flags_lost,               // a tap's rows want no logits
  row_unnamed,              // a tap has one row fewer than its matrix
  mid_is_pre,               // hands out resid_pre as resid_mid
  delta_before_scale,       // shows the MLP's delta before a scale that is applied when it is added
  post_before_add,          // shows resid_post before the MLP's delta is added
  last_pre_differs,         // shows the last layer's input otherwise than it is
  logits_short,             // the last row of logits is missing where a sequence is continued
  shown_logits_differ,      // shows logits before a cap that logits() has
  states_differ,            // a state begins with another embedding than a whole pass
  writes_late,              // what is written at resid_pre is seen from the next layer on
  writes_to_a_copy,         // what is written is seen by nobody
  deltas_to_a_copy,         // the same, for deltas only
  edits_persist,            // a pass after an edited one still carries some of it
  override_sticks,          // an overridden weight is not put back
  override_without_effect,  // an overridden weight is not used
  cut_matters,              // a pass that begins above layer 0 differs
  snapshot_shares,          // a snapshot is the state itself
  leaks_future,             // a row sees the next one
  leaks_sequences,          // the last row of a batch sees the first
  cache_off_by_one,         // a continued sequence has one row too many in its cache
  length_wrong,             // cached() counts one too many
  epoch_lost,               // a cache does not remember its plan
  depends_on_company,       // values change with the number of rows in the batch
  depends_on_order,         // values change with the row's number in the batch
  depends_on_number,        // values change with the number of the sequence
  drops_silent_rows,        // rows that want no logits are lost to the ones that do
  differs_every_time,
  forgets_nothing,  // keys and values stay after forget()
  forgets_all,      // forget(one) drops every sequence
  swallows_nan,     // what is not finite becomes 0
  spreads_nan,      // what is not finite reaches every row of the batch
  reports_nan,      // no fault: logits that are not finite are an error
  masks_by_zero,    // no fault: what is not finite reaches earlier rows of its sequence
  shows_no_layer,   // no fault: says that it shows no site inside or between layers
  writes_nowhere,   // no fault: says that it shows rows and takes none
  copies_back,      // no fault: a callback gets a copy, which counts where it says that it modified it
};

class faulty_host : public forwarding_host<host_ref> {
 public:
  using hooks = float_hooks;
  using view = float_view;

  struct state {  // shared by what calls itself a copy
    std::shared_ptr<host_ref::state> inner;
  };
  struct weight_override {
    std::optional<host_ref::weight_override> inner = {};
    std::shared_ptr<std::vector<float>> pretended = {};  // what is read, though nothing uses it
  };

  faulty_host(host_ref host, fault f) : forwarding_host<host_ref>(host), fault_(f) {}

  resect::model::access supports(site s, int layer) const;

  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return resect::model::try_observe(*this, b, want, look);
  }
  resect::status try_forward(batch_view b, const hooks& k);
  resect::matrix_view<const float> logits() const;
  // The batches that were run, in their order.
  const std::vector<std::vector<row_meta>>& batches() const { return batches_; }
  void forget(std::int32_t seq);
  std::uint64_t cache_epoch(std::int32_t seq) const { return cached(seq) == 0 ? 0 : host_.cache_epoch(seq); }
  resect::index_t cached(std::int32_t seq) const;

  resect::result<state> try_embed(batch_view b);
  resect::status try_run(state& s, int first, int last, const hooks& k);
  state snapshot(const state& s) const;
  view stream(state& s) const { return host_.stream(*s.inner); }
  batch_view rows(const state& s) const { return host_.rows(*s.inner); }
  resect::status try_head(const state& s, resect::index_t row, view norm, view logits) {
    return host_.try_head(*s.inner, row, norm, logits);
  }
  std::span<const weight_desc> weights(int layer) const { return host_.weights(layer); }
  resect::status try_read_weight(const weight_desc& w, view out) const;
  resect::result<weight_override> try_override_weight(const weight_desc& w, resect::matrix_view<const float> values);

 private:
  template <class F>
  static void each(view h, F f);
  static hooks quiet(std::uint64_t epoch);
  static std::vector<float> values_of(view h);

  // Runs a pass whose callbacks see every site first, do what is wrong, and hand on to the caller's.
  template <class F>
  resect::status intercepted(const hooks& k, std::uint64_t epoch, F pass);

  // What is wrong with the stream itself, whoever looks.
  void break_stream(const tap& at, view h);

  // What is wrong with how it is shown and written.
  edit show(const hooks& k, const tap& at, view h);

  edit on_host(const hooks& k, const tap& at, view h);

  // What is wrong with values that are not finite.
  void break_values(const tap& at, view h);

  struct of_a_pass {
    std::vector<float> pre, mid, late;
    bool carries_over = false;
  };

  fault fault_;
  of_a_pass pass_;
  int passes_ = 0;
  bool was_edited_ = false;
  std::map<std::int32_t, resect::index_t> shift_;  // rows that the inner cache has before position 0
  std::vector<float> logits_;
  std::vector<std::vector<row_meta>> batches_;
  bool continued_ = false;
  std::vector<host_ref::weight_override> stuck_;
  std::weak_ptr<std::vector<float>> pretended_;
};

// A host of the edit level that fills ragged batches up to a rectangle, as runtimes with fixed shapes do; its taps show
// the pad rows.
enum class padding {
  apart,  // pads are rows of nobody
  read,   // pads come first in their sequence and are attended to
};

class padded_host : public forwarding_host<host_ref> {
 public:
  using hooks = float_hooks;
  using view = float_view;

  padded_host(host_ref host, padding how) : forwarding_host<host_ref>(host), how_(how) {}

  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return resect::model::try_observe(*this, b, want, look);
  }
  resect::status try_forward(batch_view b, const hooks& k);
  void forget(std::int32_t seq);
  resect::index_t cached(std::int32_t seq) const;

 private:
  static constexpr std::int32_t pad_sequence = 1 << 30;
  padding how_;
  std::map<std::int32_t, std::int32_t> shift_;  // pads in the cache before position 0
};

// What is left of a host when only its first levels are wanted.
class observed_only : public forwarding_host<host_ref> {
 public:
  explicit observed_only(host_ref host) : forwarding_host<host_ref>(host) {}
  resect::model::access supports(site s, int layer) const;
  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return host_.try_forward(b, want, look);
  }
};

}  // namespace support
