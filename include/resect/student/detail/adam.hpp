// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/student/detail/row_kernels.hpp>

namespace RESECT_NAMESPACE::student::detail {

// The constants of Adam and the rate of one step.
struct adam_rates {
  double beta1 = .9, beta2 = .999, epsilon = 1e-8;
  double rate = 0;   // of this step
  double decay = 0;  // of AdamW: parameters shrink by rate·decay, apart from the gradient
};

// AdamW of one step: p ← (1 − rate·decay)·p − rate·(m/(1 − β₁^t))/(√(v/(1 − β₂^t)) + ε), m and v the running means of g and
// g².
// Source: Kingma & Ba, "Adam" (2015), algorithm 1; Loshchilov & Hutter, "Decoupled weight decay" (2019), algorithm 2.
class adam_step {
 public:
  // Step t = 0 is the first; gradients are multiplied by `scale`.
  adam_step(const adam_rates& r, index_t t, double scale)
      : beta1_(r.beta1), beta2_(r.beta2), epsilon_(r.epsilon), scale_(scale), keep_(1 - r.rate * r.decay) {
    const double n = static_cast<double>(t + 1);
    rate_ = r.rate / (1 - std::pow(r.beta1, n));
    root_ = 1 / std::sqrt(1 - std::pow(r.beta2, n));
  }
  void apply(const row_loops& loops, const float* g, float* m, float* v, float* p, index_t n) const noexcept {
    const auto f = [](double x) { return static_cast<float>(x); };
    loops.adam(
        {f(scale_), f(beta1_), f(1 - beta1_), f(beta2_), f(1 - beta2_), f(rate_), f(root_), f(epsilon_), f(keep_)}, g,
        m, v, p, n);
  }
  void apply(const row_loops&, const double* g, double* m, double* v, double* p, index_t n) const noexcept {
    for (index_t i = 0; i < n; ++i) {
      const double x = scale_ * g[i];
      m[i] = beta1_ * m[i] + (1 - beta1_) * x;
      v[i] = beta2_ * v[i] + (1 - beta2_) * x * x;
      p[i] = keep_ * p[i] - rate_ * m[i] / (std::sqrt(v[i]) * root_ + epsilon_);
    }
  }

 private:
  double beta1_, beta2_, epsilon_, scale_, keep_, rate_, root_;
};

}  // namespace RESECT_NAMESPACE::student::detail
