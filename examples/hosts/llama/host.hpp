// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <map>
#include <memory>
#include <vector>

#include <hosts/llama/layer.hpp>
#include <hosts/llama/model.hpp>
#include <resect/core/backend.hpp>
#include <resect/model/host.hpp>

namespace hosts {

// A runtime for Llama-architecture models that meets resect's surgery level: every site can be read and
// written, a pass can be cut between any two layers, every weight can be overridden.
//
// Keys and values are cached per sequence by try_forward. A state (try_embed … try_head) has no cache:
// its batch holds whole sequences. Both compute the same arithmetic through the same code.
template <resect::dense_backend<float> Backend>
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
        : host_(std::exchange(other.host_, nullptr)), slot_(other.slot_), previous_(std::move(other.previous_)) {}
    weight_override& operator=(weight_override&& other) noexcept {
      std::swap(host_, other.host_);
      std::swap(slot_, other.slot_);
      std::swap(previous_, other.previous_);
      return *this;
    }
    ~weight_override() {
      if (host_) host_->overrides_[slot_] = std::move(previous_);
    }

   private:
    friend llama_host;
    weight_override(llama_host* host, std::size_t slot, std::unique_ptr<matrix> previous)
        : host_(host), slot_(slot), previous_(std::move(previous)) {}
    llama_host* host_;
    std::size_t slot_;
    std::unique_ptr<matrix> previous_;
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

  // Keeps references to both; they outlive the host.
  llama_host(Backend& backend, const llama_model& model) : backend_(backend), model_(model), rope_(model.config) {
    const auto& c = model.config;
    desc_.name = resect::text(model.name);
    desc_.fingerprint = model.fingerprint;
    desc_.n_layers = c.n_layers;
    desc_.d_model = c.d_model;
    desc_.n_vocab = c.n_vocab;
    desc_.tied_head = model.head.empty();
    overrides_.resize(static_cast<std::size_t>(c.n_layers * n_layer_weights));
    products_.resize(overrides_.size());
    for (int l = 0; l < c.n_layers; ++l)
      for (int id = 0; id < n_layer_weights; ++id) {
        const matrix& w = weight_of(model.layers[static_cast<std::size_t>(l)], id);
        weights_.push_back(
            {layer_weight_names[id], l, id,
             is_norm_gain(id) ? resect::model::weight_role::norm_gain : resect::model::weight_role::matrix,
             w.rows, w.cols});
      }
  }
  llama_host(const llama_host&) = delete;
  llama_host& operator=(const llama_host&) = delete;

  // --- observe and edit -----------------------------------------------------------------------------

  const resect::model::model_desc& describe() const noexcept { return desc_; }
  const llama_model& model() const noexcept { return model_; }

  resect::model::access supports(site s, int layer) const noexcept {
    const bool exists = !is_layer_site(s) || (layer >= 0 && layer < desc_.n_layers);
    return exists ? resect::model::access::write : resect::model::access::none;
  }

  resect::status try_forward(batch_view batch, resect::model::site_set want,
                             resect::model::observer<float> call) {
    return resect::model::try_observe(*this, batch, want, call);
  }

  resect::status try_forward(batch_view batch, const hooks& k) {
    auto sequences = split(batch);
    if (!sequences) return sequences.error();
    for (const auto& s : *sequences) {
      const auto cached = static_cast<resect::index_t>(this->cached(s.seq));
      if (s.first_pos != cached)
        return resect::error{resect::errc::invalid_argument, resect::text("position of sequence ", s.seq),
                             resect::text(s.first_pos), resect::text(cached, ", the length of its cache")};
    }
    matrix h(static_cast<resect::index_t>(batch.size()), desc_.d_model);
    embed(batch, h);
    call(k, tap{site::embed_out, 0, batch}, h.view());
    for (auto& s : *sequences) {
      auto& cache = caches_[s.seq];
      cache.epoch = k.epoch;
      cache.layers.resize(static_cast<std::size_t>(desc_.n_layers));
      s.cache = &cache;
    }
    for (int l = 0; l < desc_.n_layers; ++l)
      if (auto s = run_layer(l, batch, *sequences, h.view(), k); !s) return s;
    for (auto& s : *sequences) s.cache->length += s.rows;

    std::vector<row_meta> wanted;
    matrix last = gather_wanted(batch, h, wanted);
    call(k, tap{site::head_in, 0, wanted}, last.view());
    matrix norm(last.rows, last.cols);
    rms_norm(backend_, last.view(), model_.norm.view(), model_.config.rms_eps, norm.view());
    call(k, tap{site::head_norm, 0, wanted}, norm.view());
    logits_ = matrix(last.rows, desc_.n_vocab);
    if (auto s = project(norm.view(), model_.output().view(), logits_.view()); !s) return s;
    call(k, tap{site::logits, 0, wanted}, logits_.view());
    return {};
  }

  const_view logits() const noexcept { return logits_.view(); }
  void forget(std::int32_t seq) { caches_.erase(seq); }
  std::uint64_t cache_epoch(std::int32_t seq) const {
    const auto at = caches_.find(seq);
    return at == caches_.end() ? 0 : at->second.epoch;
  }
  resect::index_t cached(std::int32_t seq) const {
    const auto at = caches_.find(seq);
    return at == caches_.end() ? 0 : at->second.length;
  }

  // --- surgery --------------------------------------------------------------------------------------

  resect::result<state> try_embed(batch_view batch) {
    auto sequences = split(batch);
    if (!sequences) return sequences.error();
    for (const auto& s : *sequences)
      if (s.first_pos != 0)
        return resect::error{resect::errc::invalid_argument, resect::text("first position of sequence ", s.seq),
                             resect::text(s.first_pos), "0: a state holds whole sequences"};
    state out;
    out.rows_.assign(batch.begin(), batch.end());
    out.stream_ = matrix(static_cast<resect::index_t>(batch.size()), desc_.d_model);
    embed(batch, out.stream_);
    return out;
  }

  resect::status try_run(state& s, int first, int last, const hooks& k) {
    if (first < 0 || last > desc_.n_layers || first > last)
      return resect::error{resect::errc::invalid_argument, "layers to run", resect::text("[", first, ", ", last, ")"),
                           resect::text("a range within [0, ", desc_.n_layers, ")")};
    auto sequences = split(s.rows_);
    if (!sequences) return sequences.error();
    for (int l = first; l < last; ++l)
      if (auto st = run_layer(l, s.rows_, *sequences, s.stream_.view(), k); !st) return st;
    return {};
  }

  state snapshot(const state& s) const { return s; }
  view stream(state& s) const noexcept { return s.stream_.view(); }
  batch_view rows(const state& s) const noexcept { return s.rows_; }

  // norm (n, d_model) ← final norm of rows [row, row + n); logits (n, n_vocab) ← norm · outputᵀ.
  resect::status try_head(const state& s, resect::index_t row, view norm, view logits) {
    if (row < 0 || norm.rows < 0 || row + norm.rows > s.stream_.rows)
      return resect::error{resect::errc::invalid_argument, "rows of the head",
                           resect::text("[", row, ", ", row + norm.rows, ")"),
                           resect::text("rows within [0, ", s.stream_.rows, ")")};
    if (auto st = check_view(norm, norm.rows, desc_.d_model, "norm"); !st) return st;
    if (auto st = check_view(logits, norm.rows, desc_.n_vocab, "logits"); !st) return st;
    rms_norm(backend_, s.stream_.view().middle_rows(row, norm.rows), model_.norm.view(), model_.config.rms_eps, norm);
    return project(norm, model_.output().view(), logits);
  }

  std::span<const weight_desc> weights(int layer) const noexcept {
    return std::span(weights_).subspan(static_cast<std::size_t>(layer * n_layer_weights), n_layer_weights);
  }

  resect::status try_read_weight(const weight_desc& w, view out) const {
    if (auto s = check_weight(w); !s) return s;
    const matrix& m = weight(w.layer, w.id);
    if (auto s = check_view(out, m.rows, m.cols, "values of the weight"); !s) return s;
    for (resect::index_t r = 0; r < m.rows; ++r)
      for (resect::index_t c = 0; c < m.cols; ++c) out(r, c) = m.view()(r, c);
    return {};
  }

  // Copies the values; what was there comes back when the guard goes. Guards must go in reverse order.
  resect::result<weight_override> try_override_weight(const weight_desc& w, const_view values) {
    if (auto s = check_weight(w); !s) return s.error();
    if (auto s = check_view(values, w.rows, w.cols, "values of the weight"); !s) return s.error();
    auto fresh = std::make_unique<matrix>(w.rows, w.cols);
    for (resect::index_t r = 0; r < w.rows; ++r)
      for (resect::index_t c = 0; c < w.cols; ++c) fresh->view()(r, c) = values(r, c);
    const auto slot = static_cast<std::size_t>(w.layer * n_layer_weights + w.id);
    return weight_override{this, slot, std::exchange(overrides_[slot], std::move(fresh))};
  }

  // The product of a matrix is f's until the guard goes. Guards must go in reverse order.
  resect::result<product_override> try_override_product(const weight_desc& w, product f) {
    if (auto s = check_weight(w); !s) return s.error();
    if (is_norm_gain(w.id))
      return resect::error{resect::errc::invalid_argument, "weight of the product", layer_weight_names[w.id], "a matrix"};
    if (!f) return resect::error{resect::errc::null_pointer, "product", "no function", "one"};
    const auto slot = static_cast<std::size_t>(w.layer * n_layer_weights + w.id);
    return product_override{this, slot, std::exchange(products_[slot], std::move(f))};
  }

 private:
  static void call(const hooks& k, const tap& at, view rows) {
    if (k.read.contains(at.where) || k.write.contains(at.where)) k.call(at, rows);
  }

  // The batch cut into sequences. Errors: rows of a sequence apart or out of order, tokens out of range.
  resect::result<std::vector<batch_sequence>> split(batch_view batch) const {
    std::vector<batch_sequence> out;
    std::map<std::int32_t, bool> seen;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto& row = batch[i];
      if (row.token < 0 || row.token >= desc_.n_vocab)
        return resect::error{resect::errc::invalid_argument, resect::text("token of row ", i), resect::text(row.token),
                             resect::text("an id below ", desc_.n_vocab)};
      if (row.pos < 0)
        return resect::error{resect::errc::invalid_argument, resect::text("position of row ", i), resect::text(row.pos),
                             "0 or more"};
      if (!out.empty() && out.back().seq == row.seq) {
        if (row.pos != out.back().first_pos + out.back().rows)
          return resect::error{resect::errc::invalid_argument, resect::text("position of row ", i),
                               resect::text(row.pos), resect::text(out.back().first_pos + out.back().rows)};
        ++out.back().rows;
        continue;
      }
      if (!seen.emplace(row.seq, true).second)
        return resect::error{resect::errc::invalid_argument, resect::text("rows of sequence ", row.seq),
                             "apart from each other", "rows next to each other"};
      out.push_back({row.seq, static_cast<resect::index_t>(i), 1, row.pos, nullptr});
    }
    return out;
  }

  void embed(batch_view batch, matrix& h) const {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto from = model_.embed.view().row(batch[i].token);
      std::copy_n(from.data, from.size, h.view().row(static_cast<resect::index_t>(i)).data);
    }
  }

  matrix gather_wanted(batch_view batch, const matrix& h, std::vector<row_meta>& wanted) const {
    for (const auto& row : batch)
      if (row.flags & row_meta::wants_logits) wanted.push_back(row);
    matrix out(static_cast<resect::index_t>(wanted.size()), h.cols);
    resect::index_t to = 0;
    for (std::size_t i = 0; i < batch.size(); ++i)
      if (batch[i].flags & row_meta::wants_logits)
        std::copy_n(h.view().row(static_cast<resect::index_t>(i)).data, h.cols, out.view().row(to++).data);
    return out;
  }

  const matrix& weight(int layer, int id) const noexcept {
    const auto& replaced = overrides_[static_cast<std::size_t>(layer * n_layer_weights + id)];
    return replaced ? *replaced : weight_of(model_.layers[static_cast<std::size_t>(layer)], id);
  }

  resect::status check_weight(const weight_desc& w) const noexcept {
    if (w.layer < 0 || w.layer >= desc_.n_layers || w.id < 0 || w.id >= n_layer_weights)
      return resect::error{resect::errc::invalid_argument, "weight", resect::text("layer ", w.layer, ", id ", w.id),
                           resect::text("layer below ", desc_.n_layers, ", id below ", n_layer_weights)};
    return {};
  }

  // out (n, m) ← x (n, k) · wᵀ, w (m, k)
  resect::status project(const_view x, const_view w, view out) {
    return backend_.try_gemm(1.0f, x, w.transposed(), 0.0f, out);
  }

  // out ← the product of a weight of a layer with the rows of x: the host's own, or what it was overridden by.
  resect::status multiply(int l, int id, const_view x, view out) {
    const auto own = [&](const_view rows, view to) -> resect::status { return project(rows, weight(l, id).view(), to); };
    const auto slot = static_cast<std::size_t>(l * n_layer_weights + id);
    return products_[slot] ? products_[slot](weights_[slot], x, out, own) : own(x, out);
  }

  resect::status run_layer(int l, batch_view batch, std::span<batch_sequence> sequences, view h, const hooks& k) {
    const auto& c = model_.config;
    const resect::index_t n = h.rows;
    call(k, tap{site::resid_pre, l, batch}, h);

    auto& [x, q, key, val, mixed, gate, up] = scratch_;
    x.resize(n, c.d_model);
    q.resize(n, c.n_heads * c.head_dim);
    key.resize(n, c.n_kv_heads * c.head_dim);
    val.resize(n, c.n_kv_heads * c.head_dim);
    rms_norm(backend_, h, weight(l, layer_weight::attn_norm).view(), c.rms_eps, x.view());
    if (auto s = multiply(l, layer_weight::q, x.view(), q.view()); !s) return s;
    if (auto s = multiply(l, layer_weight::k, x.view(), key.view()); !s) return s;
    if (auto s = multiply(l, layer_weight::v, x.view(), val.view()); !s) return s;
    rope_.reserve(sequences);
    rope_.apply(backend_, batch, q.view(), c.n_heads);
    rope_.apply(backend_, batch, key.view(), c.n_kv_heads);
    mixed.resize(n, c.n_heads * c.head_dim);
    attention(backend_, c, l, sequences, q.view(), key.view(), val.view(), mixed.view());
    if (auto s = multiply(l, layer_weight::o, mixed.view(), x.view()); !s) return s;
    call(k, tap{site::attn_delta, l, batch}, x.view());
    add(backend_, x.view(), h);
    call(k, tap{site::resid_mid, l, batch}, h);

    gate.resize(n, c.d_ff);
    up.resize(n, c.d_ff);
    rms_norm(backend_, h, weight(l, layer_weight::mlp_norm).view(), c.rms_eps, x.view());
    if (auto s = multiply(l, layer_weight::gate, x.view(), gate.view()); !s) return s;
    if (auto s = multiply(l, layer_weight::up, x.view(), up.view()); !s) return s;
    silu_times(backend_, up.view(), gate.view());
    if (auto s = multiply(l, layer_weight::down, gate.view(), x.view()); !s) return s;
    call(k, tap{site::mlp_delta, l, batch}, x.view());
    add(backend_, x.view(), h);
    call(k, tap{site::resid_post, l, batch}, h);
    return {};
  }

  struct layer_scratch {  // overwritten by every layer
    matrix x, q, key, val, mixed, gate, up;
  };

  Backend& backend_;
  const llama_model& model_;
  layer_scratch scratch_;
  resect::model::model_desc desc_;
  rotary_embedding rope_;
  std::vector<weight_desc> weights_;
  std::vector<std::unique_ptr<matrix>> overrides_;
  std::vector<product> products_;  // empty where the host multiplies itself
  std::map<std::int32_t, sequence_cache> caches_;
  matrix logits_;
};

}  // namespace hosts
