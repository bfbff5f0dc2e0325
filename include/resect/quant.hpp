// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Grids, formats, searches and nearest rounding. The detector of grids, rules that know H, incoherence, packed bytes and
// formats of other tools are included by name.
#include <resect/quant/affine.hpp>
#include <resect/quant/formats/common.hpp>
#include <resect/quant/loss.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/quant/search/exact.hpp>
#include <resect/quant/search/mse.hpp>
#include <resect/quant/search/ocp_floor.hpp>
#include <resect/quant/search/two_level.hpp>
