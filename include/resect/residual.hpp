// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Operators on the residual stream that need no weights, plans of them, and running them on a host. Operators on weights,
// and those that read captured rows, are included by name.
#include <resect/residual/means.hpp>
#include <resect/residual/plan.hpp>
#include <resect/residual/replace.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/scale.hpp>
#include <resect/residual/schedule.hpp>
#include <resect/residual/select.hpp>
#include <resect/residual/selection.hpp>
#include <resect/residual/steer.hpp>
#include <resect/residual/step.hpp>
#include <resect/residual/words.hpp>
