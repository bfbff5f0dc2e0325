// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <vector>

#include <resect/core/float16.hpp>
#include <resect/core/float8.hpp>

namespace support {

// Numbers stored in a small type, and the floats that they then stand for.
template <resect::small_float S>
struct small_row {
  explicit small_row(const std::vector<float>& exact) : stored(exact.size()), widened(exact.size()) {
    resect::convert(exact, stored);
    for (std::size_t i = 0; i < stored.size(); ++i) widened[i] = static_cast<float>(stored[i]);
  }
  std::vector<S> stored;
  std::vector<float> widened;
};

// Calls f with a number of every type that activations are stored in.
template <class F>
void for_every_small_type(F f) {
  f(resect::f16{});
  f(resect::bf16{});
  f(resect::fp8_e4m3{});
  f(resect::fp8_e5m2{});
}

}  // namespace support
