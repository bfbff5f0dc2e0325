// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <vector>

#include <resect/core/array.hpp>

namespace support {

// An array as a vector, for loops over sizes that the standard library gives.
template <class T>
std::vector<T> listed(const resect::array<T>& x) {
  return {x.begin(), x.end()};
}

}  // namespace support
