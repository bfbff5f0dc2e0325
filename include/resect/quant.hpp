// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Grids, formats, scale search, nearest rounding, the detector of grids. Formats of other tools (quant/formats/) come by name.
#include <resect/quant/affine.hpp>
#include <resect/quant/grid.hpp>
#include <resect/quant/grid_detector.hpp>
#include <resect/quant/layout.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/quant/quantized.hpp>
#include <resect/quant/rounding.hpp>
#include <resect/quant/scale_search.hpp>
