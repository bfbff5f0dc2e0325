// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <hosts/backend_ref.hpp>
#include <resect/backend/cpu_extern.hpp>

// resect::cpu for the programs and tests here: what takes long to compile of it is in cpu.cpp.
namespace hosts {

extern template backend_ref::backend_ref(resect::cpu<>&) noexcept;
extern template backend_ref::backend_ref(resect::cpu<resect::threads>&) noexcept;

}  // namespace hosts
