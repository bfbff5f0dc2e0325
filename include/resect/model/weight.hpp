// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/text.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::model {

// What a weight is for: norms' gains are treated apart from matrices.
enum class weight_role : std::uint8_t { matrix, norm_gain };

// One weight of one layer: a matrix (out, in) or a norm's gain (1, d_model).
struct weight_desc {
  short_text<48> name;  // within the layer, e.g. "attn.q"
  int layer = 0;
  int id = 0;  // within the layer
  weight_role role = weight_role::matrix;
  index_t rows = 0;
  index_t cols = 0;
};

}  // namespace RESECT_NAMESPACE::model
