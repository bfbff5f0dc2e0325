// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/quant/detail/feedback_row.hpp>
#include <resect/quant/detail/lost_scales.hpp>
#include <resect/quant/gptq.hpp>

// GPTQ whose H is eliminated once, for matrices that read the same rows and for rounds over one matrix.
namespace RESECT_NAMESPACE::quant {

// A rounding rule with the codes of gptq{h, options}, for formats whose codes are as wide and, in order group_aware, whose
// groups are as wide as those that it was made for. Refers to what `h` refers to.
//   A single row without sweeps is rounded in double in n² flop, whatever the precision of the options says.
//   Memory 8n² bytes. Cost once n³/3 flop; each call saves them.
class prepared_gptq {
 public:
  // For formats with codes of `width` columns and groups of `group` columns in matrices of h.size() columns.
  // Errors: those of moment_view::check; invalid_argument (options, width); those of the backend.
  template <class B>
    requires(dense_backend<B, double> && std::same_as<typename B::space, host_space>)
  static result<prepared_gptq> try_make(B& exec, const moment_view& h, const gptq_options& options, index_t width = 1,
                                        index_t group = 0) {
    const gptq rule{h, options};
    if (auto s = rule.check(exec, h.size()); !s) return s.error();
    if (width < 1) return error{errc::invalid_argument, "width of codes", text(width), "at least 1"};
    prepared_gptq out;
    out.options_ = options;
    out.moment_ = options.damping > 0 ? h.damped(options.damping) : h;
    auto e = detail::try_eliminate(exec, out.moment_, width, group > 0 ? group : h.size(), options.order,
                                   rule.pivot_limit(h.size()));
    if (!e) return e.error();
    out.elimination_ = std::move(*e);
    return out;
  }

  const gptq_options& options() const noexcept { return options_; }
  // H with its damping.
  const moment_view& moment() const noexcept { return moment_; }

  template <class B, static_format F, scale_search<typename F::grid_type, typename F::store_type> S>
    requires(dense_backend<B, float> && dense_backend<B, double> && std::same_as<typename B::space, host_space>)
  status round(B& exec, matrix_view<const float> w, const S& search, quantized<F>& out) const {
    if (auto s = check<F>(w.cols); !s) return s;
    if (auto s = fit_all_groups(exec, w, search, out); !s) return s;
    if (w.rows == 0 || w.cols == 0) return {};
    if constexpr (scalar_grid<typename F::grid_type>)
      if (w.rows == 1 && options_.sweeps == 0 && options_.refits == 0 && options_.result == keep::last) {
        out.outcome.loss = detail::round_one_row(w, elimination_, moment_.ridge(), out);
        out.outcome.zeroed_columns = elimination_.vanished;
        return {};
      }
    return gptq::try_round(exec, w, moment_, elimination_, options_, out);
  }

  // Sweeps and refits, as the options have them, from the codes that `q` has. tr(E·H·Eᵀ) does not rise.
  // Errors: shape_mismatch, invalid_argument (width of codes), what q.check finds, those of the backend.
  template <class B, static_format F>
    requires(dense_backend<B, float> && dense_backend<B, double> && std::same_as<typename B::space, host_space>)
  status try_improve(B& exec, matrix_view<const float> w, quantized<F>& q) const {
    if (auto s = check<F>(w.cols); !s) return s;
    if (auto s = check_view(w, q.rows, q.cols, "W"); !s) return s;
    if (auto s = q.check(); !s) return s;
    q.outcome = {};
    if (q.rows == 0 || q.cols == 0) return {};
    if (auto s = detail::refine(exec, w, moment_, {options_.sweeps, options_.refits, false}, q); !s) return s;
    detail::note_lost_scales(exec, w, q);
    return {};
  }

 private:
  template <static_format F>
  status check(index_t cols) const noexcept {
    if (cols != moment_.size())
      return error{errc::shape_mismatch, "W", text(cols, " columns"), text(moment_.size(), ", those of H")};
    const index_t width = grid_shape{F::grid_type::shape}.cols;
    if (width != elimination_.width)
      return error{errc::invalid_argument, "width of codes", text(width), text(elimination_.width, ", as prepared")};
    return {};
  }

  gptq_options options_;
  moment_view moment_;
  detail::elimination elimination_;
};

}  // namespace RESECT_NAMESPACE::quant
