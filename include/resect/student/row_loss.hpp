// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>

#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/matrix.hpp>
#include <resect/student/span_map.hpp>

// What a student is asked for, row by row.
namespace RESECT_NAMESPACE::student {

// What a loss compares. x is a row before the span, y the same row after it, ŷ the student's.
enum class loss_target : std::uint8_t {
  delta,   // p = ŷ − x with t = y − x: what the span adds
  output,  // p = ŷ with t = y: mostly x, which the student copies
};
// What a squared error is divided by.
enum class error_unit : std::uint8_t {
  row,   // ‖t‖² + φ of the row itself: every row counts the same
  mean,  // the mean of ‖t‖² over the rows that training began with: what FVU minimizes
};

// The loss of a row, φ = floor·(mean of ‖t‖² over the rows that training began with):
//   w·(error·‖p − t‖²/D + cosine·(1 − ⟨p, t⟩/√((‖p‖² + φ)·(‖t‖² + φ))) + log_norm·(½·ln((‖p‖² + φ)/(‖t‖² + φ)))²)
// The loss of a batch is the mean over its rows but pads and rows apart (apart_rule).
// A loss of the direction alone forgets the norm, and a loss of squares alone is that of the few largest rows: `cap` bounds
// what a row counts, w = min(1, (cap·root mean ‖t‖²/‖t‖)²).
struct loss_options {
  loss_target target = loss_target::delta;
  error_unit unit = error_unit::row;
  double error = 1, cosine = 0, log_norm = 0;
  double floor = 1e-3;
  double cap = 0;  // in root mean squares of ‖t‖; 0: none

  status check() const {
    const auto refused = [](std::string_view what, double got, std::string_view wanted) {
      return error_of(what, got, wanted);
    };
    if (!(error >= 0)) return refused("error", error, "at least 0");
    if (!(cosine >= 0)) return refused("cosine", cosine, "at least 0");
    if (!(log_norm >= 0)) return refused("log_norm", log_norm, "at least 0");
    if (!(error + cosine + log_norm > 0)) return refused("error, cosine and log_norm", 0, "one of them above 0");
    if (!(floor > 0)) return refused("floor", floor, "above 0");
    if (!(cap >= 0)) return refused("cap", cap, "at least 0");
    return {};
  }
  friend bool operator==(const loss_options&, const loss_options&) = default;

 private:
  static status error_of(std::string_view what, double got, std::string_view wanted) {
    return resect::error{errc::invalid_argument, text(what, " of a student's loss"), text(got), wanted};
  }
};

// The loss of a batch.
struct batch_loss {
  double loss = 0;     // a row
  double squares = 0;  // Σ‖p − t‖² over the rows that count
  index_t rows = 0;    // that count
};

namespace detail {

template <class T>
struct loss_rows {
  model::batch_view rows;
  matrix_view<const float> x, y;
  matrix_view<const T> predicted;

  double target(loss_target t, index_t r, index_t c) const noexcept {
    const double from = t == loss_target::delta ? static_cast<double>(x(r, c)) : 0.0;
    return static_cast<double>(y(r, c)) - from;
  }
  double guess(loss_target t, index_t r, index_t c) const noexcept {
    const double from = t == loss_target::delta ? static_cast<double>(x(r, c)) : 0.0;
    return static_cast<double>(predicted(r, c)) - from;
  }
  bool counts(const apart_rule& rule, index_t r) const noexcept {
    const model::row_meta& row = rows[static_cast<std::size_t>(r)];
    return (row.flags & model::row_meta::pad) == 0 && !rule.is_apart(row, row_norm(x, r), row_norm(y, r));
  }
};

struct row_sums {
  double pp = 0, tt = 0, pt = 0, ee = 0;
};

// The loss of one row and, where `out` is not null, `share` times its gradient by ŷ.
template <class T>
double loss_of_row(const loss_options& o, double mean_square, const loss_rows<T>& in, index_t r, const row_sums& s,
                   double share, T* out) noexcept {
  const double phi = o.floor * mean_square, p = s.pp + phi, t = s.tt + phi, root = std::sqrt(p * t);
  const double unit = o.unit == error_unit::row ? t : mean_square;
  const double most = o.cap * o.cap * mean_square, w = o.cap > 0 && s.tt > most ? most / s.tt : 1.0;
  const double ratio = std::log(p / t);
  const double loss = w * (o.error * s.ee / unit + o.cosine * (1 - s.pt / root) + o.log_norm * 0.25 * ratio * ratio);
  if (out == nullptr) return loss;
  const double of_error = 2 * o.error / unit * w * share, of_target = -o.cosine / root * w * share,
               of_guess = (o.cosine * s.pt / (p * root) + o.log_norm * ratio / p) * w * share;
  for (index_t c = 0; c < in.x.cols; ++c) {
    const double guess = in.guess(o.target, r, c), target = in.target(o.target, r, c);
    out[c] = static_cast<T>(of_error * (guess - target) + of_target * target + of_guess * guess);
  }
  return loss;
}

}  // namespace detail

// The mean of ‖t‖² over the rows that count (see loss_options): the unit of a student's losses. 0 where no row counts.
template <class = void>
double mean_target_square(loss_target target, const apart_rule& rule, model::batch_view rows,
                          matrix_view<const float> x, matrix_view<const float> y) {
  const detail::loss_rows<float> in{rows, x, y, y};
  double squares = 0;
  index_t n = 0;
  for (index_t r = 0; r < x.rows; ++r) {
    if (!in.counts(rule, r)) continue;
    ++n;
    for (index_t c = 0; c < x.cols; ++c) squares += in.target(target, r, c) * in.target(target, r, c);
  }
  return n > 0 ? squares / static_cast<double>(n) : 0.0;
}

// The loss of a batch and, where `gradient` is not empty, ∂loss/∂ŷ; all (rows, width). Sums in double, in the order of rows.
//   mean_square   of mean_target_square over the rows that training began with
// Errors: none; extents are the caller's.
template <class T, executor E>
batch_loss loss_of_batch(E& exec, const loss_options& o, double mean_square, const apart_rule& rule,
                         const detail::loss_rows<T>& in, matrix_view<T> gradient) {
  const index_t n = in.x.rows;
  array<double> losses(n), squares(n);
  array<bool> counted(n);
  exec.bulk(n, [&](index_t r) { counted[r] = in.counts(rule, r); });
  batch_loss out;
  for (const bool c : counted) out.rows += c ? 1 : 0;
  const double share = out.rows > 0 ? 1 / static_cast<double>(out.rows) : 0;
  exec.bulk(n, [&](index_t r) {
    T* const to = gradient.data == nullptr ? nullptr : &gradient(r, 0);
    if (!counted[r]) {
      for (index_t c = 0; to != nullptr && c < gradient.cols; ++c) to[c] = 0;
      return;
    }
    detail::row_sums s;
    for (index_t c = 0; c < in.x.cols; ++c) {
      const double p = in.guess(o.target, r, c), t = in.target(o.target, r, c);
      s.pp += p * p;
      s.tt += t * t;
      s.pt += p * t;
      s.ee += (p - t) * (p - t);
    }
    squares[r] = s.ee;
    losses[r] = detail::loss_of_row(o, mean_square, in, r, s, share, to);
  });
  for (index_t r = 0; r < n; ++r) {
    if (!counted[r]) continue;
    out.loss += losses[r] * share;
    out.squares += squares[r];
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::student
