// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names of POSIX and of the C library beside all of resect: a user who says `using namespace resect` and includes them.
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <resect/resect.hpp>

#include <support/catch.hpp>

using namespace resect;

TEST_CASE("resect's names are usable beside those of POSIX after a using-directive") {
  const index_t n = 3;
  float values[] = {1, 2, 3};
  const matrix_view<float> row{values, 1, n};
  CHECK(row(0, n - 1) == 3.0f);
  CHECK(index("resect", 's') != nullptr);  // the function of <strings.h>
  const result<index_t> r = n;
  CHECK(*r == 3);
}
