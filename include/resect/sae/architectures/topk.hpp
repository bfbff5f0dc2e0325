// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/sae/architecture.hpp>

namespace RESECT_NAMESPACE::sae {

namespace detail {

// Of two latents that are compared: larger first, of equals the one of the smaller number.
template <class T>
struct before_in_rank {
  constexpr bool operator()(const entry<T>& a, const entry<T>& b) const noexcept {
    return a.score > b.score || (a.score == b.score && a.latent < b.latent);
  }
};

// Offers a range to a row that keeps the k latents of largest score among those of a positive one: a heap in `out` whose
// front is the last in rank. Ties go to the smaller number.
// next(i, bound): the first asked place from `i` on whose score is above the bound, range.size() where there is none.
template <class T, class Next>
void offer_largest(const latent_range<T>& range, index_t k, Next&& next, row_entries<T>& out) {
  const before_in_rank<T> before{};
  T least = out.size() < k ? T{0} : out[0].score;
  for (index_t i = next(index_t{0}, least); i < range.size(); i = next(i + 1, least)) {
    if (out.size() == k) {
      algo::pop_heap(out.begin(), out.end(), before);
      out.pop_back();
    }
    out.push_back(range.at(i));
    algo::push_heap(out.begin(), out.end(), before);
    if (out.size() == k) least = out[0].score;
  }
}
template <class T>
void sort_by_latent(row_entries<T>& row) {
  algo::sort(row.begin(), row.end(), [](const entry<T>& a, const entry<T>& b) { return a.latent < b.latent; });
}

}  // namespace detail

// Each row keeps its k largest positive pre-activations: f_j = h_j for them. The gradient passes what is kept.
// Source: Makhzani & Frey, "k-sparse autoencoders" (2013); Gao et al., "Scaling and evaluating sparse autoencoders" (2024).
struct topk {
  static constexpr std::string_view name = "topk";
  static constexpr bool has_threshold = false;
  latent_count count{};

  status check(index_t latents) const { return count.check(latents); }
  template <class T>
  void select(const latent_range<T>& range, const T*, const step_context& ctx, row_entries<T>& out) const {
    detail::offer_largest(
        range, count.at(ctx.step),
        [&](index_t from, T bound) { return ctx.loops.next_above(range.score.data(), from, range.size(), bound); },
        out);
  }
  template <class T>
  void finish(row_entries<T>& out) const {
    detail::sort_by_latent(out);
  }
  template <class T>
  double select_batch(std::span<row_entries<T>>, const step_context&) const noexcept {
    return 0;
  }
  template <class T>
  entry_gradient<T> pull_back(const entry<T>&, T, T df, const step_context&) const noexcept {
    return {df, T{0}};
  }
  double first_penalty() const noexcept { return 0; }
  double adapt(double penalty, double) const noexcept { return penalty; }
};

}  // namespace RESECT_NAMESPACE::sae
