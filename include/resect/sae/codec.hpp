// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/core/finite.hpp>
#include <resect/core/operand.hpp>
#include <resect/sae/architectures/batch_topk.hpp>
#include <resect/sae/detail/latent_ranges.hpp>
#include <resect/student/detail/row_kernels.hpp>

// A trained sparse autoencoder as it is used: rows to latents and back.
namespace RESECT_NAMESPACE::sae {

// A dictionary with its rule. keep > 0: a row keeps its `keep` largest positive pre-activations; keep = 0: those above
// weights.threshold, which has one number a latent.
struct codec {
  dictionary<float> weights;
  index_t keep = 0;

  status check() const {
    const bool whole = weights.decoder.rows == weights.latents() && weights.decoder.cols == weights.width() &&
                       weights.encoder_bias.size() == weights.latents() && weights.bias.size() == weights.width();
    if (!whole || weights.latents() < 1 || weights.width() < 1)
      return error{errc::shape_mismatch, "weights of a codec", text(weights.latents(), " x ", weights.width()),
                   "encoder, decoder (F, d), biases (F) and (d)"};
    if (keep < 0 || keep > weights.latents())
      return error{errc::invalid_argument, "keep of a codec", text(keep), text("0 to ", weights.latents())};
    if (keep == 0 && weights.threshold.size() != weights.latents())
      return error{errc::shape_mismatch, "thresholds of a codec", text(weights.threshold.size()),
                   text(weights.latents())};
    return {};
  }
};

// Memory of encoding, of the caller; it grows once.
struct codec_memory {
  matrix<float> centred;
  array<float> tiles;
  array<row_entries<float>> rows;
};

// memory.rows[r] ← the latents that row r of x (B, d) keeps, ascending. h is computed as in training: in tiles, or 256 rows at a time.
// Cost 2BFd flop. Errors: those of codec::check; shape_mismatch, null_pointer, bad_stride of x; those of the backend.
template <dense_backend<float> B>
status try_encode(B& exec, const codec& c, matrix_view<const float> x, codec_memory& memory) {
  if (auto s = c.check(); !s) return s;
  if (auto s = check_view(x, x.rows, c.weights.width(), "x"); !s) return s;
  memory.centred.resize(x.rows, x.cols);
  memory.rows.resize(x.rows);
  exec.bulk(x.rows, [&](index_t r) {
    for (index_t k = 0; k < x.cols; ++k) memory.centred(r, k) = x(r, k) - c.weights.bias[k];
    memory.rows[r].clear();
  });
  const topk largest{{.latents = c.keep}};
  const step_context context{.rows = x.rows, .loops = {instructions_of(exec)}};
  const auto offer = [&](index_t r, const latent_range<float>& range) {
    auto& row = memory.rows[r];
    if (c.keep > 0) return largest.select(range, static_cast<const float*>(nullptr), context, row);
    for (index_t i = 0; i < range.size(); ++i)
      if (const auto e = range.at(i); e.value > c.weights.threshold[e.latent] && e.value > 0) row.push_back(e);
  };
  const auto finish = [&](index_t r) {
    if (c.keep > 0) largest.finish(memory.rows[r]);
  };
  return detail::offer_latents<float>(
      exec, c.weights, matrix_view<const float>(memory.centred.view()), {}, memory.tiles, offer, [](index_t) {},
      finish);
}
template <dense_backend<float> B, operand_of<float> X>
status try_encode(B& exec, const codec& c, const X& x, codec_memory& memory) {
  return on_view(x, "x", [&](matrix_view<const float> view) { return try_encode(exec, c, view, memory); });
}

// out (d) ← Σ f_j·w_j + b_d of one row's latents. No allocation.
inline void decode_row(const codec& c, std::span<const entry<float>> row, std::span<float> out,
                       instruction_set set = best_instruction_set()) noexcept {
  const student::detail::row_loops loops{set};
  for (index_t k = 0; k < c.weights.width(); ++k) out[static_cast<std::size_t>(k)] = c.weights.bias[k];
  for (const entry<float>& e : row)
    loops.add_scaled(e.value, &c.weights.decoder(e.latent, 0), out.data(), c.weights.width());
}

// The threshold above which rows like x (N, d) keep `latents` each in the mean: half-way between the (latents·N)-th largest
// positive pre-activation and the next. Batch sizes and running means do not enter, so inference keeps what was asked for.
// Errors: those of try_encode; invalid_argument (latents < 1, fewer positive pre-activations than asked for).
template <dense_backend<float> B>
result<float> try_calibrate_threshold(B& exec, const dictionary<float>& weights, matrix_view<const float> x,
                                      index_t latents) {
  if (latents < 1 || latents >= weights.latents())
    return error{errc::invalid_argument, "latents a row", text(latents), text("1 to ", weights.latents() - 1)};
  if (auto s = check_view(x, x.rows, weights.width(), "x"); !s) return s.error();
  if (x.rows < 1) return error{errc::shape_mismatch, "x", "no rows", "at least 1"};
  matrix<float> centred(x.rows, x.cols);
  exec.bulk(x.rows, [&](index_t r) {
    for (index_t k = 0; k < x.cols; ++k) centred(r, k) = x(r, k) - weights.bias[k];
  });
  array<row_entries<float>> rows(x.rows);
  array<float> memory;
  float bound = 0;
  const index_t wanted = latents * x.rows + 1;
  const student::detail::row_loops loops{instructions_of(exec)};
  const auto offer = [&](index_t r, const latent_range<float>& range) {
    detail::keep_above(range, bound, loops, rows[r]);
  };
  const auto done = [&](index_t n) {
    bound = detail::keep_largest_of_batch(rows.span().first(static_cast<std::size_t>(n)), wanted);
  };
  if (auto s = detail::offer_latents<float>(exec, weights, matrix_view<const float>(centred.view()), {}, memory, offer,
                                            done, [](index_t) {});
      !s)
    return s.error();
  array<float> kept;
  for (const auto& row : rows)
    for (const entry<float>& e : row) kept.push_back(e.value);
  if (kept.size() < wanted)
    return error{errc::invalid_argument, "latents a row", text(latents),
                 text("fewer: of ", x.rows, " rows only ", kept.size(), " pre-activations are positive")};
  algo::sort(kept.begin(), kept.end());
  return 0.5f * (kept[0] + kept[1]);
}

}  // namespace RESECT_NAMESPACE::sae
