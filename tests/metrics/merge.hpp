// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <vector>

#include <resect/metrics/intervals/estimate.hpp>
#include <resect/random/distributions.hpp>

// What the tests of the accumulators share.
namespace tests {

using resect::index_t;

inline bool same_number(double a, double b, double relative) {
  if (a != a || b != b) return a != a && b != b;
  return a == b || std::fabs(a - b) <= relative * std::fmax(std::fabs(a), std::fabs(b));
}

inline bool same_estimate(const resect::metrics::estimate& a, const resect::metrics::estimate& b,
                          double relative = 1e-12) {
  return same_number(a.value, b.value, relative) && same_number(a.se, b.se, relative) &&
         same_number(a.lo, b.lo, relative) && same_number(a.hi, b.hi, relative) && a.n == b.n &&
         a.n_clusters == b.n_clusters;
}

// Feeds items 0 … n−1 to `parts` accumulators, each item to a random one, and merges them in a random tree. The items
// of a part arrive in a random rotation of their order.
template <class Make, class Feed>
auto merged_from_parts(std::uint64_t seed, int parts, index_t n, Make make, Feed feed) {
  const resect::random::philox_stream s{seed, 77};
  std::vector<decltype(make())> accumulators;
  for (int p = 0; p < parts; ++p) accumulators.push_back(make());
  const index_t start = static_cast<index_t>(resect::random::integer_below(s, 1u << 30, static_cast<std::uint64_t>(n)));
  for (index_t j = 0; j < n; ++j) {
    const index_t i = (j + start) % n;
    feed(accumulators[resect::random::integer_below(s, static_cast<std::uint64_t>(i),
                                                    static_cast<std::uint64_t>(parts))],
         i);
  }
  std::uint64_t draw = 1u << 20;
  while (accumulators.size() > 1) {
    const std::size_t into = resect::random::integer_below(s, draw++, accumulators.size() - 1);
    (void)accumulators[into].merge(accumulators.back());
    accumulators.pop_back();
  }
  return accumulators.front();
}

template <class Make, class Feed>
auto one_pass(index_t n, Make make, Feed feed) {
  auto a = make();
  for (index_t i = 0; i < n; ++i) feed(a, i);
  return a;
}

// A stream of draws taken one after the other.
class draws {
 public:
  explicit draws(std::uint64_t seed, std::uint64_t stream = 0) : stream_(seed, stream) {}
  double gauss() { return resect::random::gaussian(stream_, next_++); }
  double uniform() { return resect::random::uniform(stream_, next_++); }
  index_t below(index_t n) {
    return static_cast<index_t>(resect::random::integer_below(stream_, next_++, static_cast<std::uint64_t>(n)));
  }
  double lognormal(double sigma) { return std::exp(sigma * gauss()); }
  // Student's t with three degrees of freedom: infinite fourth (and third) moment.
  double t3() {
    const double z = gauss(), a = gauss(), b = gauss(), c = gauss();
    return z / std::sqrt((a * a + b * b + c * c) / 3);
  }

 private:
  resect::random::philox_stream stream_;
  std::uint64_t next_ = 0;
};

}  // namespace tests
