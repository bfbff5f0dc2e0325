// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <support/byte_writer.hpp>
#include <support/expect_error.hpp>

#include "small_llama.hpp"

using namespace hosts;
using namespace hosts::testing;
using resect::io::ggml_type;
using support::byte_writer;
using support::expect_error;

namespace {

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

TEST_CASE("where a GGUF file leaves the BOS open, its kind of tokenizer decides as in llama.cpp", "[hosts][load]") {
  gguf_writer w = small_gguf();
  w.remove("tokenizer.ggml.add_bos_token");
  CHECK(load(w)->config.bos_rule == "the file brings no tokenizer");
  const auto bos = [&](std::string_view model, std::string_view pre) {
    w.remove("tokenizer.ggml.model");
    w.remove("tokenizer.ggml.pre");
    w.add_string("tokenizer.ggml.model", model);
    if (!pre.empty()) w.add_string("tokenizer.ggml.pre", pre);
    return load(w)->config.bos;
  };
  CHECK(bos("llama", "") == 3);
  CHECK(bos("llama", "default") == 3);
  CHECK(bos("bert", "") == 3);
  for (const char* model : {"t5", "rwkv", "none"}) CHECK(bos(model, "") == -1);
  for (const char* pre : {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
                          "tekken", "chameleon", "jina-v5-nano"}) {
    INFO(pre);
    CHECK(bos("gpt2", pre) == 3);
    CHECK(bos("t5", pre) == -1);  // pre-tokenizers belong to byte-level BPE
  }
  for (const char* pre : {"", "default", "smollm", "gpt-2", "qwen2", "falcon", "llama4", "llama-bpe2"})
    CHECK(bos("gpt2", pre) == -1);
  CHECK(bos("gpt2", "tekken") == 3);
  CHECK(load(w)->config.bos_rule == "tokenizer.ggml.pre 'tekken' begins with one unless the file says otherwise");
  w.add_bool("tokenizer.ggml.add_bos_token", false);
  CHECK(load(w)->config.bos == -1);
  CHECK(load(w)->config.bos_rule == "tokenizer.ggml.add_bos_token is false");
}

namespace {

using nlohmann::json;

// A tokenizer.json whose post-processor puts the token <s> in front, with this id.
json template_of(int id) {
  const json single = {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                       {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}};
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {id}}, {"tokens", {"<s>"}}}}}}};
}
json tokenizer_of(const json& processor, const json& model = {{"type", "BPE"}}) {
  return {{"post_processor", processor}, {"model", model}, {"added_tokens", json::array()}};
}

// The decision on a folder with these files (null: not there).
llama_config start_of(const json& config, const json& tokenizer, bool sentencepiece = false,
                      const json& model = small_config()) {
  const temporary_folder folder;
  folder.write("model.safetensors", small_safetensors().bytes());
  folder.write("config.json", model.dump());
  if (!config.is_null()) folder.write("tokenizer_config.json", config.dump());
  if (!tokenizer.is_null()) folder.write("tokenizer.json", tokenizer.dump());
  if (sentencepiece) folder.write("tokenizer.model", "not read");
  const auto m = try_load_llama(folder.path());
  INFO((m ? "" : m.error().message().c_str()));
  REQUIRE(m);
  return m->config;
}

}  // namespace

TEST_CASE("a folder's BOS follows add_bos_token, the post-processor, then the class of the tokenizer",
          "[hosts][load]") {
  const json fast = {{"tokenizer_class", "PreTrainedTokenizerFast"}}, slow = {{"tokenizer_class", "LlamaTokenizer"}};
  const auto with = [](json config, bool add) {
    config["add_bos_token"] = add;
    return config;
  };
  const json puts = tokenizer_of(template_of(2)), silent = tokenizer_of(nullptr);
  // (tokenizer_config.json, tokenizer.json) → id
  CHECK(start_of(nullptr, nullptr).bos == -1);
  CHECK(start_of(slow, nullptr).bos == 3);
  CHECK(start_of(with(slow, true), nullptr).bos == 3);
  CHECK(start_of(with(slow, false), nullptr).bos == -1);
  CHECK(start_of(slow, silent).bos == 3);
  CHECK(start_of(fast, silent).bos == -1);
  CHECK(start_of(fast, puts).bos == 2);  // the id that stands there, whatever config.json says
  CHECK(start_of(nullptr, puts).bos == 2);
  CHECK(start_of(with(fast, true), silent).bos == 3);
  const auto contradicted = start_of(with(fast, false), puts);
  CHECK(contradicted.bos == -1);
  CHECK(contradicted.bos_rule ==
        "tokenizer_config.json says add_bos_token false, though tokenizer.json puts a token in front");
  CHECK(start_of(fast, puts).bos_rule == "the post-processor of tokenizer.json puts it in front");
  CHECK(start_of({{"tokenizer_class", "GPT2Tokenizer"}}, nullptr).bos == -1);
  CHECK(start_of({{"tokenizer_class", "LlamaTokenizer"}, {"bos_token", nullptr}}, nullptr).bos == -1);
  json named = small_config();
  named["tokenizer_class"] = "LlamaTokenizerFast";
  CHECK(start_of(json::object(), nullptr, false, named).bos == 3);
}

TEST_CASE("SentencePiece begins with a BOS where nothing else is said, byte-level BPE does not", "[hosts][load]") {
  CHECK(start_of(nullptr, nullptr, true).bos == 3);
  CHECK(start_of(nullptr, tokenizer_of(nullptr, {{"type", "Unigram"}})).bos == 3);
  CHECK(start_of(nullptr, tokenizer_of(nullptr, {{"type", "BPE"}, {"byte_fallback", true}})).bos == 3);
  CHECK(start_of(nullptr, tokenizer_of(nullptr, {{"type", "BPE"}, {"byte_fallback", false}})).bos == -1);
  CHECK(start_of(nullptr, tokenizer_of(nullptr)).bos == -1);
}

TEST_CASE("post-processors of every form are read", "[hosts][load]") {
  const json byte_level = {{"type", "ByteLevel"}};
  json without = template_of(2);
  without["single"].erase(0);
  const auto bos = [](const json& processor) { return start_of(nullptr, tokenizer_of(processor)).bos; };
  CHECK(bos({{"type", "Sequence"}, {"processors", {byte_level, template_of(2)}}}) == 2);
  CHECK(bos({{"type", "Sequence"}, {"processors", {byte_level}}}) == -1);
  CHECK(bos(byte_level) == -1);
  CHECK(bos(without) == -1);
  CHECK(bos({{"type", "RobertaProcessing"}, {"sep", {"</s>", 4}}, {"cls", {"<s>", 1}}}) == 1);
}

TEST_CASE("the BOS's id is that of the tokenizer's bos_token, else config.json's", "[hosts][load]") {
  json config = {{"add_bos_token", true}, {"bos_token", "<s>"}};
  json tokenizer = tokenizer_of(nullptr);
  CHECK(start_of(config, tokenizer).bos == 3);  // the token is nowhere
  tokenizer["model"]["vocab"] = {{"a", 0}, {"<s>", 1}};
  CHECK(start_of(config, tokenizer).bos == 1);
  tokenizer["added_tokens"] = {{{"id", 4}, {"content", "<s>"}}};
  CHECK(start_of(config, tokenizer).bos == 4);
  config["bos_token"] = {{"content", "<s>"}};
  config["added_tokens_decoder"] = {{"2", {{"content", "<s>"}}}};
  CHECK(start_of(config, tokenizer).bos == 2);
  json model = small_config();
  model["bos_token_id"] = {1};
  CHECK(start_of({{"add_bos_token", true}}, nullptr, false, model).bos == 1);
  model["bos_token_id"] = {1, 2};
  expect_error(load(small_safetensors(), model, R"({"add_bos_token": true})"), malformed, {"'bos_token_id'", "array"});
  expect_error(load(small_safetensors(), small_config(), R"({"add_bos_token": "yes"})"), malformed,
               {"tokenizer_config.json 'add_bos_token'", "got string", "a bool"});
  const temporary_folder folder;
  folder.write("model.safetensors", small_safetensors().bytes());
  folder.write("config.json", small_config().dump());
  json two = template_of(2);
  two["single"].insert(two["single"].begin(), two["single"][0]);
  for (const json& bad : {two, json{{"type", "TemplateProcessing"}, {"single", {two["single"][0]}}}}) {
    folder.write("tokenizer.json", tokenizer_of(bad).dump());
    expect_error(try_load_llama(folder.path()), malformed, {"tokenizer.json 'post_processor'", "one token"});
  }
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
