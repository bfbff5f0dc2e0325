// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/array.hpp>
#include <resect/core/scratch.hpp>
#include <resect/residual/detail/span_inputs.hpp>
#include <resect/residual/detail/step_table.hpp>

namespace RESECT_NAMESPACE::residual {

// Working memory of passes under plans, kept by the caller; every thread needs its own.
struct pass_memory {
  detail::span_inputs inputs;  // of the block or span that runs at present
  detail::step_table table;    // of a plan without a schedule
  scratch steps;               // working memory of the steps
};

}  // namespace RESECT_NAMESPACE::residual
