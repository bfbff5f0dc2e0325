// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/residual/operators.hpp>
#include <study/recipes/bench.hpp>
#include <study/recipes/recipes.hpp>

namespace studies {

using namespace resect::residual;

recipe spans_recipe() {
  return of_arms("spans", "every two neighbouring layers are left out together", [](bench& b) {
    arm_table t{"skip", "two neighbouring layers are left out"};
    for (const int l : b.layers())
      if (b.has_layer(l + 1)) t.arms.push_back({plan{} | skip(layers(l, l + 2))});
    return std::vector{t};
  });
}

}  // namespace studies
