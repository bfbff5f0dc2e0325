// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/types.hpp>

// The options of one choice as points (bytes, loss), without those that no budget asks for.
namespace RESECT_NAMESPACE::compress::detail {

// One option of one choice.
struct option_point {
  index_t id = 0;
  double bytes = 0;
  double loss = 0;
};

// A step of a choice from one point of its hull to the next one: `bytes` more bytes, `gain` less loss.
struct hull_step {
  index_t choice = 0;
  index_t to = 0;  // place of the point among the choice's points
  double bytes = 0;
  double gain = 0;

  // Whether this step lowers the loss by more per byte. Steps of equal slope: the lower choice first.
  bool before(const hull_step& other) const noexcept {
    const double a = gain * other.bytes, b = other.gain * bytes;
    if (a != b) return a > b;
    return choice != other.choice ? choice < other.choice : to < other.to;
  }
};

// Sorts the points by bytes and keeps those whose loss is below that of every point of no more bytes.
inline void keep_efficient(array<option_point>& points) {
  algo::sort(points.begin(), points.end(), [](const option_point& a, const option_point& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.loss != b.loss ? a.loss < b.loss : a.id < b.id;
  });
  array<option_point> kept;
  for (const option_point& p : points)
    if (kept.empty() || p.loss < kept.back().loss) kept.push_back(p);
  points = std::move(kept);
}

// Appends the steps of the lower convex hull of efficient points, which begin at the first point. Their slopes fall.
inline void append_hull(const array<option_point>& points, index_t choice, array<hull_step>& steps) {
  array<index_t> hull;
  for (index_t i = 0; i < points.size(); ++i) {
    while (hull.size() >= 2) {
      const option_point &a = points[hull[hull.size() - 2]], &b = points[hull.back()], &c = points[i];
      if ((a.loss - b.loss) * (c.bytes - b.bytes) > (b.loss - c.loss) * (b.bytes - a.bytes)) break;
      hull.pop_back();  // b lies on or above the line from a to c
    }
    hull.push_back(i);
  }
  for (index_t k = 1; k < hull.size(); ++k) {
    const option_point &a = points[hull[k - 1]], &b = points[hull[k]];
    steps.push_back({choice, hull[k], b.bytes - a.bytes, a.loss - b.loss});
  }
}

}  // namespace RESECT_NAMESPACE::compress::detail
