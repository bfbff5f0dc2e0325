// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <hosts/llama/assemble.hpp>
#include <hosts/llama/load.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <resect/io/gguf.hpp>
#include <resect/io/json.hpp>
#include <resect/io/safetensors.hpp>
#include <support/byte_writer.hpp>
#include <support/expect_error.hpp>
#include <support/hostile_bytes.hpp>
#include <support/write_gguf.hpp>
#include <support/write_safetensors.hpp>

#include "temporary.hpp"

using namespace hosts;
using hosts::testing::temporary_folder;
using resect::io::ggml_type;
using resect::io::gguf_kind;
using support::byte_writer;
using support::expect_error;
using support::gguf_writer;
using support::safetensors_writer;

namespace {

constexpr auto invalid = resect::errc::invalid_argument;
constexpr auto malformed = resect::errc::malformed;
constexpr auto mismatch = resect::errc::shape_mismatch;
constexpr auto unsupported = resect::errc::unsupported;

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
constexpr small_layer_names gguf_layer_names = {"attn_norm", "attn_q",   "attn_k", "attn_v",  "attn_output",
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

gguf_writer small_gguf() {
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

safetensors_writer small_safetensors() {
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

nlohmann::json small_config() {
  return {{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}, {"hidden_act", "silu"},
          {"num_hidden_layers", 2}, {"hidden_size", 8}, {"intermediate_size", 6}, {"num_attention_heads", 4},
          {"num_key_value_heads", 2}, {"vocab_size", 5}, {"max_position_embeddings", 64}, {"rms_norm_eps", 1e-6},
          {"rope_theta", 500.0}, {"tie_word_embeddings", true}, {"bos_token_id", 3}, {"rope_scaling", nullptr}};
}

resect::result<llama_model> load(const gguf_writer& w) {
  const temporary_folder folder;
  return try_load_llama(folder.write("model.gguf", w.bytes()));
}

resect::result<llama_model> load(const safetensors_writer& w, const nlohmann::json& config,
                                 std::string_view tokenizer = {}) {
  const temporary_folder folder;
  folder.write("model.safetensors", w.bytes());
  folder.write("config.json", config.dump());
  if (!tokenizer.empty()) folder.write("tokenizer_config.json", tokenizer);
  return try_load_llama(folder.path());
}

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

gguf_writer::tensor& tensor_of(gguf_writer& w, std::string_view name) {
  for (auto& t : w.tensors)
    if (t.name == name) return t;
  FAIL("no tensor " << name);
  return w.tensors[0];
}

void check_weights(const llama_model& m) {
  REQUIRE(m.layers.size() == 2);
  CHECK((m.embed.rows == 5 && m.embed.cols == 8));
  CHECK(m.embed.data[1] == 1.0f / 64);
  const llama_layer& l = m.layers[1];
  CHECK((l.attn_norm.rows == 1 && l.attn_norm.cols == 8));
  CHECK((l.q.rows == 8 && l.k.rows == 4 && l.v.rows == 4 && l.o.cols == 8));
  CHECK((l.gate.rows == 6 && l.gate.cols == 8 && l.down.rows == 8 && l.down.cols == 6));
  CHECK(l.attn_norm.data[0] == 392.0f / 64);  // 40 + 352 for a layer
  CHECK(l.q.view()(1, 2) == (400.0f + 10) / 64);
  CHECK(l.down.view()(7, 5) == 743.0f / 64);
  CHECK(m.norm.data[7] == 751.0f / 64);
  CHECK(m.head.empty());
  CHECK(&m.output() == &m.embed);
}

}  // namespace

TEST_CASE("a GGUF model loads", "[hosts][load]") {
  const auto m = load(small_gguf());
  REQUIRE(m);
  check_weights(*m);
  const llama_config& c = m->config;
  CHECK(m->name == "small");
  CHECK((c.n_layers == 2 && c.d_model == 8 && c.d_ff == 6 && c.n_heads == 4 && c.n_kv_heads == 2 && c.head_dim == 2));
  CHECK((c.n_vocab == 5 && c.context == 64 && c.rms_eps == 1e-6f && c.rope_theta == 500.0f && c.bos == 3));
  CHECK(c.rope == rope_layout::interleaved);
}

TEST_CASE("a safetensors model loads", "[hosts][load]") {
  const auto m = load(small_safetensors(), small_config());
  REQUIRE(m);
  check_weights(*m);
  const llama_config& c = m->config;
  CHECK(m->name.starts_with("resect-hosts-"));
  CHECK((c.n_layers == 2 && c.d_model == 8 && c.d_ff == 6 && c.n_heads == 4 && c.n_kv_heads == 2 && c.head_dim == 2));
  CHECK((c.n_vocab == 5 && c.context == 64 && c.rms_eps == 1e-6f && c.rope_theta == 500.0f && c.bos == -1));
  CHECK(c.rope == rope_layout::half);
}

TEST_CASE("the fingerprint follows names, types, shapes and bytes, not the order in the file", "[hosts][load]") {
  const std::uint64_t base = load(small_gguf())->fingerprint;
  CHECK(base != 0);
  CHECK(base == load(small_gguf())->fingerprint);
  gguf_writer reordered = small_gguf();
  std::swap(reordered.tensors[1], reordered.tensors[5]);
  CHECK(base == load(reordered)->fingerprint);
  gguf_writer changed = small_gguf();
  changed.tensors[3].bytes[2] ^= std::byte{1};
  CHECK(base != load(changed)->fingerprint);
  gguf_writer as_half = small_gguf();
  auto& norm = tensor_of(as_half, "output_norm.weight");
  norm.type = 1;
  norm.bytes.resize(16);
  CHECK(base != load(as_half)->fingerprint);
  CHECK(base != load(small_safetensors(), small_config())->fingerprint);
}

TEST_CASE("a model may have a head of its own", "[hosts][load]") {
  const std::vector<float> head(40, 2.0f);
  gguf_writer g = small_gguf();
  g.add_floats("output.weight", {8, 5}, head);
  const auto from_gguf = load(g);
  REQUIRE(from_gguf);
  CHECK(from_gguf->head.data == head);

  safetensors_writer s = small_safetensors();
  s.add_floats("lm_head.weight", {5, 8}, head);
  nlohmann::json config = small_config();
  expect_error(load(s, config), unsupported, {"'lm_head.weight'", "a head beside tie_word_embeddings"});
  config["tie_word_embeddings"] = false;
  const auto from_safetensors = load(s, config);
  REQUIRE(from_safetensors);
  CHECK(&from_safetensors->output() == &from_safetensors->head);
  expect_error(load(small_safetensors(), config), malformed, {"'lm_head.weight'", "no such tensor"});

  safetensors_writer copy = small_safetensors();
  copy.add("lm_head.weight", "F32", {5, 8}, copy.tensors[0].bytes);
  REQUIRE(load(copy, small_config()));
  CHECK(load(copy, small_config())->head.empty());
}

TEST_CASE("quantized weights are decoded", "[hosts][load]") {
  gguf_writer w = small_gguf();
  w.at("llama.embedding_length").payload = byte_writer{}.number(32u).bytes();
  w.at("llama.rope.dimension_count").payload = byte_writer{}.number(8u).bytes();
  w.tensors.clear();
  for_each_tensor("token_embd.weight", "blk.", gguf_layer_names, "output_norm.weight",
                  [&](std::string name, std::size_t rows, std::size_t cols, const auto&) {
                    if (name.ends_with("ffn_down.weight")) return w.add_floats(name, {6, 32}, std::vector<float>(192));
                    if (rows == 0) return w.add_floats(name, {32}, std::vector<float>(32));
                    rows = rows == 8 ? 32 : rows == 4 ? 16 : rows;
                    (void)cols;
                    byte_writer blocks;  // d = 0.5, codes 0 to 31
                    for (std::size_t r = 0; r < rows; ++r) {
                      blocks.number(std::uint16_t{0x3800});
                      for (std::uint8_t i = 0; i < 32; ++i) blocks.number(i);
                    }
                    return w.add_tensor(name, {32, rows}, ggml_type::q8_0, blocks.bytes());
                  });
  const auto m = load(w);
  REQUIRE(m);
  CHECK(m->embed.view()(4, 31) == 15.5f);
  CHECK(m->layers[1].k.view()(15, 3) == 1.5f);
}

TEST_CASE("a text begins with a BOS where the files say so", "[hosts][load]") {
  gguf_writer w = small_gguf();
  w.remove("tokenizer.ggml.add_bos_token");
  CHECK(load(w)->config.bos == -1);
  w.add_string("tokenizer.ggml.model", "llama");
  CHECK(load(w)->config.bos == 3);
  w.add_bool("tokenizer.ggml.add_bos_token", false);
  CHECK(load(w)->config.bos == -1);
  w.at("tokenizer.ggml.add_bos_token").payload = {std::byte{1}};
  w.remove("tokenizer.ggml.bos_token_id");
  expect_error(load(w), malformed, {"'tokenizer.ggml.bos_token_id'", "no such key"});
  w.add_u32("tokenizer.ggml.bos_token_id", 5);
  expect_error(load(w), invalid, {"begin-of-text token", "got 5", "less than 5"});

  nlohmann::json config = small_config();
  CHECK(load(small_safetensors(), config, R"({"add_bos_token": true})")->config.bos == 3);
  CHECK(load(small_safetensors(), config, R"({"add_bos_token": false})")->config.bos == -1);
  config["bos_token_id"] = nullptr;
  expect_error(load(small_safetensors(), config, R"({"add_bos_token": true})"), malformed, {"'bos_token_id'"});
  expect_error(load(small_safetensors(), config, "{"), malformed, {"tokenizer_config.json", "a JSON error"});
}

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

TEST_CASE("config.json leaves some keys to the format's defaults", "[hosts][load]") {
  nlohmann::json config = small_config();
  config.erase("rope_theta");
  config.erase("rms_norm_eps");
  config.erase("max_position_embeddings");
  const auto m = load(small_safetensors(), config);
  REQUIRE(m);
  CHECK((m->config.rope_theta == 10000.0f && m->config.rms_eps == 1e-6f && m->config.context == 0));
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 7}};
  CHECK(load(small_safetensors(), config)->config.rope_theta == 7.0f);
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

TEST_CASE("the small trained model loads", "[hosts][load]") {
  const std::string folder = RESECT_SOURCE_DIR "/examples/models/tiny";
  const auto m = try_load_llama(folder);
  INFO((m ? "" : m.error().message().c_str()));
  REQUIRE(m);
  CHECK(m->name == "tiny");
  CHECK(m->config.bos == -1);
  CHECK(m->config.rope == rope_layout::half);
  CHECK(m->head.empty());
  CHECK(m->embed.rows == m->config.n_vocab);
}
