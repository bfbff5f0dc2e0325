// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <functional>

#include <resect/sae/architecture.hpp>
#include <resect/sae/architectures/topk.hpp>

namespace RESECT_NAMESPACE::sae {

namespace detail {

// Of the entries of all rows the n first in rank: larger scores, then earlier rows, then smaller latents. Rows stay
// ascending by latent. → the least score that is kept, 0 where nothing is dropped.
template <class T>
T keep_largest_of_batch(std::span<row_entries<T>> rows, index_t n) {
  index_t total = 0;
  for (const auto& row : rows) total += row.size();
  if (total <= n) return T{0};
  array<T> scores;
  for (const auto& row : rows)
    for (const entry<T>& e : row) scores.push_back(e.score);
  T* const nth = scores.begin() + (n - 1);
  std::nth_element(scores.begin(), nth, scores.end(), std::greater<>{});
  const T least = *nth;
  index_t ties = n;  // of the least score, that are kept
  for (const T s : scores) ties -= s > least ? 1 : 0;
  for (auto& row : rows) {
    index_t kept = 0;
    for (index_t i = 0; i < row.size(); ++i) {
      const bool tie = row[i].score == least;
      if (!(row[i].score > least) && !(tie && ties > 0)) continue;
      ties -= tie ? 1 : 0;
      row[kept++] = row[i];
    }
    row.resize(kept);
  }
  return least;
}

}  // namespace detail

// A batch of B rows keeps its k·B largest positive pre-activations, wherever they stand; the number differs by row.
// Rows are not independent in training; at inference each row keeps what lies above one threshold, see
// try_calibrate_threshold.
// Source: Bussmann, Leask & Nanda, "BatchTopK sparse autoencoders" (2024).
struct batch_topk {
  static constexpr std::string_view name = "batch_topk";
  static constexpr bool has_threshold = false;
  latent_count count{};

  status check(index_t latents) const { return count.check(latents); }
  template <class T>
  void select(std::span<const T> h, std::span<const T> score, const T*, const step_context& ctx,
              row_entries<T>& out) const {
    const T bound = static_cast<T>(ctx.bound);
    const auto latents = static_cast<index_t>(score.size());
    const auto next = [&](index_t from) { return ctx.loops.next_above(score.data(), from, latents, bound); };
    for (index_t j = next(0); j < latents; j = next(j + 1)) {
      const T s = score[static_cast<std::size_t>(j)], pre = h[static_cast<std::size_t>(j)];
      out.push_back({static_cast<std::int32_t>(j), pre, s, pre});
    }
  }
  // What is not among the k·B largest of some rows is not among those of all: a part of the rows drops already.
  template <class T>
  double select_batch(std::span<row_entries<T>> rows, const step_context& ctx) const {
    return static_cast<double>(detail::keep_largest_of_batch(rows, count.at(ctx.step) * ctx.rows));
  }
  template <class T>
  entry_gradient<T> pull_back(const entry<T>&, T, T df, const step_context&) const noexcept {
    return {df, T{0}};
  }
  double first_penalty() const noexcept { return 0; }
  double adapt(double penalty, double) const noexcept { return penalty; }
};

}  // namespace RESECT_NAMESPACE::sae
