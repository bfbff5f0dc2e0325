// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <vector>

#include <support/catch.hpp>

#include <resect/sae/architectures/batch_topk.hpp>

using namespace resect;
using namespace resect::sae;

namespace {

using resect::index_t;

// Latents that each row keeps of the scores, offered `part` latents at a time; all rows before the next part.
std::vector<std::vector<int>> kept(const std::vector<std::vector<float>>& scores, index_t part) {
  const batch_topk how{{.latents = 1}};
  array<row_entries<float>> rows(static_cast<index_t>(scores.size()));
  step_context context{.rows = rows.size()};
  const auto latents = static_cast<index_t>(scores[0].size());
  for (index_t first = 0; first < latents; first += part) {
    for (index_t r = 0; r < rows.size(); ++r) {
      const auto n = static_cast<std::size_t>(std::min(part, latents - first));
      const auto range =
          std::span<const float>(scores[static_cast<std::size_t>(r)]).subspan(static_cast<std::size_t>(first), n);
      how.select(latent_range<float>{first, range, range}, static_cast<const float*>(nullptr), context, rows[r]);
    }
    context.bound = how.select_batch(rows.span(), context);
  }
  std::vector<std::vector<int>> out;
  for (auto& row : rows) {
    how.finish(row);
    out.emplace_back();
    for (const auto& e : row) out.back().push_back(e.latent);
  }
  return out;
}

}  // namespace

TEST_CASE("sae: what a batch keeps of equal scores does not depend on how latents are cut into ranges") {
  // two of four equal scores are kept: those of the first row, although the second row's come before latent 2
  const std::vector<std::vector<float>> scores = {{2, 0, 2}, {2, 2, 0}};
  const std::vector<std::vector<int>> want = {{0, 2}, {}};
  for (const index_t part : {1, 2, 3}) {
    INFO("ranges of " << part);
    CHECK(kept(scores, part) == want);
  }
  CHECK(kept({{1, 3, 0}, {0, 2, 2}}, 2) == std::vector<std::vector<int>>{{1}, {1}});
}
