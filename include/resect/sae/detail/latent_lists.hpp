// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>

#include <resect/core/array.hpp>
#include <resect/sae/architecture.hpp>

namespace RESECT_NAMESPACE::sae::detail {

// What a row does to a latent's gradient: w_j gets value·g, the encoder's row pre·(x − b_d), θ_j threshold. `aux`: g is
// the gradient of the auxiliary reconstruction.
template <class T>
struct contribution {
  std::int32_t row = 0;
  bool aux = false;
  T value = 0, pre = 0, threshold = 0;
};

// Contributions by latent, those of a latent in the order of rows, so that each row of the tables has one owner.
template <class T>
class latent_lists {
 public:
  void resize(index_t latents) { first_.resize(latents + 1); }

  // Begins anew; count(j) for every contribution comes before place(j, …) for every one, in the same order.
  void clear() noexcept {
    for (index_t& x : first_) x = 0;
  }
  void count(std::int32_t latent) noexcept { ++first_[latent + 1]; }
  void counted() {
    for (index_t j = 0; j + 1 < first_.size(); ++j) first_[j + 1] += first_[j];
    items_.resize(first_[first_.size() - 1]);
    next_.resize(first_.size() - 1);
    for (index_t j = 0; j < next_.size(); ++j) next_[j] = first_[j];
  }
  void place(std::int32_t latent, const contribution<T>& c) noexcept { items_[next_[latent]++] = c; }

  std::span<const contribution<T>> of(index_t latent) const noexcept {
    return {items_.data() + first_[latent], static_cast<std::size_t>(first_[latent + 1] - first_[latent])};
  }

 private:
  array<index_t> first_, next_;
  array<contribution<T>> items_;
};

}  // namespace RESECT_NAMESPACE::sae::detail
