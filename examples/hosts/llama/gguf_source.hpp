// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <hosts/llama/source.hpp>
#include <resect/io/gguf_contents.hpp>

namespace hosts {
namespace detail {

inline constexpr llama_names gguf_names = {
    .embed = "token_embd.weight",
    .norm = "output_norm.weight",
    .head = "output.weight",
    .layer_prefix = "blk.",
    .attn_norm = "attn_norm.weight",
    .q = "attn_q.weight",
    .k = "attn_k.weight",
    .v = "attn_v.weight",
    .o = "attn_output.weight",
    .mlp_norm = "ffn_norm.weight",
    .gate = "ffn_gate.weight",
    .up = "ffn_up.weight",
    .down = "ffn_down.weight",
};

class gguf_config_reader : public number_checks {
 public:
  explicit gguf_config_reader(const resect::io::gguf_contents& file) : file_(file) {}

  llama_config read() {
    check_kind();
    check_known_keys();
    llama_config c;
    c.rope = rope_layout::interleaved;
    c.n_layers = integer("llama.block_count", most_layers);
    c.d_model = integer("llama.embedding_length", most_width);
    c.d_ff = integer("llama.feed_forward_length", most_width);
    c.n_heads = integer("llama.attention.head_count", most_heads);
    c.n_kv_heads = integer_or("llama.attention.head_count_kv", most_heads, c.n_heads);
    c.context = integer_or("llama.context_length", most_context, 0);
    c.rms_eps = positive_or("llama.attention.layer_norm_rms_epsilon", 1, std::nullopt);
    c.rope_theta = positive_or("llama.rope.freq_base", 1e12, 10000.0);
    c.head_dim = integer_or("llama.attention.key_length", most_width, 0);
    if (c.head_dim == 0) c.head_dim = even_share(*this, c.d_model, c.n_heads);
    same("llama.attention.value_length", c.head_dim);
    same("llama.rope.dimension_count", c.head_dim);
    c.n_vocab = vocabulary_size();
    c.bos = begin_of_text();
    return c;
  }

 private:
  template <class T>
  std::optional<T> take(const resect::result<std::optional<T>>& found) {
    if (found) return *found;
    fail(found.error());
    return {};
  }
  static resect::short_text<120> operand(std::string_view key) { return resect::text("metadata ", shown(key).view()); }
  void refuse(std::string_view key, resect::short_text<120> got, std::string_view wanted) {
    fail({resect::errc::unsupported, operand(key), got, wanted});
  }

  void check_kind() {
    constexpr std::string_view key = "general.architecture";
    if (const auto architecture = file_.get_string(key); !architecture) fail(architecture.error());
    else if (*architecture != "llama") refuse(key, shown(*architecture).view(), "'llama'");
    if (take(file_.find_u64("split.count")).value_or(1) > 1)
      refuse("split.count", "a part of a split model", "one file");
  }

  // A key of the architecture that is not known here may change what the model computes.
  void check_known_keys() {
    constexpr std::array<std::string_view, 15> known = {
        "llama.block_count",       "llama.embedding_length",      "llama.feed_forward_length",
        "llama.attention.head_count", "llama.attention.head_count_kv", "llama.attention.layer_norm_rms_epsilon",
        "llama.attention.key_length", "llama.attention.value_length",  "llama.rope.freq_base",
        "llama.rope.dimension_count", "llama.rope.scaling.type",       "llama.context_length",
        "llama.vocab_size",        "llama.expert_count",          "llama.expert_used_count"};
    if (const auto scaling = take(file_.find_string("llama.rope.scaling.type")); scaling && *scaling != "none")
      refuse("llama.rope.scaling.type", shown(*scaling).view(), "'none': scaled rotary embedding is not implemented");
    if (take(file_.find_u64("llama.expert_count")).value_or(0) > 0)
      refuse("llama.expert_count", "a mixture of experts", "a dense model");
    for (const resect::io::gguf_value& entry : file_.metadata())
      if (entry.key.starts_with("llama.") && std::ranges::find(known, entry.key) == known.end()) {
        const bool scaling = entry.key.starts_with("llama.rope.scal");
        refuse(entry.key, "a key that this loader does not know",
               scaling ? "no scaling of rotary embedding" : "a plain Llama model");
      }
  }

  int integer(std::string_view key, int most) {
    const auto value = file_.get_u64(key);
    if (value) return bounded(operand(key).view(), *value, 1, most);
    fail(value.error());
    return 1;
  }
  int integer_or(std::string_view key, int most, int fallback) {
    const auto value = take(file_.find_u64(key));
    return value ? bounded(operand(key).view(), *value, 1, most) : fallback;
  }
  float positive_or(std::string_view key, double most, std::optional<double> fallback) {
    if (file_.find_value(key) == nullptr && fallback) return static_cast<float>(*fallback);
    const auto value = file_.get_f64(key);
    if (value) return positive(operand(key).view(), *value, most);
    fail(value.error());
    return 1;
  }
  void same(std::string_view key, int wanted) {
    const auto value = take(file_.find_u64(key));
    if (value && *value != static_cast<std::uint64_t>(wanted))
      refuse(key, resect::text(*value), resect::text(wanted, ", the size of a head").view());
  }

  // The embedding's rows; whatever else the file says of it has to agree.
  int vocabulary_size() {
    const resect::io::gguf_tensor* embed = file_.find(gguf_names.embed);
    if (embed == nullptr) {
      fail({resect::errc::malformed, resect::text("tensor ", shown(gguf_names.embed).view()), "no such tensor", "one"});
      return 1;
    }
    const int n = bounded("rows of the embedding", static_cast<std::uint64_t>(embed->extents[1]), 1, most_tokens);
    for (const auto& [key, size] :
         {std::pair{"llama.vocab_size", take(file_.find_u64("llama.vocab_size"))},
          std::pair{"tokenizer.ggml.tokens", take(file_.find_array_size("tokenizer.ggml.tokens"))}})
      if (size && *size != static_cast<std::uint64_t>(n))
        fail({resect::errc::shape_mismatch, operand(key), resect::text(*size, " tokens"),
              resect::text(n, ", the rows of the embedding")});
    return n;
  }

  int begin_of_text() {
    const bool wanted = take(file_.find_bool("tokenizer.ggml.add_bos_token")).value_or(begins_by_default());
    if (!wanted) return -1;
    const auto id = file_.get_u64("tokenizer.ggml.bos_token_id");
    if (id) return bounded(operand("tokenizer.ggml.bos_token_id").view(), *id, 0, most_tokens);
    fail(id.error());
    return -1;
  }

  // What llama.cpp does for the tokenizers of Llama 1 to 3 where a file leaves it open.
  bool begins_by_default() {
    const std::string_view model = take(file_.find_string("tokenizer.ggml.model")).value_or("");
    const std::string_view splitter = take(file_.find_string("tokenizer.ggml.pre")).value_or("");
    return model == "llama" ||
           (model == "gpt2" && (splitter == "llama3" || splitter == "llama-v3" || splitter == "llama-bpe"));
  }

  const resect::io::gguf_contents& file_;
};

}  // namespace detail

// The Llama model that a GGUF file holds. The file's bytes have to outlive what is returned.
inline resect::result<llama_source> try_llama_source(const resect::io::gguf_contents& file) {
  detail::gguf_config_reader reader{file};
  llama_source source;
  source.names = detail::gguf_names;
  source.config = reader.read();
  if (reader.failure()) return *reader.failure();
  source.tied = file.find(source.names.head) == nullptr;
  if (const auto name = file.find_string("general.name"); name && *name) source.name = **name;
  for (const resect::io::gguf_tensor& tensor : file.tensors()) {
    stored_tensor& stored = source.tensors.emplace_back();
    stored.name = tensor.name;
    stored.type = tensor.type;
    stored.type_name = resect::io::find_ggml_block(static_cast<std::uint32_t>(tensor.type))->name;
    for (int d = tensor.n_dims; d-- > 0;) stored.extents.push_back(tensor.extents[static_cast<std::size_t>(d)]);
    stored.bytes = tensor.bytes;
  }
  return resect::result<llama_source>{std::move(source)};
}

}  // namespace hosts
