// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <resect/core/view.hpp>

namespace hosts {

// A dense fp32 matrix that owns its elements, row-major.
struct matrix {
  resect::index_t rows = 0;
  resect::index_t cols = 0;
  std::vector<float> data;

  matrix() = default;
  matrix(resect::index_t m, resect::index_t n) : rows(m), cols(n), data(static_cast<std::size_t>(m * n)) {}

  bool empty() const noexcept { return data.empty(); }
  void resize(resect::index_t m, resect::index_t n) {  // what it holds then is unspecified
    rows = m;
    cols = n;
    data.resize(static_cast<std::size_t>(m * n));
  }
  resect::matrix_view<const float> view() const noexcept { return {data.data(), rows, cols}; }
  resect::matrix_view<float> view() noexcept { return {data.data(), rows, cols}; }
};

// Which pairs of a head's components rotary embedding turns together.
enum class rope_layout {
  interleaved,  // (0, 1), (2, 3), …       GGUF files of Llama models
  half,         // (0, d/2), (1, d/2+1), … safetensors files of Llama models
};

struct llama_config {
  int n_layers = 0;
  int d_model = 0;
  int d_ff = 0;
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;
  int n_vocab = 0;
  int context = 0;  // longest sequence that the model was made for; 0 = unknown
  float rms_eps = 1e-5f;
  float rope_theta = 10000.0f;
  rope_layout rope = rope_layout::half;
  int bos = -1;               // id to put in front of a text, −1 where the model asks for none
  std::string bos_rule = {};  // what says so: "tokenizer.ggml.add_bos_token is true"
};

// Weights are (out, in); a norm's gain is 1 × d_model.
struct llama_layer {
  matrix attn_norm, q, k, v, o;
  matrix mlp_norm, gate, up, down;
};

// A Llama-architecture decoder, dequantized to fp32.
struct llama_model {
  std::string name;
  std::uint64_t fingerprint = 0;  // of the tensors' bytes as stored, with their names, types and shapes
  llama_config config;
  matrix embed;  // (n_vocab, d_model)
  std::vector<llama_layer> layers;
  matrix norm;
  matrix head;  // (n_vocab, d_model); empty where the head is tied to the embedding

  const matrix& output() const noexcept { return head.empty() ? embed : head; }
};

}  // namespace hosts
