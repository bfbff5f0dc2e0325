// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <resect/study/protect/search.hpp>

// Searches among the suffixes of a model: the last s layers are protected. They assume that the quality never falls as the
// suffix grows; study S004 searched so where it fell.
namespace RESECT_NAMESPACE::study {

// How the shortest sufficient suffix is found.
enum class suffix_method : std::uint8_t {
  scan,    // every suffix is evaluated, and a monotone curve fitted (isotonic regression)
  binary,  // noisy binary search: each probe is repeated until a sequential test decides, 24 times at most
};

// Options of a search among suffixes; its budget is for everything, the check included.
struct suffix_options {
  search_options search = {.budget = 1000, .tolerance = 0.03};
  suffix_method method = suffix_method::binary;
  index_t scan_rounds = 4;      // evaluations of each suffix before candidates of a fall are looked at again
  double unsound_alpha = 0.02;  // chance that a monotone landscape is called unsound
};

// Whether the quality falls somewhere as the suffix grows.
struct monotone_check {
  bool violated = false;
  index_t layer = -1;  // whose protection is followed by the fall
  double fall =
      metrics::nan;  // quality of shorter suffixes beside it minus that of longer ones, on evaluations of their own
  double p = metrics::nan;  // one-sided, times the number of tests
  bool complete = false;    // whether the budget carried it to its end
};

namespace detail {

// A place where the curve may fall: between suffixes of `size − 1` and of `size` layers, seen over windows of w suffixes.
struct fall_candidate {
  index_t size = 0, shorter = 1, longer = 1;
  double z = 0;
};

// The most suspicious places, at most `most`: of each place the windows of 1, 2, 4, 8 suffixes with the largest z.
inline std::vector<fall_candidate> fall_candidates(const std::vector<pooled>& curve, std::size_t most) {
  const auto n = static_cast<index_t>(curve.size());
  std::vector<fall_candidate> out;
  const auto window = [&](index_t first, index_t count) {
    double mean = 0, variance = 0;
    for (index_t s = first; s < first + count; ++s) {
      mean += curve[static_cast<std::size_t>(s)].value();
      variance += curve[static_cast<std::size_t>(s)].variance();
    }
    const auto k = static_cast<double>(count);
    return std::pair{mean / k, variance / (k * k)};
  };
  for (index_t size = 1; size < n; ++size) {
    fall_candidate best{size, 1, 1, -1e300};
    for (index_t a = 1; a <= algo::min<index_t>(8, size); a *= 2)
      for (index_t b = 1; b <= algo::min<index_t>(8, n - size); b *= 2) {
        const auto shorter = window(size - a, a), longer = window(size, b);
        const double z = z_of(shorter.first - longer.first, shorter.second + longer.second);
        if (z > best.z) best = {size, a, b, z};
      }
    out.push_back(best);
  }
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a.z != b.z ? a.z > b.z : a.size < b.size; });
  if (out.size() > most) out.resize(most);
  return out;
}

inline constexpr std::size_t fall_places = 10;
inline constexpr index_t fall_looks[] = {6, 12, 24};  // evaluations a side at each look
inline constexpr double fall_hope[] = {0.5, 1.3, 0};  // z below which a place is given up

// Tests one candidate on evaluations of its own. A monotone curve has no larger mean over shorter suffixes than over longer
// ones, whatever windows were chosen before.
template <class E>
result<bool> try_confirm_fall(E& evaluate, const fall_candidate& c, double limit, monotone_check& out) {
  pooled shorter, longer;
  index_t done = 0;
  for (std::size_t look = 0; look < std::size(fall_looks); ++look) {
    if (evaluate.left() < 2 * (fall_looks[look] - done)) return false;
    for (; done < fall_looks[look]; ++done) {
      const index_t n = evaluate.layers();
      pooled a, b;
      if (auto s = evaluate.try_add(layer_set::suffix(n, c.size - 1 - done % c.shorter), a); !s) return s.error();
      if (auto s = evaluate.try_add(layer_set::suffix(n, c.size + done % c.longer), b); !s) return s.error();
      shorter.add(a);
      longer.add(b);
    }
    const double fall = shorter.value() - longer.value(), z = z_of(fall, shorter.variance() + longer.variance());
    const double p = upper_tail(z);
    if (p <= limit) {
      out.violated = true;
      out.layer = evaluate.layers() - c.size;
      out.fall = fall;
      out.p = algo::min(1.0, p * static_cast<double>(fall_places * std::size(fall_looks)));
      return true;
    }
    if (z < fall_hope[look]) break;
  }
  return true;
}

// Adds evaluations of every suffix until each has `rounds`.
template <class E>
status try_scan_suffixes(E& evaluate, std::vector<pooled>& curve, index_t rounds) {
  for (index_t round = 0; round < (evaluate.fresh() ? rounds : 1); ++round)
    for (std::size_t s = 0; s < curve.size(); ++s)
      if (auto ok = evaluate.try_add(layer_set::suffix(evaluate.layers(), static_cast<index_t>(s)), curve[s]); !ok)
        return ok;
  return {};
}

template <class E>
result<monotone_check> try_check_monotone(E& evaluate, std::vector<pooled>& curve, const suffix_options& o) {
  monotone_check out;
  index_t have = 0;
  for (const pooled& p : curve) have += p.n > 0;
  const index_t suffixes = static_cast<index_t>(curve.size());
  if (have < suffixes) {
    if (evaluate.left() < suffixes * (evaluate.fresh() ? o.scan_rounds : 1)) return out;
    if (auto s = try_scan_suffixes(evaluate, curve, o.scan_rounds); !s) return s.error();
  }
  const auto places = fall_candidates(curve, fall_places);
  if (!evaluate.fresh()) {  // no second look: every window of the first one is a test
    const double tests = 16.0 * static_cast<double>(suffixes);
    const double p = algo::min(1.0, tests * upper_tail(places.empty() ? -1e300 : places[0].z));
    out.complete = true;
    out.p = p;
    if (p <= o.unsound_alpha) {
      out.violated = true;
      out.layer = evaluate.layers() - places[0].size;
      out.fall = curve[static_cast<std::size_t>(places[0].size - 1)].value() -
                 curve[static_cast<std::size_t>(places[0].size)].value();
    }
    return out;
  }
  const double limit = o.unsound_alpha / static_cast<double>(fall_places * std::size(fall_looks));
  for (const fall_candidate& c : places) {
    const auto done = try_confirm_fall(evaluate, c, limit, out);
    if (!done) return done.error();
    if (out.violated) break;
    if (!*done) return out;
  }
  out.complete = true;
  return out;
}

// The isotonic fit (pool adjacent violators) of a curve that does not fall.
inline std::vector<double> monotone_fit(const std::vector<pooled>& curve) {
  struct block {
    double sum, weight;
    std::size_t count;
  };
  std::vector<block> blocks;
  for (const pooled& p : curve) {
    blocks.push_back({p.value() * static_cast<double>(p.n), static_cast<double>(p.n), 1});
    while (blocks.size() > 1) {
      block& last = blocks.back();
      block& before = blocks[blocks.size() - 2];
      if (before.sum * last.weight <= last.sum * before.weight) break;
      before.sum += last.sum;
      before.weight += last.weight;
      before.count += last.count;
      blocks.pop_back();
    }
  }
  std::vector<double> out;
  for (const block& b : blocks) out.insert(out.end(), b.count, b.sum / b.weight);
  return out;
}

// Whether a suffix loses more than the tolerance: evaluations until |z| ≥ 2.6, 24 at most, then the sign.
template <class E>
result<bool> try_loses(E& evaluate, index_t size, const pooled& intact) {
  constexpr index_t most = 24;
  pooled here;
  for (;;) {
    if (auto s = evaluate.try_add(layer_set::suffix(evaluate.layers(), size), here); !s) return s.error();
    const double excess = intact.value() - here.value() - evaluate.options().tolerance;
    const double z = z_of(excess, intact.variance() + here.variance());
    if (std::fabs(z) >= 2.6 || here.n >= most || !evaluate.fresh() || evaluate.left() < 1) return excess > 0;
  }
}

}  // namespace detail

// Finds the shortest suffix whose loss beside the intact model is at most `search.tolerance`, and whether the assumption
// behind it holds. Every suffix is evaluated `scan_rounds` times, and the ten most suspicious falls are tested on evaluations
// of their own (6, 12, 24 a side; Bonferroni over places and looks). A confirmed fall makes the verdict `unsound` and names
// the layer: then neither this answer nor any other search among suffixes means anything. A budget that cannot carry the
// check leaves `unchecked`: seven probes of a binary search see nothing between them.
// What is named is the whole suffix, layers that do not matter included. With a fixed pool one scan is all there is, and a
// fall must be large to be told from the pool's own errors.
// Cost at L = 80: binary about 60 evaluations and the check about 450. Errors: invalid_argument (budget below √L + 2, ...).
template <search_objective F>
result<protection_search> try_suffix_search(F&& f, index_t layers, const suffix_options& options = {}) {
  const search_options& search = options.search;
  const index_t references = detail::reference_evaluations(layers, search.noise);
  if (options.scan_rounds < 1)
    return error{errc::invalid_argument, "scan_rounds", text(options.scan_rounds), "1 or more"};
  const bool scan = options.method == suffix_method::scan;
  const index_t first_pass = scan ? (search.noise == noise_kind::shared ? 1 : options.scan_rounds) * (layers + 1) : 2;
  if (auto s = detail::check_search(layers, search, references + first_pass); !s) return s.error();
  detail::evaluator<std::remove_reference_t<F>> evaluate(f, layers, search);
  protection_search out;
  out.method = scan ? "suffix scan" : "suffix binary search";
  detail::pooled intact;
  if (auto s = evaluate.try_add(layer_set::all(layers), intact, references); !s) return s.error();
  std::vector<detail::pooled> curve(static_cast<std::size_t>(layers + 1));
  index_t size = layers;
  if (scan) {
    if (auto s = detail::try_scan_suffixes(evaluate, curve, options.scan_rounds); !s) return s.error();
    const auto fit = detail::monotone_fit(curve);
    for (index_t s = layers; s >= 0 && intact.value() - fit[static_cast<std::size_t>(s)] <= search.tolerance; --s)
      size = s;
  } else {
    for (index_t low = 0; low < size && evaluate.left() > 0;) {
      const index_t middle = low + (size - low) / 2;
      const auto loses = detail::try_loses(evaluate, middle, intact);
      if (!loses) return loses.error();
      if (*loses) low = middle + 1;
      else size = middle;
    }
  }
  out.named = layer_set::suffix(layers, size);
  const auto check = detail::try_check_monotone(evaluate, curve, options);
  if (!check) return check.error();
  out.verdict = check->violated   ? search_verdict::unsound
                : check->complete ? search_verdict::found
                                  : search_verdict::unchecked;
  if (check->violated) {
    out.harmful.push_back(check->layer);
    out.note =
        text<200>("quality falls by ", check->fall, " as the suffix grows to layer ", check->layer, ", p = ", check->p)
            .c_str();
  }
  out.intact = detail::as_estimate(intact);
  out.evaluations = evaluate.spent();
  return out;
}

}  // namespace RESECT_NAMESPACE::study
