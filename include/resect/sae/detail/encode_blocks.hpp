// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/backend.hpp>
#include <resect/sae/architecture.hpp>
#include <resect/sae/dictionary.hpp>
#include <resect/student/detail/row_kernels.hpp>

namespace RESECT_NAMESPACE::sae::detail {

inline constexpr index_t block_rows = 256;  // of pre-activations that exist at a time

// h = W_e·(x − b_d) + b_e of up to block_rows rows at a time, into memory that stays; never of the whole batch.
// centred (B, d) holds x − b_d. take(row, h, score) is called for each row, rows of a block on any worker; done(rows)
// after each block. `norms` scales scores by ‖w_j‖ where it is not empty.
template <class T, dense_backend<T> B, class Take, class Done>
status encode_blocks(B& exec, const dictionary<T>& d, matrix_view<const T> centred, std::span<const T> norms,
                     array<T>& memory, Take&& take, Done&& done) {
  const index_t latents = d.latents(), most = algo::min(block_rows, centred.rows);
  const student::detail::row_loops loops{instructions_of(exec)};
  const index_t tables = norms.empty() ? 1 : 2;
  if (memory.size() < tables * most * latents) memory.resize(tables * most * latents);
  for (index_t first = 0; first < centred.rows; first += block_rows) {
    const index_t rows = algo::min(block_rows, centred.rows - first);
    const matrix_view<T> h{memory.data(), rows, latents};
    const matrix_view<T> score{norms.empty() ? memory.data() : memory.data() + most * latents, rows, latents};
    if (auto s = exec.try_gemm(T{1}, centred.middle_rows(first, rows), d.encoder.view().transposed(), T{0}, h); !s)
      return s;
    exec.bulk(rows, [&](index_t r) {
      T* const at = &h(r, 0);
      loops.add(d.encoder_bias.data(), at, latents);
      T* const by = &score(r, 0);
      if (!norms.empty())
        for (index_t j = 0; j < latents; ++j) by[j] = at[j] * norms[static_cast<std::size_t>(j)];
      take(first + r, std::span<const T>(at, static_cast<std::size_t>(latents)),
           std::span<const T>(by, static_cast<std::size_t>(latents)));
    });
    done(first + rows);
  }
  return {};
}

}  // namespace RESECT_NAMESPACE::sae::detail
