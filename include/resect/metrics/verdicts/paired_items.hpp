// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/core/math.hpp>
#include <resect/metrics/intervals/tango.hpp>
#include <resect/metrics/intervals/wilson.hpp>
#include <resect/metrics/verdicts/mcnemar.hpp>

// Two arms (models, plans) graded on the same INDEPENDENT items, one run each. Items that share a template, and tokens,
// are paired through clustered_sums::difference instead.
namespace RESECT_NAMESPACE::metrics {

// The grade of an item.
enum class grade : std::uint8_t { fail, pass };

// The claim that a paired comparison of two arms supports.
enum class paired_verdict : std::uint8_t {
  undecidable,          // so few discordant items that no outcome could have been significant
  no_difference_shown,  // p > α, which is not evidence of equality
  first_better,
  second_better,
};

// The words for a verdict in tables.
constexpr std::string_view name(paired_verdict v) noexcept {
  switch (v) {
    case paired_verdict::undecidable: return "undecidable at this N";
    case paired_verdict::no_difference_shown: return "no difference shown";
    case paired_verdict::first_better: return "first better";
    case paired_verdict::second_better: return "second better";
  }
  return "";
}

// The smallest number of items graded differently with which an exact test can reject at 5 %.
inline constexpr index_t min_discordant = 6;

// The 2×2 table of two arms on the same items.
class paired_items {
 public:
  // One item. No allocation.
  void add(grade first, grade second) noexcept {
    ++count_[first == grade::pass ? 1 : 0][second == grade::pass ? 1 : 0];
  }
  // Counted items: passed by both, by the first arm alone, by the second alone, by neither.
  void add_counts(index_t both, index_t only_first, index_t only_second, index_t neither) noexcept {
    count_[1][1] += both;
    count_[1][0] += only_first;
    count_[0][1] += only_second;
    count_[0][0] += neither;
  }
  void merge(const paired_items& other) noexcept {
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j) count_[i][j] += other.count_[i][j];
  }

  index_t both() const noexcept { return count_[1][1]; }
  index_t only_first() const noexcept { return count_[1][0]; }
  index_t only_second() const noexcept { return count_[0][1]; }
  index_t neither() const noexcept { return count_[0][0]; }
  index_t items() const noexcept { return both() + discordant() + neither(); }
  index_t discordant() const noexcept { return only_first() + only_second(); }

  // Accuracy of each arm, Wilson.
  estimate first(double level = 0.95) const noexcept { return wilson(both() + only_first(), items(), level); }
  estimate second(double level = 0.95) const noexcept { return wilson(both() + only_second(), items(), level); }

  double p() const noexcept { return mcnemar_p(only_first(), only_second()); }
  double mid_p() const noexcept { return mcnemar_mid_p(only_first(), only_second()); }
  // Undecidable below 6 discordant items, and wherever all of them on one side would still give p > alpha.
  paired_verdict verdict(double alpha = 0.05) const noexcept {
    if (discordant() < min_discordant || mcnemar_p(discordant(), 0) > alpha) return paired_verdict::undecidable;
    if (p() > alpha) return paired_verdict::no_difference_shown;
    return only_first() > only_second() ? paired_verdict::first_better : paired_verdict::second_better;
  }

  // p₁ − p₂ = (b − c)/N with Newcombe's hybrid score interval: with [l_i, u_i] Wilson's interval of arm i and φ the
  // correlation (ad − bc less N/2, not below 0, where it is positive; 0 where a margin is empty),
  // lo = Δ − √((p₁−l₁)² − 2φ(p₁−l₁)(u₂−p₂) + (u₂−p₂)²), hi = Δ + √((u₁−p₁)² − 2φ(u₁−p₁)(p₂−l₂) + (p₂−l₂)²).
  // se = √(b + c − (b − c)²/N)/N. No value without items. Source: Newcombe, Stat. Med. 17 (1998) 2635, method 10.
  estimate difference(double level = 0.95) const noexcept {
    estimate e;
    e.n = e.n_clusters = items();
    if (e.n == 0) return e;
    const double n = static_cast<double>(e.n), a = static_cast<double>(both()), b = static_cast<double>(only_first());
    const double c = static_cast<double>(only_second()), d = static_cast<double>(neither());
    const estimate x = first(level), y = second(level);
    e.value = (b - c) / n;
    const double spread = b + c - (b - c) * (b - c) / n;
    e.se = math::sqrt(spread > 0 ? spread : 0.0) / n;
    const double margins = (a + b) * (c + d) * (a + c) * (b + d);
    double cross = a * d - b * c;
    if (cross > 0) cross = cross > n / 2 ? cross - n / 2 : 0;
    const double phi = margins > 0 ? cross / math::sqrt(margins) : 0.0;
    const auto reach = [phi](double s, double t) {
      const double square = s * s - 2 * phi * s * t + t * t;
      return math::sqrt(square > 0 ? square : 0.0);
    };
    e.lo = e.value - reach(x.value - x.lo, y.hi - y.value);
    e.hi = e.value + reach(x.hi - x.value, y.value - y.lo);
    return e;
  }
  // The same difference with Tango's score interval, which inverts a test.
  estimate score_difference(double level = 0.95) const noexcept {
    return tango(only_first(), only_second(), items(), level);
  }

 private:
  index_t count_[2][2] = {};
};

// The number of items with which a two-sided McNemar test at alpha finds a true difference of rates with probability
// `power`; `discordance` is the share of items that the arms grade differently: ⌈(z_{1−α/2}·√ψ + z_power·√(ψ −
// δ²))²/δ²⌉, a normal approximation (14 points at 20 % discordance: 78 items; 5 at 15 %: 469). The sign of the
// difference does not matter. 0 where nothing can be needed: a difference of 0 or above the discordance, or shares
// outside (0, 1]; alpha, power outside (0, 1). Source: Connor, Biometrics 43 (1987), eq. 3.
inline index_t paired_items_needed(double difference, double discordance, double alpha = 0.05,
                                   double power = 0.8) noexcept {
  const double square = difference * difference;
  if (!(square > 0 && square <= discordance * discordance && discordance > 0 && discordance <= 1)) return 0;
  if (!(alpha > 0 && alpha < 1 && power > 0 && power < 1)) return 0;
  const double root = normal_quantile(1 - alpha / 2) * math::sqrt(discordance) +
                      normal_quantile(power) * math::sqrt(discordance - square);
  const double n = root > 0 ? root * root / square : 0.0;
  if (!(n < 9e15)) return 0;
  const auto whole = static_cast<index_t>(n);
  return static_cast<double>(whole) < n || whole == 0 ? whole + 1 : whole;
}

// Tests non-inferiority: whether the first arm's rate is at most `margin` above the second's (the upper end of the
// difference's 1 − 2α interval ≤ margin). The protection study compares intact with protected on confirmation items,
// margin 0.03. False without items.
inline bool within_margin(const paired_items& items, double margin = 0.03, double alpha = 0.05) noexcept {
  return items.difference(1 - 2 * alpha).hi <= margin;
}

}  // namespace RESECT_NAMESPACE::metrics
