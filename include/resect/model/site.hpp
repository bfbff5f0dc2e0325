// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::model {

// A place in the forward pass at which a host can call back. For block l on one row, with a the attention's and m the
// MLP's
// contribution *as added* (after any post-norm):
//   resid_pre(l) = h_l,  resid_mid(l) = h_l + a,  resid_post(l) = h_l + a + m = resid_pre(l+1).
enum class site : std::uint8_t {
  embed_out,
  resid_pre,
  attn_delta,
  resid_mid,
  mlp_delta,
  resid_post,
  head_in,    // what the final norm reads
  head_norm,  // what the output matrix reads
  logits,
};
// The number of sites.
inline constexpr int n_sites = 9;

// The name of a site in reports and errors.
constexpr std::string_view name(site s) noexcept {
  constexpr std::string_view names[n_sites] = {"embed_out",  "resid_pre", "attn_delta", "resid_mid", "mlp_delta",
                                               "resid_post", "head_in",   "head_norm",  "logits"};
  return names[static_cast<int>(s)];
}

// Whether every layer has this site; the other sites exist once in a pass.
constexpr bool is_layer_site(site s) noexcept { return s >= site::resid_pre && s <= site::resid_post; }

// A set of sites.
class site_set {
 public:
  constexpr site_set() noexcept = default;
  constexpr site_set(std::initializer_list<site> sites) noexcept {
    for (site s : sites) insert(s);
  }
  constexpr void insert(site s) noexcept { bits_ |= bit(s); }
  constexpr bool contains(site s) const noexcept { return (bits_ & bit(s)) != 0; }
  constexpr bool empty() const noexcept { return bits_ == 0; }
  friend constexpr site_set operator|(site_set a, site_set b) noexcept {
    a.bits_ |= b.bits_;
    return a;
  }
  friend constexpr bool operator==(site_set, site_set) noexcept = default;

 private:
  static constexpr std::uint32_t bit(site s) noexcept { return std::uint32_t{1} << static_cast<int>(s); }
  std::uint32_t bits_ = 0;
};

}  // namespace RESECT_NAMESPACE::model
