// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/instruction_set.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/study/detail/outputs.hpp>
#include <resect/study/detail/walk_cost.hpp>
#include <resect/study/effect.hpp>
#include <resect/study/windows.hpp>

// The floor of a table: the KL that a host has from itself.
namespace RESECT_NAMESPACE::study {

// One other way to run the intact model, and what it gives in place of the outputs that a study compares with.
struct floor_pass {
  std::string_view by;  // "one sequence at a time", "with a cache", "in whole passes"
  double mean = 0;      // of KL(p₀ ‖ p₀′) over the counted rows, nats
  double max = 0;
};

// KL(p₀ ‖ p₀′) of the intact model with itself: p₀ as a study runs it, p₀′ run in another way. It is what the order of
// additions alone does to outputs, so that a KL of this size says nothing of an alteration.
struct kl_floor {
  double mean = 0;  // the largest of the passes; 0 where all bits agree
  double max = 0;
  std::vector<floor_pass> passes = {};
};

namespace detail {

// Adds KL(p₀ ‖ p₀′) of rows up, in their order.
template <class Backend>
class floor_sums {
 public:
  floor_sums(Backend& backend, const token_windows& windows, const intact_outputs& intact, std::string_view by)
      : backend_(backend), windows_(windows), intact_(intact), pass_{by} {}

  // rows[i] is the row of the windows that `logits` holds in row i.
  status add(std::span<const index_t> rows, matrix_view<const float> logits) {
    kl_.resize(rows.size());
    const instruction_set set = instructions_of(backend_);
    backend_.bulk(static_cast<index_t>(rows.size()), [&](index_t i) {
      const index_t r = rows[static_cast<std::size_t>(i)];
      kl_[static_cast<std::size_t>(i)] =
          metrics::compare_logits(set, intact_.logits_of(r), row_span(logits, i), windows_.next_token(r)).kl;
    });
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (windows_.cluster[static_cast<std::size_t>(rows[i])] < 0) continue;
      if (!std::isfinite(kl_[i])) return not_finite_row(windows_, rows[i]);
      sum_ += kl_[i];
      pass_.max = std::max(pass_.max, kl_[i]);
      ++n_;
    }
    return {};
  }
  floor_pass result() const {
    floor_pass out = pass_;
    out.mean = n_ > 0 ? sum_ / static_cast<double>(n_) : 0;
    return out;
  }

 private:
  Backend& backend_;
  const token_windows& windows_;
  const intact_outputs& intact_;
  floor_pass pass_;
  std::vector<double> kl_;
  double sum_ = 0;
  index_t n_ = 0;
};

// Where each window's rows begin, and where the last one's end.
inline std::vector<index_t> window_bounds(const token_windows& w) {
  std::vector<index_t> out;
  for (index_t r = 0; r < static_cast<index_t>(w.rows.size()); ++r)
    if (r == 0 || w.rows[static_cast<std::size_t>(r)].seq != w.rows[static_cast<std::size_t>(r) - 1].seq)
      out.push_back(r);
  out.push_back(static_cast<index_t>(w.rows.size()));
  return out;
}

// Every window alone, by states.
template <class Backend, model::surgical_host H>
status try_floor_alone(H& host, const token_windows& windows, head_workspace& work, floor_sums<Backend>& to) {
  const auto bounds = window_bounds(windows);
  std::vector<index_t> rows;
  for (std::size_t w = 0; w + 1 < bounds.size(); ++w) {
    const auto first = bounds[w], count = bounds[w + 1] - first;
    auto state = host.try_embed(
        model::batch_view(windows.rows).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
    if (!state) return state.error();
    if (auto s = host.try_run(*state, 0, host.describe().n_layers, model::no_hooks<float>()); !s) return s;
    auto done = for_head_chunks(host, *state, count, work,
                                [&](index_t begin, matrix_view<float>, matrix_view<float> logits) -> status {
                                  rows.clear();
                                  for (index_t i = 0; i < logits.rows; ++i) rows.push_back(first + begin + i);
                                  return to.add(rows, matrix_view<const float>(logits));
                                });
    if (!done) return done;
  }
  return {};
}

// Forgets the sequences of the windows before their caches are filled and after, whatever ends it.
template <model::editable_host H>
class floor_caches {
 public:
  floor_caches(H& host, const token_windows& windows) : host_(host), windows_(windows) { forget(); }
  floor_caches(const floor_caches&) = delete;
  floor_caches& operator=(const floor_caches&) = delete;
  ~floor_caches() { forget(); }

 private:
  void forget() {
    for (const auto& row : windows_.rows)
      if (row.pos == 0) host_.forget(row.seq);
  }
  H& host_;
  const token_windows& windows_;
};

inline constexpr std::size_t floor_group = 8;  // windows of one pass with a cache

// Passes over groups of windows: whole, or in two pieces that are cut at another place in every window.
template <class Backend, model::surgical_host H>
status try_floor_passes(H& host, const token_windows& windows, bool in_pieces, floor_sums<Backend>& to) {
  const floor_caches<H> caches(host, windows);
  const auto bounds = window_bounds(windows);
  std::vector<index_t> rows;
  std::vector<model::row_meta> batch;
  for (std::size_t first = 0; first + 1 < bounds.size(); first += floor_group)
    for (const bool second : {false, true}) {
      rows.clear(), batch.clear();
      for (std::size_t w = first; w < std::min(first + floor_group, bounds.size() - 1); ++w) {
        const index_t length = bounds[w + 1] - bounds[w];
        const index_t cut = in_pieces && length > 1 ? 1 + (3 + 7 * static_cast<index_t>(w)) % (length - 1) : length;
        for (index_t i = second ? cut : 0; i < (second ? length : cut); ++i) {
          rows.push_back(bounds[w] + i);
          batch.push_back(windows.rows[static_cast<std::size_t>(rows.back())]);
          batch.back().flags |= model::row_meta::wants_logits;
        }
      }
      if (batch.empty()) continue;
      if (auto s = host.try_forward(batch, model::no_hooks<float>()); !s) return s;
      if (auto s = to.add(rows, host.logits()); !s) return s;
    }
  return {};
}

}  // namespace detail

// The floor of tables over these windows: the intact model run (a) one sequence at a time, (b) with a cache, in two pieces
// cut at positions that differ by sequence, and (c) in whole passes, each against the outputs that runner kept.
//   intact   runner::outputs() of the same windows
// Sums in double, in the order of windows. Determinism: the same bits for any number of workers.
// Cost: kl_floor_flop. The host's sequences that the windows name are forgotten.
// Errors: what windows.check says; shape_mismatch where `intact` has not one row a row of the windows; not_finite names the
// row; what the host reports.
template <class Backend, model::surgical_host H>
  requires std::same_as<typename H::value, float>
result<kl_floor> try_kl_floor(Backend& backend, H& host, const token_windows& windows, const intact_outputs& intact,
                              head_workspace work = {}) {
  if (auto s = windows.check("windows"); !s) return s.error();
  if (intact.logits.size() != windows.rows.size() * static_cast<std::size_t>(host.describe().n_vocab))
    return error{errc::shape_mismatch, "intact outputs", text(intact.logits.size(), " logits"),
                 text(windows.rows.size(), " rows of ", host.describe().n_vocab)};
  detail::floor_sums<Backend> alone(backend, windows, intact, "one sequence at a time"),
      cached(backend, windows, intact, "with a cache"), whole(backend, windows, intact, "in whole passes");
  if (auto s = detail::try_floor_alone(host, windows, work, alone); !s) return s.error();
  if (auto s = detail::try_floor_passes(host, windows, true, cached); !s) return s.error();
  if (auto s = detail::try_floor_passes(host, windows, false, whole); !s) return s.error();
  kl_floor out;
  for (const auto& sums : {alone, cached, whole}) {
    out.passes.push_back(sums.result());
    out.mean = std::max(out.mean, out.passes.back().mean);
    out.max = std::max(out.max, out.passes.back().max);
  }
  return out;
}

// Floating point operations of try_kl_floor over `rows` rows: three passes of the intact model.
template <model::surgical_host H>
double kl_floor_flop(const H& host, index_t rows) {
  return 3 * detail::pass_flop(host, rows);
}

// Whether a mean KL cannot be told from the floor: its interval begins below 3 times the floor (its value does, where there
// is no interval). Nothing is at a floor of 0.
inline bool is_at_floor(const metrics::estimate& kl, double floor) noexcept {
  return floor > 0 && (kl.has_interval() ? kl.lo : kl.value) < 3 * floor;
}

#if RESECT_EXCEPTIONS
template <class Backend, model::surgical_host H>
kl_floor kl_floor_of(Backend& backend, H& host, const token_windows& windows, const intact_outputs& intact) {
  return value_or_throw(try_kl_floor(backend, host, windows, intact));
}
#endif

}  // namespace RESECT_NAMESPACE::study
