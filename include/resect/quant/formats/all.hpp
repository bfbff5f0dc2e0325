// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/affine.hpp>
#include <resect/quant/formats/common.hpp>
#include <resect/quant/packed.hpp>

namespace RESECT_NAMESPACE::quant {

// What visit knows by itself: every named format, integer codes of 2 to 8 bits with scales of f16. Each costs the compiler
// its part of what is visited: where a program reads few formats, a shorter list of its own compiles faster.
using all_formats =
    format_list<affine_symmetric<2, f16_store>, affine_symmetric<3, f16_store>, affine_symmetric<4, f16_store>,
                affine_symmetric<5, f16_store>, affine_symmetric<6, f16_store>, affine_symmetric<7, f16_store>,
                affine_symmetric<8, f16_store>, affine<2, zero_point::integer, f16_store>,
                affine<3, zero_point::integer, f16_store>, affine<4, zero_point::integer, f16_store>,
                affine<5, zero_point::integer, f16_store>, affine<6, zero_point::integer, f16_store>,
                affine<7, zero_point::integer, f16_store>, affine<8, zero_point::integer, f16_store>, affine_minimum<2>,
                affine_minimum<3>, affine_minimum<4>, affine_minimum<5>, affine_minimum<6>, affine_minimum<7>,
                affine_minimum<8>, two_level<2>, two_level<3>, two_level<4>, two_level<5>, two_level_symmetric<3>, nf4,
                fp4, mxfp4, nvfp4, e8, codebook_format>;

// The same with all_formats.
template <class Visit>
auto try_visit_all(const packed_view& view, Visit&& f) {
  return try_visit<all_formats>(view, f);
}

}  // namespace RESECT_NAMESPACE::quant
