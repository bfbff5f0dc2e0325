// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs PARTS parts on one shared state and compares their answers.
#include <cmath>
#include <cstdio>

#include "part.hpp"

#ifndef PARTS
#error "PARTS: wanted a list like X(0) X(1)"
#endif

#define X(n) part::answer compute_##n(part::shared_state&);
PARTS
#undef X

int main() {
  part::shared_state shared;
  const part::answer here = part::compute(shared);
  int wrong = 0, n = 0;
  const auto close = [](double a, double b) { return std::fabs(a - b) <= 1e-9 * (1 + std::fabs(b)); };
  const auto check = [&](const part::answer& a) {
    ++n;
    if (a.bits == here.bits && close(a.nll, here.nll) && close(a.kl, here.kl) && close(a.cosine, here.cosine)) return;
    ++wrong;
    std::printf("part %d: got %llx %.17g %.17g %.17g, wanted %llx %.17g %.17g %.17g\n", n,
                static_cast<unsigned long long>(a.bits), a.nll, a.kl, a.cosine,
                static_cast<unsigned long long>(here.bits), here.nll, here.kl, here.cosine);
  };
#define X(i) check(compute_##i(shared));
  PARTS
#undef X
  if (shared.plan.steps().size() != n + 1 || shared.cosine.estimate().n != n + 1) {
    std::printf("the shared state: got %d steps, wanted %d\n", static_cast<int>(shared.plan.steps().size()), n + 1);
    ++wrong;
  }
  if (wrong == 0) std::printf("%d parts agree: fine\n", n);
  return wrong;
}
