// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <openssl/evp.h>

#include <hosts/llama/load.hpp>
#include <hosts/vocabulary.hpp>
#include <resect/core/result.hpp>
#include <resect/io/report.hpp>
#include <resect/study/windows.hpp>

// What the programs read: a model and a text as token ids.
namespace studies {

// A failure that the user can mend: one line on stderr, exit status 2.
[[noreturn]] inline void fail(const resect::error& e) { throw resect::exception(e); }

template <class T>
T need(resect::result<T>&& r) {
  return resect::value_or_throw(std::move(r));
}
inline void need(resect::status&& s) { resect::value_or_throw(std::move(s)); }

std::string sha256(std::string_view bytes);

std::string read_file(const std::string& path, std::string_view operand);

// A text as the studies need it, or several as one: documents keep apart what they keep apart in each.
struct tokens {
  std::string name;    // of the file; of several "a.txt + b.txt"
  std::string sha256;  // of the bytes of the files, one after the other
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> documents;                   // empty where the text marks none
  std::vector<resect::io::report_text_part> parts = {};  // of several

  resect::study::token_text view() const noexcept { return {ids, documents}; }
};

struct text_source {
  std::string text;  // path of the text; of the ids where no text was given with them
  std::string ids;   // path of its token ids (int32 or .npy), where the model has no plain vocabulary
};

// What was asked for: the texts, each with the ids that were given for it; or ids alone, which then are the texts that
// reports name. `option` names the option of the texts in errors, and `ids_option` that of the ids.
std::vector<text_source> pair_texts(const std::vector<std::string>& texts, const std::vector<std::string>& ids,
                                    std::string_view ids_option);

// The text that a model folder brings with it.
std::vector<text_source> own_text(const std::string& model_path);

std::vector<text_source> choose_texts(const std::vector<std::string>& texts, const std::vector<std::string>& ids,
                                      const std::string& model_path);

// The texts as one. Where `bos` is an id, the BOS that already begins a text's ids is dropped, with a note: it is put in
// front again where the ids are run, and not twice.
tokens read_tokens(const std::vector<text_source>& from, const std::string& model_path, int n_vocab, int bos = -1);

// `tiny` is the model in the repository; anything else is a path.
std::string model_path(const std::string& model);

// Runs `body`; a failure becomes one line and exit status 2, and so does output that nobody got.
template <class F>
int guarded(const char* program, F body) {
  try {
    const int status = body();
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
    std::fprintf(stderr, "%s: stdout: not all that was printed could be written\n", program);
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", program, e.what());
    return 2;
  }
}

}  // namespace studies
