// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/array.hpp>
#include <resect/quant/scale_search.hpp>

// The header of a super-block, chosen among those that the parameters of its groups ask for.
namespace RESECT_NAMESPACE::quant::detail {

template <class S>
concept has_base = requires(const S& s) { s.base(); };

// f(s) for the search and for all that it must not lose more than; the weakest first.
template <class S, class F>
void for_each_base(const S& search, F& f) {
  if constexpr (has_base<S>) for_each_base(search.base(), f);
  f(search);
}

// Headers that were tried, so that each is tried once.
template <class T>
class tried_headers {
 public:
  explicit tried_headers(const T& store) noexcept : store_(store) {}
  // Whether the header is another one than all before it.
  bool add(const typename T::header& h) {
    const std::uint64_t bits = store_.pack_header(h);
    for (const std::uint64_t known : seen_)
      if (known == bits) return false;
    seen_.push_back(bits);
    return true;
  }

 private:
  const T& store_;
  array<std::uint64_t> seen_;
};

// What shared_header returns: the header, and Σ a_j·(w_j − ŵ_j)² of all groups under it.
template <class H>
struct header_and_error {
  H header{};
  double error = 0;
};

// The parameters of the groups of one super-block and its header. Each search from the weakest base of `search` up to itself fits
// the groups as if all numbers existed, and so asks for a header; under each of these headers `search` fits the groups again, and
// the header of the least error is taken, the first of equals.
//   So no search loses more than its base: of the base's header its own fits lose no more group by group, and what is
//   taken loses no more than that.
template <grid G, store_of<typename G::parameters> T, class S>
header_and_error<typename T::header> shared_header(const G& g, const T& t, const S& search,
                                                   std::span<const group_weights> groups,
                                                   std::span<typename G::parameters> out) {
  using P = typename G::parameters;
  array<P> fitted(static_cast<index_t>(groups.size()));
  tried_headers<T> tried(t);
  header_and_error<typename T::header> best;
  bool first = true;
  auto consider = [&](const auto& asks) {
    for (std::size_t i = 0; i < groups.size(); ++i)
      fitted[static_cast<index_t>(i)] = asks.fit(g, typename T::relaxed{}, {}, groups[i]);
    const auto header = t.header_of(std::span<const P>(fitted.span()), 1.0);
    if (!tried.add(header)) return;
    double error = 0;
    for (std::size_t i = 0; i < groups.size() && (first || error < best.error); ++i) {
      fitted[static_cast<index_t>(i)] = search.fit(g, t, header, groups[i]);
      if constexpr (has_base<S>) error += squared_error(g, groups[i], fitted[static_cast<index_t>(i)]);
    }
    if (!first && !(error < best.error)) return;
    first = false;
    best = {header, error};
    for (std::size_t i = 0; i < groups.size(); ++i) out[i] = fitted[static_cast<index_t>(i)];
  };
  for_each_base(search, consider);
  return best;
}

}  // namespace RESECT_NAMESPACE::quant::detail
