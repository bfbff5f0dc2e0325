// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The one place that names the test framework: Catch2 v2.
#include <catch2/catch.hpp>
