// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/backend.hpp>
#include <resect/sae/architecture.hpp>
#include <resect/sae/dictionary.hpp>
#include <resect/student/detail/row_kernels.hpp>

namespace RESECT_NAMESPACE::sae::detail {

inline constexpr index_t block_rows = 256;   // of pre-activations that exist at a time, without tiles
inline constexpr index_t tiled_rows = 4096;  // that are encoded before the next, with tiles
inline constexpr index_t tiled_latents = 2048;

// h = W_e·(x − b_d) + b_e, a range of a row's latents at a time; never of the whole batch. centred (B, d) holds x − b_d.
// `norms` scales scores by ‖w_j‖ where it is not empty.
//   offer(row, range)  on any worker, ranges of a row in ascending order; θ and the like are the caller's
//   done(rows)         now and then, on this thread: rows 0 … rows − 1 have been offered some of their latents
//   finish(row)        on any worker, when a row has been offered all and `done` was called
// A tiling_backend hands out ranges of finished tiles; elsewhere `memory` holds blocks of rows. The same ranges, where its
// products have the same bits.
template <class T, class Offer, class Done, class Finish>
class latent_ranges {
 public:
  latent_ranges(const dictionary<T>& d, std::span<const T> norms, student::detail::row_loops loops, Offer& offer,
                Done& done, Finish& finish)
      : d_(d), norms_(norms), loops_(loops), offer_(offer), done_(done), finish_(finish) {}

  template <class B>
  status try_run(B& exec, matrix_view<const T> centred, array<T>& memory) const {
    constexpr bool tiles = tiling_backend<B, T>;
    const index_t most = tiles ? tiled_rows : block_rows, latents = d_.latents();
    const index_t parts = tiles ? (latents + tiled_latents - 1) / tiled_latents : 1,
                  part = (latents + parts - 1) / parts;
    for (index_t first = 0; first < centred.rows; first += most) {
      const auto rows = centred.middle_rows(first, algo::min(most, centred.rows - first));
      for (index_t j = 0; j < latents; j += part) {
        const index_t n = algo::min(part, latents - j);
        const auto encoder = d_.encoder.view().middle_rows(j, n).transposed();
        if constexpr (tiles) {
          const auto take = [&](index_t r, index_t s, matrix_view<T> h) {
            for (index_t i = 0; i < h.rows; ++i) offer(first + r + i, j + s, h.row_span(i));
          };
          if (auto s = exec.try_gemm_tiles(rows, encoder, function_ref<void(index_t, index_t, matrix_view<T>)>(take));
              !s)
            return s;
        } else {
          if (memory.size() < rows.rows * n) memory.resize(rows.rows * n);
          const matrix_view<T> h{memory.data(), rows.rows, n};
          if (auto s = exec.try_gemm(T{1}, rows, encoder, T{0}, h); !s) return s;
          exec.bulk(rows.rows, [&](index_t r) { offer(first + r, j, h.row_span(r)); });
        }
        done_(first + rows.rows);
      }
      exec.bulk(rows.rows, [&](index_t r) { finish_(first + r); });
    }
    return {};
  }

 private:
  // h (of latents j …) lacks b_e.
  void offer(index_t row, index_t j, std::span<T> h) const {
    const auto latents = static_cast<index_t>(h.size());
    loops_.add(&d_.encoder_bias[j], h.data(), latents);
    if (norms_.empty()) return offer_(row, latent_range<T>{j, h, h});
    constexpr index_t room = 256;
    T score[room];
    for (index_t from = 0; from < latents; from += room) {
      const index_t n = algo::min(room, latents - from);
      const auto part = std::span<const T>(h).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(n));
      for (index_t i = 0; i < n; ++i)
        score[i] = h[static_cast<std::size_t>(from + i)] * norms_[static_cast<std::size_t>(j + from + i)];
      offer_(row, latent_range<T>{j + from, part, {score, static_cast<std::size_t>(n)}});
    }
  }

  const dictionary<T>& d_;
  std::span<const T> norms_;
  student::detail::row_loops loops_;
  Offer& offer_;
  Done& done_;
  Finish& finish_;
};

template <class T, dense_backend<T> B, class Offer, class Done, class Finish>
status offer_latents(B& exec, const dictionary<T>& d, matrix_view<const T> centred, std::span<const T> norms,
                     array<T>& memory, Offer&& offer, Done&& done, Finish&& finish) {
  return latent_ranges<T, Offer, Done, Finish>(d, norms, student::detail::row_loops{instructions_of(exec)}, offer, done,
                                               finish)
      .try_run(exec, centred, memory);
}

}  // namespace RESECT_NAMESPACE::sae::detail
