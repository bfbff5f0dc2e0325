// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <hosts/json.hpp>
#include <hosts/llama/gguf_source.hpp>
#include <hosts/llama/model.hpp>
#include <hosts/llama/safetensors_source.hpp>
#include <hosts/llama/source.hpp>
#include <hosts/mapped_file.hpp>
#include <hosts/token_ids.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/result.hpp>
#include <resect/io/gguf.hpp>
#include <resect/io/safetensors.hpp>
#include <resect/quant/formats/ggml.hpp>

namespace hosts {
namespace detail {

// Makes a model from a source: first every name and shape is checked, then the weights are decoded one
// at a time, so that nothing is allocated for a file that does not fit its config.
class llama_assembler {
 public:
  explicit llama_assembler(const llama_source& source) : source_(source) {
    for (const stored_tensor& tensor : source.tensors) by_name_.emplace(tensor.name, &tensor);
  }

  resect::result<llama_model> assemble() {
    if (auto fits = check_fit(source_.config); !fits) return fits.error();
    llama_model model;
    model.name = source_.name;
    model.config = source_.config;
    for (const slot& s : slots(model))
      if (auto found = check(s); !found) return found.error();
    if (auto complete = check_unused(); !complete) return complete.error();
    resect::fingerprint seen;
    for (const slot& s : slots(model)) {
      const stored_tensor& tensor = *by_name_.at(s.name);
      if (auto decoded = decode(tensor, s); !decoded) return decoded.error();
      seen.add(tensor.name).add(tensor.type_name).add(static_cast<std::uint64_t>(tensor.extents.size()));
      for (const resect::index_t extent : tensor.extents) seen.add(static_cast<std::uint64_t>(extent));
      seen.add_bytes(tensor.bytes.data(), tensor.bytes.size());
    }
    model.fingerprint = seen.value();
    return resect::result<llama_model>{std::move(model)};
  }

 private:
  // Where a tensor goes and what it has to look like.
  struct slot {
    std::string name;
    matrix* target;
    resect::index_t rows, cols;
    bool is_norm;  // stored with one dimension
  };

  std::vector<slot> slots(llama_model& model) const {
    const llama_config& c = source_.config;
    const llama_names& n = source_.names;
    const resect::index_t q_rows = resect::index_t{c.n_heads} * c.head_dim;
    const resect::index_t kv_rows = resect::index_t{c.n_kv_heads} * c.head_dim;
    std::vector<slot> out;
    const auto norm = [&](std::string name, matrix& m) { out.push_back({std::move(name), &m, 1, c.d_model, true}); };
    const auto weight = [&](std::string name, matrix& m, resect::index_t rows, resect::index_t cols) {
      out.push_back({std::move(name), &m, rows, cols, false});
    };
    weight(std::string{n.embed}, model.embed, c.n_vocab, c.d_model);
    model.layers.resize(static_cast<std::size_t>(c.n_layers));
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
      llama_layer& layer = model.layers[i];
      const std::string prefix = std::string{n.layer_prefix} + std::to_string(i) + '.';
      const auto named = [&](std::string_view suffix) { return prefix + std::string{suffix}; };
      norm(named(n.attn_norm), layer.attn_norm);
      weight(named(n.q), layer.q, q_rows, c.d_model);
      weight(named(n.k), layer.k, kv_rows, c.d_model);
      weight(named(n.v), layer.v, kv_rows, c.d_model);
      weight(named(n.o), layer.o, c.d_model, q_rows);
      norm(named(n.mlp_norm), layer.mlp_norm);
      weight(named(n.gate), layer.gate, c.d_ff, c.d_model);
      weight(named(n.up), layer.up, c.d_ff, c.d_model);
      weight(named(n.down), layer.down, c.d_model, c.d_ff);
    }
    norm(std::string{n.norm}, model.norm);
    if (!source_.tied) weight(std::string{n.head}, model.head, c.n_vocab, c.d_model);
    return out;
  }

  static resect::short_text<120> operand(std::string_view name) { return resect::text("tensor ", shown(name).view()); }

  static resect::short_text<120> shape_text(const std::vector<resect::index_t>& extents) {
    resect::short_text<120> out;
    for (std::size_t d = 0; d < extents.size(); ++d) out.append(d == 0 ? "" : " x ").append(extents[d]);
    return extents.empty() ? "a single number" : out;
  }

  resect::status check(const slot& s) {
    const auto found = by_name_.find(s.name);
    if (found == by_name_.end())
      return resect::error{resect::errc::malformed, operand(s.name), "no such tensor", "one"};
    const stored_tensor& tensor = *found->second;
    const auto wanted = s.is_norm ? std::vector{s.cols} : std::vector{s.rows, s.cols};
    if (tensor.extents != wanted)
      return resect::error{resect::errc::shape_mismatch, operand(s.name), shape_text(tensor.extents),
                           shape_text(wanted)};
    if (!tensor.type)
      return resect::error{resect::errc::unsupported, operand(s.name), resect::text("dtype ", tensor.type_name),
                           "F32, F16 or BF16"};
    used_.insert(tensor.name);
    return {};
  }

  // A tensor that nothing uses may mean a model that computes something else.
  resect::status check_unused() const {
    for (const stored_tensor& tensor : source_.tensors) {
      if (used_.contains(tensor.name) || is_harmless(tensor)) continue;
      const auto refusal = [&](std::string_view got, std::string_view wanted) {
        return resect::error{resect::errc::unsupported, operand(tensor.name), got, wanted};
      };
      if (tensor.name == "rope_freqs.weight")
        return refusal("scaled rotary frequencies", "none: they are not implemented");
      if (tensor.name == source_.names.head)
        return refusal("a head beside tie_word_embeddings", "none, or a copy of the embedding");
      if (tensor.name.ends_with(".bias")) return refusal("a bias", "no biases: they are not implemented");
      return refusal("a tensor that a plain Llama model does not have", "no such tensor");
    }
    return {};
  }

  // Tables that follow from the config, and a tied head stored once more.
  bool is_harmless(const stored_tensor& tensor) const {
    if (tensor.name.ends_with(".self_attn.rotary_emb.inv_freq")) return true;
    if (tensor.name != source_.names.head) return false;
    const stored_tensor& embed = *by_name_.at(source_.names.embed);
    return tensor.type_name == embed.type_name && tensor.extents == embed.extents &&
           as_text(tensor.bytes) == as_text(embed.bytes);
  }

  static resect::status decode(const stored_tensor& tensor, const slot& s) {
    matrix decoded{s.rows, s.cols};
    if (auto done = resect::quant::try_dequantize(*tensor.type, tensor.bytes, decoded.data); !done)
      return resect::error{done.error().code, operand(tensor.name), done.error().got, done.error().wanted};
    for (std::size_t i = 0; i < decoded.data.size(); ++i)
      if (!std::isfinite(decoded.data[i]))
        return resect::error{resect::errc::not_finite, operand(tensor.name),
                             resect::text(std::isnan(decoded.data[i]) ? "NaN" : "infinity", " at element ", i),
                             "finite weights"};
    *s.target = std::move(decoded);
    return {};
  }

  const llama_source& source_;
  std::unordered_map<std::string_view, const stored_tensor*> by_name_;
  std::unordered_set<std::string_view> used_;
};

inline resect::result<llama_model> load_gguf(const std::filesystem::path& path) {
  const auto file = mapped_file::try_open(path.string());
  if (!file) return file.error();
  const auto contents = resect::io::try_read_gguf(file->bytes());
  if (!contents) return contents.error();
  auto source = try_llama_source(*contents);
  if (!source) return source.error();
  if (source->name.empty()) source->name = path.stem().string();
  return llama_assembler{*source}.assemble();
}

inline resect::result<llama_model> load_folder(const std::filesystem::path& folder) {
  std::error_code ignored;
  const auto config = try_read_json((folder / "config.json").string());
  if (!config) return config.error();
  resect::result<nlohmann::json> tokenizer{nlohmann::json{}};
  if (const auto path = folder / "tokenizer_config.json"; std::filesystem::exists(path, ignored)) {
    tokenizer = try_read_json(path.string());
    if (!tokenizer) return tokenizer.error();
  }
  const auto weights = folder / "model.safetensors";
  if (!std::filesystem::exists(weights, ignored) &&
      std::filesystem::exists(folder / "model.safetensors.index.json", ignored))
    return resect::error{resect::errc::unsupported, shown_path(folder.string()), "a model in several files",
                         "one model.safetensors"};
  const auto file = mapped_file::try_open(weights.string());
  if (!file) return file.error();
  const auto contents = resect::io::try_read_safetensors(file->bytes());
  if (!contents) return contents.error();
  auto source = try_llama_source(*contents, *config, *tokenizer);
  if (!source) return source.error();
  source->name = (folder.has_filename() ? folder : folder.parent_path()).filename().string();
  return llama_assembler{*source}.assemble();
}

}  // namespace detail

}  // namespace hosts
