// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The one place where the version stands; CMake reads it from here.
#define RESECT_VERSION_MAJOR 0
#define RESECT_VERSION_MINOR 1
#define RESECT_VERSION_PATCH 0
#define RESECT_VERSION "0.1.0"
