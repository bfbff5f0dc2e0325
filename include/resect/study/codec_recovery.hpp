// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <resect/metrics/accumulators/joint.hpp>
#include <resect/residual/codec.hpp>
#include <resect/residual/constant.hpp>
#include <resect/residual/select.hpp>
#include <resect/sae/coder.hpp>
#include <resect/sae/host_rows.hpp>
#include <resect/study/arm.hpp>
#include <resect/study/effect.hpp>

// What a codec keeps of a model's behaviour: its reconstructions stand in the place of a site's rows, beside zero and mean
// ablation of the same rows.
namespace RESECT_NAMESPACE::study {

namespace detail {

template <class = void>
std::string site_text(const sae::model_site& s) {
  return std::string(model::name(s.where)) + " of layer " + std::to_string(s.layer);
}
// An arm whose step acts on the rows that a codec is trained on: behind the first position, and no BOS.
template <class = void>
result<arm> try_site_arm(std::string label, residual::step what, std::int32_t bos) {
  arm out{{}, std::move(label)};
  residual::selection rows = residual::range(1, std::numeric_limits<std::int32_t>::max());
  if (bos >= 0) rows = rows & residual::not_bos(bos);
  auto chosen = residual::try_at(rows, std::move(what));
  if (!chosen) return chosen.error();
  if (auto s = out.plan.try_add(std::move(*chosen)); !s) return s.error();
  return out;
}

}  // namespace detail

// The reconstructions of a codec stand at a site, its error dropped (residual::splice), at all positions but the first and the
// BOS. `name` tells codecs of a site apart in labels.
template <class B>
result<arm> try_codec_arm(B& exec, const sae::model_site& site, sae::codec code, std::string_view name,
                          std::int32_t bos = -1) {
  return detail::try_site_arm(std::string(name) + " at " + detail::site_text(site),
                              residual::splice(residual::codec_error::drop, residual::layer(site.layer), site.where,
                                               sae::coder<B>(exec, std::move(code))),
                              bos);
}
// The same rows are one row: zeros for zero ablation, the mean of training rows for mean ablation.
template <class = void>
result<arm> try_constant_arm(const sae::model_site& site, std::span<const float> row, std::string_view name,
                             std::int32_t bos = -1) {
  return detail::try_site_arm(std::string(name) + " at " + detail::site_text(site),
                              residual::constant_rows(residual::layer(site.layer), site.where, row), bos);
}

// What a codec recovers of what an ablation destroys, of the same tokens: 1 − Σ spliced/Σ ablated, with the clustered interval
// of a ratio of totals (the interval is not cut: a codec may do more damage than the ablation).
//   Of Δnll: CE recovered = (CE_ablated − CE_spliced)/(CE_ablated − CE_intact); of KL: (KL_ablated − KL_spliced)/KL_ablated.
// Errors: shape_mismatch (other clusters or tokens).
template <class = void>
result<metrics::estimate> try_recovered(const metrics::clustered_sums& spliced, const metrics::clustered_sums& ablated,
                                        double level = 0.95) {
  if (auto s = spliced.check_same_tokens(ablated); !s) return s.error();
  metrics::joint_sums<2> sums(spliced.clusters());
  for (index_t c = 0; c < spliced.clusters(); ++c)
    sums.add_sums(c, {ablated.sum(c) - spliced.sum(c), ablated.sum(c)}, spliced.count(c));
  return sums.estimate(metrics::ratio_of_totals{}, level);
}

// CE and KL recovered over zero and over mean ablation. The mean is the harder measure: zeros are far from what later layers
// have seen.
struct codec_recovery {
  metrics::estimate ce_zero, ce_mean, kl_zero, kl_mean;
};
// From the effects of three arms at one site. Errors: as try_recovered.
template <class = void>
result<codec_recovery> try_codec_recovery(const effect_sums& spliced, const effect_sums& zero,
                                          const effect_sums& mean) {
  codec_recovery out;
  const auto fill = [](metrics::estimate& to, const metrics::clustered_sums& of,
                       const metrics::clustered_sums& ablated) -> status {
    auto e = try_recovered(of, ablated);
    if (!e) return e.error();
    to = *e;
    return {};
  };
  if (auto s = fill(out.ce_zero, spliced.dlnppl.sums(), zero.dlnppl.sums()); !s) return s.error();
  if (auto s = fill(out.ce_mean, spliced.dlnppl.sums(), mean.dlnppl.sums()); !s) return s.error();
  if (auto s = fill(out.kl_zero, spliced.kl.sums(), zero.kl.sums()); !s) return s.error();
  if (auto s = fill(out.kl_mean, spliced.kl.sums(), mean.kl.sums()); !s) return s.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::study
