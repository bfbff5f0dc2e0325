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

// The k latents of largest score among those of a positive one, ascending by latent. Ties go to the smaller number.
// next(from, bound): the first asked latent from `from` on whose score is above the bound, F where there is none.
template <class T, class Next>
void keep_largest(std::span<const T> h, std::span<const T> score, index_t k, Next&& next, row_entries<T>& out) {
  const index_t first = out.size(), latents = static_cast<index_t>(h.size());
  const before_in_rank<T> before{};  // the heap's front is the last in rank
  T least = 0;
  for (index_t j = next(index_t{0}, least); j < latents; j = next(j + 1, least)) {
    const T s = score[static_cast<std::size_t>(j)], pre = h[static_cast<std::size_t>(j)];
    if (out.size() - first == k) {
      algo::pop_heap(out.begin() + first, out.end(), before);
      out.pop_back();
    }
    out.push_back({static_cast<std::int32_t>(j), pre, s, pre});
    algo::push_heap(out.begin() + first, out.end(), before);
    if (out.size() - first == k) least = out[first].score;
  }
  algo::sort(out.begin() + first, out.end(), [](const entry<T>& a, const entry<T>& b) { return a.latent < b.latent; });
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
  void select(std::span<const T> h, std::span<const T> score, const T*, const step_context& ctx,
              row_entries<T>& out) const {
    detail::keep_largest(
        h, score, count.at(ctx.step),
        [&](index_t from, T bound) {
          return ctx.loops.next_above(score.data(), from, static_cast<index_t>(score.size()), bound);
        },
        out);
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
