// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/array.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/huge_pages.hpp>
#include <resect/core/matrix.hpp>

namespace RESECT_NAMESPACE::sae {

// The parameters of a sparse autoencoder of F latents on rows of d elements:
//   h = W_e·(x − b_d) + b_e,   f = the latents that its architecture keeps of h,   x̂ = Σ_j f_j·w_j + b_d.
template <class T>
struct dictionary {
  matrix<T> encoder;      // W_e (F, d)
  array<T> encoder_bias;  // b_e (F)
  matrix<T> decoder;      // W_d (F, d); row j is w_j, the direction that latent j writes
  array<T> bias;          // b_d (d), of inputs and of reconstructions
  array<T> threshold;     // θ (F) where the architecture has one a latent, else empty

  dictionary() = default;
  dictionary(index_t latents, index_t width, bool has_threshold)
      : encoder(zeros_in_huge_pages<T>(latents, width)),
        encoder_bias(latents),
        decoder(zeros_in_huge_pages<T>(latents, width)),
        bias(width),
        threshold(has_threshold ? latents : 0) {}

  index_t latents() const noexcept { return encoder.rows; }
  index_t width() const noexcept { return encoder.cols; }

  // Of all parameters and extents.
  std::uint64_t hash() const noexcept {
    fingerprint f;
    f.add("resect.sae.dictionary/1")
        .add(static_cast<std::uint64_t>(latents()))
        .add(static_cast<std::uint64_t>(width()));
    for (const array<T>* part : {&encoder.data, &encoder_bias, &decoder.data, &bias, &threshold})
      for (const T x : *part) f.add(static_cast<double>(x));
    return f.value();
  }
  friend bool operator==(const dictionary&, const dictionary&) = default;
};

// Calls visit(name, part) for every array of parameters, in the order of checkpoints.
template <class D, class F>
void visit_parts(D& dictionary, F&& visit) {
  visit("encoder", dictionary.encoder.data);
  visit("encoder_bias", dictionary.encoder_bias);
  visit("decoder", dictionary.decoder.data);
  visit("bias", dictionary.bias);
  visit("threshold", dictionary.threshold);
}

}  // namespace RESECT_NAMESPACE::sae
