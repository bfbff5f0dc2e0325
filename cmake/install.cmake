# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The headers, resect-config.cmake and resect.pc. Nothing installed depends on the machine or on where it is put.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(resect_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/resect")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/resect" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT resect)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT resect)

set_target_properties(resect_cpu PROPERTIES EXPORT_NAME cpu)
install(TARGETS resect EXPORT resect-targets INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(TARGETS resect_cpu EXPORT resect-cpu-targets)
foreach(set resect resect-cpu)
  install(EXPORT ${set}-targets NAMESPACE resect:: DESTINATION "${resect_package_dir}" COMPONENT resect)
endforeach()

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/resect-config.cmake.in" "${PROJECT_BINARY_DIR}/resect-config.cmake"
  INSTALL_DESTINATION "${resect_package_dir}")
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/resect-config-version.cmake" COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/resect-config.cmake" "${PROJECT_BINARY_DIR}/resect-config-version.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/resect-dependencies.cmake"
        DESTINATION "${resect_package_dir}" COMPONENT resect)

# For builds without CMake; Eigen and threads are the user's to add.
file(RELATIVE_PATH resect_up "/${CMAKE_INSTALL_DATADIR}/pkgconfig" "/")
file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/resect.pc" @ONLY CONTENT [=[prefix=${pcfiledir}/@resect_up@
includedir=${prefix}/@CMAKE_INSTALL_INCLUDEDIR@

Name: resect
Description: @PROJECT_DESCRIPTION@
Version: @PROJECT_VERSION@
Cflags: -I${includedir}
]=])
install(FILES "${PROJECT_BINARY_DIR}/resect.pc" DESTINATION "${CMAKE_INSTALL_DATADIR}/pkgconfig" COMPONENT resect)
