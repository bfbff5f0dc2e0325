// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include <resect/core/hash.hpp>
#include <resect/metrics/accumulators/norm_profile.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/metrics/similarity/cosine.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/plan.hpp>

// One part of a program whose translation units are compiled with different options. Every part computes the same, and
// takes objects that another part made. Usable without exceptions and without RTTI.
namespace part {

struct shared_state {
  resect::metrics::perplexity perplexity{4};
  resect::metrics::mean_cosine cosine{4};
  resect::metrics::norm_profile norms{8};
  resect::residual::plan plan;
  resect::status status;
};

// What a part answers: everything whose bits do not follow from the options, and what may differ in the last bits.
struct answer {
  std::uint64_t bits = 0;
  double nll = 0, kl = 0, cosine = 0;
};

// Layouts that all parts have to agree on.
inline constexpr std::size_t sizes[] = {sizeof(shared_state),
                                        alignof(shared_state),
                                        sizeof(resect::error),
                                        sizeof(resect::matrix_view<float>),
                                        sizeof(resect::residual::step),
                                        sizeof(resect::result<std::vector<float>>),
                                        sizeof(resect::metrics::logit_comparison)};

inline void fill(std::vector<float>& x, std::uint64_t stream) {
  x.resize(1003);
  resect::random::fill_gaussian(x, 17, stream);
}

// static: each translation unit has its own, so that its options are the ones used where nothing is inlined.
[[maybe_unused]] static answer compute(shared_state& shared) {
  std::vector<float> x, y;
  fill(x, 0);
  fill(y, 1);
  answer out;
  resect::fingerprint f;
  f.add(std::span<const float>(x)).add(std::span<const float>(y));
  const resect::random::philox_stream stream{3, 5};
  for (std::uint64_t i = 0; i < 64; ++i) f.add(resect::random::integer_below(stream, i, 1000 + i));
  for (const std::size_t size : sizes) f.add(static_cast<std::uint64_t>(size));

  const auto row = resect::metrics::compare_logits(x, y, 7);
  out.kl = row.kl;
  out.nll = row.nll_full;
  f.add(static_cast<std::uint64_t>(row.top1_full)).add(static_cast<std::uint64_t>(row.top1_edited));
  shared.perplexity.add(1, row.nll_full);
  shared.cosine.add(2, std::span<const float>(x), std::span<const float>(y));
  shared.norms.add(0, 0, x, y);
  out.cosine = shared.cosine.estimate().value;

  using namespace resect::residual;
  const int layers_so_far = static_cast<int>(shared.plan.steps().size());
  shared.status = shared.plan.try_add(scale_delta(layer(layers_so_far), 0.5f));
  f.add(static_cast<std::uint64_t>(shared.status.has_value()));
  step empty;
  empty.range = layers(3, 3);
  f.add(shared.plan.try_add(empty).error().message().view());
  for (const step& s : shared.plan.steps()) {  // functions that other parts made
    std::vector<float> h(x), before(y);
    (void)s.op.apply(tap{site::resid_post, s.range.first, {}}, {before.data(), 1, 1003}, {h.data(), 1, 1003});
    out.cosine += static_cast<double>(h[5]) * 0;  // reached; NaN would stay
    if (s.range.first == 0) f.add(static_cast<double>(h[0] > 1e30f));
  }
  out.bits = f.value();
  return out;
}

}  // namespace part
