// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <map>
#include <memory>
#include <vector>

#include <hosts/cpu.hpp>
#include <hosts/llama/layer.hpp>
#include <hosts/llama/model.hpp>
#include <resect/core/backend.hpp>
#include <resect/model/host.hpp>
#include <resect/model/override_epoch.hpp>

namespace hosts {

// A runtime for Llama-architecture models that meets resect's surgery level: every site can be read and
// written, a pass can be cut between any two layers, every weight can be overridden.
//
// Keys and values are cached per sequence by try_forward. A state (try_embed … try_head) has no cache:
// its batch holds whole sequences. Both compute the same arithmetic through the same code, which is compiled once.
class llama_host {
 public:
  using value = float;
  using space = resect::host_space;
  using hooks = resect::model::hooks<float>;
  using batch_view = resect::model::batch_view;
  using row_meta = resect::model::row_meta;
  using site = resect::model::site;
  using tap = resect::model::tap;
  using weight_desc = resect::model::weight_desc;
  using view = resect::matrix_view<float>;
  using const_view = resect::matrix_view<const float>;
  using product = resect::model::product_function<float>;

  // The residual stream of a batch of whole sequences.
  class state {
   public:
    state(state&&) noexcept = default;
    state& operator=(state&&) noexcept = default;

   private:
    friend llama_host;
    state() = default;
    state(const state&) = default;
    std::vector<row_meta> rows_;
    matrix stream_;
  };

  // Puts the weight back when it goes.
  class weight_override {
   public:
    weight_override(weight_override&& other) noexcept
        : host_(std::exchange(other.host_, nullptr)),
          slot_(other.slot_),
          previous_(std::move(other.previous_)),
          tag_(other.tag_) {}
    weight_override& operator=(weight_override&& other) noexcept {
      std::swap(host_, other.host_);
      std::swap(slot_, other.slot_);
      std::swap(previous_, other.previous_);
      std::swap(tag_, other.tag_);
      return *this;
    }
    ~weight_override() {
      if (!host_) return;
      host_->overrides_[slot_] = std::move(previous_);
      host_->epoch_.end(tag_);
    }

   private:
    friend llama_host;
    weight_override(llama_host* host, std::size_t slot, std::unique_ptr<matrix> previous)
        : host_(host), slot_(slot), previous_(std::move(previous)), tag_(host->epoch_.begin()) {}
    llama_host* host_;
    std::size_t slot_;
    std::unique_ptr<matrix> previous_;
    std::uint64_t tag_;
  };

  // Puts the host's own product back, or the function that was there before.
  class product_override {
   public:
    product_override(product_override&& other) noexcept
        : host_(std::exchange(other.host_, nullptr)), slot_(other.slot_), previous_(std::move(other.previous_)) {}
    product_override& operator=(product_override&& other) noexcept {
      std::swap(host_, other.host_);
      std::swap(slot_, other.slot_);
      std::swap(previous_, other.previous_);
      return *this;
    }
    ~product_override() {
      if (host_) host_->products_[slot_] = std::move(previous_);
    }

   private:
    friend llama_host;
    product_override(llama_host* host, std::size_t slot, product previous)
        : host_(host), slot_(slot), previous_(std::move(previous)) {}
    llama_host* host_;
    std::size_t slot_;
    product previous_;
  };

  // On any backend of float products. Keeps references to both; they outlive the host.
  llama_host(backend_ref backend, const llama_model& model);
  llama_host(const llama_host&) = delete;
  llama_host& operator=(const llama_host&) = delete;

  // --- observe and edit -----------------------------------------------------------------------------

  const resect::model::model_desc& describe() const noexcept { return desc_; }
  const llama_model& model() const noexcept { return model_; }

  resect::model::access supports(site s, int layer) const noexcept {
    const bool exists = !is_layer_site(s) || (layer >= 0 && layer < desc_.n_layers);
    return exists ? resect::model::access::write : resect::model::access::none;
  }

  resect::status try_forward(batch_view batch, resect::model::site_set want, resect::model::observer<float> call) {
    return resect::model::try_observe(*this, batch, want, call);
  }

  resect::status try_forward(batch_view batch, const hooks& k);

  const_view logits() const noexcept { return logits_.view(); }
  void forget(std::int32_t seq) { caches_.erase(seq); }
  std::uint64_t cache_epoch(std::int32_t seq) const;
  resect::index_t cached(std::int32_t seq) const;

  // --- surgery --------------------------------------------------------------------------------------

  resect::result<state> try_embed(batch_view batch);

  resect::status try_run(state& s, int first, int last, const hooks& k);

  state snapshot(const state& s) const { return s; }
  view stream(state& s) const noexcept { return s.stream_.view(); }
  batch_view rows(const state& s) const noexcept { return s.rows_; }

  // norm (n, d_model) ← final norm of rows [row, row + n); logits (n, n_vocab) ← norm · outputᵀ.
  resect::status try_head(const state& s, resect::index_t row, view norm, view logits);

  std::span<const weight_desc> weights(int layer) const noexcept {
    return std::span(weights_).subspan(static_cast<std::size_t>(layer * n_layer_weights), n_layer_weights);
  }

  resect::status try_read_weight(const weight_desc& w, view out) const;

  // Copies the values; what was there comes back when the guard goes. Guards must go in reverse order.
  resect::result<weight_override> try_override_weight(const weight_desc& w, const_view values);
  std::uint64_t weights_epoch() const noexcept { return epoch_.value(); }

  // The product of a matrix is f's until the guard goes. Guards must go in reverse order.
  resect::result<product_override> try_override_product(const weight_desc& w, product f);

 private:
  // The batch cut into sequences. Errors: rows of a sequence apart or out of order, tokens out of range.
  resect::result<std::vector<batch_sequence>> split(batch_view batch) const;

  void embed(batch_view batch, matrix& h) const;

  matrix gather_wanted(batch_view batch, const matrix& h, std::vector<row_meta>& wanted) const;

  const matrix& weight(int layer, int id) const noexcept;

  resect::status check_weight(const weight_desc& w) const noexcept;

  // out (n, m) ← x (n, k) · wᵀ, w (m, k)
  resect::status project(const_view x, const_view w, view out);

  // out ← the product of a weight of a layer with the rows of x: the host's own, or its override.
  resect::status multiply(int l, int id, const_view x, view out);

  resect::status run_layer(int l, batch_view batch, std::span<batch_sequence> sequences, view h, const hooks& k);

  struct layer_scratch {  // overwritten by every layer
    matrix x, q, key, val, mixed, gate, up;
  };

  backend_ref backend_;
  const llama_model& model_;
  layer_scratch scratch_;
  resect::model::model_desc desc_;
  rotary_embedding rope_;
  std::vector<weight_desc> weights_;
  std::vector<std::unique_ptr<matrix>> overrides_;
  resect::model::override_epoch epoch_;
  std::vector<product> products_;  // empty where the host multiplies itself
  std::map<std::int32_t, sequence_cache> caches_;
  matrix logits_;
};

}  // namespace hosts
