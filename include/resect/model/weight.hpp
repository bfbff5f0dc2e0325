// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/text.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::model {

// The role of a weight in its layer. `reinit` treats gains and biases unlike matrices; quantizers leave both alone.
enum class weight_role : std::uint8_t {
  matrix,     // (out, in)
  norm_gain,  // of a norm, (1, d_model)
  bias,       // of a matrix or of a norm, (1, out)
};

// Name, role and extents of one weight of one layer.
struct weight_desc {
  short_text<48> name;  // within the layer, e.g. "attn.q"
  int layer = 0;
  int id = 0;  // within the layer
  weight_role role = weight_role::matrix;
  index_t rows = 0;
  index_t cols = 0;
};

}  // namespace RESECT_NAMESPACE::model
