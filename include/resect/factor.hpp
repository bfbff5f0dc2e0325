// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Truncated and randomized SVD, low rank in the norm of what a matrix reads, costs of a pair, how far an approximation is
// off.
#include <resect/factor/approximation_error.hpp>
#include <resect/factor/balance.hpp>
#include <resect/factor/bounds.hpp>
#include <resect/factor/cost.hpp>
#include <resect/factor/error_curve.hpp>
#include <resect/factor/leave_one_out.hpp>
#include <resect/factor/linear_map.hpp>
#include <resect/factor/low_rank.hpp>
#include <resect/factor/quantized_map.hpp>
#include <resect/factor/range_finder.hpp>
#include <resect/factor/truncated_svd.hpp>
#include <resect/factor/weighted_low_rank.hpp>
