// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/matrix.hpp>
#include <resect/student/closed_form/affine.hpp>

namespace RESECT_NAMESPACE::student {

// An affine map of the delta that was fitted by cosines: as affine_map, under an id of its own.
struct cosine_map : affine_map {
  static constexpr std::string_view id = "resect.map.cosine/1";
  std::uint64_t hash() const noexcept { return fingerprint{}.add(id).add(affine_map::hash()).value(); }
};

// Options of the cosine fit.
struct cosine_options {
  double lambda = 1e-3;      // penalty of a step's size, in units of the mean weighted square of an input
  int steps = 12;            // most steps
  double held_out = 0.25;    // share of the rows, the last ones, on which the steps are judged
  double least_gain = 1e-3;  // a step that lowers the held-out loss by less, relatively, is the last
};

// A cosine map with what its fit did.
struct cosine_fit {
  cosine_map map;
  double start_loss = 0, loss = 0;  // mean 1 − cos over the rows held out, of the start and of the map
  int steps = 0;                    // steps that were taken
};

namespace detail {

// Mean 1 − cos(p_r, y_r) over rows; rows of zeros count 1.
template <class = void>
double mean_cosine_loss(matrix_view<const float> p, matrix_view<const float> y) {
  double out = 0;
  for (index_t r = 0; r < p.rows; ++r) {
    double pp = 0, yy = 0, py = 0;
    for (index_t c = 0; c < p.cols; ++c) {
      const double a = static_cast<double>(p(r, c)), b = static_cast<double>(y(r, c));
      pp += a * a, yy += b * b, py += a * b;
    }
    out += 1 - (pp > 0 && yy > 0 ? py / math::sqrt(pp * yy) : 0.0);
  }
  return out / static_cast<double>(p.rows);
}

// The step (W, b) of a Gauss–Newton iteration on Σ½‖p̂ − ŷ‖²: least squares of ‖p‖·ŷ − p by (x, 1), rows weighted by
// 1/‖p‖², with a penalty on the step.
template <class B>
result<matrix<double>> try_cosine_step(B& exec, matrix_view<const float> x, matrix_view<const float> p,
                                       matrix_view<const float> y, double lambda) {
  const index_t d = x.cols;
  matrix<double> from(x.rows, d + 1), to(x.rows, d);
  for (index_t r = 0; r < x.rows; ++r) {
    const double np = row_norm(p, r), ny = row_norm(y, r);
    if (!(np > 0) || !(ny > 0)) continue;
    for (index_t c = 0; c < d; ++c) {
      from(r, c) = static_cast<double>(x(r, c)) / np;
      to(r, c) = static_cast<double>(y(r, c)) / ny - static_cast<double>(p(r, c)) / np;
    }
    from(r, d) = 1 / np;
  }
  matrix<double> a(d + 1, d + 1), b(d, d + 1);
  const matrix_view<const double> f = from.view(), t = to.view();
  if (auto s = exec.try_gemm(1.0, f.transposed(), f, 0.0, a.view()); !s) return s.error();
  if (auto s = exec.try_gemm(1.0, t.transposed(), f, 0.0, b.view()); !s) return s.error();
  double trace = 0;
  for (index_t i = 0; i < d; ++i) trace += a(i, i);
  for (index_t i = 0; i <= d; ++i) a(i, i) += (i < d ? lambda : 1e-9) * trace / static_cast<double>(d);
  auto outcome = linalg::try_solve_positive_definite(exec, a.view(), b.view());
  if (!outcome) return outcome.error();
  if (!outcome->positive_definite())
    return error{errc::invalid_argument, "lambda of the cosine fit", text(lambda),
                 "a penalty that makes the moments positive definite"};
  return result<matrix<double>>(std::move(b));
}

template <class = void>
affine_map moved(const affine_map& from, const matrix<double>& step, double length) {
  affine_map out = from;
  for (index_t r = 0; r < out.weights.rows; ++r) {
    for (index_t c = 0; c < out.weights.cols; ++c) out.weights(r, c) += static_cast<float>(length * step(r, c));
    out.bias[r] += static_cast<float>(length * step(r, step.cols - 1));
  }
  return out;
}

}  // namespace detail

// The affine map of least Σ(1 − cos(x + W·x + b, y)), from a start (the ridge fit) by Gauss–Newton steps. A step's length
// is halved, to an eighth, until it lowers the loss of the rows held out; the fit ends where no length does. Held-out
// rows are the last ones, so the map cannot chase the cosines of the rows that it is fitted on.
//   x, y (k, width) fp32: rows of h_i and h_j that do not stand apart. Cost a step: 2k·d² + d³/3 + 2d³ flop in double;
//   memory 2k·d doubles. Determinism: as that of the backend's products.
//   Errors: shape_mismatch, null_pointer, bad_stride, not_finite; invalid_argument (fewer than 8 rows, options out of
//   range).
template <class B>
  requires core_backend<B> && dense_backend<B, float>
result<cosine_fit> try_fit_cosine(B& exec, matrix_view<const float> x, matrix_view<const float> y,
                                  const affine_map& start, const cosine_options& options = {}) {
  if (auto s = check_view(x, x.rows, start.width(), "x"); !s) return s.error();
  if (auto s = check_view(y, x.rows, start.width(), "y"); !s) return s.error();
  if (auto s = check_finite(x, "x"); !s) return s.error();
  if (auto s = check_finite(y, "y"); !s) return s.error();
  if (x.rows < 8) return error{errc::invalid_argument, "rows of the cosine fit", text(x.rows), "8 or more"};
  if (!(options.held_out > 0) || !(options.held_out < 1) || !(options.lambda > 0) || options.steps < 0)
    return error{errc::invalid_argument, "options of the cosine fit",
                 text("held_out ", options.held_out, ", lambda ", options.lambda, ", steps ", options.steps),
                 "0 < held_out < 1, lambda above 0, steps of 0 or more"};
  const auto held = algo::max(index_t{1}, static_cast<index_t>(options.held_out * static_cast<double>(x.rows)));
  const index_t fitted = x.rows - held;
  const auto test_x = x.middle_rows(fitted, held), test_y = y.middle_rows(fitted, held);
  matrix<float> image(held, x.cols), of_fit(fitted, x.cols);
  const auto loss_of = [&](const affine_map& map) -> result<double> {
    if (auto s = map.try_apply(exec, test_x, image.view()); !s) return s.error();
    return detail::mean_cosine_loss(matrix_view<const float>(image.view()), test_y);
  };
  cosine_fit out;
  static_cast<affine_map&>(out.map) = start;
  auto loss = loss_of(start);
  if (!loss) return loss.error();
  out.start_loss = out.loss = *loss;
  for (bool going = true; going && out.steps < options.steps;) {
    going = false;
    if (auto s = out.map.try_apply(exec, x.middle_rows(0, fitted), of_fit.view()); !s) return s.error();
    auto step = detail::try_cosine_step(exec, x.middle_rows(0, fitted), matrix_view<const float>(of_fit.view()),
                                        y.middle_rows(0, fitted), options.lambda);
    if (!step) return step.error();
    for (double length = 1; length >= 0.125; length /= 2) {
      affine_map next = detail::moved(out.map, *step, length);
      auto there = loss_of(next);
      if (!there) return there.error();
      if (!(*there < out.loss)) continue;
      going = *there < out.loss * (1 - options.least_gain);
      static_cast<affine_map&>(out.map) = std::move(next);
      out.loss = *there;
      ++out.steps;
      break;
    }
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::student
