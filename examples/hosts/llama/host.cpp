// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <hosts/llama/host.hpp>

#include <algorithm>
#include <map>
#include <utility>

namespace hosts {

namespace {

void call(const llama_host::hooks& k, const resect::model::tap& at, resect::matrix_view<float> rows) {
  if (k.read.contains(at.where) || k.write.contains(at.where)) k.call(at, rows);
}

}  // namespace

llama_host::llama_host(backend_ref backend, const llama_model& model)
    : backend_(backend), model_(model), rope_(model.config) {
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
      weights_.push_back({layer_weight_names[id], l, id,
                          is_norm_gain(id) ? resect::model::weight_role::norm_gain : resect::model::weight_role::matrix,
                          w.rows, w.cols});
    }
}

resect::status llama_host::try_forward(batch_view batch, const hooks& k) {
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

resect::result<llama_host::state> llama_host::try_embed(batch_view batch) {
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

resect::status llama_host::try_run(state& s, int first, int last, const hooks& k) {
  if (first < 0 || last > desc_.n_layers || first > last)
    return resect::error{resect::errc::invalid_argument, "layers to run", resect::text("[", first, ", ", last, ")"),
                         resect::text("a range within [0, ", desc_.n_layers, ")")};
  auto sequences = split(s.rows_);
  if (!sequences) return sequences.error();
  for (int l = first; l < last; ++l)
    if (auto st = run_layer(l, s.rows_, *sequences, s.stream_.view(), k); !st) return st;
  return {};
}

resect::status llama_host::try_head(const state& s, resect::index_t row, view norm, view logits) {
  if (row < 0 || norm.rows < 0 || row + norm.rows > s.stream_.rows)
    return resect::error{resect::errc::invalid_argument, "rows of the head",
                         resect::text("[", row, ", ", row + norm.rows, ")"),
                         resect::text("rows within [0, ", s.stream_.rows, ")")};
  if (auto st = check_view(norm, norm.rows, desc_.d_model, "norm"); !st) return st;
  if (auto st = check_view(logits, norm.rows, desc_.n_vocab, "logits"); !st) return st;
  rms_norm(backend_, s.stream_.view().middle_rows(row, norm.rows), model_.norm.view(), model_.config.rms_eps, norm);
  return project(norm, model_.output().view(), logits);
}

resect::status llama_host::try_read_weight(const weight_desc& w, view out) const {
  if (auto s = check_weight(w); !s) return s;
  const matrix& m = weight(w.layer, w.id);
  if (auto s = check_view(out, m.rows, m.cols, "values of the weight"); !s) return s;
  for (resect::index_t r = 0; r < m.rows; ++r)
    for (resect::index_t c = 0; c < m.cols; ++c) out(r, c) = m.view()(r, c);
  return {};
}

resect::result<llama_host::weight_override> llama_host::try_override_weight(const weight_desc& w, const_view values) {
  if (auto s = check_weight(w); !s) return s.error();
  if (auto s = check_view(values, w.rows, w.cols, "values of the weight"); !s) return s.error();
  auto fresh = std::make_unique<matrix>(w.rows, w.cols);
  for (resect::index_t r = 0; r < w.rows; ++r)
    for (resect::index_t c = 0; c < w.cols; ++c) fresh->view()(r, c) = values(r, c);
  const auto slot = static_cast<std::size_t>(w.layer * n_layer_weights + w.id);
  return weight_override{this, slot, std::exchange(overrides_[slot], std::move(fresh))};
}

resect::result<llama_host::product_override> llama_host::try_override_product(const weight_desc& w, product f) {
  if (auto s = check_weight(w); !s) return s.error();
  if (is_norm_gain(w.id))
    return resect::error{resect::errc::invalid_argument, "weight of the product", layer_weight_names[w.id], "a matrix"};
  if (!f) return resect::error{resect::errc::null_pointer, "product", "no function", "one"};
  const auto slot = static_cast<std::size_t>(w.layer * n_layer_weights + w.id);
  return product_override{this, slot, std::exchange(products_[slot], std::move(f))};
}

std::uint64_t llama_host::cache_epoch(std::int32_t seq) const {
  const auto at = caches_.find(seq);
  return at == caches_.end() ? 0 : at->second.epoch;
}

resect::index_t llama_host::cached(std::int32_t seq) const {
  const auto at = caches_.find(seq);
  return at == caches_.end() ? 0 : at->second.length;
}

resect::result<std::vector<batch_sequence>> llama_host::split(batch_view batch) const {
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
        return resect::error{resect::errc::invalid_argument, resect::text("position of row ", i), resect::text(row.pos),
                             resect::text(out.back().first_pos + out.back().rows)};
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

void llama_host::embed(batch_view batch, matrix& h) const {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto from = model_.embed.view().row(batch[i].token);
    std::copy_n(from.data, from.size, h.view().row(static_cast<resect::index_t>(i)).data);
  }
}

matrix llama_host::gather_wanted(batch_view batch, const matrix& h, std::vector<row_meta>& wanted) const {
  for (const auto& row : batch)
    if (row.flags & row_meta::wants_logits) wanted.push_back(row);
  matrix out(static_cast<resect::index_t>(wanted.size()), h.cols);
  resect::index_t to = 0;
  for (std::size_t i = 0; i < batch.size(); ++i)
    if (batch[i].flags & row_meta::wants_logits)
      std::copy_n(h.view().row(static_cast<resect::index_t>(i)).data, h.cols, out.view().row(to++).data);
  return out;
}

const matrix& llama_host::weight(int layer, int id) const noexcept {
  const auto& replaced = overrides_[static_cast<std::size_t>(layer * n_layer_weights + id)];
  return replaced ? *replaced : weight_of(model_.layers[static_cast<std::size_t>(layer)], id);
}

resect::status llama_host::check_weight(const weight_desc& w) const noexcept {
  if (w.layer < 0 || w.layer >= desc_.n_layers || w.id < 0 || w.id >= n_layer_weights)
    return resect::error{resect::errc::invalid_argument, "weight", resect::text("layer ", w.layer, ", id ", w.id),
                         resect::text("layer below ", desc_.n_layers, ", id below ", n_layer_weights)};
  return {};
}

resect::status llama_host::project(const_view x, const_view w, view out) {
  return backend_.try_gemm(1.0f, x, w.transposed(), 0.0f, out);
}

resect::status llama_host::multiply(int l, int id, const_view x, view out) {
  const auto own = [&](const_view rows, view to) -> resect::status { return project(rows, weight(l, id).view(), to); };
  const auto slot = static_cast<std::size_t>(l * n_layer_weights + id);
  return products_[slot] ? products_[slot](weights_[slot], x, out, own) : own(x, out);
}

resect::status llama_host::run_layer(int l, batch_view batch, std::span<batch_sequence> sequences, view h,
                                     const hooks& k) {
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

}  // namespace hosts
