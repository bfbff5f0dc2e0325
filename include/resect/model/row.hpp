// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <compare>
#include <cstdint>
#include <span>

#include <resect/model/site.hpp>

namespace RESECT_NAMESPACE {
class scratch;
}

namespace RESECT_NAMESPACE::model {

// A place in a text: position `pos` of sequence `seq`.
struct token_place {
  std::int32_t seq = 0;
  std::int32_t pos = 0;

  // Sequence and position in one number, for fingerprints and random streams.
  constexpr std::uint64_t key() const noexcept {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(seq)) << 32 | static_cast<std::uint32_t>(pos);
  }
  friend constexpr auto operator<=>(const token_place&, const token_place&) noexcept = default;
};

// Meta data of one row of activations: token `token` at position `pos` of sequence `seq`. The number of a row in a
// matrix does not give its position: hosts split, pad and gather.
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

  constexpr token_place place() const noexcept { return {seq, pos}; }
  friend constexpr bool operator==(const row_meta&, const row_meta&) noexcept = default;
};

// A packed ragged batch: rows of any number of sequences; rows of one sequence are adjacent and in ascending
// position.
using batch_view = std::span<const row_meta>;

// The context of a callback: site, layer, and the meta data of each row of the matrix that the callback gets. `rows`
// may be shorter than the batch (a host may gather the rows that want logits). Steps take working memory from
// `memory` where it is not null (core/scratch.hpp); hosts leave it alone.
struct tap {
  site where = site::embed_out;
  int layer = 0;
  batch_view rows;
  scratch* memory = nullptr;
};

}  // namespace RESECT_NAMESPACE::model
