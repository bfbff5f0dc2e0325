// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <utility>

#include <resect/core/backend.hpp>
#include <resect/core/hash.hpp>
#include <resect/quant/detail/feedback_pass.hpp>
#include <resect/quant/detail/refine.hpp>
#include <resect/quant/rounding.hpp>

// Rounding that knows what the matrix reads: GPTQ and LDLQ, which are one algorithm, for every grid, layout and order.
namespace RESECT_NAMESPACE::quant {

// What the feedback is computed in. H is factored in double in either case.
enum class feedback_precision : std::uint8_t { f32, f64 };
// Whether the result of each row is the last one, or the better of it and of the nearest codes.
enum class keep : std::uint8_t { last, best };

// How gptq rounds.
struct gptq_options {
  column_order order = column_order::natural;
  int sweeps = 0;  // of coordinate descent after the pass, at most; they end where nothing changes any more
  int refits = 0;  // rounds of fitting the scales again in the norm of H, each with as many sweeps
  keep result = keep::last;
  double damping = .01;    // times the mean of H's diagonal, added to it: what no text says of the columns' errors
  double least_pivot = 0;  // pivots up to this share of their h_kk vanish; 0: linalg::least_pivot(n)
  feedback_precision precision = feedback_precision::f32;
};

// A rounding rule: quantize(exec, W, affine<4>{.group = 128}, gptq{H}).
//   H (n, n), n the columns of W: a hessian, or any symmetric matrix (moment_view); kept by reference.
//   With H = L·D·Lᵀ in the reverse order of rounding (linalg/ldl.hpp), the weight at position k becomes the nearest code to
//     w_k + Σ_{t>k} (w_t − ŵ_t)·l_tk,
//   which makes Σ_k d_k·z_k² = (w − ŵ)·H·(w − ŵ)ᵀ, z the distances of this rounding: GPTQ's codes, with its order the
//   same. Codes of several columns (lattices) take blocks of L as wide as a code. A pivot that vanishes zeroes its column:
//   such weights get no feedback and give none, and are listed in outcome.zeroed_columns. No H fails: any rank, dead
//   columns, any condition.
//   Groups are fitted by the search before, on W itself, wherever the order takes their columns ("static groups").
//   sweeps: ŵ_k ← the nearest code to ŵ_k + ((w − ŵ)·H)_k/h_kk, code by code in the natural order, kept if
//   the loss of its row (of its rows) falls by more than 2⁻³⁰ of the change's own z·H·zᵀ: sweeps never raise it.
//   refits: every scale times 1 + ŵ·H·(w − ŵ)ᵀ/(ŵ·H·ŵᵀ) of its group, as near as the store has it under its header, for
//   unchanged codes, kept if the loss falls; then sweeps.
//   keep::best: no row loses more than its nearest codes do with the parameters of the search, (w − ŵ)·H·(w − ŵ)ᵀ computed
//   in double. Rows that share codes or groups return together.
//   damping: feedback and descent see H + damping·mean(diagonal)·I, as what is not in the text that H came from will be
//   read, too; a change must gain on H without it as well, so sweeps and refits never raise tr(E·H·Eᵀ) either, and
//   keep::best and the losses of the outcome are those of H itself. No pivot but those of H = 0 vanishes then.
//   Element types: feedback in float (f64: in double); factorization, descent and losses in double. A weight within
//   rounding of a boundary may take another code in float; the loss is within 1e-2 of that in double (measured: at most
//   4e-3, at 8 bits and N = n; at 4 bits below 1e-3; conditions up to 1e14).
//   Cost n³/3 flop in double and mn² in float; each sweep, refit and comparison 2mn² in double. Memory 8n² + 8mn bytes and
//   the working memory of products; descent takes 1024 rows at a time, 16 bytes a weight of these. Same bits for any
//   number of workers, if the backend's products have that.
//   of: which matrix W is, where it is known: an H that says that it belongs to another one is refused. W itself has no name, so
//   an H without an owner (a plain matrix, a hessian whose owner was not set), or no `of`, cannot be checked but for its width.
//   Errors: those of moment_view::check; conflict (H of another matrix or model); invalid_argument (options); those of the
//   search and of the backend.
//   Source: Frantar, Ashkboos, Hoefler & Alistarh, "GPTQ", ICLR 2023; Chee, Cai, Kuleshov & De Sa, "QuIP", NeurIPS 2023,
//   §3 and Theorem 6 (LDLQ, and that both are one); Tseng et al., "QuIP#", ICML 2024, §4 (blocks) and its sweeps.
struct gptq {
  moment_view h;
  gptq_options options{};
  hessian_owner of{};

  template <class B, static_format F, scale_search<typename F::grid_type, typename F::store_type> S>
    requires(dense_backend<B, float> && dense_backend<B, double> && std::same_as<typename B::space, host_space>)
  status round(B& exec, matrix_view<const float> w, const S& search, quantized<F>& out) const {
    if (auto s = check(exec, w.cols); !s) return s;
    if (auto s = fit_all_groups(exec, w, search, out); !s) return s;
    if (w.rows == 0 || w.cols == 0) return {};
    const moment_view moment = options.damping > 0 ? h.damped(options.damping) : h;
    auto e = detail::try_eliminate(exec, moment, grid_shape{F::grid_type::shape}.cols, out.layout().width(),
                                   options.order, pivot_limit(w.cols));
    if (!e) return e.error();
    return try_round(exec, w, moment, *e, options, out);
  }

  // As names of methods and artifacts show it: "gptq, 4 sweeps, 1 refit".
  short_text<48> name() const noexcept {
    short_text<48> out{"gptq"};
    if (options.order == column_order::by_diagonal) out.append(", by diagonal");
    if (options.order == column_order::group_aware) out.append(", group-aware");
    if (options.sweeps > 0) out.append(", ").append(options.sweeps).append(options.sweeps == 1 ? " sweep" : " sweeps");
    if (options.refits > 0) out.append(", ").append(options.refits).append(options.refits == 1 ? " refit" : " refits");
    if (options.result == keep::best) out.append(", best");
    return out;
  }
  // Of everything that changes what it does.
  std::uint64_t hash() const noexcept {
    return fingerprint{}
        .add("resect.gptq/1")
        .add(h.hash())
        .add(static_cast<std::uint64_t>(options.order))
        .add(static_cast<std::uint64_t>(options.sweeps))
        .add(static_cast<std::uint64_t>(options.refits))
        .add(static_cast<std::uint64_t>(options.result))
        .add(options.damping)
        .add(options.least_pivot)
        .add(static_cast<std::uint64_t>(options.precision))
        .value();
  }

 private:
  friend class prepared_gptq;

  template <class B>
  status check(B& exec, index_t cols) const {
    if (auto s = h.check(exec, cols); !s) return s;
    if (auto s = h.owner().check(of); !s) return s;
    const auto refused = [](std::string_view what, auto got, std::string_view wanted) {
      return error{errc::invalid_argument, text(what, " of gptq"), text(got), wanted};
    };
    if (options.sweeps < 0) return refused("sweeps", options.sweeps, "at least 0");
    if (options.refits < 0) return refused("refits", options.refits, "at least 0");
    if (!(options.damping >= 0 && options.damping <= 1e6)) return refused("damping", options.damping, "0 to 1e6");
    if (!(options.least_pivot >= 0 && options.least_pivot < 1))
      return refused("least pivot", options.least_pivot, "at least 0, less than 1");
    return {};
  }

  double pivot_limit(index_t cols) const noexcept {
    return options.least_pivot > 0 ? options.least_pivot : linalg::least_pivot(cols);
  }

  // Codes of groups that were fitted, and their outcome.
  template <class B, static_format F>
  static status try_round(B& exec, matrix_view<const float> w, const moment_view& moment, const detail::elimination& e,
                          const gptq_options& options, quantized<F>& out) {
    auto loss = options.precision == feedback_precision::f32 ? try_pass<float>(exec, w, moment, e, out)
                                                             : try_pass<double>(exec, w, moment, e, out);
    if (!loss) return loss.error();
    out.outcome.zeroed_columns = e.vanished;
    out.outcome.loss = *loss;
    const detail::refine_options refinement{options.sweeps, options.refits, options.result == keep::best};
    if (refinement.sweeps == 0 && refinement.refits == 0 && !refinement.keep_best) return {};
    return detail::refine(exec, w, moment, refinement, out);
  }
  // → tr(E·H·Eᵀ).
  template <class T, class B, static_format F>
  static result<double> try_pass(B& exec, matrix_view<const float> w, const moment_view& moment,
                                 const detail::elimination& e, quantized<F>& out) {
    auto rows = detail::feedback_pass<T, F>(w, e, moment.ridge(), out).try_run(exec);
    if (!rows) return rows.error();
    double sum = 0;
    for (const double loss : *rows) sum += loss;
    return sum;
  }
};

}  // namespace RESECT_NAMESPACE::quant
