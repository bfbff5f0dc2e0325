// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE {
class scratch;
}

namespace RESECT_NAMESPACE::residual {

// Places in the residual stream. For block l on one row, with a the attention's and m the MLP's
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
// How many sites there are.
inline constexpr int n_sites = 9;

// As reports and errors call it.
constexpr std::string_view name(site s) noexcept {
  constexpr std::string_view names[n_sites] = {"embed_out", "resid_pre",  "attn_delta", "resid_mid", "mlp_delta",
                                               "resid_post", "head_in", "head_norm",  "logits"};
  return names[static_cast<int>(s)];
}

// Sites that belong to a layer; the others exist once.
constexpr bool is_layer_site(site s) noexcept { return s >= site::resid_pre && s <= site::resid_post; }

// Some of the sites.
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

// What one row of activations is: token `token` at position `pos` of sequence `seq`. A row's number in
// a matrix says nothing about its position: hosts split, pad and gather.
struct row_meta {
  std::int32_t seq = 0;
  std::int32_t pos = 0;
  std::int32_t token = 0;
  std::uint32_t flags = 0;

  static constexpr std::uint32_t decode = 1;        // one of few rows that continue a cached sequence
  static constexpr std::uint32_t pad = 2;           // not part of any text
  static constexpr std::uint32_t wants_logits = 4;  // its logits are asked for
  static constexpr std::uint32_t sequence_end = 8;  // the last row of its sequence's text (mark_ends)
  static constexpr std::uint32_t prompt_end = 16;   // the last row of its sequence's prompt (mark_ends)
  friend constexpr bool operator==(const row_meta&, const row_meta&) noexcept = default;
};

// A packed ragged batch: the rows of any number of sequences, those of one sequence next to each other
// and by ascending position.
using batch_view = std::span<const row_meta>;

// Where a callback is: `rows` describes the matrix that comes with it, row by row, and may be shorter
// than the batch (a host that gathers the rows which want logits). `memory`, where it is given, is what a step takes its
// working memory from (core/scratch.hpp); hosts leave it alone.
struct tap {
  site where = site::embed_out;
  int layer = 0;
  batch_view rows;
  scratch* memory = nullptr;
};

}  // namespace RESECT_NAMESPACE::residual
