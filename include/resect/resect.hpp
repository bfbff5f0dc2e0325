// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What most programs use: the fronts of the modules that fit the budget of one include. Backends are included by the user:
// <resect/backend/cpu.hpp> (Eigen), <resect/backend/cblas.hpp> (any BLAS with LAPACK). So are linalg, factor, compress,
// io and conformance, each by its front, and what a front leaves to a name.
#include <resect/core.hpp>
#include <resect/metrics.hpp>
#include <resect/model.hpp>
#include <resect/quant.hpp>
#include <resect/random.hpp>
#include <resect/residual.hpp>
#include <resect/study.hpp>
