// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <hosts/llama/model.hpp>
#include <resect/model/row.hpp>

// Small random Llama models, and their forward pass once more in double: plain loops that share nothing with
// the runtime under test.
namespace support {

enum class output_matrix { tied, untied };

hosts::matrix random_matrix(resect::index_t rows, resect::index_t cols, double std, std::uint64_t seed,
                            std::uint64_t stream, double mean = 0.0);

// Weights of the size that trained models have: a layer's delta is about as large as the stream it is added to.
hosts::llama_model random_llama(const hosts::llama_config& c, output_matrix output, std::uint64_t seed);

// The same model with some layers taken out of it.
hosts::llama_model without_layers(const hosts::llama_model& m, int first, int last);

// Tokens of sequences of the given lengths, every row asking for its logits.
std::vector<resect::model::row_meta> random_batch(std::span<const int> lengths, int n_vocab, std::uint64_t seed);

using row_values = std::vector<double>;
using stream_values = std::vector<row_values>;

// What the model computes, in double. `edit` may change the rows at any site of a layer.
struct reference_llama {
  using editor = std::function<void(resect::model::site, int layer, stream_values&)>;

  const hosts::llama_model& model;
  editor edit = [](resect::model::site, int, stream_values&) {};

  stream_values embed(resect::model::batch_view batch) const;
  void layer(int l, resect::model::batch_view batch, stream_values& h) const;
  stream_values head(const stream_values& h) const;
  stream_values logits(resect::model::batch_view batch) const;

 private:
  static row_values values(const hosts::matrix& m, int row);
  static void add(stream_values& h, const stream_values& delta);
  static row_values apply(const hosts::matrix& w, const row_values& x);
  row_values norm(const row_values& h, const hosts::matrix& gain) const;
  // component i of a pair is turned by pos · theta^(−2i/d)
  row_values turned(row_values x, int pos) const;
};

}  // namespace support
