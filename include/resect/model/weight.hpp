// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/text.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::model {

// What a weight is for. A study re-initializes a gain and a bias otherwise than a matrix, and quantizes neither.
enum class weight_role : std::uint8_t {
  matrix,     // (out, in)
  norm_gain,  // of a norm, (1, d_model)
  bias,       // of a matrix or of a norm, (1, out)
};

// One weight of one layer.
struct weight_desc {
  short_text<48> name;  // within the layer, e.g. "attn.q"
  int layer = 0;
  int id = 0;  // within the layer
  weight_role role = weight_role::matrix;
  index_t rows = 0;
  index_t cols = 0;
};

}  // namespace RESECT_NAMESPACE::model
