// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Numbers by position, distributions, test matrices, sketches.
#include <resect/random/distributions.hpp>
#include <resect/random/normal.hpp>
#include <resect/random/philox.hpp>
#include <resect/random/rademacher.hpp>
#include <resect/random/sketch.hpp>
#include <resect/random/test_matrix.hpp>
