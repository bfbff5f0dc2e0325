// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A user without exceptions and without RTTI: every header, and the try_ forms.
#include <cstdio>

#include "every_header.hpp"  // made by the test

#if RESECT_EXCEPTIONS
#error "RESECT_EXCEPTIONS: got 1, wanted 0"
#endif

int main() {
  int wrong = 0;
  const auto check = [&](bool holds, const char* what) {
    if (!holds) {
      std::printf("does not hold: %s\n", what);
      ++wrong;
    }
  };
  using namespace resect::residual;
  plan p;
  check(p.try_add(skip(layers(1, 3))).has_value(), "a step is added");
  const resect::status conflict = p.try_add(scale_delta(layer(2), 0.5f));
  check(!conflict && conflict.error().code == resect::errc::conflict, "a conflict is a value");
  check(!try_mean_delta(layers(0, 2), delta_means{}), "wrong means are refused");

  std::vector<float> a(6, 1.0f), c(4);
  resect::cpu exec;
  check(
      exec.try_gemm(1.0f, resect::matrix_view<const float>{a.data(), 2, 3},
                    resect::matrix_view<const float>{a.data(), 3, 2}, 0.0f, resect::matrix_view<float>{c.data(), 2, 2})
              .has_value() &&
          c == std::vector<float>(4, 3.0f),
      "a product");
  check(!exec.try_gemm(1.0f, resect::matrix_view<const float>{a.data(), 2, 3},
                       resect::matrix_view<const float>{a.data(), 2, 3}, 0.0f,
                       resect::matrix_view<float>{c.data(), 2, 2}),
        "extents that do not fit are refused");

  const auto file = resect::io::try_npy<float>(a, {2, 3});
  check(file.has_value(), "npy is written");
  const auto array = resect::io::try_read_npy(std::as_bytes(std::span{*file}));
  check(array && resect::io::try_npy_values<float>(*array).has_value(), "and read");
  check(!resect::io::try_npy<float>(a, {7}), "a wrong shape is refused");

  resect::metrics::perplexity x{2}, y{3};
  check(!x.merge(y), "accumulators that do not fit are refused");
  if (wrong == 0) std::puts("without exceptions and RTTI: fine");
  return wrong;
}
