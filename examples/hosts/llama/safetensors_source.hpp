// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <hosts/llama/source.hpp>
#include <resect/io/ggml_type.hpp>
#include <resect/io/safetensors_contents.hpp>

namespace hosts {
namespace detail {

inline constexpr llama_names safetensors_names = {
    .embed = "model.embed_tokens.weight",
    .norm = "model.norm.weight",
    .head = "lm_head.weight",
    .layer_prefix = "model.layers.",
    .attn_norm = "input_layernorm.weight",
    .q = "self_attn.q_proj.weight",
    .k = "self_attn.k_proj.weight",
    .v = "self_attn.v_proj.weight",
    .o = "self_attn.o_proj.weight",
    .mlp_norm = "post_attention_layernorm.weight",
    .gate = "mlp.gate_proj.weight",
    .up = "mlp.up_proj.weight",
    .down = "mlp.down_proj.weight",
};

class json_config_reader : public number_checks {
 public:
  using json = nlohmann::json;

  explicit json_config_reader(const json& config) : config_(config) {}

  llama_config read() {
    expect("model_type", "llama");
    expect("hidden_act", "silu");
    llama_config c;
    c.rope = rope_layout::half;
    c.n_layers = integer("num_hidden_layers", most_layers);
    c.d_model = integer("hidden_size", most_width);
    c.d_ff = integer("intermediate_size", most_width);
    c.n_heads = integer("num_attention_heads", most_heads);
    c.n_kv_heads = integer_or("num_key_value_heads", most_heads, c.n_heads);
    c.n_vocab = integer("vocab_size", most_tokens);
    c.context = integer_or("max_position_embeddings", most_context, 0);
    c.rms_eps = real(config_, "rms_norm_eps", 1).value_or(1e-6f);  // the format's default
    c.rope_theta = theta();
    c.head_dim = integer_or("head_dim", most_width, 0);
    if (c.head_dim == 0) c.head_dim = even_share(*this, c.d_model, c.n_heads);
    check_absent();
    return c;
  }

  bool tied() { return flag("tie_word_embeddings"); }

  int begin_of_text() {
    const json* value = find(config_, "bos_token_id");
    if (value != nullptr && value->is_number_unsigned())
      return bounded(operand("bos_token_id").view(), value->get<std::uint64_t>(), 0, most_tokens);
    wrong("bos_token_id", value, "an id: the tokenizer adds this token");
    return -1;
  }

 private:
  // Null and absent mean the same.
  static const json* find(const json& object, std::string_view key) {
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }
  static resect::short_text<120> operand(std::string_view key) {
    return resect::text("config.json ", shown(key).view());
  }
  void refuse(std::string_view key, resect::short_text<120> got, std::string_view wanted) {
    fail({resect::errc::unsupported, operand(key), got, wanted});
  }
  void wrong(std::string_view key, const json* value, std::string_view wanted) {
    const std::string_view got = value == nullptr ? "no such key" : value->type_name();
    fail({resect::errc::malformed, operand(key), got, wanted});
  }

  void expect(std::string_view key, std::string_view wanted) {
    const json* value = find(config_, key);
    if (value == nullptr) return;
    if (!value->is_string()) return wrong(key, value, "a string");
    const auto& text = value->get_ref<const std::string&>();
    if (text != wanted) refuse(key, shown(text).view(), shown(wanted).view());
  }

  std::optional<int> find_integer(std::string_view key, int most) {
    const json* value = find(config_, key);
    if (value == nullptr) return {};
    if (value->is_number_unsigned()) return bounded(operand(key).view(), value->get<std::uint64_t>(), 1, most);
    if (value->is_number())
      fail({resect::errc::invalid_argument, operand(key), shown(value->dump()).view(),
            resect::text("an integer, 1 to ", most)});
    else
      wrong(key, value, "an integer");
    return 1;
  }
  int integer_or(std::string_view key, int most, int fallback) { return find_integer(key, most).value_or(fallback); }
  int integer(std::string_view key, int most) {
    const auto value = find_integer(key, most);
    if (!value) wrong(key, nullptr, "a value");
    return value.value_or(1);
  }

  std::optional<float> real(const json& object, std::string_view key, double most) {
    const json* value = find(object, key);
    if (value == nullptr) return {};
    if (value->is_number()) return positive(operand(key).view(), value->get<double>(), most);
    wrong(key, value, "a number");
    return {};
  }

  bool flag(std::string_view key) {
    const json* value = find(config_, key);
    if (value == nullptr) return false;
    if (value->is_boolean()) return value->get<bool>();
    wrong(key, value, "a bool");
    return false;
  }

  // Either a key of its own or, in newer files, one of the rope_parameters.
  float theta() {
    constexpr double most = 1e12;
    std::optional<float> value = real(config_, "rope_theta", most);
    if (const json* rope = find(config_, "rope_parameters"); rope != nullptr) {
      if (!rope->is_object()) wrong("rope_parameters", rope, "an object");
      for (const auto& [key, parameter] : rope->items())
        if (key != "rope_theta" && !(key == "rope_type" && parameter == "default"))
          refuse("rope_parameters", shown(key).view(), "rope_theta, and rope_type 'default'");
      const auto newer = real(*rope, "rope_theta", most);
      if (value && newer && *value != *newer) refuse("rope_parameters", "two different values of rope_theta", "one");
      if (newer) value = newer;
    }
    return value.value_or(10000.0f);  // the format's default
  }

  void check_absent() {
    for (const std::string_view key : {"rope_scaling", "quantization_config"})
      if (const json* value = find(config_, key); value != nullptr)
        refuse(key, value->type_name(), "null: this loader does not implement it");
    for (const std::string_view key : {"attention_bias", "mlp_bias"})
      if (flag(key)) refuse(key, "true", "false: biases are not implemented");
    if (const auto part = real(config_, "partial_rotary_factor", 1); part && *part != 1.0f)
      refuse("partial_rotary_factor", resect::text(*part), "1: all of a head is turned");
  }

  const json& config_;
};

}  // namespace detail

// The Llama model that a safetensors file and its config.json make up. The file's bytes and `file` have to outlive what
// is returned.
// @param tokenizer  tokenizer_config.json, or null: its add_bos_token decides whether a text begins with a BOS
inline resect::result<llama_source> try_llama_source(const resect::io::safetensors_contents& file,
                                                     const nlohmann::json& config, const nlohmann::json& tokenizer) {
  detail::json_config_reader reader{config};
  llama_source source;
  source.names = detail::safetensors_names;
  source.config = reader.read();
  source.tied = reader.tied();
  if (tokenizer.is_object() && tokenizer.value("add_bos_token", nlohmann::json{}) == true)
    source.config.bos = reader.begin_of_text();
  if (reader.failure()) return *reader.failure();
  for (const resect::io::safetensor& tensor : file.tensors()) {
    const resect::io::ggml_block* block = resect::io::find_ggml_block(tensor.dtype);
    source.tensors.push_back({tensor.name, tensor.dtype, block != nullptr ? std::optional{block->type} : std::nullopt,
                              tensor.extents, tensor.bytes});
  }
  return resect::result<llama_source>{std::move(source)};
}

}  // namespace hosts
