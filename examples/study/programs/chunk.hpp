// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <resect/model/row.hpp>
#include <resect/study/windows.hpp>

namespace studies {

// llama.cpp's chunk: C ids run from position 0, positions C/2 … C − 2 scored on the id that follows. Where the model
// uses a BOS it takes the place of the first id. token(i) is the chunk's i-th id.
template <class Token>
std::vector<resect::model::row_meta> chunk_batch(int context, int bos, Token token) {
  std::vector<resect::model::row_meta> batch;
  for (int i = 0; i < context; ++i) {
    const bool scored = i >= context / 2 && i + 1 < context;
    batch.push_back({0, i, i == 0 && bos >= 0 ? bos : token(i), scored ? resect::model::row_meta::wants_logits : 0});
  }
  return batch;
}

// The cluster of every chunk of `context` ids: chunks that hold the same text are one.
inline std::vector<resect::index_t> chunk_clusters(std::span<const std::int32_t> ids, int context, int chunks) {
  std::vector<resect::index_t> starts;
  for (int i = 0; i < chunks; ++i) starts.push_back(resect::index_t{i} * context);
  return resect::study::window_clusters(ids, starts, context);
}

inline resect::index_t cluster_count(const std::vector<resect::index_t>& cluster) {
  return cluster.empty() ? 0 : *std::max_element(cluster.begin(), cluster.end()) + 1;
}

// " (7 clusters: some hold the same text)" where some chunks are copies of others.
inline std::string copies_text(int chunks, resect::index_t clusters) {
  return clusters == chunks ? "" : " (" + std::to_string(clusters) + " clusters: some hold the same text)";
}

inline nlohmann::ordered_json bos_json(int bos) {
  return bos >= 0 ? nlohmann::ordered_json(bos) : nlohmann::ordered_json();
}

}  // namespace studies
