// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <hosts/llama/assemble.hpp>
#include <resect/io/gguf.hpp>
#include <resect/io/json.hpp>
#include <resect/io/safetensors.hpp>
#include <support/byte_writer.hpp>
#include <support/expect_error.hpp>
#include <support/hostile_bytes.hpp>

#include "small_llama.hpp"

using namespace hosts;
using namespace hosts::testing;
using resect::io::gguf_kind;
using support::byte_writer;
using support::expect_error;

namespace {

void refuses_gguf(const std::function<void(gguf_writer&)>& spoil, resect::errc code,
                  std::initializer_list<std::string_view> texts) {
  gguf_writer w = small_gguf();
  spoil(w);
  expect_error(load(w), code, texts);
}

void refuses_config(std::string_view key, const nlohmann::json& value, resect::errc code,
                    std::initializer_list<std::string_view> texts) {
  nlohmann::json config = small_config();
  config[std::string{key}] = value;
  INFO(key << " = " << value);
  expect_error(load(small_safetensors(), config), code, texts);
}

}  // namespace

TEST_CASE("GGUF configs that do not fit are refused by key", "[hosts][load]") {
  const auto u32 = [](std::string key, std::uint32_t value) {
    return [=](gguf_writer& w) {
      w.remove(key);
      w.add_u32(key, value);
    };
  };
  const auto f32 = [](std::string key, float value) {
    return [=](gguf_writer& w) {
      w.remove(key);
      w.add_f32(key, value);
    };
  };
  const auto without = [](std::string key) { return [=](gguf_writer& w) { w.remove(key); }; };
  for (const std::string key : {"llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
                                "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon"})
    refuses_gguf(without(key), malformed, {"'" + key + "'", "no such key"});
  for (const std::string key : {"llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
                                "llama.attention.head_count", "llama.attention.head_count_kv"}) {
    refuses_gguf(u32(key, 0), invalid, {"'" + key + "'", "got 0", "wanted 1 to"});
    refuses_gguf(u32(key, 0xffffffff), invalid, {"'" + key + "'", "got 4294967295"});
    refuses_gguf(f32(key, 2), malformed, {"'" + key + "'", "got f32", "an integer"});
  }
  refuses_gguf(without("general.architecture"), malformed, {"'general.architecture'"});
  refuses_gguf([](auto& w) { w.at("general.architecture").payload = byte_writer{}.string("gpt2").bytes(); },
               unsupported, {"'general.architecture'", "'gpt2'", "'llama'"});
  refuses_gguf(u32("llama.attention.head_count", 3), invalid, {"embedding width", "8 for 3"});
  refuses_gguf(u32("llama.attention.head_count_kv", 3), invalid, {"4 heads, 3 key-value heads"});
  refuses_gguf(u32("llama.attention.head_count_kv", 8), invalid, {"4 heads, 8 key-value heads"});
  refuses_gguf(u32("llama.attention.key_length", 3), unsupported,
               {"'llama.rope.dimension_count'", "got 2", "wanted 3"});
  refuses_gguf(u32("llama.attention.value_length", 4), unsupported, {"'llama.attention.value_length'", "got 4"});
  refuses_gguf(u32("llama.rope.dimension_count", 1), unsupported,
               {"'llama.rope.dimension_count'", "got 1", "wanted 2"});
  const auto heads_of_one = [&](gguf_writer& w) {
    u32("llama.attention.head_count", 8)(w);
    w.remove("llama.rope.dimension_count");
  };
  refuses_gguf(heads_of_one, invalid, {"head size", "got 1", "an even one"});
  refuses_gguf(u32("llama.context_length", 0), invalid, {"'llama.context_length'"});
  refuses_gguf(u32("llama.vocab_size", 6), mismatch, {"'llama.vocab_size'", "6 tokens", "5, the rows"});
  const auto one_token = [&](gguf_writer& w) {
    w.remove("tokenizer.ggml.tokens");
    w.add_strings("tokenizer.ggml.tokens", {"a"});
  };
  refuses_gguf(one_token, mismatch, {"'tokenizer.ggml.tokens'", "1 tokens"});
  for (const float eps : {0.0f, -1e-5f, 2.0f, std::numeric_limits<float>::quiet_NaN()})
    refuses_gguf(f32("llama.attention.layer_norm_rms_epsilon", eps), invalid, {"rms_epsilon'", "more than 0"});
  for (const float theta : {0.0f, -1.0f, 1e13f, std::numeric_limits<float>::infinity()})
    refuses_gguf(f32("llama.rope.freq_base", theta), invalid, {"'llama.rope.freq_base'", "more than 0"});
}

TEST_CASE("GGUF models that compute something else are refused", "[hosts][load]") {
  const auto scaling = [](std::string kind) {
    return [=](gguf_writer& w) { w.add_string("llama.rope.scaling.type", kind); };
  };
  refuses_gguf(scaling("linear"), unsupported, {"'llama.rope.scaling.type'", "'linear'", "not implemented"});
  refuses_gguf(scaling("yarn"), unsupported, {"'llama.rope.scaling.type'", "'yarn'"});
  const auto f32 = [](std::string key) { return [=](gguf_writer& w) { w.add_f32(key, 4); }; };
  refuses_gguf(f32("llama.rope.scaling.factor"), unsupported, {"'llama.rope.scaling.factor'", "no scaling"});
  refuses_gguf(f32("llama.rope.scale_linear"), unsupported, {"'llama.rope.scale_linear'", "no scaling"});
  refuses_gguf(f32("llama.logit_scale"), unsupported, {"'llama.logit_scale'", "does not know"});
  refuses_gguf([](auto& w) { w.add_u32("llama.expert_count", 8); }, unsupported, {"'llama.expert_count'", "mixture"});
  refuses_gguf([](auto& w) { w.add("split.count", gguf_kind::u16, std::uint16_t{2}); }, unsupported, {"'split.count'"});
  refuses_gguf([](auto& w) { w.add_floats("rope_freqs.weight", {1}, std::vector{1.0f}); }, unsupported,
               {"'rope_freqs.weight'", "scaled rotary frequencies"});
  refuses_gguf([](auto& w) { w.add_floats("blk.0.attn_q.bias", {8}, std::vector<float>(8)); }, unsupported,
               {"'blk.0.attn_q.bias'", "a bias"});
  refuses_gguf([](auto& w) { w.add_floats("blk.2.attn_norm.weight", {8}, std::vector<float>(8)); }, unsupported,
               {"'blk.2.attn_norm.weight'", "does not have"});
  gguf_writer plain = small_gguf();
  scaling("none")(plain);
  plain.add_u32("llama.expert_count", 0);
  CHECK(load(plain));
}

TEST_CASE("GGUF tensors that do not fit the config are refused by name", "[hosts][load]") {
  for (const auto& t : small_gguf().tensors) {
    INFO(t.name);
    gguf_writer w = small_gguf();
    std::erase_if(w.tensors, [&](const auto& other) { return other.name == t.name; });
    expect_error(load(w), malformed, {"'" + t.name + "'", "no such tensor"});
    if (t.name == "token_embd.weight") continue;
    w = small_gguf();
    auto& flat = tensor_of(w, t.name);
    flat.extents = {t.bytes.size() / 4, 1};
    expect_error(load(w), mismatch, {"'" + t.name + "'", "got 1 x " + std::to_string(t.bytes.size() / 4)});
  }
  refuses_gguf([](auto& w) { tensor_of(w, "blk.1.ffn_up.weight").extents = {6, 8}; }, mismatch,
               {"'blk.1.ffn_up.weight'", "got 8 x 6", "wanted 6 x 8"});
  refuses_gguf([](auto& w) { tensor_of(w, "blk.0.attn_k.weight").extents = {8, 2, 2}; }, mismatch,
               {"'blk.0.attn_k.weight'", "got 2 x 2 x 8", "wanted 4 x 8"});
  refuses_gguf([](auto& w) { tensor_of(w, "token_embd.weight").extents = {5, 8}; }, mismatch, {"8"});
}

TEST_CASE("weights that are not finite are refused by place", "[hosts][load]") {
  const auto put = [](std::string name, std::size_t element, std::uint32_t bits) {
    return [=](gguf_writer& w) {
      const auto bytes = byte_writer{}.number(bits).bytes();
      std::copy(bytes.begin(), bytes.end(), tensor_of(w, name).bytes.data() + 4 * element);
    };
  };
  const auto not_finite = resect::errc::not_finite;
  refuses_gguf(put("blk.1.attn_v.weight", 31, 0x7fc00000), not_finite, {"'blk.1.attn_v.weight'", "NaN at element 31"});
  refuses_gguf(put("token_embd.weight", 0, 0xff800000), not_finite, {"'token_embd.weight'", "infinity at element 0"});
  refuses_gguf(put("output_norm.weight", 7, 0x7f800001), not_finite, {"'output_norm.weight'", "NaN at element 7"});
}

TEST_CASE("config.json that does not fit is refused by key", "[hosts][load]") {
  for (const std::string key :
       {"num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size"}) {
    refuses_config(key, nullptr, malformed, {"'" + key + "'", "no such key"});
    refuses_config(key, 0, invalid, {"'" + key + "'", "got 0"});
    refuses_config(key, -2, invalid, {"'" + key + "'", "'-2'", "an integer"});
    refuses_config(key, 2.5, invalid, {"'" + key + "'", "'2.5'", "an integer"});
    refuses_config(key, 1e300, invalid, {"'" + key + "'", "'1e+300'"});
    refuses_config(key, 1ull << 63, invalid, {"'" + key + "'", "9223372036854775808"});
    refuses_config(key, "2", malformed, {"'" + key + "'", "got string", "an integer"});
  }
  refuses_config("model_type", "mistral", unsupported, {"'model_type'", "'mistral'", "'llama'"});
  refuses_config("model_type", 3, malformed, {"'model_type'", "got number"});
  refuses_config("hidden_act", "gelu", unsupported, {"'hidden_act'", "'gelu'", "'silu'"});
  refuses_config("num_key_value_heads", 3, invalid, {"4 heads, 3 key-value heads"});
  refuses_config("num_attention_heads", 3, invalid, {"embedding width", "8 for 3"});
  refuses_config("head_dim", 3, invalid, {"head size", "got 3"});
  refuses_config("head_dim", 4, mismatch, {"'model.layers.0.self_attn.q_proj.weight'", "got 8 x 8", "wanted 16 x 8"});
  refuses_config("vocab_size", 6, mismatch, {"'model.embed_tokens.weight'", "got 5 x 8", "wanted 6 x 8"});
  refuses_config("num_hidden_layers", 3, malformed, {"'model.layers.2.input_layernorm.weight'", "no such tensor"});
  refuses_config("num_hidden_layers", 1, unsupported, {"'model.layers.1.", "does not have"});
  refuses_config("rms_norm_eps", 0, invalid, {"'rms_norm_eps'", "more than 0"});
  refuses_config("rms_norm_eps", 1e-60, invalid, {"'rms_norm_eps'", "more than 0"});
  refuses_config("rms_norm_eps", "x", malformed, {"'rms_norm_eps'", "a number"});
  refuses_config("rope_theta", -1, invalid, {"'rope_theta'"});
  refuses_config("rope_scaling", {{"type", "linear"}}, unsupported, {"'rope_scaling'", "got object", "null"});
  refuses_config("quantization_config", nlohmann::json::object(), unsupported, {"'quantization_config'"});
  refuses_config("attention_bias", true, unsupported, {"'attention_bias'", "biases"});
  refuses_config("mlp_bias", true, unsupported, {"'mlp_bias'"});
  refuses_config("mlp_bias", 1, malformed, {"'mlp_bias'", "a bool"});
  refuses_config("tie_word_embeddings", "yes", malformed, {"'tie_word_embeddings'", "a bool"});
  refuses_config("partial_rotary_factor", 0.5, unsupported, {"'partial_rotary_factor'", "got 0.5"});
  refuses_config("rope_parameters", {{"rope_type", "yarn"}}, unsupported, {"'rope_parameters'", "'rope_type'"});
  refuses_config("rope_parameters", {{"factor", 2}}, unsupported, {"'rope_parameters'", "'factor'"});
  refuses_config("rope_parameters", {{"rope_theta", 7}}, unsupported, {"'rope_parameters'", "two different"});
  refuses_config("rope_parameters", 3, malformed, {"'rope_parameters'", "an object"});
}

TEST_CASE("safetensors models with other tensors are refused by name", "[hosts][load]") {
  safetensors_writer biased = small_safetensors();
  biased.add_floats("model.layers.0.self_attn.q_proj.bias", {8}, std::vector<float>(8));
  expect_error(load(biased, small_config()), unsupported, {"q_proj.bias'", "a bias"});
  safetensors_writer whole = small_safetensors();
  whole.tensors[2].dtype = "I32";
  expect_error(load(whole, small_config()), unsupported, {"'model.layers.0.self_attn.q_proj.weight'", "I32", "BF16"});
  safetensors_writer table = small_safetensors();
  table.add_floats("model.layers.0.self_attn.rotary_emb.inv_freq", {1}, std::vector{1.0f});
  CHECK(load(table, small_config()));
}

TEST_CASE("what is no model is refused by path", "[hosts][load]") {
  const temporary_folder folder;
  const auto io = resect::errc::io;
  expect_error(try_load_llama(folder / "none.gguf"), io, {"none.gguf", "No such file"});
  expect_error(try_load_llama(folder.path()), io, {"config.json", "No such file"});
  folder.write("config.json", small_config().dump());
  expect_error(try_load_llama(folder.path()), io, {"model.safetensors", "No such file"});
  folder.write("model.safetensors.index.json", "{}");
  expect_error(try_load_llama(folder.path()), unsupported, {"a model in several files"});
  expect_error(try_load_llama(folder.write("model.safetensors", "x")), invalid, {"one safetensors file", "the folder"});
  expect_error(try_load_llama(folder.path()), malformed, {"safetensors header", "1 bytes"});
  expect_error(try_load_llama(folder.write("text.gguf", "not a model")), malformed, {"GGUF magic", "'not '"});
}

TEST_CASE("mutated models never crash the loader", "[hosts][load]") {
  const auto file = small_gguf().bytes();
  std::size_t loaded = 0;
  const std::size_t read = support::parse_mutations(file, 20'000, 3, [&](std::span<const std::byte> bytes) {
    const auto parsed = resect::io::try_read_gguf(bytes);
    if (!parsed) return false;
    const auto source = try_llama_source(*parsed);
    if (source && detail::llama_assembler{*source}.assemble()) ++loaded;
    return true;
  });
  CHECK(loaded > 0);
  CHECK(loaded < read);
}

TEST_CASE("mutated configs never crash the loader", "[hosts][load]") {
  const auto weights = small_safetensors().bytes();
  const auto file = resect::io::try_read_safetensors(weights);
  REQUIRE(file);
  nlohmann::json config = small_config();
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500.0}};
  const std::string text = config.dump();
  const nlohmann::json tokenizer = {{"add_bos_token", true}};
  std::size_t loaded = 0;
  const auto bytes = as_bytes(text);
  const std::size_t read = support::parse_mutations({bytes.begin(), bytes.end()}, 10'000, 4, [&](auto changed) {
    const auto parsed = resect::io::try_parse_json(as_text(changed), "config.json");
    if (!parsed) return false;
    const auto source = try_llama_source(*file, *parsed, tokenizer);
    if (source && detail::llama_assembler{*source}.assemble()) ++loaded;
    return true;
  });
  CHECK(loaded > 0);
  CHECK(loaded < read);
}
