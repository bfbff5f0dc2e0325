// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <hosts/cpu.hpp>

#include <resect/backend/cpu_instances.inl>

namespace hosts {

template backend_ref::backend_ref(resect::cpu<>&) noexcept;
template backend_ref::backend_ref(resect::cpu<resect::threads>&) noexcept;

}  // namespace hosts
