// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <resect/core/fields.hpp>
#include <resect/core/shared_value.hpp>
#include <resect/sae/codec.hpp>

namespace RESECT_NAMESPACE::sae {

// A codec as residual::splice takes it: a residual::row_codec of F features, which also reconstructs whole blocks of rows on
// a backend (residual::block_codec).
//   residual::splice(residual::codec_error::drop, residual::layer(6), site::resid_post, sae::coder{exec, codec})
// Shares the codec, keeps a reference to the backend. `encode` and `decode` are a function of one row, without allocation;
// a block's products are the backend's, so its h differs from theirs by rounding.
template <dense_backend<float> B>
class coder {
 public:
  static constexpr std::string_view id = "resect.sae.codec/1";

  coder(B& exec, codec c) : exec_(&exec), hash_(c.weights.hash()), codec_(std::move(c)) {
    const dictionary<float>& w = codec_->weights;
    for (index_t j = 0; j < w.latents(); ++j) {
      double offset = static_cast<double>(w.encoder_bias[j]);
      for (index_t k = 0; k < w.width(); ++k)
        offset -= static_cast<double>(w.encoder(j, k)) * static_cast<double>(w.bias[k]);
      offset_.push_back(static_cast<float>(offset));
    }
  }

  const sae::codec& code() const noexcept { return *codec_; }
  void fields(field_visitor& v) const {
    v.number("latents", static_cast<double>(codec_->weights.latents()));
    v.number("kept", static_cast<double>(codec_->keep), 0.0);
    v.key("dictionary", hash_);
  }
  index_t width() const noexcept { return codec_->weights.width(); }
  index_t features() const noexcept { return codec_->weights.latents(); }

  // f (F) ← the latents that row x (d) keeps, else 0. Cost 2Fd flop, and 32 passes over f where `keep` is above 0.
  void encode(std::span<const float> x, std::span<float> f) const noexcept {
    const dictionary<float>& w = codec_->weights;
    const student::detail::row_loops loops{best_instruction_set()};
    for (index_t j = 0; j < w.latents(); ++j) {
      const float h = loops.dot(&w.encoder(j, 0), x.data(), w.width()) + offset_[j];
      const float limit = codec_->keep > 0 ? 0.0f : algo::max(w.threshold[j], 0.0f);
      f[static_cast<std::size_t>(j)] = h > limit ? h : 0.0f;
    }
    if (codec_->keep > 0) keep_largest(f);
  }
  // out (d) ← Σ f_j·w_j + b_d.
  void decode(std::span<const float> f, std::span<float> out) const noexcept {
    const dictionary<float>& w = codec_->weights;
    const student::detail::row_loops loops{best_instruction_set()};
    for (index_t c = 0; c < w.width(); ++c) out[static_cast<std::size_t>(c)] = w.bias[c];
    for (index_t j = 0; j < w.latents(); ++j)
      if (const float v = f[static_cast<std::size_t>(j)]; v != 0)
        loops.add_scaled(v, &w.decoder(j, 0), out.data(), w.width());
  }
  // out (B, d) ← the reconstructions of x (B, d), which may be the same rows. Cost 2BFd flop. Errors: those of try_encode.
  status try_recode(matrix_view<const float> x, matrix_view<float> out) const {
    codec_memory memory;
    if (auto s = try_encode(*exec_, *codec_, x, memory); !s) return s;
    exec_->bulk(x.rows, [&](index_t r) {
      decode_row(*codec_, std::as_const(memory).rows[r].span(), out.row_span(r), instructions_of(*exec_));
    });
    return {};
  }

 private:
  // The `keep` largest stay, of equals those of the smaller number. Positive floats are ordered as their bits are.
  void keep_largest(std::span<float> f) const noexcept {
    const auto from = [&](std::uint32_t least) {
      index_t n = 0;
      for (const float v : f) n += v > 0 && std::bit_cast<std::uint32_t>(v) >= least ? 1 : 0;
      return n;
    };
    if (from(0) <= codec_->keep) return;
    std::uint32_t low = 0, high = 0x7f800000u;  // the keep-th largest lies between
    while (low < high) {
      const std::uint32_t middle = low + (high - low + 1) / 2;
      if (from(middle) >= codec_->keep) low = middle;
      else high = middle - 1;
    }
    index_t ties = codec_->keep - from(low + 1);
    for (float& v : f)
      if (const auto bits = std::bit_cast<std::uint32_t>(v); v > 0 && bits <= low)
        if (bits < low || ties-- <= 0) v = 0;
  }

  B* exec_;
  std::uint64_t hash_;
  shared_value<sae::codec> codec_;
  array<float> offset_;  // b_e − W_e·b_d
};

}  // namespace RESECT_NAMESPACE::sae
