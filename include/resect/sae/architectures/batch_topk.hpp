// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>

#include <resect/sae/architecture.hpp>
#include <resect/sae/architectures/topk.hpp>

namespace RESECT_NAMESPACE::sae {

namespace detail {

// Appends the latents of a range whose score is above the bound.
template <class T>
void keep_above(const latent_range<T>& range, T bound, const student::detail::row_loops& loops, row_entries<T>& out) {
  const auto next = [&](index_t from) { return loops.next_above(range.score.data(), from, range.size(), bound); };
  for (index_t i = next(0); i < range.size(); i = next(i + 1)) out.push_back(range.at(i));
}

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
  void select(const latent_range<T>& range, const T*, const step_context& ctx, row_entries<T>& out) const {
    detail::keep_above(range, static_cast<T>(ctx.bound), ctx.loops, out);
  }
  template <class T>
  void finish(row_entries<T>&) const noexcept {}
  // What is not among the k·B largest of some rows and latents is not among those of all: a part of the batch drops already.
  // Scores like the least that is kept stay: their ranks are settled when all are there.
  template <class T>
  double select_batch(std::span<row_entries<T>> rows, const step_context& ctx) const {
    const T least = detail::keep_largest_of_batch(rows, count.at(ctx.step) * ctx.rows);
    return static_cast<double>(least > 0 ? std::nextafter(least, T{0}) : least);
  }
  template <class T>
  entry_gradient<T> pull_back(const entry<T>&, T, T df, const step_context&) const noexcept {
    return {df, T{0}};
  }
  double first_penalty() const noexcept { return 0; }
  double adapt(double penalty, double) const noexcept { return penalty; }
};

}  // namespace RESECT_NAMESPACE::sae
