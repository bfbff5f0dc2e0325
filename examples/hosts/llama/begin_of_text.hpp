// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <hosts/llama/source.hpp>

// Whether a text begins with a BOS. A file that says so decides; where it is silent, what its kind of tokenizer does unless
// told otherwise.
namespace hosts {

// The id that stands in front of a text, −1 for none, and in words why.
struct begin_of_text {
  int id = -1;
  std::string rule;
};

// What a model folder says about its tokenizer.
struct tokenizer_files {
  nlohmann::json config = {};  // tokenizer_config.json, or null
  nlohmann::json model = {};   // tokenizer.json, or null
  bool sentencepiece = false;  // tokenizer.model is there
};

namespace detail {

// Pre-tokenizers of byte-level BPE (tokenizer.ggml.pre) with which llama.cpp puts a BOS in front where the file leaves it
// open (src/llama-vocab.cpp, 2026).
inline constexpr std::array<std::string_view, 11> pre_tokenizers_with_bos = {
    "llama3",   "llama-v3", "llama-bpe",    "falcon3", "falcon-h1", "pixtral",
    "midm-2.0", "lfm2",     "jina-v5-nano", "tekken",  "chameleon"};

// Classes of Hugging Face's tokenizers that put a BOS in front unless add_bos_token says otherwise.
inline constexpr std::array<std::string_view, 6> classes_with_bos = {"LlamaTokenizer",     "LlamaTokenizerFast",
                                                                     "CodeLlamaTokenizer", "CodeLlamaTokenizerFast",
                                                                     "GemmaTokenizer",     "GemmaTokenizerFast"};

// What llama.cpp does where a GGUF file has no tokenizer.ggml.add_bos_token, for these tokenizer.ggml.model and .pre.
inline std::pair<bool, std::string> bos_of_gguf_kind(std::string_view model, std::string_view pre) {
  const auto said = [](bool adds, const std::string& what) {
    return std::pair{adds,
                     what + (adds ? " begins with one" : " begins with none") + " unless the file says otherwise"};
  };
  if (model.empty()) return {false, "the file brings no tokenizer"};
  if (model == "llama") return said(true, "tokenizer.ggml.model llama (SentencePiece)");
  if (model == "bert") return said(true, "tokenizer.ggml.model bert");
  if (model != "gpt2") return said(false, "tokenizer.ggml.model " + std::string(shown(model).view()));
  const bool adds = std::ranges::find(pre_tokenizers_with_bos, pre) != pre_tokenizers_with_bos.end();
  return said(adds, pre.empty() ? "byte-level BPE" : "tokenizer.ggml.pre " + std::string(shown(pre).view()));
}

// Reads the evidence of a model folder. Its failure says what contradicts itself or is missing.
class begin_of_text_reader : public number_checks {
 public:
  using json = nlohmann::json;

  begin_of_text_reader(const json& config, const tokenizer_files& files) : config_(config), files_(files) {}

  begin_of_text read() {
    if (files_.config.is_null() && files_.model.is_null() && !files_.sentencepiece)
      return {-1, "the model brings no tokenizer"};
    const auto in_front = post_processor();
    if (const auto said = add_bos_token()) {
      std::string rule = std::string("tokenizer_config.json says add_bos_token ") + (*said ? "true" : "false");
      if (!*said && in_front) rule += ", though tokenizer.json puts a token in front";
      return {*said ? id(in_front) : -1, rule};
    }
    if (in_front) return {*in_front, "the post-processor of tokenizer.json puts it in front"};
    const std::string kind = tokenizer_class();
    if (std::ranges::find(classes_with_bos, kind) != classes_with_bos.end()) {
      if (const json* token = find(files_.config, "bos_token", true); token != nullptr && token->is_null())
        return {-1, kind + " has no bos_token"};
      return {id({}), kind + " puts it in front unless add_bos_token says otherwise"};
    }
    if (!files_.model.is_null() && !kind.empty())
      return {-1, "tokenizer.json puts no token in front, and " + kind + " adds none of its own"};
    if (is_sentencepiece()) return {id({}), "SentencePiece puts it in front unless add_bos_token says otherwise"};
    if (!files_.model.is_null()) return {-1, "tokenizer.json puts no token in front"};
    return {-1, "the files say nothing, and " + (kind.empty() ? "their tokenizer" : kind) + " is not known to add one"};
  }

 private:
  // Null and absent mean the same, unless null is asked for.
  static const json* find(const json& object, std::string_view key, bool null_too = false) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(key);
    return found == object.end() || (found->is_null() && !null_too) ? nullptr : &*found;
  }
  void wrong(std::string_view file, std::string_view key, std::string_view got, std::string_view wanted) {
    fail({resect::errc::malformed, resect::text(file, " ", shown(key).view()), got, wanted});
  }
  static std::string text_of(const json* value) {
    return value != nullptr && value->is_string() ? value->get<std::string>() : "";
  }

  std::optional<bool> add_bos_token() {
    const json* value = find(files_.config, "add_bos_token");
    if (value == nullptr) return {};
    if (value->is_boolean()) return value->get<bool>();
    wrong("tokenizer_config.json", "add_bos_token", value->type_name(), "a bool");
    return {};
  }
  std::string tokenizer_class() const {
    const std::string own = text_of(find(files_.config, "tokenizer_class"));
    return own.empty() ? text_of(find(config_, "tokenizer_class")) : own;
  }

  // Unigram, or BPE that falls back to bytes: how tokenizer.json holds a SentencePiece model.
  bool is_sentencepiece() const {
    const json* model = find(files_.model, "model");
    if (model == nullptr) return files_.sentencepiece;
    const json* falls_back = find(*model, "byte_fallback");
    return text_of(find(*model, "type")) == "Unigram" ||
           (falls_back != nullptr && falls_back->is_boolean() && falls_back->get<bool>());
  }

  // The id that the post-processor puts in front of a single text.
  std::optional<int> post_processor() {
    const json* processor = find(files_.model, "post_processor");
    if (processor == nullptr) return {};
    const json* list = find(*processor, "processors");
    if (list == nullptr || !list->is_array()) return in_front(*processor);
    for (const json& one : *list)
      if (const auto id = in_front(one)) return id;
    return {};
  }
  std::optional<int> in_front(const json& processor) {
    const std::string type = text_of(find(processor, "type"));
    if (type == "BertProcessing" || type == "RobertaProcessing") {
      const json* cls = find(processor, "cls");
      return cls != nullptr && cls->is_array() && cls->size() == 2 ? token_id((*cls)[1]) : refuse_template();
    }
    if (type != "TemplateProcessing") return {};
    const json* single = find(processor, "single");
    if (single == nullptr || !single->is_array() || single->empty()) return {};
    const json* special = find(single->front(), "SpecialToken");
    if (special == nullptr) return {};
    const bool more = single->size() > 1 && find((*single)[1], "SpecialToken") != nullptr;
    const json* tokens = find(processor, "special_tokens");
    const json* entry = tokens == nullptr ? nullptr : find(*tokens, text_of(find(*special, "id")));
    const json* ids = entry == nullptr ? nullptr : find(*entry, "ids");
    if (more || ids == nullptr || !ids->is_array() || ids->size() != 1) return refuse_template();
    return token_id(ids->front());
  }
  std::optional<int> refuse_template() {
    wrong("tokenizer.json", "post_processor", "other than one known token in front", "one token, with its id");
    return {};
  }
  std::optional<int> token_id(const json& value) {
    if (value.is_number_unsigned()) return bounded("begin-of-text token", value.get<std::uint64_t>(), 0, most_tokens);
    return refuse_template();
  }

  // The BOS's id: what stands in front already, the tokenizer's bos_token, or config.json's bos_token_id.
  int id(std::optional<int> in_front) {
    if (in_front) return *in_front;
    if (const auto own = id_of_bos_token()) return *own;
    const json* value = find(config_, "bos_token_id");
    if (value != nullptr && value->is_array() && value->size() == 1) value = &value->front();
    if (value != nullptr && value->is_number_unsigned())
      return bounded("config.json 'bos_token_id'", value->get<std::uint64_t>(), 0, most_tokens);
    wrong("config.json", "bos_token_id", value == nullptr ? "no such key" : value->type_name(),
          "an id: the tokenizer adds this token");
    return -1;
  }
  std::optional<int> id_of_bos_token() {
    const json* token = find(files_.config, "bos_token");
    if (token != nullptr && token->is_object()) token = find(*token, "content");
    const std::string content = text_of(token);
    if (content.empty()) return {};
    if (const json* added = find(files_.config, "added_tokens_decoder"); added != nullptr && added->is_object())
      for (const auto& [key, entry] : added->items())
        if (text_of(find(entry, "content")) == content && key.find_first_not_of("0123456789") == key.npos &&
            !key.empty() && key.size() < 9)
          return bounded("begin-of-text token", std::stoull(key), 0, most_tokens);
    if (const json* added = find(files_.model, "added_tokens"); added != nullptr && added->is_array())
      for (const json& entry : *added)
        if (const json* number = find(entry, "id"); number != nullptr && text_of(find(entry, "content")) == content)
          return token_id(*number);
    if (const json* model = find(files_.model, "model"); model != nullptr)
      if (const json* words = find(*model, "vocab"); words != nullptr && words->is_object())
        if (const json* number = find(*words, content)) return token_id(*number);
    return {};
  }

  const json& config_;
  const tokenizer_files& files_;
};

}  // namespace detail
}  // namespace hosts
