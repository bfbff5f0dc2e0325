// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <study/recipes/recipe.hpp>

// One function a recipe; recipes.cpp lists them.
namespace studies {

recipe sensitivity_recipe();
recipe compress_recipe();
recipe spans_recipe();
recipe quantize_recipe();
recipe lowrank_recipe();
recipe inject_recipe();
recipe degenerate_recipe();
recipe protect_recipe();

}  // namespace studies
