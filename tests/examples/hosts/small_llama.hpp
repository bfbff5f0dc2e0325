// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hosts/llama/load.hpp>
#include <nlohmann/json.hpp>

#include <support/catch.hpp>
#include <support/write_gguf.hpp>
#include <support/write_safetensors.hpp>

#include "temporary.hpp"

// Files of a small model for the tests of loading, right ones and wrong ones.
namespace hosts::testing {

using support::gguf_writer;
using support::safetensors_writer;

inline constexpr auto invalid = resect::errc::invalid_argument;
inline constexpr auto malformed = resect::errc::malformed;
inline constexpr auto mismatch = resect::errc::shape_mismatch;
inline constexpr auto unsupported = resect::errc::unsupported;

// A model of 2 layers, width 8, 4 heads of 2 over 2 key-value heads, feed-forward 6, 5 tokens. Weights
// count upwards through the whole model, so that no two are alike.
class counting_weights {
 public:
  std::vector<float> next(std::size_t n) {
    std::vector<float> out(n);
    for (float& x : out) x = static_cast<float>(count_++) / 64;
    return out;
  }

 private:
  int count_ = 0;
};

struct small_layer_names {
  std::string_view attn_norm, q, k, v, o, mlp_norm, gate, up, down;
};
inline constexpr small_layer_names gguf_layer_names = {"attn_norm", "attn_q",   "attn_k", "attn_v",  "attn_output",
                                                "ffn_norm",  "ffn_gate", "ffn_up", "ffn_down"};

// Calls add(name, rows, cols, weights); rows == 0 for a norm.
template <class Add>
void for_each_tensor(std::string_view embed, std::string_view layer, const small_layer_names& n, std::string_view norm,
                     Add add) {
  counting_weights weights;
  const auto put = [&](std::string name, std::size_t rows, std::size_t cols) {
    add(std::move(name), rows, cols, weights.next((rows == 0 ? 1 : rows) * cols));
  };
  put(std::string{embed}, 5, 8);
  for (int i = 0; i < 2; ++i) {
    const std::string prefix = std::string{layer} + std::to_string(i) + '.';
    const auto named = [&](std::string_view suffix) { return prefix + std::string{suffix} + ".weight"; };
    put(named(n.attn_norm), 0, 8);
    put(named(n.q), 8, 8);
    put(named(n.k), 4, 8);
    put(named(n.v), 4, 8);
    put(named(n.o), 8, 8);
    put(named(n.mlp_norm), 0, 8);
    put(named(n.gate), 6, 8);
    put(named(n.up), 6, 8);
    put(named(n.down), 8, 6);
  }
  put(std::string{norm}, 0, 8);
}

inline gguf_writer small_gguf() {
  gguf_writer w;
  w.add_string("general.architecture", "llama").add_string("general.name", "small");
  w.add_u32("llama.block_count", 2).add_u32("llama.embedding_length", 8).add_u32("llama.feed_forward_length", 6);
  w.add_u32("llama.attention.head_count", 4).add_u32("llama.attention.head_count_kv", 2);
  w.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-6f).add_f32("llama.rope.freq_base", 500.0f);
  w.add_u32("llama.rope.dimension_count", 2).add_u32("llama.context_length", 64).add_u32("llama.vocab_size", 5);
  w.add_strings("tokenizer.ggml.tokens", {"a", "b", "c", "d", "e"});
  w.add_bool("tokenizer.ggml.add_bos_token", true).add_u32("tokenizer.ggml.bos_token_id", 3);
  for_each_tensor("token_embd.weight", "blk.", gguf_layer_names, "output_norm.weight",
                  [&](std::string name, std::size_t rows, std::size_t cols, const auto& values) {
                    if (rows == 0) w.add_floats(std::move(name), {cols}, values);
                    else w.add_floats(std::move(name), {cols, rows}, values);
                  });
  return w;
}

inline safetensors_writer small_safetensors() {
  safetensors_writer w;
  for_each_tensor("model.embed_tokens.weight", "model.layers.",
                  {"input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                   "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
                  "model.norm.weight", [&](std::string name, std::size_t rows, std::size_t cols, const auto& values) {
                    if (rows == 0) w.add_floats(std::move(name), {cols}, values);
                    else w.add_floats(std::move(name), {rows, cols}, values);
                  });
  return w;
}

inline nlohmann::json small_config() {
  return {{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}, {"hidden_act", "silu"},
          {"num_hidden_layers", 2}, {"hidden_size", 8}, {"intermediate_size", 6}, {"num_attention_heads", 4},
          {"num_key_value_heads", 2}, {"vocab_size", 5}, {"max_position_embeddings", 64}, {"rms_norm_eps", 1e-6},
          {"rope_theta", 500.0}, {"tie_word_embeddings", true}, {"bos_token_id", 3}, {"rope_scaling", nullptr}};
}

inline resect::result<llama_model> load(const gguf_writer& w) {
  const temporary_folder folder;
  return try_load_llama(folder.write("model.gguf", w.bytes()));
}

inline resect::result<llama_model> load(const safetensors_writer& w, const nlohmann::json& config,
                                        std::string_view tokenizer = {}) {
  const temporary_folder folder;
  folder.write("model.safetensors", w.bytes());
  folder.write("config.json", config.dump());
  if (!tokenizer.empty()) folder.write("tokenizer_config.json", tokenizer);
  return try_load_llama(folder.path());
}

inline gguf_writer::tensor& tensor_of(gguf_writer& w, std::string_view name) {
  for (auto& t : w.tensors)
    if (t.name == name) return t;
  FAIL("no tensor " << name);
  return w.tensors[0];
}

}  // namespace hosts::testing
