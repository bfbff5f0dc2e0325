// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Truncated and randomized SVD, low rank, how far an approximation is off.
#include <resect/factor/approximation_error.hpp>
#include <resect/factor/low_rank.hpp>
#include <resect/factor/range_finder.hpp>
#include <resect/factor/truncated_svd.hpp>
