// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Operators on the residual stream, plans of them, and running them on a host.
#include <resect/residual/operators.hpp>
#include <resect/residual/plan.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/select.hpp>
#include <resect/residual/selection.hpp>
#include <resect/residual/steer.hpp>
#include <resect/residual/step.hpp>
#include <resect/residual/words.hpp>
