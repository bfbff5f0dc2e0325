// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

#include <resect/metrics/accumulators/clustered_mean.hpp>
#include <resect/metrics/intervals/wilson.hpp>

// Accuracy: the predicted id equals the LABEL. (That two models predict the same id is agreement, another type.)
namespace RESECT_NAMESPACE::metrics {

// A prediction: the lowest id of the largest score (−1: the scores held NaN) and whether another id ties with it.
// row_argmax returns one.
template <class P>
concept top_prediction = requires(const P& p) {
  { p.id } -> std::convertible_to<index_t>;
  { p.tie } -> std::convertible_to<bool>;
};

// Accuracy over INDEPENDENT items, with Wilson's interval. Tokens, and items that share a template, are not
// independent: use token_accuracy for them.
class item_accuracy {
 public:
  // One item. An item without a prediction or a label (−1) is counted in `invalid`, and then no estimate is given.
  void add(index_t label, index_t predicted) noexcept {
    if (label < 0 || predicted < 0) {
      ++invalid_;
      return;
    }
    ++items_;
    correct_ += predicted == label;
  }
  template <top_prediction P>
  void add(index_t label, const P& top) noexcept {
    add(label, static_cast<index_t>(top.id));
    ties_ += top.tie ? 1 : 0;
  }
  void merge(const item_accuracy& other) noexcept {
    items_ += other.items_;
    correct_ += other.correct_;
    ties_ += other.ties_;
    invalid_ += other.invalid_;
  }

  metrics::estimate estimate(double level = 0.95) const noexcept {
    return wilson(correct_, invalid_ > 0 ? -1 : items_, level);
  }
  index_t items() const noexcept { return items_; }
  index_t correct() const noexcept { return correct_; }
  // Items whose most likely answer was not the only one.
  index_t ties() const noexcept { return ties_; }
  index_t invalid() const noexcept { return invalid_; }

 private:
  index_t items_ = 0, correct_ = 0, ties_ = 0, invalid_ = 0;
};

namespace detail {
struct label_match {
  static double value(index_t label, index_t predicted) noexcept {
    return label < 0 || predicted < 0 ? nan : label == predicted ? 1.0 : 0.0;
  }
};
}  // namespace detail

// Accuracy over tokens (or items of a template): the share of positions where the label is predicted, with the
// clustered interval. A position without a prediction or a label (−1) makes the estimate NaN.
class token_accuracy {
 public:
  token_accuracy() noexcept = default;
  explicit token_accuracy(index_t clusters) : matches_(clusters) {}

  // One position. No allocation.
  void add(index_t cluster, index_t label, index_t predicted) noexcept { matches_.add(cluster, label, predicted); }
  template <top_prediction P>
  void add(index_t cluster, index_t label, const P& top) noexcept {
    add(cluster, label, static_cast<index_t>(top.id));
    ties_ += top.tie ? 1 : 0;
  }
  status merge(const token_accuracy& other) noexcept {
    if (status s = matches_.merge(other.matches_); !s) return s;
    ties_ += other.ties_;
    return {};
  }

  // Clustered, by the logit; Wilson's with one observation a cluster for a rate of 0 or 1 (set_interval).
  metrics::estimate estimate(double level = 0.95) const noexcept {
    return matches_.sums().estimate(level, mean_range::rate);
  }
  // Positions whose most likely token was not the only one.
  index_t ties() const noexcept { return ties_; }
  const clustered_sums& sums() const noexcept { return matches_.sums(); }

 private:
  clustered_mean<detail::label_match> matches_;
  index_t ties_ = 0;
};

}  // namespace RESECT_NAMESPACE::metrics
