// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/rounding.hpp>
#include <resect/quant/search/mse.hpp>

// What methods say of the scale search and the rounding rule that they use.
namespace RESECT_NAMESPACE::compress::detail {

// What the name of a method says of a search or a rule: nothing of the plain ones; a user's own rule may bring name().
template <class T>
short_text<48> suffix_of(const T& x) {
  if constexpr (std::same_as<T, quant::min_max> || std::same_as<T, quant::nearest>) return {};
  else if constexpr (requires { short_text<48>(", ").append(x.name()); }) return short_text<48>(", ").append(x.name());
  else return {};
}

// Whether the name of a search says everything that it does.
template <class S>
bool is_plain(const S& search) noexcept {
  if constexpr (std::same_as<S, quant::mse_scale>)
    return search.importance.empty() && search.steps == S{}.steps && search.smallest == S{}.smallest;
  else return std::same_as<S, quant::min_max>;
}

}  // namespace RESECT_NAMESPACE::compress::detail
