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
// texts, spread over the file, each once; every second one fits the probe, and stands before the others. Fails (as
// input.hpp says) with the line that is wrong.
labelled_file read_labels(const std::string& path, const std::string& model_path, int n_vocab, int bos,
                          std::size_t most);

// The same of the small model's own items of one person: the telling, and the step told last in it.
labelled_file read_last_steps(const std::string& model_path, int n_vocab, int bos, std::size_t most);

}  // namespace studies
