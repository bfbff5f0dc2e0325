// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <type_traits>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {

template <class A>
concept counts_clusters = requires(const A& a, index_t c) {
  { a.clusters() } -> std::same_as<index_t>;
  { a.count(c) } -> std::same_as<index_t>;
};

template <class A>
concept holds_counts = counts_clusters<A> || requires(const A& a) {
  a.sums().clusters();
  a.sums().count(index_t{});
  requires std::is_lvalue_reference_v<decltype(a.sums())>;
};

// The member of an accumulator that counts the observations of each cluster.
template <holds_counts A>
constexpr const auto& counted(const A& a) noexcept {
  if constexpr (counts_clusters<A>) return a;
  else return a.sums();
}

}  // namespace detail

// An accumulator that keeps sums for each cluster.
template <class A>
concept clustered_accumulator = detail::holds_counts<A> && requires(A& into, const A& from) {
  { into.merge(from) } -> std::same_as<status>;
};

// Merges two accumulators that share no cluster. Errors: conflict where both hold observations of one cluster (the
// lowest is named), else the error of `merge`; nothing changes then. A cluster that was split over two parts is no
// error of `merge`, which adds up its halves exactly; but where whole documents were dealt out, a cluster on both
// sides means that two documents were given one number, or one document was seen twice. Cost O(G). No allocation.
template <clustered_accumulator A>
status try_merge_disjoint(A& into, const A& from) noexcept {
  const auto &a = detail::counted(into), &b = detail::counted(from);
  for (index_t c = 0; c < a.clusters() && c < b.clusters(); ++c)
    if (a.count(c) > 0 && b.count(c) > 0)
      return error{errc::conflict, text("cluster ", c), text(a.count(c), " and ", b.count(c), " observations"),
                   "each cluster whole in one part"};
  return into.merge(from);
}

#if RESECT_EXCEPTIONS
template <clustered_accumulator A>
void merge_disjoint(A& into, const A& from) {
  value_or_throw(try_merge_disjoint(into, from));
}
#endif

}  // namespace RESECT_NAMESPACE::metrics
