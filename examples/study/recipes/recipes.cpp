// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/recipes.hpp>
#include <study/recipes/sae.hpp>

namespace studies {

std::vector<recipe> all_recipes() {
  return {
      sensitivity_recipe(), compress_recipe(), spans_recipe(),      quantize_recipe(), lowrank_recipe(),
      inject_recipe(),      sae_recipe(),      degenerate_recipe(), protect_recipe(),
  };
}

}  // namespace studies
