// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The operators that need nothing but a plan. Every step acts on all rows and is a pure function, so a plan gives the
// same bits in any order of calls and on any number of threads. Further operators have headers of their own.
#include <resect/residual/means.hpp>
#include <resect/residual/reinit.hpp>
#include <resect/residual/replace.hpp>
#include <resect/residual/scale.hpp>
