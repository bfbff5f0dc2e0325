// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <utility>

#include <resect/core/shared_value.hpp>
#include <resect/residual/detail/apply_step.hpp>
#include <resect/residual/detail/check_access.hpp>
#include <resect/residual/detail/step_table.hpp>

namespace RESECT_NAMESPACE::residual {

namespace detail {

// A plan on one host: what a pass asks of both. `whole` and `partial` say what passes of each kind lack there.
struct bound_plan {
  const plan& steps;
  const step_table& table;
  status whole, partial;
};

// The checks that need host and plan alone.
template <observable_host H>
status check_whole(const H& host, const plan& p, const step_table& table) {
  if constexpr (surgical_host<H>) {
    if (auto s = check_weights(host, p, 0, host.describe().n_layers); !s) return s;
  } else {
    if (auto s = check_no_weights(p); !s) return s;
  }
  return check_access(host, p, table.written());
}
template <surgical_host H>
status check_partial(const H& host, const plan& p, const step_table& table, int first, int last) {
  if (auto s = check_access(host, p, table.inner_sites()); !s) return s;
  return check_weights(host, p, first, last);
}

}  // namespace detail

// A plan bound to a host once: which steps touch which layer, which sites are written, what runs at all, and the checks
// that need no rows. A pass under a schedule asks nothing of the plan again, so a plan of one step a layer costs O(layers).
// Immutable; copies share it, threads may share it. It keeps no reference to the host.
// Other weights of the same host are noticed where the host has weights_epoch() (see surgical_host), and not else.
//   const auto bound = value_or_throw(schedule::try_make(host, plan));
//   value_or_throw(try_forward(host, bound, batch, memory));
class schedule {
 public:
  // Errors: what plan::check finds, and what a pass under the plan would report of sites and weights that the host lacks.
  template <observable_host H>
  static result<schedule> try_make(const H& host, plan p) {
    const model_desc& m = host.describe();
    if (auto s = p.check(m); !s) return s.error();
    contents c{std::move(p), {}, {}, {}, m.fingerprint, m.n_layers, m.d_model, model::weights_epoch_of(host)};
    c.table.build(c.steps, m.n_layers);
    c.whole = detail::check_whole(host, c.steps, c.table);
    if constexpr (surgical_host<H>) c.partial = detail::check_partial(host, c.steps, c.table, 0, m.n_layers);
    if (!c.whole && (!surgical_host<H> || !c.partial)) return c.whole.error();  // no pass of either kind can run
    return schedule(std::move(c));
  }

  const residual::plan& plan() const noexcept { return contents_->steps; }
  // The plan's fingerprint: the epoch of caches that grow under it, where no weight is overridden (cache_epoch_under).
  std::uint64_t epoch() const noexcept { return contents_->table.epoch(); }
  // The sites that whole passes write.
  site_set written() const noexcept { return contents_->table.written(); }
  // Whether a step acts in the layer.
  bool touches(int layer) const noexcept { return contents_->table.touches(layer); }
  // Whether the layer runs: no step replaces it or leaves it out.
  bool runs(int layer) const noexcept { return contents_->table.runs(layer); }
  // One past the layers that run as one from this layer on: the end of a replaced span, or layer + 1.
  int end_of_unit(int layer) const noexcept {
    const step* span = contents_->table.span_of(layer);
    return span ? span->range.last : layer + 1;
  }

  // Refuses another host than the one that the schedule was made for, and the same one with other weights if it has
  // weights_epoch(): the errors are invalid_argument. What a host without it holds by overrides is not known here.
  template <observable_host H>
  status check(const H& host) const noexcept {
    const model_desc& m = host.describe();
    const contents& c = *contents_;
    if (m.fingerprint != c.model || m.n_layers != c.n_layers || m.d_model != c.d_model)
      return error{errc::invalid_argument, "host of a schedule",
                   text("model ", m.fingerprint, ", ", m.n_layers, " layers of ", m.d_model),
                   text("model ", c.model, ", ", c.n_layers, " layers of ", c.d_model, ", for which it was made")};
    if (const std::uint64_t now = model::weights_epoch_of(host); now != c.weights_epoch)
      return error{errc::invalid_argument, "host of a schedule", text("weights of epoch ", now),
                   text("weights of epoch ", c.weights_epoch, ", for which it was made")};
    return {};
  }

  // What passes read.
  detail::bound_plan bound() const noexcept {
    return {contents_->steps, contents_->table, contents_->whole, contents_->partial};
  }

 private:
  struct contents {
    residual::plan steps;
    detail::step_table table;
    status whole, partial;
    std::uint64_t model = 0;
    int n_layers = 0;
    int d_model = 0;
    std::uint64_t weights_epoch = 0;
  };
  explicit schedule(contents c) : contents_(std::move(c)) {}

  shared_value<contents> contents_;
};

}  // namespace RESECT_NAMESPACE::residual
