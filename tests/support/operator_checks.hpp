// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/planted_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/residual/operators.hpp>

// What tests of operators compare with: the reference with the same change made by hand, and the intact model.
namespace support {

using resect::matrix_view;
using namespace resect::residual;

// The plan changes no bit of the logits, by partial passes and by a whole pass.
inline void check_identity(host_ref host, const plan& p, const std::vector<row_meta>& batch, const floats& want) {
  CHECK(same_bits(by_surgery(host, p, batch), want));
  CHECK(same_bits(by_forward(host, p, batch), want));
}

// Logits of the reference where a block's output is g(before, after), layer by layer, and the rows of a site are
// f(rows).
template <class Block>
floats reference_with_block(const hosts::llama_model& model, batch_view batch, layer_range where, Block block) {
  stream_values before;
  reference_llama ref{model, [&](site s, int l, stream_values& h) {
                        if (l < where.first || l >= where.last) return;
                        if (s == site::resid_pre) before = h;
                        if (s == site::resid_post)
                          for (std::size_t t = 0; t < h.size(); ++t)
                            for (std::size_t i = 0; i < h[t].size(); ++i) h[t][i] = block(l, i, before[t][i], h[t][i]);
                      }};
  return flat(ref.logits(batch));
}

template <class Rows>
floats reference_with_rows(const hosts::llama_model& model, batch_view batch, site where, layer_range range, Rows f) {
  reference_llama ref{model, [&](site s, int l, stream_values& h) {
                        if (s == where && l >= range.first && l < range.last)
                          for (auto& row : h)
                            for (double& x : row) x = f(x);
                      }};
  return flat(ref.logits(batch));
}

// Both ways agree bit for bit, and with the reference to 1e-5 of the largest logit.
template <class H>
void check_against(H& host, const plan& p, const std::vector<row_meta>& batch, const floats& want) {
  const auto got = by_surgery(host, p, batch);
  CHECK(relative_difference(got, want) < 1e-5);
  CHECK(same_bits(by_forward(host, p, batch), got));
}

inline delta_means some_means(int n_layers, int width) {
  delta_means m{.n_layers = n_layers,
                .width = width,
                .rows = 10,
                .reference = 2,
                .mean = std::vector<float>(static_cast<std::size_t>(n_layers * width))};
  resect::random::fill_gaussian(m.mean, 17, 0);
  return m;
}

template <class H>
std::vector<floats> all_weights(const H& host) {
  std::vector<floats> out;
  for (int l = 0; l < host.describe().n_layers; ++l)
    for (const auto& w : host.weights(l)) {
      floats v(static_cast<std::size_t>(w.rows * w.cols));
      value_or_throw(host.try_read_weight(w, {v.data(), w.rows, w.cols}));
      out.push_back(std::move(v));
    }
  return out;
}

inline hosts::matrix& weight_in(hosts::llama_layer& l, int id) {
  hosts::matrix* all[] = {&l.attn_norm, &l.q, &l.k, &l.v, &l.o, &l.mlp_norm, &l.gate, &l.up, &l.down};
  return *all[id];
}

}  // namespace support
