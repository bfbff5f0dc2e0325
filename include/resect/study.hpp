// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Arms, the runner that measures them, tables, and the studies that list arms.
#include <resect/study/arm.hpp>
#include <resect/study/baseline.hpp>
#include <resect/study/compare_plans.hpp>
#include <resect/study/delta_means.hpp>
#include <resect/study/effect.hpp>
#include <resect/study/generate.hpp>
#include <resect/study/runner.hpp>
#include <resect/study/sensitivity.hpp>
#include <resect/study/speed.hpp>
#include <resect/study/table.hpp>
#include <resect/study/windows.hpp>
