// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <resect/config.hpp>

namespace RESECT_NAMESPACE {

// The signed 64-bit type of extents, strides and counts. Differences never wrap, loops may run downwards.
using index_t = std::int64_t;

// The tag of host memory, part of a view's type: passing device memory to a host backend does not compile.
struct host_space {};
// The tag of CUDA device memory.
struct cuda_space {};

}  // namespace RESECT_NAMESPACE
