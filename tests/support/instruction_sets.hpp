// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <vector>

#include <resect/core/instruction_set.hpp>

namespace tests {

// The instruction sets of this machine, the portable one first.
inline std::vector<resect::instruction_set> instruction_sets() {
  using resect::instruction_set;
  std::vector<instruction_set> found;
  for (const auto set : {instruction_set::portable, instruction_set::avx2, instruction_set::avx512})
    if (resect::supported(set)) found.push_back(set);
  return found;
}

}  // namespace tests
