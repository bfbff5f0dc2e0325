// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Does a model that says what to do also do it? Items with two questions, graders that passed a test of their own, the 2×2
// table, and arms that are compared only where they were asked and graded alike. Reading items and replies from files is
// study/goodhart/json_lines.hpp, which needs nlohmann-json.
#include <resect/study/goodhart/compare_arms.hpp>
#include <resect/study/goodhart/grader.hpp>
#include <resect/study/goodhart/item.hpp>
#include <resect/study/goodhart/judge.hpp>
