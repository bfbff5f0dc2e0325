// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <hosts/bytes.hpp>
#include <hosts/mapped_file.hpp>
#include <resect/core/result.hpp>

namespace hosts {

// A text as token ids.
struct encoded_text {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> document;  // of each id, which document it is in, from 0
};

// A plain vocabulary: one word a line, the first has id 0.
class vocabulary {
 public:
  // The token that every document starts with.
  static constexpr std::string_view document_start = "<doc>";

  static resect::result<vocabulary> try_open(const std::string& path) {
    const auto file = mapped_file::try_open(path);
    if (!file) return file.error();
    return try_parse(as_text(file->bytes()), shown_path(path).view());
  }

  // The same from a text in memory; errors call it `operand`.
  static resect::result<vocabulary> try_parse(std::string_view text, std::string_view operand = "vocabulary") {
    const auto malformed = [&](std::size_t line, std::string_view got, std::string_view wanted) {
      return resect::error{resect::errc::malformed, operand, resect::text(got, " in line ", line), wanted};
    };
    vocabulary out;
    for (lines rest{text}; rest.next();) {
      const std::string_view word = rest.line();
      if (word.empty()) return malformed(rest.number(), "an empty word", "one word a line");
      if (word.find('\0') != std::string_view::npos) return malformed(rest.number(), "a NUL byte", "words without one");
      if (word.find_first_of(blanks) != std::string_view::npos)
        return malformed(rest.number(), resect::text("white space ", shown(word).view()).view(), "one word a line");
      if (out.words_.size() == std::numeric_limits<std::int32_t>::max())
        return malformed(rest.number(), "one word too many", "ids of 31 bits");
      if (!out.ids_.try_emplace(std::string{word}, static_cast<std::int32_t>(out.words_.size())).second)
        return malformed(rest.number(), resect::text("a second ", shown(word).view()).view(), "words that differ");
      out.words_.emplace_back(word);
    }
    if (out.words_.empty()) return resect::error{resect::errc::malformed, operand, "no words", "one word a line"};
    return resect::result<vocabulary>{std::move(out)};
  }

  std::size_t size() const noexcept { return words_.size(); }

  // The word with this id, which must be one: 0 <= id < size().
  const std::string& word(std::int32_t id) const noexcept { return words_[static_cast<std::size_t>(id)]; }

  // The id of a word, −1 where it is unknown.
  std::int32_t find(std::string_view word) const {
    const auto found = ids_.find(std::string{word});
    return found == ids_.end() ? -1 : found->second;
  }

  // Encodes a text in which every line is a document and words stand between white space. Each document
  // begins with `<doc>`, which the text itself must not contain. A line without words is no document.
  // @return ids, and of each the document; or an error that names the first unknown word and its line
  resect::result<encoded_text> try_encode(std::string_view text) const {
    const std::int32_t start = find(document_start);
    if (start < 0)
      return resect::error{resect::errc::invalid_argument, "vocabulary", "no word <doc>",
                           "one to start documents with"};
    encoded_text out;
    std::int32_t document = -1;
    const auto append = [&](std::int32_t id) {
      out.ids.push_back(id);
      out.document.push_back(document);
    };
    for (lines rest{text}; rest.next();) {
      const std::string_view line = rest.line();
      std::size_t begin = line.find_first_not_of(blanks);
      if (begin == std::string_view::npos) continue;
      ++document;
      append(start);
      while (begin != std::string_view::npos) {
        const std::size_t end = std::min(line.find_first_of(blanks, begin), line.size());
        const std::string_view word = line.substr(begin, end - begin);
        const std::int32_t id = find(word);
        if (id < 0 || id == start)
          return resect::error{resect::errc::invalid_argument, resect::text("text, line ", rest.number()),
                               resect::text(id < 0 ? "unknown word " : "the word ", shown(word).view()),
                               "words of the vocabulary other than <doc>"};
        append(id);
        begin = line.find_first_not_of(blanks, end);
      }
    }
    return resect::result<encoded_text>{std::move(out)};
  }

  // The same of a file.
  resect::result<encoded_text> try_encode_file(const std::string& path) const {
    const auto file = mapped_file::try_open(path);
    if (!file) return file.error();
    return try_encode(as_text(file->bytes()));
  }

 private:
  static constexpr std::string_view blanks = " \t\r\v\f";

  // Walks over the lines of a text; a newline at its end begins no further line.
  class lines {
   public:
    explicit lines(std::string_view text) noexcept : rest_(text) {}

    bool next() noexcept {
      if (rest_.empty()) return false;
      const std::size_t end = std::min(rest_.find('\n'), rest_.size());
      line_ = rest_.substr(0, end);
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      ++number_;
      return true;
    }
    std::string_view line() const noexcept { return line_; }
    std::size_t number() const noexcept { return number_; }

   private:
    std::string_view rest_, line_;
    std::size_t number_ = 0;
  };

  std::vector<std::string> words_;
  std::unordered_map<std::string, std::int32_t> ids_;
};

}  // namespace hosts
