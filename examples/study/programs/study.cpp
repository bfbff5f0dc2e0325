// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Alters a model by a recipe, and measures what that does to its outputs: by default, how much each layer matters.
#include <study/recipes/recipes.hpp>
#include <study/recipes/study_main.hpp>

int main(int argc, char** argv) { return studies::study_main(studies::all_recipes(), argc, argv); }
