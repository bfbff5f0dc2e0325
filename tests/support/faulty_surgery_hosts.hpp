// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <support/forwarding_host.hpp>
#include <support/host_ref.hpp>

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

class faulty_surgery_host : public forwarding_surgical_host<host_ref> {
 public:
  using hooks = float_hooks;
  using view = float_view;
  using state = host_ref::state;

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
    weight_override(faulty_surgery_host* host, const weight_desc& w, std::optional<host_ref::weight_override> inner)
        : host_(host), weight_(w), inner_(std::move(inner)) {}
    faulty_surgery_host* host_;
    weight_desc weight_;
    std::optional<host_ref::weight_override> inner_;
  };

  faulty_surgery_host(host_ref host, surgery_fault f) : forwarding_surgical_host<host_ref>(host), fault_(f) {}

  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return resect::model::try_observe(*this, b, want, look);
  }
  resect::status try_forward(batch_view b, const hooks& k);
  resect::matrix_view<const float> logits() const;

  resect::status try_run(state& s, int first, int last, const hooks& k);
  view stream(state& s) const;
  resect::status try_head(const state& s, resect::index_t row, view norm, view logits);

  resect::status try_read_weight(const weight_desc& w, view out) const;
  resect::result<weight_override> try_override_weight(const weight_desc& w, resect::matrix_view<const float> values);

 private:
  struct of_a_weight {
    weight_desc weight;
    std::vector<float> original;
    int depth = 0;
    std::vector<host_ref::weight_override> restored;  // on top of the override that it should have left
  };
  using weight_key = std::pair<int, int>;

  bool is(surgery_fault f) const noexcept { return fault_ == f; }
  static float rounded(float x) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0xffff0000u); }
  static std::vector<float> values_of(resect::matrix_view<const float> h);
  static void copy(const std::vector<float>& values, view out);
  static resect::matrix_view<const float> matrix_of(const of_a_weight& o) {
    return {o.original.data(), o.weight.rows, o.weight.cols};
  }
  static edit on_a_copy(const hooks& k, const tap& at, view h);

  edit in_whole_pass(const hooks& k, const tap& at, view h, batch_view batch, bool continues);

  void release(weight_override& guard);

  surgery_fault fault_;
  std::vector<float> logits_, shown_;
  std::map<weight_key, of_a_weight> overridden_;
  std::map<weight_key, std::vector<std::vector<float>>> pretended_;
};

// A right host of the edit level that runs a batch a few rows at a time, as runtimes do above some size: every callback
// comes several times, with other rows.
class splitting_host : public forwarding_host<host_ref> {
 public:
  using hooks = float_hooks;
  using view = float_view;

  splitting_host(host_ref host, std::size_t rows) : forwarding_host<host_ref>(host), rows_(rows) {}
  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return resect::model::try_observe(*this, b, want, look);
  }
  resect::status try_forward(batch_view b, const hooks& k);
  resect::matrix_view<const float> logits() const;

 private:
  std::size_t rows_;
  std::vector<float> logits_;
};

}  // namespace support
