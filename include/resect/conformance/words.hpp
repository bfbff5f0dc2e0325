// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/model/host.hpp>
#include <resect/residual/plan.hpp>

// Sites, rows and hosts are words of model/, plans and operators of residual/; the suite says all of them without a
// prefix.
namespace RESECT_NAMESPACE::conformance {

using namespace model;
using namespace residual;

}  // namespace RESECT_NAMESPACE::conformance
