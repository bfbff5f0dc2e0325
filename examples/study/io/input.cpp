// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/io/input.hpp>

namespace studies {

std::string sha256(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr);
  std::string out;
  for (unsigned int i = 0; i < size; ++i) {
    constexpr char hex[] = "0123456789abcdef";
    out += hex[digest[i] >> 4];
    out += hex[digest[i] & 15];
  }
  return out;
}

std::string read_file(const std::string& path, std::string_view operand) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored))
    fail({resect::errc::io, operand, resect::text(path, ", which is not a file"), "a readable file"});
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in.good() && !in.eof()) fail({resect::errc::io, operand, resect::text(path), "a readable file"});
  if (bytes.empty())
    fail({resect::errc::invalid_argument, operand, resect::text(path, ", which is empty"), "some text"});
  return bytes;
}

std::vector<text_source> pair_texts(const std::vector<std::string>& texts, const std::vector<std::string>& ids,
                                    std::string_view ids_option) {
  std::vector<text_source> out;
  if (!texts.empty() && !ids.empty() && texts.size() != ids.size())
    fail({resect::errc::invalid_argument, ids_option, resect::text(ids.size(), ids.size() == 1 ? " file" : " files"),
          resect::text(texts.size(), ", one a text")});
  for (std::size_t i = 0; i < std::max(texts.size(), ids.size()); ++i)
    out.push_back({texts.empty() ? ids[i] : texts[i], ids.empty() ? "" : ids[i]});
  return out;
}

std::vector<text_source> own_text(const std::string& model_path) {
  const auto own = std::filesystem::path(model_path) / "heldout.txt";
  if (std::filesystem::exists(own)) return {{own.string(), ""}};
  fail({resect::errc::invalid_argument, "--text", "none",
        "--text FILE or --ids FILE, as this model brings no heldout.txt"});
}

std::vector<text_source> choose_texts(const std::vector<std::string>& texts, const std::vector<std::string>& ids,
                                      const std::string& model_path) {
  auto given = pair_texts(texts, ids, "--ids");
  return given.empty() ? own_text(model_path) : given;
}

namespace detail {

void check_ids(const std::vector<std::int32_t>& ids, int n_vocab) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= n_vocab)
      fail({resect::errc::invalid_argument, resect::text("token id ", i, " of the text"), resect::text(ids[i]),
            resect::text("an id below ", n_vocab, ", the model's vocabulary")});
}

// Ids come from the file given, or from the model folder's vocab.txt (words; one line of text a document).
void append_text(tokens& to, const text_source& from, const std::string& bytes, const std::string& model_path,
                 int n_vocab) {
  if (!from.ids.empty()) {
    const auto ids = need(hosts::try_read_ids(from.ids, n_vocab));
    to.ids.insert(to.ids.end(), ids.begin(), ids.end());
    return;
  }
  const auto table = std::filesystem::path(model_path) / "vocab.txt";
  if (!std::filesystem::exists(table))
    fail({resect::errc::invalid_argument, "token ids", "none", "--ids FILE, or a model folder with vocab.txt"});
  const auto words = need(hosts::vocabulary::try_open(table.string()));
  const auto encoded = need(words.try_encode(bytes));
  const std::int32_t first = to.documents.empty() ? 0 : to.documents.back() + 1;
  to.ids.insert(to.ids.end(), encoded.ids.begin(), encoded.ids.end());
  for (const std::int32_t d : encoded.document) to.documents.push_back(first + d);
}

void drop_bos(tokens& t, std::size_t first, int bos, const text_source& from) {
  if (bos < 0 || t.ids.size() <= first || t.ids[first] != bos) return;
  t.ids.erase(t.ids.begin() + static_cast<std::ptrdiff_t>(first));
  if (!t.documents.empty()) t.documents.erase(t.documents.begin() + static_cast<std::ptrdiff_t>(first));
  std::fprintf(stderr, "note: %s begins with the BOS (id %d) already, which is not put there twice\n",
               from.ids.empty() ? from.text.c_str() : from.ids.c_str(), bos);
}

}  // namespace detail

tokens read_tokens(const std::vector<text_source>& from, const std::string& model_path, int n_vocab, int bos) {
  tokens out;
  std::string all;
  for (const text_source& one : from) {
    const std::string bytes = read_file(one.text, "text");
    const std::size_t before = out.ids.size();
    detail::append_text(out, one, bytes, model_path, n_vocab);
    detail::drop_bos(out, before, bos, one);
    const std::string name = std::filesystem::path(one.text).filename().string();
    out.name += (out.name.empty() ? "" : " + ") + name;
    out.parts.push_back({name, sha256(bytes), static_cast<std::int64_t>(out.ids.size() - before)});
    all += bytes;
  }
  detail::check_ids(out.ids, n_vocab);
  out.sha256 = sha256(all);
  if (out.parts.size() == 1) out.parts.clear();
  return out;
}

std::string model_path(const std::string& model) {
  const std::string path = model == "tiny" ? std::string(RESECT_SOURCE_DIR "/examples/models/tiny") : model;
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored) && !std::filesystem::is_regular_file(path, ignored))
    fail({resect::errc::io, "--model", resect::text(model.empty() ? "nothing" : model, ", which is no file or folder"),
          "tiny, a GGUF file or a safetensors folder (smollm2: through ./run)"});
  return path;
}

}  // namespace studies
