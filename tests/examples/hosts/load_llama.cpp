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
