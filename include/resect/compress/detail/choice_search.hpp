// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <utility>

#include <resect/compress/detail/option_hull.hpp>
#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>

// The search for one point of each choice with the least sum of losses under a sum of bytes: the multiple-choice knapsack.
namespace RESECT_NAMESPACE::compress::detail {

// A selection: the place of one point of each choice, with its sums.
struct selection {
  array<index_t> at;
  double bytes = 0;
  double loss = 0;
};

// Choices with their efficient points, and the steps of all hulls by falling slope: kept between budgets.
struct choice_set {
  array<array<option_point>> points;
  array<hull_step> steps;
  double rounding = 0;  // see set_rounding

  index_t size() const noexcept { return points.size(); }

  // The points of least bytes.
  selection least() const {
    selection out{array<index_t>(size()), 0, 0};
    add_up(out);
    return out;
  }
  // Sets how far sums in another order can be from add_up's, as a share: 0 where all bytes are whole numbers.
  void set_rounding() noexcept {
    double largest = 0;
    bool whole = true;
    index_t terms = size() + steps.size();
    for (const array<option_point>& of : points) {
      largest += of.back().bytes;
      for (const option_point& p : of)
        whole = whole && p.bytes < 0x1p53 && static_cast<double>(static_cast<std::int64_t>(p.bytes)) == p.bytes;
    }
    rounding = whole && largest < 0x1p53 ? 0.0 : 0x1p-51 * static_cast<double>(terms);
  }
  // What a sum in any order may be, so that no selection of at most `budget` bytes is missed.
  double at_most(double budget) const noexcept { return rounding == 0 ? budget : budget + rounding * budget; }
  // Whether it fits by its sum in the one order.
  bool fits(const array<index_t>& at, double budget) const noexcept {
    double bytes = 0;
    for (index_t i = 0; i < size(); ++i) bytes += points[i][at[i]].bytes;
    return bytes <= budget;
  }
  // Sets the sums of a selection, added in the order of choices.
  void add_up(selection& s) const noexcept {
    s.bytes = s.loss = 0;
    for (index_t i = 0; i < size(); ++i) {
      s.bytes += points[i][s.at[i]].bytes;
      s.loss += points[i][s.at[i]].loss;
    }
  }
};

// The Lagrangian solution: steps in the order of their slopes up to the first that does not fit.
struct lagrangian {
  selection chosen;
  double bound = 0;          // no selection within the budget has a loss below
  double loss_per_byte = 0;  // slope of the step that did not fit; 0 where all fit
};
inline lagrangian solve_lagrangian(const choice_set& set, double budget) {
  lagrangian out{set.least(), 0, 0};
  double bytes = out.chosen.bytes, loss = out.chosen.loss;
  const double most = set.at_most(budget);
  array<hull_step> taken;  // each with the place that its choice had before
  for (const hull_step& s : set.steps) {
    if (bytes + s.bytes > most) {
      out.loss_per_byte = s.gain / s.bytes;
      loss -= out.loss_per_byte * (most - bytes);
      break;
    }
    taken.push_back(s);
    taken.back().to = std::exchange(out.chosen.at[s.choice], s.to);
    bytes += s.bytes;
    loss -= s.gain;
  }
  for (index_t i = taken.size(); i-- > 0 && !set.fits(out.chosen.at, budget);) {  // too many by rounding alone
    out.chosen.at[taken[i].choice] = taken[i].to;
    out.loss_per_byte = taken[i].gain / taken[i].bytes;
  }
  set.add_up(out.chosen);
  out.bound = loss;
  return out;
}

// A selection with one point replaced.
inline array<index_t> replaced(array<index_t> at, index_t i, index_t by) {
  at[i] = by;
  return at;
}

// Spends what the budget leaves: again and again the change of one choice that fits and lowers the loss the most per byte.
inline void fill_greedily(const choice_set& set, double budget, selection& s) {
  for (;;) {
    hull_step best;
    for (index_t i = 0; i < set.size(); ++i) {
      const array<option_point>& points = set.points[i];
      const option_point& now = points[s.at[i]];
      for (index_t to = s.at[i] + 1; to < points.size(); ++to) {
        const double bytes = s.bytes - now.bytes + points[to].bytes;
        if (bytes > set.at_most(budget)) break;
        if (set.rounding > 0 && !(bytes < budget - set.rounding * budget) && !set.fits(replaced(s.at, i, to), budget))
          break;
        const hull_step step{i, to, points[to].bytes - now.bytes, now.loss - points[to].loss};
        if (best.bytes == 0 || step.before(best)) best = step;
      }
    }
    if (best.bytes == 0) return;
    s.at[best.choice] = best.to;
    set.add_up(s);
  }
}

// Depth-first search over the choices; a branch ends where the linear relaxation of what is left cannot beat the best
// selection so far (Dyer, Kayal & Walker 1984; Sinha & Zoltners 1979). `work` limits the hull steps that are looked at.
class branch_and_bound {
 public:
  branch_and_bound(const choice_set& set, double budget, double slope, selection start, index_t work)
      : set_(set),
        budget_(budget),
        most_(set.at_most(budget)),
        work_(work),
        best_(std::move(start)),
        at_(set.size()),
        order_(set.size()),
        position_(set.size()),
        rest_bytes_(set.size() + 1),
        rest_loss_(set.size() + 1),
        ranked_(set.size()) {
    order_choices();
    for (index_t i = 0; i < set.size(); ++i) rank_points(i, slope);
    for (index_t d = set.size(); d-- > 0;) {
      const option_point& first = set.points[order_[d]].front();
      rest_bytes_[d] = rest_bytes_[d + 1] + first.bytes;
      rest_loss_[d] = rest_loss_[d + 1] + first.loss;
    }
  }

  // Whether the search ended before its work did: then the best selection is optimal.
  bool run() {
    descend(0, 0, 0);
    set_.add_up(best_);
    return work_ > 0;
  }
  const selection& best() const noexcept { return best_; }

 private:
  // Choices with the largest range of losses first.
  void order_choices() {
    const auto range = [&](index_t i) { return set_.points[i].front().loss - set_.points[i].back().loss; };
    for (index_t i = 0; i < set_.size(); ++i) order_[i] = i;
    algo::sort(order_.begin(), order_.end(),
               [&](index_t a, index_t b) { return range(a) != range(b) ? range(a) > range(b) : a < b; });
    for (index_t d = 0; d < set_.size(); ++d) position_[order_[d]] = d;
  }
  // Points of a choice by loss + slope·bytes.
  void rank_points(index_t i, double slope) {
    const array<option_point>& points = set_.points[i];
    for (index_t p = 0; p < points.size(); ++p) ranked_[i].push_back(p);
    const auto cost = [&](index_t p) { return points[p].loss + slope * points[p].bytes; };
    algo::sort(ranked_[i].begin(), ranked_[i].end(),
               [&](index_t a, index_t b) { return cost(a) != cost(b) ? cost(a) < cost(b) : a < b; });
  }

  // A bound below the loss of every selection that goes on from here.
  double relaxed(index_t depth, double bytes, double loss) noexcept {
    double left = most_ - bytes - rest_bytes_[depth], out = loss + rest_loss_[depth];
    for (const hull_step& s : set_.steps) {
      --work_;
      if (position_[s.choice] < depth) continue;
      if (s.bytes > left) return out - s.gain / s.bytes * left;
      left -= s.bytes;
      out -= s.gain;
    }
    return out;
  }

  void descend(index_t depth, double bytes, double loss) {
    if (depth == set_.size()) {
      if (loss < best_.loss && set_.fits(at_, budget_)) {
        best_.at = at_;
        best_.loss = loss;
      }
      return;
    }
    const index_t i = order_[depth];
    for (const index_t p : ranked_[i]) {
      const option_point& point = set_.points[i][p];
      if (bytes + point.bytes + rest_bytes_[depth + 1] > most_) continue;
      if (--work_ <= 0) return;
      if (!(relaxed(depth + 1, bytes + point.bytes, loss + point.loss) < best_.loss)) continue;
      at_[i] = p;
      descend(depth + 1, bytes + point.bytes, loss + point.loss);
      if (work_ <= 0) return;
    }
  }

  const choice_set& set_;
  double budget_, most_;
  index_t work_;
  selection best_;
  array<index_t> at_, order_, position_;
  array<double> rest_bytes_, rest_loss_;
  array<array<index_t>> ranked_;
};

}  // namespace RESECT_NAMESPACE::compress::detail
