// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include <resect/core/hash.hpp>
#include <resect/model/host.hpp>
#include <resect/random/distributions.hpp>

// Random weights of a decoder of the GPT-2 and GPT-NeoX kind.
namespace support::neox {

namespace model = resect::model;
using resect::index_t;
using std::size_t;
using floats = std::vector<float>;

enum class block { sequential, fused, parallel };  // fused: sequential, but nothing shows h + attention
enum class positions { learned, rotary };          // rotary: the first half of each head
enum weight {
  norm1_gain,
  norm1_bias,
  qkv,
  qkv_bias,
  out,
  out_bias,
  norm2_gain,
  norm2_bias,
  up,
  up_bias,
  down,
  down_bias,
  n_weights
};
inline constexpr const char* names[] = {"norm1.gain", "norm1.bias",    "attn.qkv",   "attn.qkv.bias",
                                        "attn.out",   "attn.out.bias", "norm2.gain", "norm2.bias",
                                        "mlp.up",     "mlp.up.bias",   "mlp.down",   "mlp.down.bias"};

// Random weights, the biases large enough to be missed; none at all in the layers where bias_size is 0.
struct parameters {
  block kind;
  positions place;
  size_t layers = 3, width = 16, heads = 2, inner = 24, vocab = 41, longest = 48;
  floats tokens{}, places{}, head{}, head_gain{}, head_bias{};
  std::vector<std::vector<floats>> layer{};
  std::vector<model::weight_desc> descs{};
  model::model_desc desc;
  parameters(block b, positions p, double bias_size = 0.3, std::uint64_t seed = 1)
      : kind(b), place(p), layer(layers, std::vector<floats>(n_weights)) {
    resect::fingerprint f;
    std::uint64_t stream = 0;
    const auto draw = [&](floats& w, size_t n, double size, float mean) {
      w.resize(n);
      resect::random::fill_gaussian(w, seed, stream++, 0, size);
      for (float& x : w) f.add(x += mean);
    };
    draw(tokens, vocab * width, 1.0, 0), draw(places, longest * width, 0.5, 0), draw(head, vocab * width, 0.5, 0);
    draw(head_gain, width, 0.1, 1), draw(head_bias, width, 0.3, 0);
    const size_t outs[] = {1, width, 3 * width, 3 * width, width, width, 1, width, inner, inner, width, width};
    for (size_t l = 0; l < layers; ++l)
      for (size_t i = 0; i < n_weights; ++i) {
        const bool gain = i == norm1_gain || i == norm2_gain, bias = i % 2 != 0;
        const size_t rows = bias ? 1 : outs[i], cols = bias ? outs[i] : i == down ? inner : width;
        draw(layer[l][i], rows * cols,
             gain   ? 0.1
             : bias ? bias_size
                    : 1.0 / std::sqrt(static_cast<double>(cols)),
             gain);
        const auto role = gain   ? model::weight_role::norm_gain
                          : bias ? model::weight_role::bias
                                 : model::weight_role::matrix;
        descs.push_back({names[i], static_cast<int>(l), static_cast<int>(i), role, static_cast<index_t>(rows),
                         static_cast<index_t>(cols)});
      }
    desc = {.name = kind == block::parallel ? "neox" : "gpt2",
            .fingerprint = f.add(static_cast<std::uint64_t>(kind)).add(static_cast<std::uint64_t>(place)).value(),
            .n_layers = static_cast<int>(layers),
            .d_model = static_cast<int>(width),
            .n_vocab = static_cast<int>(vocab)};
  }
};

}  // namespace support::neox
