// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>
#include <vector>

#include <resect/model/host.hpp>
#include <resect/study/detail/paths.hpp>
#include <resect/study/detail/snapshots.hpp>

namespace RESECT_NAMESPACE::study::detail {

// Floating point operations of the matrix products of one layer, two a weight and row.
template <model::surgical_host H>
double layer_flop(const H& host, int l, index_t rows) {
  double weights = 0;
  for (const auto& w : host.weights(l)) weights += static_cast<double>(w.rows * w.cols);
  return 2.0 * weights * static_cast<double>(rows);
}

template <class = void>
double head_flop(const model::model_desc& m, index_t rows) {
  return 2.0 * static_cast<double>(m.n_vocab) * static_cast<double>(m.d_model) * static_cast<double>(rows);
}

template <model::surgical_host H>
double pass_flop(const H& host, index_t rows) {
  double flop = head_flop(host.describe(), rows);
  for (int l = 0; l < host.describe().n_layers; ++l) flop += layer_flop(host, l, rows);
  return flop;
}

// The driver of a walk that runs nothing and counts operations: what the walk of the same paths will do, visitors that
// measure outputs taken for granted. Runs that stop at a lost stream are counted to their end.
template <model::surgical_host H>
class cost_driver {
 public:
  struct state {};

  cost_driver(const H& host, index_t rows, snapshots<char> kept) : kept_(std::move(kept)) {
    for (int l = 0; l < host.describe().n_layers; ++l) layer_.push_back(layer_flop(host, l, rows));
    head_ = head_flop(host.describe(), rows);
    state_bytes_ = 4.0 * static_cast<double>(rows) * host.describe().d_model;
  }

  status try_advance(state&, const path& p, int from, int to) {
    add_layers(p, from, to);
    return {};
  }
  state branch(const state&) noexcept { return {}; }
  status try_visit(state, const path& p, int from, const path* twin) {
    if (twin == nullptr) {
      add_layers(p, from, p.layers());
      flop_ += head_;
    }
    after_.push_back(flop_);
    return {};
  }

  double flop() const noexcept { return flop_; }
  // Operations done when the i-th visit ends.
  const std::vector<double>& after_visits() const noexcept { return after_; }
  double kept_bytes() const noexcept { return kept_.bytes(); }

 private:
  int resumed(const path& p, int from, int to) {
    for (int l = to; l > from; --l)
      if (kept_.find(l, p.prefix_of(l))) return l;
    return from;
  }
  void add_layers(const path& p, int from, int to) {
    for (int l = resumed(p, from, to); l < to; l = p.end_of_unit(l)) {
      if (p.of(l) != 0 && kept_.wants(l, p.prefix_of(l), state_bytes_))
        kept_.put(l, p.prefix_of(l), state_bytes_, char{});
      if (p.runs_layer(l)) flop_ += layer_[static_cast<std::size_t>(l)];
    }
  }

  snapshots<char> kept_;
  std::vector<double> layer_, after_;
  double head_ = 0, state_bytes_ = 0, flop_ = 0;
};

}  // namespace RESECT_NAMESPACE::study::detail
