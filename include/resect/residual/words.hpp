// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/model/host.hpp>

// Sites, rows and hosts are words of model/; this module says them without a prefix, so residual::tap is model::tap.
namespace RESECT_NAMESPACE::residual {

using namespace model;
// Functions here of these names would hide the ones of model/.
#if RESECT_EXCEPTIONS
using model::observe;
#endif
using model::try_observe;

}  // namespace RESECT_NAMESPACE::residual
