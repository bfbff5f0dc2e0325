// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles what cpu_extern.hpp declares: to be included in one file of a program.
#include <resect/backend/cpu_extern.hpp>

#define RESECT_INSTANCE template
#include <resect/backend/detail/cpu_instances.inl>
#undef RESECT_INSTANCE
