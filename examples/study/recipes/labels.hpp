// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <vector>

#include <resect/study/surgery_probe.hpp>

// Labelled texts of a probe, as a file has them.
namespace studies {

// What a file of labelled texts holds, as far as it was taken.
struct labelled_file {
  std::string name, task;
  std::vector<std::string> classes;  // the labels, by number
  resect::study::labelled_texts texts;
};

// JSON lines {"text": …, "label": …}, and "ids": [token ids] where the model has no plain vocabulary. At most `most`
// texts, each once, in two halves that have each label in the same share (by a fixed seed, whatever the order of the file):
// those that fit the probe stand before those that judge it. Fails (as input.hpp says) with the line that is wrong, for a
// text with two labels, and for a label that does not reach both halves.
labelled_file read_labels(const std::string& path, const std::string& model_path, int n_vocab, int bos,
                          std::size_t most);

// The same of the small model's own items of one person: the telling, and the step told last in it.
labelled_file read_last_steps(const std::string& model_path, int n_vocab, int bos, std::size_t most);

}  // namespace studies
