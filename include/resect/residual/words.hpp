// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/model/host.hpp>

// Sites, rows and hosts are words of model/; this module says them without a prefix, so residual::tap is model::tap.
namespace RESECT_NAMESPACE::residual {

using namespace model;

}  // namespace RESECT_NAMESPACE::residual
