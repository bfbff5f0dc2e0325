# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How resect's own tests and examples are compiled; nothing of this reaches a user's project.

add_library(resect_development INTERFACE)
target_compile_options(
  resect_development
  INTERFACE $<$<NOT:$<CONFIG:Debug>>:-O2> -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow $<$<BOOL:${RESECT_WERROR}>:-Werror>
            $<$<BOOL:${RESECT_NATIVE}>:-march=native>)
# g++ before 13 warns of its own AVX-512 intrinsics (GCC bug 105593) wherever Eigen inlines them.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(resect_development INTERFACE -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
target_compile_definitions(resect_development INTERFACE RESECT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
