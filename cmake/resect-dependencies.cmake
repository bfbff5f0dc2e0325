# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What resect::cpu links. Used by resect's own build and by the installed package, so both find the same.

# Finds Eigen and the threads, and sets `out` to what is missing, in words, or to nothing. No version is asked for on
# purpose: a request for 3.4 would refuse Eigen 5. Targets found here are visible to the including project as well.
macro(resect_find_eigen out)
  set(${out} "")
  foreach(resect_package Eigen3 Threads)
    set(resect_target Threads::Threads)
    set(resect_mode "")
    if(resect_package STREQUAL "Eigen3")
      set(resect_target Eigen3::Eigen)
      set(resect_mode NO_MODULE)
    endif()
    if(NOT TARGET ${resect_target})
      find_package(${resect_package} QUIET ${resect_mode})
    endif()
  endforeach()
  if(NOT TARGET Eigen3::Eigen)
    set(${out} "resect::cpu needs Eigen 3.4 or newer, which was not found (Debian: libeigen3-dev; or set Eigen3_DIR)")
  elseif(DEFINED Eigen3_VERSION AND Eigen3_VERSION VERSION_LESS 3.4)
    set(${out} "resect::cpu needs Eigen 3.4 or newer; found ${Eigen3_VERSION} in ${Eigen3_DIR}")
  elseif(NOT TARGET Threads::Threads)
    set(${out} "resect::cpu needs the system's threads, which were not found")
  endif()
endmacro()
