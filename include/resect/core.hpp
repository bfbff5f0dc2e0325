// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Views, owners, errors, executors, sums, small numbers. The pool of threads (core/threads.hpp) comes with a backend; a
// tensor that another library hands over (core/dlpack.hpp) and sums without rounding (core/exact_sum.hpp) by name.
#include <resect/core/adapt.hpp>
#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/error.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/fields.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/float16.hpp>
#include <resect/core/float8.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/ieee.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/math.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/result.hpp>
#include <resect/core/scratch.hpp>
#include <resect/core/shared_count.hpp>
#include <resect/core/shared_function.hpp>
#include <resect/core/storage_float.hpp>
#include <resect/core/text.hpp>
#include <resect/core/types.hpp>
#include <resect/core/view.hpp>
