// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Results that live by the order of sums: what rounds by adding and taking away, what carries the error of a sum along.
#include <cmath>
#include <cstdio>
#include <vector>

#include <resect/metrics/accumulators/compensated.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/quant/search/mse.hpp>
#include <resect/random/distributions.hpp>

int main() {
  using namespace resect;
  metrics::compensated sum;
  for (int i = 0; i < 1000; ++i) {
    sum.add(1e16);
    sum.add(1.0);
    sum.add(-1e16);
  }
  std::vector<float> weights(64 * 100), p(1000), q(1000);
  random::fill_gaussian(weights, 1, 0, 0, 1.0);
  random::fill_gaussian(p, 2, 0, 0, 3.0);
  random::fill_gaussian(q, 3, 0, 0, 3.0);
  inline_executor exec;
  const matrix_view<const float> W{weights.data(), 64, 100};
  std::vector<float> back(weights.size());
  double lost = 0;
  for (const bool search : {false, true}) {
    const auto q4 =
        search ? quant::try_quantize(exec, W, quant::affine<4>{.group = 32}, quant::nearest{}, quant::mse_scale{})
               : quant::try_quantize(exec, W, quant::affine<4>{.group = 32});
    if (!q4 || !quant::try_dequantize(exec, *q4, matrix_view<float>{back.data(), 64, 100})) return 1;
    for (std::size_t i = 0; i < back.size(); ++i) lost += std::fabs(static_cast<double>(weights[i] - back[i]));
  }
  const double kl = metrics::compare_logits(p, q).kl;
  std::printf("%.9g %.9g %.9g %s\n", sum.value(), lost, kl, sum.value() == 1000 ? "fine" : "wrong");
}
