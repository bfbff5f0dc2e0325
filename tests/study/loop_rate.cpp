// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/study/loop_rate.hpp>

#include <vector>

#include <support/catch.hpp>

using namespace resect::study;

TEST_CASE("loop rate: repeated 4-grams and cycles of known outputs") {
  std::vector<generation> outputs(8);
  for (int i = 0; i < 64; ++i) {
    outputs[0].ids.push_back(i);       // nothing twice
    outputs[1].ids.push_back(7);       // a cycle of one
    outputs[2].ids.push_back(i % 16);  // of sixteen
    outputs[3].ids.push_back(i % 17);  // of seventeen: too long for a cycle, but repeated
  }
  outputs[4].ids = {1, 2, 3};           // no 4-gram
  outputs[5].ids = {1, 1, 1, 1, 1, 1};  // too short for a cycle
  outputs[5].stopped = true;
  const auto sums = loops_of(outputs);
  const double repeated[] = {0, 60, 45, 44, 0, 2, 0, 0};
  const int grams[] = {61, 61, 61, 61, 0, 3, 0, 0}, cycles[] = {0, 1, 1, 0, 0, 0, 0, 0};
  for (resect::index_t i = 0; i < 8; ++i) {
    CAPTURE(i);
    CHECK(sums.repeated.sum(i) == repeated[i]);
    CHECK(sums.repeated.count(i) == grams[i]);
    CHECK(sums.cycles.sum(i) == cycles[i]);
  }
  CHECK(sums.repeated_share().value == Approx(151.0 / 247));
  CHECK(sums.cycle_share().value == Approx(0.25));
  CHECK(sums.stopped_share().value == Approx(0.125));
}
