// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <vector>

#include <study/recipes/recipe.hpp>

namespace studies {

// The program `study` with these recipes, of which the first is the default: its exit status.
int study_main(const std::vector<recipe>& recipes, int argc, char** argv);

}  // namespace studies
