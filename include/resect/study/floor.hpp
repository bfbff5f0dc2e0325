// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/study/at_floor.hpp>
#include <resect/study/detail/floor_passes.hpp>
#include <resect/study/detail/walk_cost.hpp>

// The floor of a table: the KL between two ways of running the intact model.
namespace RESECT_NAMESPACE::study {

// The KL between two ways of running the intact model: KL(p₀ ‖ p₀′), p₀ from the study's own passes, p₀′ from passes
// of another form. The order of additions alone causes it, so a KL of this size is no evidence of an effect.
struct kl_floor {
  double mean = 0;  // the largest of the passes; 0 where all bits agree
  double max = 0;
  std::vector<floor_pass> passes = {};
};

// Measures the floor of tables over these windows: it runs the intact model (a) one sequence at a time, (b) with a
// cache, in two pieces cut at positions that differ by sequence, and (c) in whole passes, and compares each with the
// outputs that the runner kept.
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
    out.mean = algo::max(out.mean, out.passes.back().mean);
    out.max = algo::max(out.max, out.passes.back().max);
  }
  return out;
}

// Floating point operations of try_kl_floor over `rows` rows: three passes of the intact model.
template <model::surgical_host H>
double kl_floor_flop(const H& host, index_t rows) {
  return 3 * detail::pass_flop(host, rows);
}

#if RESECT_EXCEPTIONS
// The floor of these windows; throws the error of try_kl_floor.
template <class Backend, model::surgical_host H>
kl_floor kl_floor_of(Backend& backend, H& host, const token_windows& windows, const intact_outputs& intact) {
  return value_or_throw(try_kl_floor(backend, host, windows, intact));
}
#endif

}  // namespace RESECT_NAMESPACE::study
