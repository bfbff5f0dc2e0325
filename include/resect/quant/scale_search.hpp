// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <span>
#include <string_view>

#include <resect/core/error.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/result.hpp>
#include <resect/core/types.hpp>
#include <resect/quant/store.hpp>

// A scale search chooses the parameters of one group, among those that exist.
namespace RESECT_NAMESPACE::quant {

// The weights of a group, and a_j ≥ 0 of each of them; nothing: 1.
struct group_weights {
  std::span<const float> values;
  std::span<const float> importance;
};

// A search S for a grid G and a store T:
//   check(cols)                  whether it fits a matrix of so many columns
//   check(grid, cols)            (where it has it, asked in place of that) whether it fits the grid, too
//   fit(grid, store, header, w)  the parameters of a group: ones that exist, store.nearest(p, header) = p
//   name(), hash()               what tables call it, a literal; the identity of everything that changes what it finds
//   importance                   (a member, where it has one) a_j of each column of the matrix, a span; or empty
//   base()                       (where it has one) a search than which this one never loses more. Where groups share a header,
//                                that of the base is tried, too, so that this stays true
//   fit_super_block(grid, store, groups, parameters) → header    (where it has one) the parameters of all groups of a
//                                super-block at once. In its place detail::shared_header (detail/shared_header.hpp)
template <class S, class G, class T>
concept scale_search = grid<G> && store_of<T, typename G::parameters> &&
                       requires(const S& s, const G& g, const T& t, const typename T::header& h, group_weights w) {
                         { s.check(index_t{}) } -> std::same_as<status>;
                         { s.name() } -> std::same_as<std::string_view>;
                         { s.hash() } -> std::same_as<std::uint64_t>;
                         { s.fit(g, t, h, w) } -> std::same_as<typename G::parameters>;
                       };

namespace detail {

// a_j of each column that a search knows, or nothing.
template <class S>
std::span<const float> importance_of(const S& search) noexcept {
  if constexpr (requires { std::span<const float>(search.importance); }) return search.importance;
  else return {};
}

// Whether a search fits a grid and a matrix of so many columns.
template <class S, grid G>
status check_search(const S& search, const G& g, index_t cols) {
  if constexpr (requires {
                  { search.check(g, cols) } -> std::same_as<status>;
                })
    return search.check(g, cols);
  else return search.check(cols);
}

// The parameters that exist and are nearest to p.
template <grid G, store_of<typename G::parameters> T>
typename G::parameters existing(const G& g, const T& t, const typename T::header& h, const typename G::parameters& p) {
  if constexpr (std::same_as<T, f32_store> && requires {
                  { g.regular(p) } -> std::same_as<typename G::parameters>;
                })
    return g.regular(p);
  else return t.nearest(p, h);
}

// Errors: shape_mismatch, not_finite, invalid_argument.
inline status check_importance(std::span<const float> importance, index_t cols) noexcept {
  if (importance.empty()) return {};
  if (static_cast<index_t>(importance.size()) != cols)
    return error{errc::shape_mismatch, "importance", text(importance.size(), " columns"), text(cols)};
  for (std::size_t j = 0; j < importance.size(); ++j) {
    const float a = importance[j];
    if (!(a - a == 0)) return error{errc::not_finite, text("importance of column ", j), text(a), "a finite number"};
    if (a < 0) return error{errc::invalid_argument, text("importance of column ", j), text(a), "at least 0"};
  }
  return {};
}

// Σ a_j·(w_j − ŵ_j)² of the grid's own codes, in double. Each difference is rounded to float first (which changes
// nothing where w is not clipped), so its square is exact in double and the sum has the same bits on every machine; with
// importance one rounding a term. The weights of a code are neighbours.
template <grid G>
double squared_error(const G& g, group_weights w, const typename G::parameters& p) noexcept {
  const std::span<const float> x = w.values, a = w.importance;
  const auto square = [](float e) { return static_cast<double>(e) * static_cast<double>(e); };
  if constexpr (scalar_grid<G>) {
    if (!a.empty()) {
      double sum = 0;
      for (std::size_t j = 0; j < x.size(); ++j)
        sum = fma_rn(square(x[j] - nearest_value(g, x[j], p)), static_cast<double>(a[j]), sum);
      return sum;
    }
    double lane[8] = {};
    const std::size_t whole = x.size() & ~std::size_t{7};
    for (std::size_t i = 0; i < whole; i += 8)
      for (std::size_t j = 0; j < 8; ++j) lane[j] += square(x[i + j] - nearest_value(g, x[i + j], p));
    for (std::size_t i = whole; i < x.size(); ++i) lane[i - whole] += square(x[i] - nearest_value(g, x[i], p));
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
  } else {
    constexpr auto n = static_cast<std::size_t>(grid_shape{G::shape}.size());
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); i += n) {
      float in[n] = {}, out[n];
      const std::size_t m = x.size() - i < n ? x.size() - i : n;
      for (std::size_t j = 0; j < m; ++j) in[j] = x[i + j];
      g.decode(g.encode(in, p), p, out);
      for (std::size_t j = 0; j < m; ++j)
        sum = fma_rn(square(in[j] - out[j]), a.empty() ? 1.0 : static_cast<double>(a[i + j]), sum);
    }
    return sum;
  }
}

}  // namespace detail

// The grid's own fit, as near as the store has it. Of grids with levels it holds all weights of the group: with an integer
// zero in f32 nothing is clipped, elsewhere what the store's rounding leaves out. Of E8 it is a multiple of the weights' root mean
// square, beyond which some lie.
struct min_max {
  static constexpr std::string_view name() noexcept { return "min-max"; }
  static std::uint64_t hash() noexcept { return fingerprint{}.add("resect.min-max/1").value(); }

  static status check(index_t) noexcept { return {}; }
  template <grid G, store_of<typename G::parameters> T>
  static typename G::parameters fit(const G& g, const T& t, const typename T::header& h, group_weights w) noexcept {
    return t.nearest(g.fit(w.values, w.importance), h);
  }
};

}  // namespace RESECT_NAMESPACE::quant
