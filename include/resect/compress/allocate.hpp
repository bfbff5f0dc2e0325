// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <utility>

#include <resect/compress/detail/choice_search.hpp>
#include <resect/core/array.hpp>
#include <resect/core/result.hpp>
#include <resect/core/text.hpp>
#include <resect/metrics/intervals/estimate.hpp>

// Which option (bits, group, rank) each matrix gets, so that all fit a budget of bytes and lose the least:
//
//   minimize Σ_m loss_m(o_m)   subject to   Σ_m bytes_m(o_m) ≤ budget.
//
// A loss is whatever adds up over matrices: measured KL of the model with this matrix alone altered, or a weight times
// tr(E·H·Eᵀ)/tr(W·H·Wᵀ). The sum is a model of the whole: try_measured measures the whole and says where it does not hold.
// Source: Shoham & Gersho, "Efficient bit allocation for an arbitrary set of quantizers" (1988), the Lagrangian on the
// hull; Dyer, Kayal & Walker, "A branch and bound algorithm for solving the multiple-choice knapsack problem" (1984).
namespace RESECT_NAMESPACE::compress {

// One way to store one matrix. `id` says the same of every matrix: a format with its group and rank.
struct allocation_option {
  index_t id = 0;
  double bytes = 0;  // ≥ 0
  double loss = 0;   // finite; measured ones may be below 0
};

// A matrix with its options.
struct allocation_matrix {
  short_text<48> name;  // shown in errors
  array<allocation_option> options;
  index_t group = -1;  // matrices of one group ≥ 0 get one id (q, k and v of a layer that share a format); −1: free
  index_t least = -1;  // id of the smallest option allowed: options of fewer bytes are left out; −1: all are allowed
};

// One option of every matrix.
struct allocation {
  array<index_t> ids;        // of the options, in the order of the matrices
  double bytes = 0;          // Σ bytes ≤ budget
  double loss = 0;           // Σ loss
  double bound = 0;          // no allocation within the budget loses less; equals `loss` where that is optimal
  double loss_per_byte = 0;  // λ: what a further byte is worth; 0 where every matrix has its best option
  bool optimal = false;      // the search ended: no allocation loses less
  bool uniform = false;      // all matrices have one id

  // The duality gap: at most so much above the optimum.
  double gap() const noexcept { return loss - bound; }
};

// What limits the search for an optimum.
struct allocation_limits {
  index_t work = 20'000'000;  // steps of hulls that branch-and-bound looks at: below a second. 0: no such search
};

// The hulls of all matrices, which any budget is solved from.
class allocator {
 public:
  // Checks the matrices and keeps their efficient options.
  //   Errors: invalid_argument (no matrix, a matrix without options, an id that comes twice, a `least` that no option has,
  //   bytes below 0, a group whose matrices have no id in common), not_finite (bytes or loss; matrix and id named).
  static result<allocator> try_make(std::span<const allocation_matrix> matrices) {
    if (matrices.empty()) return error{errc::invalid_argument, "matrices", "none", "at least one"};
    for (const allocation_matrix& m : matrices)
      if (status s = check(m); !s) return s.error();
    allocator out;
    out.matrices_.assign(matrices.data(), static_cast<index_t>(matrices.size()));
    out.choice_of_.resize(out.matrices_.size());
    for (index_t m = 0; m < out.matrices_.size(); ++m)
      if (status s = out.add(m); !s) return s.error();
    for (index_t c = 0; c < out.set_.size(); ++c) {
      detail::keep_efficient(out.set_.points[c]);
      detail::append_hull(out.set_.points[c], c, out.set_.steps);
    }
    algo::sort(out.set_.steps.begin(), out.set_.steps.end(),
               [](const detail::hull_step& a, const detail::hull_step& b) { return a.before(b); });
    out.set_.set_rounding();
    return out;
  }

  index_t size() const noexcept { return matrices_.size(); }
  // Σ bytes of the smallest options that are allowed: the least budget.
  double least_bytes() const { return set_.least().bytes; }

  // The allocation of least loss that was found: the Lagrangian solution on the hulls, the budget's rest filled greedily,
  // the best uniform allocation where that is better, then branch-and-bound within `limits`.
  //   Deterministic. Cost: matrices × options, plus limits.work steps; no loss is computed again.
  //   Errors: invalid_argument (a budget below least_bytes(), or NaN).
  result<allocation> try_solve(double budget, const allocation_limits& limits = {}) const {
    if (!(budget >= least_bytes()))
      return error{errc::invalid_argument, "budget", text(budget, " bytes"),
                   text("at least ", least_bytes(), ", the smallest options of all matrices")};
    const detail::lagrangian relaxed = detail::solve_lagrangian(set_, budget);
    detail::selection best = relaxed.chosen;
    detail::fill_greedily(set_, budget, best);
    const result<allocation> one = try_uniform(budget);
    const double to_beat = one && one->loss < best.loss ? one->loss : best.loss;
    bool optimal = best.loss <= relaxed.bound;
    if (!optimal && limits.work > 0) {
      best.loss = to_beat;
      detail::branch_and_bound search(set_, budget, relaxed.loss_per_byte, std::move(best), limits.work);
      optimal = search.run();
      best = search.best();
    }
    allocation out = one && !(best.loss < one->loss) ? *one : of(best);
    out.bound = optimal ? out.loss : algo::min(relaxed.bound, out.loss);
    out.loss_per_byte = relaxed.loss_per_byte;
    out.optimal = optimal;
    return out;
  }

  // The allocation of least loss among those that give every matrix one id; of equal losses that of fewer bytes. Its bound
  // is its loss. Errors: invalid_argument (no id that all matrices have and may get fits the budget).
  result<allocation> try_uniform(double budget) const {
    allocation best;
    for (const allocation_option& o : matrices_.front().options) {
      allocation a;
      a.ids.assign(size(), o.id);
      if (!try_add_up(a) || !(a.bytes <= budget)) continue;
      if (best.ids.empty() || a.loss < best.loss || (a.loss == best.loss && a.bytes < best.bytes)) best = std::move(a);
    }
    if (best.ids.empty())
      return error{errc::invalid_argument, "budget", text(budget, " bytes"),
                   "one that an option fits which all matrices have and may get"};
    best.bound = best.loss;
    return best;
  }

  // Bytes and loss of an allocation of any ids, added in the order of the search: groups first. Errors: shape_mismatch (not one id a matrix), invalid_argument (an id that the
  // matrix does not have or may not get, or that differs within a group).
  status try_add_up(allocation& a) const {
    if (a.ids.size() != size())
      return error{errc::shape_mismatch, "allocation", text(a.ids.size(), " ids"), text(size())};
    a.bytes = a.loss = 0;
    a.uniform = true;
    array<detail::option_point> sums(set_.size());
    for (index_t m = 0; m < size(); ++m) {
      const allocation_option* o = find(matrices_[m], a.ids[m]);
      if (o == nullptr || o->bytes < least_of(matrices_[m]))
        return error{errc::invalid_argument, text("option of ", matrices_[m].name.view()), text("id ", a.ids[m]),
                     "an id that the matrix has and may get"};
      if (const index_t first = first_of_group(m); a.ids[first] != a.ids[m])
        return error{errc::invalid_argument, text("option of ", matrices_[m].name.view()), text("id ", a.ids[m]),
                     text("id ", a.ids[first], ", as ", matrices_[first].name.view(), " of the same group has")};
      sums[choice_of_[m]].bytes += o->bytes;
      sums[choice_of_[m]].loss += o->loss;
      a.uniform = a.uniform && a.ids[m] == a.ids.front();
    }
    for (const detail::option_point& p : sums) {
      a.bytes += p.bytes;
      a.loss += p.loss;
    }
    return {};
  }

 private:
  static const allocation_option* find(const allocation_matrix& m, index_t id) noexcept {
    for (const allocation_option& o : m.options)
      if (o.id == id) return &o;
    return nullptr;
  }
  static double least_of(const allocation_matrix& m) noexcept { return m.least < 0 ? 0 : find(m, m.least)->bytes; }

  static status check(const allocation_matrix& m) {
    const auto operand = [&](index_t id) { return text("option ", id, " of ", m.name.view()); };
    if (m.options.empty()) return error{errc::invalid_argument, text("options of ", m.name.view()), "none", "some"};
    for (index_t i = 0; i < m.options.size(); ++i) {
      const allocation_option& o = m.options[i];
      if (!(o.bytes - o.bytes == 0) || !(o.loss - o.loss == 0))
        return error{errc::not_finite, operand(o.id), text(o.bytes, " bytes, loss ", o.loss), "finite numbers"};
      if (o.bytes < 0) return error{errc::invalid_argument, operand(o.id), text(o.bytes, " bytes"), "at least 0"};
      if (find(m, o.id) != &o) return error{errc::invalid_argument, operand(o.id), "a second one", "ids that differ"};
    }
    if (m.least >= 0 && find(m, m.least) == nullptr)
      return error{errc::invalid_argument, text("least option of ", m.name.view()), text("id ", m.least),
                   "the id of an option"};
    return {};
  }

  index_t first_of_group(index_t m) const noexcept {
    if (matrices_[m].group < 0) return m;
    index_t first = 0;
    while (matrices_[first].group != matrices_[m].group) ++first;
    return first;
  }

  // Adds a matrix to the choice of its group, or as a choice of its own.
  status add(index_t m) {
    const allocation_matrix& matrix = matrices_[m];
    const double least = least_of(matrix);
    array<detail::option_point> own;
    for (const allocation_option& o : matrix.options)
      if (o.bytes >= least) own.push_back({o.id, o.bytes, o.loss});
    const index_t first = first_of_group(m);
    if (first == m) {
      choice_of_[m] = set_.points.size();
      set_.points.push_back(std::move(own));
      return {};
    }
    choice_of_[m] = choice_of_[first];
    array<detail::option_point>& of_group = set_.points[choice_of_[m]];
    array<detail::option_point> common;
    for (const detail::option_point& p : of_group)
      for (const detail::option_point& o : own)
        if (o.id == p.id) common.push_back({p.id, p.bytes + o.bytes, p.loss + o.loss});
    if (common.empty())
      return error{errc::invalid_argument, text("group ", matrix.group, " with ", matrix.name.view()),
                   "no option in common", "an id that all matrices of the group have and may get"};
    of_group = std::move(common);
    return {};
  }

  allocation of(const detail::selection& s) const {
    allocation out;
    for (index_t m = 0; m < size(); ++m) out.ids.push_back(set_.points[choice_of_[m]][s.at[choice_of_[m]]].id);
    static_cast<void>(try_add_up(out));
    return out;
  }

  array<allocation_matrix> matrices_;
  array<index_t> choice_of_;  // of each matrix
  detail::choice_set set_;
};

// An allocation beside a reference, both measured as a whole.
struct measured_allocation {
  allocation chosen;           // of the two the one that measures better
  metrics::estimate measured;  // of the allocation
  metrics::estimate of_reference;
  bool fell_back = false;  // the reference was chosen
};

// Measures an allocation and a reference (the uniform one) and keeps the reference where it measures no worse: losses that
// were measured alone need not add up. measure(allocation) → result<metrics::estimate>, lower is better, on other tokens
// than those that the result is reported on. Errors: those of measure; not_finite (a measured value).
template <class Measure>
result<measured_allocation> try_measured(allocation a, allocation reference, Measure&& measure) {
  measured_allocation out;
  const auto take = [&](const allocation& of, metrics::estimate& to, std::string_view name) -> status {
    const result<metrics::estimate> e = measure(of);
    if (!e) return e.error();
    if (!(e->value - e->value == 0))
      return error{errc::not_finite, text("measure of the ", name), text(e->value), "a number"};
    to = *e;
    return {};
  };
  if (status s = take(a, out.measured, "allocation"); !s) return s.error();
  if (status s = take(reference, out.of_reference, "reference"); !s) return s.error();
  out.fell_back = !(out.measured.value < out.of_reference.value);
  out.chosen = out.fell_back ? std::move(reference) : std::move(a);
  return out;
}

#if RESECT_EXCEPTIONS
// allocator::try_make, which throws.
inline allocator make_allocator(std::span<const allocation_matrix> matrices) {
  return value_or_throw(allocator::try_make(matrices));
}
// allocator::try_solve, which throws.
inline allocation allocate(const allocator& from, double budget, const allocation_limits& limits = {}) {
  return value_or_throw(from.try_solve(budget, limits));
}
#endif

}  // namespace RESECT_NAMESPACE::compress
