// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <resect/model/row.hpp>

// Faults of engines that were found in public reports, one type each. A host is right with no_fault.
namespace support::neox {

using resect::model::batch_view, resect::model::row_meta;
using std::size_t;

// Where a host may be wrong: the points where the types below differ from this one, which is right.
struct no_fault {
  static std::vector<row_meta> run(batch_view asked) { return {asked.begin(), asked.end()}; }  // rows that are run
  static size_t first_place(size_t cached, size_t /*longest*/) { return cached; }              // of rows behind a cache
  static float shown(float delta, float /*bias*/) { return delta; }                            // at attn_delta
  static float added(float after_call, float /*before*/, float /*bias*/) { return after_call; }  // to the stream
};
// How many rows of the same sequence stand before row r.
inline size_t behind(batch_view rows, size_t r) {
  return r > 0 && rows[r - 1].seq == rows[r].seq ? behind(rows, r - 1) + 1 : 0;
}

// attn_delta is shown at half its size; the stream gets twice of what it becomes.
struct half_delta : no_fault {
  static float shown(float delta, float) { return 0.5f * delta; }
  static float added(float after_call, float, float) { return 2 * after_call; }
};
// attn_delta is shown before its output bias.
struct bias_after_hook : no_fault {
  static float shown(float delta, float bias) { return delta - bias; }
  static float added(float after_call, float, float bias) { return after_call + bias; }
};
// The stream gets a copy of attn_delta that was made before the callback.
struct stale_copy : no_fault {
  static float added(float, float before, float) { return before; }
};
// All sequences that continue a cache stand where the longest of them stands.
struct shared_position : no_fault {
  static size_t first_place(size_t cached, size_t longest) { return cached > 0 ? longest : 0; }
};
// Ragged batches are padded to the longest sequence; keys and values of pads stay in the caches.
struct pads_in_cache : no_fault {
  static std::vector<row_meta> run(batch_view asked) {
    size_t most = 0;
    std::vector<row_meta> rows;
    for (size_t r = 0; r < asked.size(); ++r) most = std::max(most, behind(asked, r));
    for (size_t r = 0; r < asked.size(); ++r) {
      rows.push_back(asked[r]);
      for (size_t n = behind(asked, r); n < most && (r + 1 == asked.size() || asked[r + 1].seq != asked[r].seq); ++n)
        rows.push_back({asked[r].seq, rows.back().pos + 1, 0, row_meta::pad});
    }
    return rows;
  }
};

}  // namespace support::neox
