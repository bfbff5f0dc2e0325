// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include <support/neox_faults.hpp>
#include <support/neox_parameters.hpp>

#include <resect/model/host.hpp>
#include <resect/model/override_epoch.hpp>

// A decoder of the GPT-2 and GPT-NeoX kind as a host of the surgery level: plain loops, no library below it.
namespace support::neox {

using model::site, resect::matrix_view, resect::status, resect::errc, resect::text;

template <class T = float, class Fault = no_fault>
class host {
 public:
  using value = T;
  using space = resect::host_space;
  using hooks = model::hooks<T>;
  struct state {
    std::vector<row_meta> rows;
    std::vector<T> h;
  };
  using weight_override = std::shared_ptr<void>;  // of nothing: its deleter puts back what was there
  explicit host(parameters m) : m_(std::move(m)) {}
  host(host&&) = delete;  // guards point into it
  const model::model_desc& describe() const { return m_.desc; }
  model::access supports(site s, int) const {
    return s == site::resid_mid && m_.kind != block::sequential ? model::access::none : model::access::write;
  }

  status try_forward(batch_view batch, model::site_set want, model::observer<T> look) {
    return model::try_observe(*this, batch, want, look);
  }
  status try_forward(batch_view batch, const hooks& k) {
    caches now;  // of this pass; kept where all goes well
    for (const row_meta& row : batch) {
      if (!now.contains(row.seq) && row.pos > 0 && caches_.contains(row.seq)) now[row.seq] = caches_.at(row.seq);
      if (auto s = check(row, now[row.seq].length++); !s) return s;
      now[row.seq].epoch = k.epoch;
    }
    const std::vector<row_meta> rows = Fault::run(batch);
    std::vector<row_meta> asked;
    std::vector<T> h = embed(rows), norm(h.size());
    show(k, site::embed_out, 0, rows, view(h, m_.width));
    for (size_t l = 0; l < m_.layers; ++l) run_layer(l, rows, h, now, k);
    show(k, site::head_in, 0, rows, view(h, m_.width));
    final_norm(view(h, m_.width), view(norm, m_.width));
    show(k, site::head_norm, 0, rows, view(norm, m_.width));
    logits_.clear();
    for (size_t r = 0; r < rows.size(); ++r) {
      if ((rows[r].flags & row_meta::wants_logits) == 0) continue;
      asked.push_back(rows[r]), logits_.resize(asked.size() * m_.vocab);
      unembed(view(norm, m_.width).middle_rows(static_cast<index_t>(r), 1),
              view(logits_, m_.vocab).middle_rows(static_cast<index_t>(asked.size()) - 1, 1));
    }
    show(k, site::logits, 0, asked, view(logits_, m_.vocab));
    for (auto& [seq, grown] : now) caches_.insert_or_assign(seq, std::move(grown));
    return {};
  }
  matrix_view<const T> logits() const {
    return {logits_.data(), static_cast<index_t>(logits_.size() / m_.vocab), static_cast<index_t>(m_.vocab)};
  }
  void forget(std::int32_t seq) { caches_.erase(seq); }
  std::uint64_t cache_epoch(std::int32_t seq) const { return caches_.contains(seq) ? caches_.at(seq).epoch : 0; }
  index_t cached(std::int32_t seq) const { return caches_.contains(seq) ? caches_.at(seq).length : 0; }

  resect::result<state> try_embed(batch_view batch) {
    caches now;
    for (const row_meta& row : batch)
      if (auto s = check(row, now[row.seq].length++); !s) return s.error();
    return state{{batch.begin(), batch.end()}, embed(batch)};
  }
  status try_run(state& s, int first, int last, const hooks& k) {
    if (first < 0 || first > last || last > m_.desc.n_layers)
      return resect::error{errc::invalid_argument, "layers", text(first, " to ", last), text("0 to ", m_.layers)};
    caches now;  // whole sequences: nothing was before them
    for (int l = first; l < last; ++l) run_layer(static_cast<size_t>(l), s.rows, s.h, now, k);
    return {};
  }
  state snapshot(const state& s) const { return s; }
  matrix_view<T> stream(state& s) const { return view(s.h, m_.width); }
  batch_view rows(const state& s) const { return s.rows; }
  status try_head(const state& s, index_t row, matrix_view<T> norm, matrix_view<T> logits) const {
    if (row < 0 || row + norm.rows > static_cast<index_t>(s.rows.size()) || norm.cols != m_.desc.d_model ||
        logits.rows != norm.rows || logits.cols != m_.desc.n_vocab)
      return resect::error{errc::shape_mismatch, "rows of the head",
                           text(norm.rows, " from ", row, ", logits ", logits.rows, " x ", logits.cols),
                           "rows of the state"};
    final_norm(matrix_view<const T>{s.h.data(), static_cast<index_t>(s.rows.size()), m_.desc.d_model}.middle_rows(
                   row, norm.rows),
               norm);
    unembed(norm, logits);
    return {};
  }

  std::span<const model::weight_desc> weights(int l) const {
    return std::span{m_.descs}.subspan(static_cast<size_t>(l) * n_weights, n_weights);
  }
  status try_read_weight(const model::weight_desc& w, matrix_view<float> values) const {  // overrides included
    if (auto s = check_view(values, w.rows, w.cols, w.name.view()); !s) return s;
    for (index_t i = 0; i < w.rows * w.cols; ++i)
      values(i / w.cols, i % w.cols) =
          m_.layer[static_cast<size_t>(w.layer)][static_cast<size_t>(w.id)][static_cast<size_t>(i)];
    return {};
  }
  resect::result<weight_override> try_override_weight(const model::weight_desc& w, matrix_view<const float> values) {
    if (auto s = check_view(values, w.rows, w.cols, w.name.view()); !s) return s.error();
    floats& at = m_.layer[static_cast<size_t>(w.layer)][static_cast<size_t>(w.id)];
    weight_override guard(nullptr, [this, &at, before = at, tag = epoch_.begin()](void*) {
      at = before;
      epoch_.end(tag);
    });
    for (index_t i = 0; i < w.rows * w.cols; ++i) at[static_cast<size_t>(i)] = values(i / w.cols, i % w.cols);
    return guard;
  }
  std::uint64_t weights_epoch() const noexcept { return epoch_.value(); }

 private:
  struct cache {
    std::uint64_t epoch = 0;
    index_t length = 0;
    std::map<size_t, std::vector<floats>> kv;
  };  // kv[layer][row]: key, then value
  using caches = std::map<std::int32_t, cache>;
  static matrix_view<T> view(std::vector<T>& x, size_t width) {
    return {x.data(), static_cast<index_t>(x.size() / width), static_cast<index_t>(width)};
  }
  static void show(const hooks& k, site s, size_t l, batch_view rows, matrix_view<T> x) {
    if (k.read.contains(s) || k.write.contains(s)) k.call({s, static_cast<int>(l), rows}, x);
  }
  status check(const row_meta& row, index_t next) const {
    if (row.pos == next && next < static_cast<index_t>(m_.longest) && row.token >= 0 && row.token < m_.desc.n_vocab)
      return {};
    return resect::error{errc::invalid_argument, text("row of sequence ", row.seq),
                         text("position ", row.pos, ", token ", row.token),
                         text("position ", next, " below ", m_.longest, ", an id below ", m_.vocab)};
  }
  std::vector<size_t> places(batch_view rows) const {
    std::vector<size_t> begin, at;
    for (size_t r = 0; r < rows.size(); ++r) begin.push_back(static_cast<size_t>(rows[r].pos) - behind(rows, r));
    const size_t furthest = begin.empty() ? 0 : *std::max_element(begin.begin(), begin.end());
    for (size_t r = 0; r < rows.size(); ++r)
      at.push_back(std::min(Fault::first_place(begin[r], furthest) + behind(rows, r), m_.longest - 1));
    return at;
  }
  std::vector<T> embed(batch_view rows) const {
    const auto at = places(rows);
    std::vector<T> h;
    for (size_t i = 0; i < rows.size() * m_.width; ++i)
      h.push_back(T{m_.tokens[static_cast<size_t>(rows[i / m_.width].token) * m_.width + i % m_.width] +
                    (m_.place == positions::learned ? m_.places[at[i / m_.width] * m_.width + i % m_.width] : 0.0f)});
    return h;
  }

  // Row r of `to` := what f makes of row r of `from`.
  static void each_row(matrix_view<const T> from, matrix_view<T> to, auto f) {
    for (index_t r = 0; r < from.rows; ++r) {
      floats x;
      for (index_t c = 0; c < from.cols; ++c) x.push_back(static_cast<float>(from(r, c)));
      x = f(std::move(x), static_cast<size_t>(r));
      for (index_t c = 0; c < to.cols; ++c) to(r, c) = T{x[static_cast<size_t>(c)]};
    }
  }
  static floats layer_norm(floats x, const floats& gain, const floats& bias) {
    float n = static_cast<float>(x.size()), mean = 0.0f, variance = 0.0f;
    for (const float a : x) mean += a / n;
    for (const float a : x) variance += (a - mean) * (a - mean) / n;
    for (size_t i = 0; i < x.size(); ++i) x[i] = gain[i] * (x[i] - mean) / std::sqrt(variance + 1e-5f) + bias[i];
    return x;
  }
  static floats linear(const floats& w, floats y, const floats& x) {  // y + W·x
    for (size_t i = 0; i < w.size(); ++i) y[i / x.size()] += w[i] * x[i % x.size()];
    return y;
  }
  void final_norm(matrix_view<const T> h, matrix_view<T> y) const {
    each_row(h, y, [&](const floats& x, size_t) { return layer_norm(x, m_.head_gain, m_.head_bias); });
  }
  void unembed(matrix_view<const T> h, matrix_view<T> y) const {
    each_row(h, y, [&](const floats& x, size_t) { return linear(m_.head, floats(m_.vocab), x); });
  }
  // What the heads make of a row's query, key and value, when the last two have joined those of its sequence.
  floats attend(floats x, size_t at, std::vector<floats>& kv) const {
    const size_t d = m_.width, size = d / m_.heads;
    for (size_t i = 0; i < 2 * d && m_.place == positions::rotary; ++i)
      if (const size_t n = size / 4, c = i % size; c < n) {
        const float angle = static_cast<float>(at) * std::pow(10000.0f, -static_cast<float>(c) / static_cast<float>(n)),
                    u = x[i], v = x[i + n];
        x[i] = u * std::cos(angle) - v * std::sin(angle), x[i + n] = u * std::sin(angle) + v * std::cos(angle);
      }
    kv.emplace_back(x.data() + d, x.data() + 3 * d);
    floats y(d);
    for (size_t head = 0; head < d; head += size) {
      floats p(kv.size());
      float most = -INFINITY, sum = 0.0f;
      for (size_t i = 0; i < p.size() * size; ++i)
        p[i / size] += x[head + i % size] * kv[i / size][head + i % size] / std::sqrt(static_cast<float>(size));
      for (const float a : p) most = std::max(most, a);
      for (float& a : p) sum += a = std::exp(a - most);
      for (size_t i = 0; i < p.size() * size; ++i)
        y[head + i % size] += p[i / size] / sum * kv[i / size][d + head + i % size];
    }
    return y;
  }
  void run_layer(size_t l, batch_view rows, std::vector<T>& h, caches& now, const hooks& k) const {
    const auto at = places(rows);
    const auto& w = m_.layer[l];
    const auto shown = [&](site s, std::vector<T>& x) { show(k, s, l, rows, view(x, m_.width)); };
    shown(site::resid_pre, h);
    std::vector<T> attn(h.size()), mlp(h.size()), mid = h;
    each_row(view(h, m_.width), view(attn, m_.width), [&](const floats& x, size_t r) {
      floats a = linear(w[qkv], w[qkv_bias], layer_norm(x, w[norm1_gain], w[norm1_bias]));
      a = attend(std::move(a), at[r], now[rows[r].seq].kv[l]);
      a = linear(w[out], w[out_bias], a);
      for (size_t i = 0; i < a.size(); ++i) a[i] = Fault::shown(a[i], w[out_bias][i]);
      return a;
    });
    const auto feed_forward = [&](std::vector<T>& from) {
      each_row(view(from, m_.width), view(mlp, m_.width), [&](const floats& x, size_t) {
        floats a = linear(w[up], w[up_bias], layer_norm(x, w[norm2_gain], w[norm2_bias]));
        for (float& y : a) y *= 0.5f * (1.0f + std::erf(y * std::sqrt(0.5f)));  // GELU
        return linear(w[down], w[down_bias], a);
      });
    };
    if (m_.kind == block::parallel) feed_forward(h);
    const std::vector<T> computed = attn;
    shown(site::attn_delta, attn);
    floats sum(h.size());  // h + a, which a parallel block does not round
    for (size_t i = 0; i < h.size(); ++i) {
      sum[i] = static_cast<float>(h[i]) +
               Fault::added(static_cast<float>(attn[i]), static_cast<float>(computed[i]), w[out_bias][i % m_.width]);
      mid[i] = T{sum[i]};
    }
    if (m_.kind == block::sequential) shown(site::resid_mid, mid);
    if (m_.kind != block::parallel) feed_forward(mid);
    shown(site::mlp_delta, mlp);
    for (size_t i = 0; i < h.size(); ++i)
      h[i] = T{(m_.kind == block::parallel ? sum[i] : static_cast<float>(mid[i])) + static_cast<float>(mlp[i])};
    shown(site::resid_post, h);
  }
  parameters m_;
  caches caches_;
  std::vector<T> logits_;
  model::override_epoch epoch_;
};

}  // namespace support::neox
