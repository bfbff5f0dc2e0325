// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>

#include <resect/metrics/accumulators/clustered.hpp>
#include <resect/metrics/accumulators/joint.hpp>
#include <resect/sae/codec.hpp>

namespace RESECT_NAMESPACE::sae {

// What a codec does to rows: L0, FVU about a fixed mean (that of training rows: the batch's own mean would make FVU depend on
// the batch), how often each latent is kept. One pass, mergeable.
class codec_metrics {
 public:
  // G clusters; `mean` (d) is the row about which variance is taken.
  codec_metrics(index_t clusters, index_t latents, array<float> mean)
      : mean_(std::move(mean)), sums_(clusters), kept_(clusters), fired_(latents) {}

  // One row, its latents and its reconstruction (d).
  void add(index_t cluster, std::span<const float> x, std::span<const entry<float>> row,
           std::span<const float> reconstruction) noexcept {
    double lost = 0, whole = 0;
    for (std::size_t k = 0; k < x.size(); ++k) {
      const double e = static_cast<double>(x[k]) - static_cast<double>(reconstruction[k]),
                   y = static_cast<double>(x[k]) - static_cast<double>(mean_[static_cast<index_t>(k)]);
      lost += e * e;
      whole += y * y;
    }
    sums_.add_sums(cluster, {lost, whole}, 1);
    kept_.add(cluster, static_cast<double>(row.size()));
    for (const entry<float>& e : row) ++fired_[e.latent];
    ++rows_;
  }
  status merge(const codec_metrics& other) noexcept {
    if (other.fired_.size() != fired_.size())
      return error{errc::shape_mismatch, "latents", text(other.fired_.size()), text(fired_.size())};
    if (auto s = sums_.merge(other.sums_); !s) return s;
    if (auto s = kept_.merge(other.kept_); !s) return s;
    for (index_t j = 0; j < fired_.size(); ++j) fired_[j] += other.fired_[j];
    rows_ += other.rows_;
    return {};
  }

  std::int64_t rows() const noexcept { return rows_; }
  // L0: kept latents a row, with the clustered interval.
  metrics::estimate mean_latents(double level = 0.95) const {
    return kept_.estimate(level, metrics::mean_range::nonnegative);
  }
  // FVU = Σ‖x − x̂‖²/Σ‖x − mean‖², with the clustered interval of a ratio of totals.
  metrics::estimate fvu(double level = 0.95) const {
    return sums_.estimate(metrics::ratio_of_totals{}, level, metrics::mean_range::nonnegative);
  }
  // Rows on which latent j was kept.
  std::int64_t fired(index_t j) const noexcept { return fired_[j]; }
  // The share of latents that no row kept.
  double silent() const noexcept {
    index_t n = 0;
    for (const std::int64_t f : fired_) n += f == 0 ? 1 : 0;
    return fired_.empty() ? 0.0 : static_cast<double>(n) / static_cast<double>(fired_.size());
  }

 private:
  array<float> mean_;
  metrics::joint_sums<2> sums_;
  metrics::clustered_sums kept_;
  array<std::int64_t> fired_;
  std::int64_t rows_ = 0;
};

}  // namespace RESECT_NAMESPACE::sae
