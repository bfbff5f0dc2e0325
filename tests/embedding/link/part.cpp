// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiled several times, each time with other options and another PART.
#include "part.hpp"

#define RESECT_TEST_JOIN_(a, b) a##b
#define RESECT_TEST_JOIN(a, b) RESECT_TEST_JOIN_(a, b)

part::answer RESECT_TEST_JOIN(compute_, PART)(part::shared_state& shared) { return part::compute(shared); }
