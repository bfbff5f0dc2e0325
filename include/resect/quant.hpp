// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Grids, formats, searches, nearest rounding, the detector of grids. Rules that know H, incoherence, packed bytes and formats of other tools are
// included by name.
#include <resect/quant/affine.hpp>
#include <resect/quant/formats/common.hpp>
#include <resect/quant/grid_detector.hpp>
#include <resect/quant/loss.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/quant/search/exact.hpp>
#include <resect/quant/search/mse.hpp>
#include <resect/quant/search/ocp_floor.hpp>
#include <resect/quant/search/two_level.hpp>
