# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How resect's own tests and examples are compiled; nothing of this reaches a user's project.

# A target's property RESECT_OPTIMIZATION is 0, g, 1 or 2. Where it is not set it is 2, as users build.
set(resect_level "$<TARGET_PROPERTY:RESECT_OPTIMIZATION>")
add_library(resect_development INTERFACE)
target_compile_options(
  resect_development
  INTERFACE $<$<NOT:$<CONFIG:Debug>>:-O$<IF:$<STREQUAL:${resect_level},>,2,${resect_level}>> -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow $<$<BOOL:${RESECT_WERROR}>:-Werror>
            $<$<BOOL:${RESECT_NATIVE}>:-march=native>)
# g++ before 13 warns of its own AVX-512 intrinsics (GCC bug 105593) wherever Eigen inlines them.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(resect_development INTERFACE -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
target_compile_definitions(resect_development INTERFACE RESECT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")

# Headers of others that many files of a kind include are parsed once: resect_precompile(TARGET KIND) after
# resect_precompiled(KIND HEADER… LINKS LIBRARY…). Never resect's own: their warnings must be seen, each of them says what
# it includes, and a change of one must not compile every test again. One file of parsed headers serves the targets of one
# kind and one optimization. ccache hands on no object that was compiled this way unless it is told to be sloppy.
if(CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache" AND NOT DEFINED CMAKE_DISABLE_PRECOMPILE_HEADERS)
  set(CMAKE_DISABLE_PRECOMPILE_HEADERS ON)
endif()
function(resect_precompiled kind)
  cmake_parse_arguments(PARSE_ARGV 1 of "" "" "LINKS")
  set_property(GLOBAL PROPERTY resect_precompiled_${kind} "${of_UNPARSED_ARGUMENTS}")
  set_property(GLOBAL PROPERTY resect_precompiled_${kind}_links "${of_LINKS}")
endfunction()
function(resect_precompile target kind)
  get_target_property(level ${target} RESECT_OPTIMIZATION)
  if(level STREQUAL "level-NOTFOUND" OR CMAKE_BUILD_TYPE STREQUAL "Debug")
    set(level 2)
  endif()
  set(owner resect_precompiled_${kind}_O${level})
  if(NOT TARGET ${owner})
    get_property(headers GLOBAL PROPERTY resect_precompiled_${kind})
    get_property(links GLOBAL PROPERTY resect_precompiled_${kind}_links)
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/precompiled/${kind}.cpp" CONTENT "")
    add_library(${owner} OBJECT EXCLUDE_FROM_ALL "${PROJECT_BINARY_DIR}/precompiled/${kind}.cpp")
    target_link_libraries(${owner} PRIVATE ${links})
    set_target_properties(${owner} PROPERTIES RESECT_OPTIMIZATION ${level})
    target_precompile_headers(${owner} PRIVATE ${headers})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${owner})
endfunction()
