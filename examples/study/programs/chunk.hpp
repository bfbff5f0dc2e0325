// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <vector>

#include <resect/model/row.hpp>

namespace studies {

// llama.cpp's chunk: C ids run from position 0, positions C/2 … C − 2 scored on the id that follows. Where the model
// asks for a BOS it takes the place of the first id. token(i) is the chunk's i-th id.
template <class Token>
std::vector<resect::model::row_meta> chunk_batch(int context, int bos, Token token) {
  std::vector<resect::model::row_meta> batch;
  for (int i = 0; i < context; ++i) {
    const bool scored = i >= context / 2 && i + 1 < context;
    batch.push_back({0, i, i == 0 && bos >= 0 ? bos : token(i), scored ? resect::model::row_meta::wants_logits : 0});
  }
  return batch;
}

}  // namespace studies
