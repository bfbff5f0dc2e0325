// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/study/detail/outputs.hpp>
#include <resect/study/effect.hpp>
#include <resect/study/windows.hpp>

namespace RESECT_NAMESPACE::study {

// One other way to run the intact model, and what it gives in place of the outputs that a study compares with.
struct floor_pass {
  std::string_view by;  // "one sequence at a time", "with a cache", "in whole passes"
  double mean = 0;      // of KL(p₀ ‖ p₀′) over the counted rows, nats
  double max = 0;
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
          metrics::compare_logits(set, intact_.logits_of(r), logits.row_span(i), windows_.next_token(r)).kl;
    });
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (windows_.cluster[static_cast<std::size_t>(rows[i])] < 0) continue;
      if (!is_finite(kl_[i])) return not_finite_row(windows_, rows[i]);
      sum_ += kl_[i];
      pass_.max = algo::max(pass_.max, kl_[i]);
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
template <class = void>
std::vector<index_t> window_bounds(const token_windows& w) {
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
      for (std::size_t w = first; w < algo::min(first + floor_group, bounds.size() - 1); ++w) {
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

}  // namespace RESECT_NAMESPACE::study
