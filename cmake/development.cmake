# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How resect's own tests and examples are compiled; nothing of this reaches a user's project.

add_library(resect_development INTERFACE)
target_compile_options(
  resect_development
  INTERFACE -O2 -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow $<$<BOOL:${RESECT_WERROR}>:-Werror>
            $<$<BOOL:${RESECT_NATIVE}>:-march=native>)
target_compile_definitions(resect_development INTERFACE RESECT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
