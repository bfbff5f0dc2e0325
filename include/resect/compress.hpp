// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Ways to alter the matrices of a model.
#include <resect/compress/weight_method.hpp>
#include <resect/compress/weight_methods.hpp>
