// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/llama_models.hpp>

#include <algorithm>
#include <cmath>

#include <resect/random/distributions.hpp>

namespace support {

hosts::matrix random_matrix(resect::index_t rows, resect::index_t cols, double std, std::uint64_t seed,
                            std::uint64_t stream, double mean) {
  hosts::matrix out(rows, cols);
  resect::random::fill_gaussian(out.data, seed, stream, 0, std);
  for (float& x : out.data) x += static_cast<float>(mean);
  return out;
}

hosts::llama_model random_llama(const hosts::llama_config& c, output_matrix output, std::uint64_t seed) {
  hosts::llama_model m;
  m.name = "random";
  m.fingerprint = seed;
  m.config = c;
  std::uint64_t stream = 0;
  const auto linear = [&](int out, int in) {
    return random_matrix(out, in, 1.0 / std::sqrt(static_cast<double>(in)), seed, ++stream);
  };
  const auto gain = [&] { return random_matrix(1, c.d_model, 0.2, seed, ++stream, 1.0); };
  m.embed = random_matrix(c.n_vocab, c.d_model, 1.0, seed, ++stream);
  for (int l = 0; l < c.n_layers; ++l) {
    hosts::llama_layer layer;
    layer.attn_norm = gain();
    layer.q = linear(c.n_heads * c.head_dim, c.d_model);
    layer.k = linear(c.n_kv_heads * c.head_dim, c.d_model);
    layer.v = linear(c.n_kv_heads * c.head_dim, c.d_model);
    layer.o = linear(c.d_model, c.n_heads * c.head_dim);
    layer.mlp_norm = gain();
    layer.gate = linear(c.d_ff, c.d_model);
    layer.up = linear(c.d_ff, c.d_model);
    layer.down = linear(c.d_model, c.d_ff);
    m.layers.push_back(std::move(layer));
  }
  m.norm = gain();
  if (output == output_matrix::untied) m.head = linear(c.n_vocab, c.d_model);
  return m;
}

hosts::llama_model without_layers(const hosts::llama_model& m, int first, int last) {
  hosts::llama_model out = m;
  out.layers.erase(out.layers.begin() + first, out.layers.begin() + last);
  out.config.n_layers -= last - first;
  return out;
}

std::vector<resect::model::row_meta> random_batch(std::span<const int> lengths, int n_vocab, std::uint64_t seed) {
  std::vector<resect::model::row_meta> out;
  const resect::random::philox_stream draws{seed, 77};
  for (std::size_t s = 0; s < lengths.size(); ++s)
    for (int pos = 0; pos < lengths[s]; ++pos) {
      const auto token = resect::random::integer_below(draws, out.size(), static_cast<std::uint64_t>(n_vocab));
      out.push_back(
          {static_cast<std::int32_t>(s), pos, static_cast<std::int32_t>(token), resect::model::row_meta::wants_logits});
    }
  return out;
}

stream_values reference_llama::embed(resect::model::batch_view batch) const {
  stream_values h;
  for (const auto& row : batch) h.push_back(values(model.embed, row.token));
  return h;
}

void reference_llama::layer(int l, resect::model::batch_view batch, stream_values& h) const {
  using resect::model::site;
  const auto& c = model.config;
  const auto& w = model.layers[static_cast<std::size_t>(l)];
  const std::size_t n = h.size();
  edit(site::resid_pre, l, h);

  stream_values q(n), k(n), v(n), delta(n);
  for (std::size_t t = 0; t < n; ++t) {
    const auto x = norm(h[t], w.attn_norm);
    q[t] = turned(apply(w.q, x), batch[t].pos);
    k[t] = turned(apply(w.k, x), batch[t].pos);
    v[t] = apply(w.v, x);
  }
  for (std::size_t t = 0; t < n; ++t) {
    row_values mixed(static_cast<std::size_t>(c.n_heads * c.head_dim));
    for (int head = 0; head < c.n_heads; ++head) {
      const auto d = static_cast<std::size_t>(c.head_dim);
      const std::size_t from = static_cast<std::size_t>(head) * d;
      const std::size_t kv = static_cast<std::size_t>(head / (c.n_heads / c.n_kv_heads)) * d;
      std::vector<double> weight(n, 0.0);
      double largest = -1e300, total = 0.0;
      for (std::size_t s = 0; s < n; ++s) {
        if (batch[s].seq != batch[t].seq || batch[s].pos > batch[t].pos) continue;
        for (std::size_t i = 0; i < d; ++i) weight[s] += q[t][from + i] * k[s][kv + i];
        weight[s] /= std::sqrt(static_cast<double>(d));
        largest = std::max(largest, weight[s]);
      }
      for (std::size_t s = 0; s < n; ++s) {
        const bool seen = batch[s].seq == batch[t].seq && batch[s].pos <= batch[t].pos;
        weight[s] = seen ? std::exp(weight[s] - largest) : 0.0;
        total += weight[s];
      }
      for (std::size_t s = 0; s < n; ++s)
        for (std::size_t i = 0; i < d; ++i) mixed[from + i] += weight[s] / total * v[s][kv + i];
    }
    delta[t] = apply(w.o, mixed);
  }
  edit(site::attn_delta, l, delta);
  add(h, delta);
  edit(site::resid_mid, l, h);

  for (std::size_t t = 0; t < n; ++t) {
    const auto x = norm(h[t], w.mlp_norm);
    auto gate = apply(w.gate, x);
    const auto up = apply(w.up, x);
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
    delta[t] = apply(w.down, gate);
  }
  edit(site::mlp_delta, l, delta);
  add(h, delta);
  edit(site::resid_post, l, h);
}

stream_values reference_llama::head(const stream_values& h) const {
  stream_values out;
  for (const auto& row : h) out.push_back(apply(model.output(), norm(row, model.norm)));
  return out;
}

stream_values reference_llama::logits(resect::model::batch_view batch) const {
  auto h = embed(batch);
  for (int l = 0; l < model.config.n_layers; ++l) layer(l, batch, h);
  return head(h);
}

row_values reference_llama::values(const hosts::matrix& m, int row) {
  const auto v = m.view().row(row);
  return {v.data, v.data + v.size};
}

void reference_llama::add(stream_values& h, const stream_values& delta) {
  for (std::size_t t = 0; t < h.size(); ++t)
    for (std::size_t i = 0; i < h[t].size(); ++i) h[t][i] += delta[t][i];
}

row_values reference_llama::apply(const hosts::matrix& w, const row_values& x) {
  row_values out(static_cast<std::size_t>(w.rows), 0.0);
  for (resect::index_t r = 0; r < w.rows; ++r)
    for (resect::index_t c = 0; c < w.cols; ++c)
      out[static_cast<std::size_t>(r)] += static_cast<double>(w.view()(r, c)) * x[static_cast<std::size_t>(c)];
  return out;
}

row_values reference_llama::norm(const row_values& h, const hosts::matrix& gain) const {
  double squares = 0.0;
  for (double x : h) squares += x * x;
  const double rms = std::sqrt(squares / static_cast<double>(h.size()) + static_cast<double>(model.config.rms_eps));
  row_values out(h.size());
  for (std::size_t i = 0; i < h.size(); ++i) out[i] = h[i] / rms * static_cast<double>(gain.data[i]);
  return out;
}

row_values reference_llama::turned(row_values x, int pos) const {
  const auto& c = model.config;
  const auto d = static_cast<std::size_t>(c.head_dim);
  for (std::size_t head = 0; head < x.size() / d; ++head)
    for (std::size_t i = 0; i < d / 2; ++i) {
      const bool together = c.rope == hosts::rope_layout::interleaved;
      double& a = x[head * d + (together ? 2 * i : i)];
      double& b = x[head * d + (together ? 2 * i + 1 : i + d / 2)];
      const double angle =
          pos * std::pow(static_cast<double>(c.rope_theta), -2.0 * static_cast<double>(i) / static_cast<double>(d));
      const double cos = std::cos(angle), sin = std::sin(angle);
      const double turned_a = a * cos - b * sin;
      b = a * sin + b * cos;
      a = turned_a;
    }
  return x;
}

}  // namespace support
