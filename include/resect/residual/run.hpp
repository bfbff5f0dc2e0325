// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Runs a model under a plan: partial passes on a state (a host of the surgery level), whole passes with a cache (a host of
// the edit level). Plans act on fp32 rows in host memory.
#include <resect/residual/run_partial.hpp>
#include <resect/residual/run_whole.hpp>
