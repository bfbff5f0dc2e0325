// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>

#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/view.hpp>
#include <resect/metrics/accumulators/clustered.hpp>
#include <resect/metrics/intervals/wilson.hpp>
#include <resect/random/distributions.hpp>

// Recovery tests whether a row is nearer to its own counterpart than to 31 others: a layer's output against the input
// embeddings (input-token recoverability), and an altered run's rows against the intact run's (reconstruction
// fidelity).
namespace RESECT_NAMESPACE::metrics {

// The number K of negatives, candidates besides the true one; chance is 1/(K + 1).
inline constexpr index_t recovery_negatives = 31;
// The expected rate of guessing among 32 candidates; printed beside every fidelity.
inline constexpr double recovery_chance = 1.0 / 32;

// The place in the text of a row under test; with the seed it decides the negatives.
struct recovery_place {
  std::uint64_t seed = 0;
  index_t sequence = 0;
  index_t position = 0;
};

// The result of one row. correct is 1 where the own candidate's cosine is larger than every negative's (a tie with
// one is not recovered: 0 and tie), margin = own cosine − largest negative's. NaN where the test is void: NaN in a
// compared row, lengths that differ, own outside the candidates, no negative to draw.
struct recovery {
  double correct = nan;
  double margin = nan;
  bool tie = false;
};

namespace detail {

inline constexpr std::uint64_t recovery_stream = 0x6e656761;  // "nega"

// The j-th of 31 negatives at a place: uniform on the n candidates without `own`, with replacement.
inline index_t negative(const recovery_place& at, index_t j, index_t own, index_t n) noexcept {
  const random::philox_stream stream{at.seed, recovery_stream << 32 ^ static_cast<std::uint64_t>(at.sequence)};
  const index_t other = static_cast<index_t>(random::integer_below(
      stream, static_cast<std::uint64_t>(at.position) * recovery_negatives + static_cast<std::uint64_t>(j),
      static_cast<std::uint64_t>(n - 1)));
  return other < own ? other : other + 1;
}

// candidate(i), i = 0 … n−1, gives a span; draw(j) the j-th negative.
template <class Candidate, class Draw>
recovery recover(std::span<const float> row, index_t own, Candidate candidate, Draw draw) noexcept {
  recovery out;
  const double size = math::sqrt(dot(row, row));
  const auto cosine_to = [&](index_t i) {
    const std::span<const float> c = candidate(i);
    const double product = size * math::sqrt(dot(c, c));
    return product == 0 ? 0.0 : dot(row, c) / product;
  };
  const double right = cosine_to(own);
  double best = -2;
  for (index_t j = 0; j < recovery_negatives; ++j) {
    const double c = cosine_to(draw(j));
    if (!(c <= best)) best = c;
    if (c != c) break;
  }
  out.margin = right - best;
  if (out.margin != out.margin) return out;
  out.correct = out.margin > 0 ? 1.0 : 0.0;
  out.tie = out.margin == 0;
  return out;
}

inline bool askable(std::span<const float> row, matrix_view<const float> candidates, index_t own) noexcept {
  return check_view(candidates, "candidates").has_value() && candidates.rows_contiguous() &&
         static_cast<index_t>(row.size()) == candidates.cols && own >= 0 && own < candidates.rows;
}

}  // namespace detail

// Tests whether a layer's output `row`, at a position whose INPUT token is `token`, is nearer by cosine to that
// token's input embedding than to those of 31 random other tokens. `embedding` (n_vocab, d_model) fp32, contiguous
// rows. This falls with depth in every transformer: it measures how far the stream has moved from the embedding, not
// how much a layer matters. Zero rows have cosine 0 with everything. Negatives: uniform without the token, with
// replacement, one integer of Philox each at (seed, sequence, position·31 + j). Cost 32 dot products. No allocation.
inline recovery recover_input(std::span<const float> row, matrix_view<const float> embedding, index_t token,
                              const recovery_place& at) noexcept {
  if (!detail::askable(row, embedding, token) || embedding.rows < 2) return {};
  return detail::recover(
      row, token, [&](index_t i) { return embedding.row_span(i); },
      [&](index_t j) { return detail::negative(at, j, token, embedding.rows); });
}

// The rows that may be negatives of a row: all others, those of its sequence, those of other sequences. Rows of one
// sequence resemble each other and are harder negatives; report the two apart.
enum class negatives_from : std::uint8_t { anywhere, same_sequence, other_sequences };

// Rows first … last−1 of one sequence.
struct row_range {
  index_t first = 0;
  index_t last = 0;
};

// Tests whether an altered run's `row` is nearer by cosine to the intact run's row `own` at the same place than to 31
// random other rows of `intact` (rows, d_model). `sequence` are the rows of own's sequence (unused for `anywhere`).
// Negatives, cost and void questions as above; void also where there is no other row to draw or `own` is not in its
// sequence.
inline recovery recover_row(std::span<const float> row, matrix_view<const float> intact, index_t own,
                            negatives_from from, row_range sequence, const recovery_place& at) noexcept {
  if (!detail::askable(row, intact, own)) return {};
  if (from == negatives_from::anywhere) sequence = {0, intact.rows};
  const index_t inside = sequence.last - sequence.first;
  if (sequence.first < 0 || sequence.last > intact.rows || own < sequence.first || own >= sequence.last) return {};
  const auto row_at = [&](index_t i) { return intact.row_span(i); };
  if (from == negatives_from::other_sequences) {
    const index_t outside = intact.rows - inside;
    if (outside < 1) return {};
    // `outside` candidates, none of them own: as if own came after them.
    return detail::recover(row, own, row_at, [&](index_t j) {
      const index_t i = detail::negative(at, j, outside, outside + 1);
      return i < sequence.first ? i : i + inside;
    });
  }
  if (inside < 2) return {};
  return detail::recover(row, own, row_at, [&](index_t j) {
    return sequence.first + detail::negative(at, j, own - sequence.first, inside);
  });
}

// The share of recovered rows and the mean margin, clustered; print `ties` and chance = 1/32 beside them. `Question`
// is a tag that keeps results of different tests apart.
template <class Question>
class recovery_rate {
 public:
  recovery_rate() noexcept = default;
  explicit recovery_rate(index_t clusters) : correct_(clusters), margin_(clusters) {}

  // One row's answer; a void one makes the estimates NaN. No allocation.
  void add(index_t cluster, const recovery& r) noexcept {
    correct_.add(cluster, r.correct);
    margin_.add(cluster, r.margin);
    ties_ += r.tie ? 1 : 0;
  }
  status merge(const recovery_rate& other) noexcept {
    if (status s = correct_.merge(other.correct_); !s) return s;
    if (status s = margin_.merge(other.margin_); !s) return s;
    ties_ += other.ties_;
    return {};
  }

  static constexpr double chance = recovery_chance;
  static constexpr index_t negatives = recovery_negatives;
  // Clustered, by the logit; Wilson's with one observation a cluster for a rate of 0 or 1 (set_interval).
  metrics::estimate estimate(double level = 0.95) const noexcept { return correct_.estimate(level, mean_range::rate); }
  metrics::estimate margin(double level = 0.95) const noexcept { return margin_.estimate(level); }
  index_t ties() const noexcept { return ties_; }
  const clustered_sums& sums() const noexcept { return correct_; }

 private:
  clustered_sums correct_, margin_;
  index_t ties_ = 0;
};

namespace detail {
struct input_question {};
template <negatives_from From>
struct row_question {};
}  // namespace detail

// The recovery rate of recover_input.
using input_recoverability = recovery_rate<detail::input_question>;
// The recovery rate of recover_row, a type for each kind of negatives; chance is 1/(K + 1).
template <negatives_from From>
using reconstruction_fidelity = recovery_rate<detail::row_question<From>>;

}  // namespace RESECT_NAMESPACE::metrics
