// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/operand.hpp>
#include <resect/metrics/accumulators/accuracy.hpp>
#include <resect/random/distributions.hpp>
#include <resect/student/ridge.hpp>

// A linear probe: how much of a label can be read off rows by a linear map.
namespace RESECT_NAMESPACE::student {

// Options of a probe: its folds and penalties, and how often the labels are permuted for the chance line.
struct probe_options {
  int folds = 4;
  ridge_options ridge{{1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0}};
  int permutations = 5;
  std::uint64_t seed = 1;
};

// What a probe reached on rows that it was not fitted on.
struct probe_result {
  metrics::estimate accuracy;  // share of held-out rows whose label has the largest score; Wilson's interval
  double majority = 0;         // the same for the most frequent label of the fitted rows
  double permuted = 0;         // the same for probes of permuted labels, their mean
  ridge_choice choice;
  index_t classes = 0;  // labels that occur among the fitted rows

  // The chance line.
  double chance() const noexcept { return algo::max(majority, permuted); }
  // Whether the interval of the accuracy lies above it.
  bool above_chance() const noexcept { return accuracy.lo > chance(); }
};

namespace detail {

// Rows less their mean over their standard deviation, both of the fitted rows; a column without spread becomes 0.
template <class = void>
void standardize(matrix_view<const float> fitted, matrix<double>& fit, matrix_view<const float> held_out,
                 matrix<double>& test) {
  fit = matrix<double>(fitted.rows, fitted.cols);
  test = matrix<double>(held_out.rows, held_out.cols);
  const double n = static_cast<double>(fitted.rows);
  for (index_t c = 0; c < fitted.cols; ++c) {
    double mean = 0, squares = 0;
    for (index_t r = 0; r < fitted.rows; ++r) mean += static_cast<double>(fitted(r, c));
    mean /= n;
    for (index_t r = 0; r < fitted.rows; ++r) {
      const double d = static_cast<double>(fitted(r, c)) - mean;
      squares += d * d;
    }
    const double scale = squares > 0 ? 1 / math::sqrt(squares / n) : 0.0;
    for (index_t r = 0; r < fitted.rows; ++r) fit(r, c) = scale * (static_cast<double>(fitted(r, c)) - mean);
    for (index_t r = 0; r < held_out.rows; ++r) test(r, c) = scale * (static_cast<double>(held_out(r, c)) - mean);
  }
}

// A seeded order of 0 … n − 1 (Fisher–Yates).
template <class = void>
array<index_t> permutation(index_t n, std::uint64_t seed, std::uint64_t stream) {
  array<index_t> out;
  for (index_t i = 0; i < n; ++i) out.push_back(i);
  const random::philox_stream draws{seed, stream};
  for (index_t i = n - 1; i > 0; --i)
    algo::swap(out[i], out[static_cast<index_t>(random::integer_below(draws, static_cast<std::uint64_t>(i),
                                                                      static_cast<std::uint64_t>(i) + 1))]);
  return out;
}

template <class = void>
status check_labels(std::span<const std::int32_t> labels, index_t rows, std::string_view operand) {
  if (static_cast<index_t>(labels.size()) != rows)
    return error{errc::shape_mismatch, operand, text(labels.size()), text(rows, ", one a row")};
  for (const std::int32_t l : labels)
    if (l < 0) return error{errc::invalid_argument, operand, text(l), "0 or more"};
  return {};
}

// The labels that occur, numbered in ascending order.
class class_numbers {
 public:
  explicit class_numbers(std::span<const std::int32_t> labels) : values_(labels) {
    algo::sort(values_.begin(), values_.end());
    values_.resize(algo::unique(values_.begin(), values_.end()) - values_.begin());
  }
  index_t size() const noexcept { return values_.size(); }
  // The number of each label, size() for one that does not occur.
  array<index_t> of(std::span<const std::int32_t> labels) const {
    array<index_t> out;
    for (const std::int32_t l : labels) {
      const std::int32_t* const at = algo::lower_bound(values_.begin(), values_.end(), l);
      out.push_back(at != values_.end() && *at == l ? at - values_.begin() : values_.size());
    }
    return out;
  }

 private:
  array<std::int32_t> values_;
};

// Of each row the column of the largest score among [first, first + count), the first of equal ones.
template <class = void>
double accuracy_of(matrix_view<const double> scores, index_t first, index_t count, const array<index_t>& classes,
                   metrics::item_accuracy* items) {
  index_t right = 0;
  for (index_t r = 0; r < scores.rows; ++r) {
    index_t best = 0;
    for (index_t c = 1; c < count; ++c)
      if (scores(r, first + c) > scores(r, first + best)) best = c;
    const index_t label = classes[r];
    right += best == label;
    if (items) items->add(label, best);
  }
  return scores.rows > 0 ? static_cast<double>(right) / static_cast<double>(scores.rows) : 0.0;
}

}  // namespace detail

// Fits a linear probe on labelled rows and judges it on others: ridge regression of the labels' indicators by the rows,
// columns standardized by the fitted rows, the penalty by cross-validation in the fitted rows (try_ridge); a row's answer
// is the label of the largest score. Interval: Wilson's, held-out rows as independent items.
//   x (n, d), labels (n) of 0 or more, any numbers; held-out rows likewise. A label that no fitted row has is always
//   missed.
//   Chance: the larger of the most frequent label and the mean of probes of permuted labels at the same penalty.
//   Cost: folds·penalties Cholesky factors of d × d in double. Determinism: a function of rows, labels and seed.
//   Errors: shape_mismatch, null_pointer, bad_stride, not_finite; invalid_argument (a negative label, one class alone
//   among the fitted rows, fewer fitted rows than folds, no held-out row).
// Source: Alain & Bengio, "Understanding intermediate layers using linear classifier probes", arXiv 1610.01644.
template <core_backend B>
result<probe_result> try_probe(B& exec, matrix_view<const float> x, std::span<const std::int32_t> labels,
                               matrix_view<const float> held_out, std::span<const std::int32_t> held_out_labels,
                               const probe_options& options = {}) {
  if (auto s = check_view(x, "rows of the probe"); !s) return s.error();
  if (auto s = check_view(held_out, held_out.rows, x.cols, "held-out rows of the probe"); !s) return s.error();
  if (auto s = check_finite(x, "rows of the probe"); !s) return s.error();
  if (auto s = check_finite(held_out, "held-out rows of the probe"); !s) return s.error();
  if (auto s = detail::check_labels(labels, x.rows, "labels of the probe"); !s) return s.error();
  if (auto s = detail::check_labels(held_out_labels, held_out.rows, "held-out labels of the probe"); !s)
    return s.error();
  if (options.folds < 2 || x.rows < options.folds || options.permutations < 0)
    return error{errc::invalid_argument, "folds of the probe", text(options.folds, " of ", x.rows, " rows"),
                 "2 or more, and a row for each"};
  if (held_out.rows < 1) return error{errc::invalid_argument, "held-out rows of the probe", "0", "1 or more"};
  const detail::class_numbers classes(labels);
  const index_t k = classes.size();
  probe_result out;
  out.classes = k;
  if (k < 2) return error{errc::invalid_argument, "classes of the probe", text(k), "2 or more"};
  const array<index_t> fitted_classes = classes.of(labels), held_out_classes = classes.of(held_out_labels);
  array<index_t> count(k);
  for (const index_t c : fitted_classes) ++count[c];
  index_t most = 0;
  for (index_t c = 0; c < k; ++c)
    if (count[c] > count[most]) most = c;
  for (const index_t c : held_out_classes) out.majority += (c == most ? 1.0 : 0.0) / static_cast<double>(held_out.rows);

  matrix<double> fit, test;
  detail::standardize(x, fit, held_out, test);
  const index_t blocks = 1 + options.permutations;  // the labels, then their permutations
  matrix<double> targets(x.rows, k * blocks);
  for (index_t b = 0; b < blocks; ++b) {
    const auto order =
        b > 0 ? detail::permutation(x.rows, options.seed, static_cast<std::uint64_t>(b)) : array<index_t>();
    for (index_t r = 0; r < x.rows; ++r) targets(r, b * k + fitted_classes[b > 0 ? order[r] : r]) = 1;
  }
  array<pair_moments> folds;
  pair_moments all(x.cols, k * blocks);
  const auto order = detail::permutation(x.rows, options.seed, 0);
  for (int f = 0; f < options.folds; ++f) {
    const index_t first = x.rows * f / options.folds, end = x.rows * (f + 1) / options.folds;
    matrix<double> rows(end - first, x.cols), z(end - first, k * blocks);
    for (index_t i = first; i < end; ++i) {
      copy(fit.view().middle_rows(order[i], 1), rows.view().middle_rows(i - first, 1));
      copy(targets.view().middle_rows(order[i], 1), z.view().middle_rows(i - first, 1));
    }
    folds.push_back(pair_moments(x.cols, k));
    if (auto s = folds.back().try_add(exec, rows.view(), z.view().block(0, 0, z.rows, k)); !s) return s.error();
    if (auto s = all.try_add(exec, rows.view(), z.view()); !s) return s.error();
  }
  auto chosen = try_ridge(exec, std::span<const pair_moments>(folds.span()), options.ridge);
  if (!chosen) return chosen.error();
  auto probe = try_ridge(exec, all, chosen->choice.lambda);
  if (!probe) return probe.error();

  matrix<double> scores(held_out.rows, k * blocks);
  for (index_t r = 0; r < scores.rows; ++r)
    for (index_t c = 0; c < scores.cols; ++c) scores(r, c) = probe->bias[c];
  if (auto s = exec.try_gemm(1.0, test.view(), probe->weights.view().transposed(), 1.0, scores.view()); !s)
    return s.error();
  const matrix_view<const double> judged = scores.view();
  metrics::item_accuracy items;
  (void)detail::accuracy_of(judged, 0, k, held_out_classes, &items);
  out.accuracy = items.estimate();
  for (index_t b = 1; b < blocks; ++b)
    out.permuted += detail::accuracy_of(judged, b * k, k, held_out_classes, nullptr) / static_cast<double>(blocks - 1);
  out.choice = std::move(chosen->choice);
  return out;
}

// The same of any operands of floats.
template <core_backend B, operand_of<float> X, operand_of<float> Y>
result<probe_result> try_probe(B& exec, const X& x, std::span<const std::int32_t> labels, const Y& held_out,
                               std::span<const std::int32_t> held_out_labels, const probe_options& options = {}) {
  return on_view(x, "rows of the probe", [&](matrix_view<const float> fitted) {
    return on_view(held_out, "held-out rows of the probe", [&](matrix_view<const float> judged) {
      return try_probe(exec, fitted, labels, judged, held_out_labels, options);
    });
  });
}

}  // namespace RESECT_NAMESPACE::student
