// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A user's program: the headers, and with CONSUMER_CPU the backend on Eigen.
#include <cstdio>
#include <vector>

#include <resect/resect.hpp>
#ifdef CONSUMER_CPU
#include <resect/backend/cpu.hpp>
#endif

int main() {
  std::vector<float> x(64), y(64);
  resect::random::fill_gaussian(x, 1, 0);
  resect::random::fill_gaussian(y, 1, 1);
  resect::metrics::mean_cosine cosine{1};
  cosine.add(0, std::span<const float>(x), std::span<const float>(y));
  const auto plan = resect::residual::plan{} | resect::residual::skip(resect::residual::layers(1, 2));
  if (cosine.estimate().n != 1 || plan.steps().size() != 1) return 1;
#ifdef CONSUMER_CPU
  resect::cpu exec{resect::threads{2}};
  const std::vector<float> a{1, 2, 3, 4, 5, 6}, b{1, 0, 0, 1, 1, 1};
  std::vector<float> c(4);
  const resect::status done =
      exec.try_gemm(1.0f, resect::matrix_view<const float>{a.data(), 2, 3},
                    resect::matrix_view<const float>{b.data(), 3, 2}, 0.0f, resect::matrix_view<float>{c.data(), 2, 2});
  if (!done || c != std::vector<float>{4, 5, 10, 11}) return 2;
#endif
  std::puts("consumer of resect " RESECT_VERSION ": fine");
}
