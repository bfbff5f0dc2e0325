// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/sae/detail/row_kernels.hpp>
#include <resect/sae/options.hpp>

namespace RESECT_NAMESPACE::sae::detail {

// Adam of one step: p ← p − rate·(m/(1 − β₁^t))/(√(v/(1 − β₂^t)) + ε), m and v the running means of g and g².
// Source: Kingma & Ba, "Adam" (2015), algorithm 1.
class adam_step {
 public:
  // Step t = 0 is the first; gradients are multiplied by `scale`.
  adam_step(const trainer_options& o, index_t t, double scale)
      : beta1_(o.beta1), beta2_(o.beta2), epsilon_(o.epsilon), scale_(scale) {
    const double n = static_cast<double>(t + 1);
    rate_ = o.rate_at(t) / (1 - std::pow(o.beta1, n));
    root_ = 1 / std::sqrt(1 - std::pow(o.beta2, n));
  }
  void apply(const row_loops& loops, const float* g, float* m, float* v, float* p, index_t n) const noexcept {
    const auto f = [](double x) { return static_cast<float>(x); };
    loops.adam({f(scale_), f(beta1_), f(1 - beta1_), f(beta2_), f(1 - beta2_), f(rate_), f(root_), f(epsilon_)}, g, m,
               v, p, n);
  }
  void apply(const row_loops&, const double* g, double* m, double* v, double* p, index_t n) const noexcept {
    for (index_t i = 0; i < n; ++i) {
      const double x = scale_ * g[i];
      m[i] = beta1_ * m[i] + (1 - beta1_) * x;
      v[i] = beta2_ * v[i] + (1 - beta2_) * x * x;
      p[i] -= rate_ * m[i] / (std::sqrt(v[i]) * root_ + epsilon_);
    }
  }

 private:
  double beta1_, beta2_, epsilon_, scale_, rate_, root_;
};

}  // namespace RESECT_NAMESPACE::sae::detail
