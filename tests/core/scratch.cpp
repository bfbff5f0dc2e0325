// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>

#include <resect/core/scratch.hpp>
#include <support/catch.hpp>

using resect::index_t;
using resect::scratch;
using resect::scratch_frame;

TEST_CASE("scratch: what frames take does not overlap, does not move, and is free again when they end") {
  scratch memory;
  scratch_frame outer{&memory};
  const auto a = outer.take<double>(3);
  for (double& x : a) x = 1.5;
  const double* first = nullptr;
  for (int pass = 0; pass < 3; ++pass) {
    scratch_frame inner{&memory};
    const auto b = inner.take<double>(1000);
    const auto c = inner.take<std::uint8_t>(5);
    for (double& x : b) x = 2.5;
    for (std::uint8_t& x : c) x = 0xff;
    CHECK(reinterpret_cast<std::uintptr_t>(c.data()) % 16 == 0);
    if (pass == 0) first = b.data();
    CHECK(b.data() == first);
    CHECK(inner.take<double>(0).empty());
  }
  for (const double x : a) CHECK(x == 1.5);
}

TEST_CASE("scratch: it grows until it fits, and then no more") {
  scratch memory;
  index_t held = 0;
  for (int pass = 0; pass < 4; ++pass) {
    scratch_frame frame{&memory};
    for (int i = 0; i < 10; ++i) frame.take<float>(100);
    if (pass >= 2) CHECK(memory.capacity() == held);
    held = memory.capacity();
  }
  CHECK(held >= 4000);
  CHECK(scratch(4096).capacity() == 4096);
}

TEST_CASE("scratch: a frame without one has its own") {
  scratch_frame frame{nullptr};
  const auto a = frame.take<int>(10), b = frame.take<int>(10);
  a[9] = 1;
  b[0] = 2;
  CHECK(a[9] == 1);
}
