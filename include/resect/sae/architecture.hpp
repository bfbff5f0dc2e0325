// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>

#include <resect/core/array.hpp>
#include <resect/core/error.hpp>
#include <resect/core/result.hpp>
#include <resect/student/detail/row_kernels.hpp>

// What an architecture decides: which latents a row keeps, what a step of training asks beside reconstruction, and how
// gradients pass the selection. A new one is a type with the members of the concept `architecture`.
namespace RESECT_NAMESPACE::sae {

// A latent that a row has kept, or whose selection has a gradient.
template <class T>
struct entry {
  std::int32_t latent = 0;
  T pre = 0;    // h_j
  T score = 0;  // what latents are compared by: h_j, or h_j·‖w_j‖ where norms are folded
  T value = 0;  // f_j; 0 where only the selection has a gradient
};
// Those of a row, ascending by latent.
template <class T>
using row_entries = array<entry<T>>;

// Latents first … first + h.size() − 1 of a row: pre-activations, and what latents are compared by.
template <class T>
struct latent_range {
  index_t first = 0;
  std::span<const T> h, score;

  index_t size() const noexcept { return static_cast<index_t>(h.size()); }
  entry<T> at(index_t i) const noexcept {
    const auto k = static_cast<std::size_t>(i);
    return {static_cast<std::int32_t>(first + i), h[k], score[k], h[k]};
  }
};

// What one step of training knows of the selection.
struct step_context {
  index_t step = 0;                    // steps that were done before
  index_t rows = 0;                    // of the batch
  double penalty = 0;                  // what the architecture's state weighs the mean number of latents by
  student::detail::row_loops loops{};  // of the machine
  double bound = 0;                    // what select_batch returned last: scores up to it are not kept
};

// The loss's gradient by h_j and θ_j, from that by f_j.
template <class T>
struct entry_gradient {
  T pre = 0, threshold = 0;
};

// A (a value) with
//   name                          as reports and checkpoints show it
//   has_threshold                 whether each latent has a θ
//   check(F)                      status
//   select(range, θ, ctx, out)    puts into `out` what the row keeps of the latents so far; the ranges of a row come in
//                                 ascending order, `out` is empty before the first, and θ has all F
//   finish(out)                   after the last range: entries ascending by latent
//   select_batch(rows, ctx)       drops entries of the rows that are there (none where rows are independent). → bound
//   pull_back(entry, θ_j, df, ctx) entry_gradient
//   adapt(penalty, mean latents)  the penalty of the next step
template <class A, class T>
concept architecture = requires(const A& a, const latent_range<T>& range, const T* threshold, const step_context& ctx,
                                row_entries<T>& row, std::span<row_entries<T>> rows, const entry<T>& e) {
  { A::name } -> std::convertible_to<std::string_view>;
  { A::has_threshold } -> std::convertible_to<bool>;
  { a.check(index_t{}) } -> std::same_as<status>;
  a.select(range, threshold, ctx, row);
  a.finish(row);
  { a.select_batch(rows, ctx) } -> std::same_as<double>;
  { a.pull_back(e, T{}, T{}, ctx) } -> std::same_as<entry_gradient<T>>;
  { a.first_penalty() } -> std::same_as<double>;
  { a.adapt(double{}, double{}) } -> std::same_as<double>;
};

// How many latents to keep: `latents`, after `anneal_steps` steps in which the number falls in a line from anneal_from.
// A start above the goal leaves fewer latents dead (Llama Scope, 2024).
struct latent_count {
  index_t latents = 32;
  index_t anneal_from = 0;  // 0: none
  index_t anneal_steps = 0;

  index_t at(index_t step) const noexcept {
    if (anneal_from <= latents || step >= anneal_steps) return latents;
    return anneal_from - (anneal_from - latents) * step / anneal_steps;
  }
  status check(index_t available) const {
    const index_t most = anneal_from > latents ? anneal_from : latents;
    if (latents < 1 || most > available)
      return error{errc::invalid_argument, "latents a row", text(latents < 1 ? latents : most),
                   text("1 to ", available)};
    if (anneal_steps < 0) return error{errc::invalid_argument, "anneal_steps", text(anneal_steps), "at least 0"};
    return {};
  }
};

}  // namespace RESECT_NAMESPACE::sae
