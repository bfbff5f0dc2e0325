// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>

#include <resect/core/adapt.hpp>
#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/exact_sum.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/storage_float.hpp>
#include <resect/random/philox.hpp>
#include <resect/random/test_matrix.hpp>

// A small seeded sketch of a matrix: K numbers that tell how far two matrices of one shape are apart, without having
// both. An artifact carries the sketch of the weights it was made from; before it is used, the sketch of what it would
// replace is compared with it.
//
//   s_b = Σ_{(r,c): h(r,c) = b} σ(r,c)·W(r,c),   b = 0 … K−1,
//
// with a random bucket h and a random sign σ at each position (Count-Sketch). For X = A − B, ‖s_A − s_B‖² has the mean
// ‖X‖_F² and the variance (2/K)·(‖X‖_F⁴ − Σ X(r,c)⁴), so its square root estimates the distance with a standard error
// of at most 1/√(2K), relative. A difference in one element is found exactly.
//
// The sums are exact (core/exact_sum.hpp): every split into blocks, every order and every number of workers gives the
// same bits.
// Source: Charikar, Chen & Farach-Colton, "Finding frequent items in data streams" (2002); Weinberger et al.,
// "Feature hashing for large scale multitask learning" (2009), lemma 2 (mean and variance); Woodruff, "Sketching as a
// tool for numerical linear algebra" (2014), 2.1.
namespace RESECT_NAMESPACE::random {

// Options of a sketch; two sketches with different ones cannot be compared.
struct sketch_options {
  std::uint64_t seed = 0;
  index_t buckets = 64;  // K: a power of two from 8 to 4096; the distance is known to 1/√(2K), 9 % at 64
};

// What is kept. Two sketches can be compared if revision, seed, shape and number of buckets are the same.
struct matrix_sketch {
  std::uint32_t revision = 1;  // of the bucket and sign functions below
  std::uint64_t seed = 0;
  index_t rows = 0, cols = 0;
  double squared_norm = 0;  // ‖W‖_F², exact up to one rounding
  array<double> buckets;    // s_b, exact up to one rounding

  friend bool operator==(const matrix_sketch&, const matrix_sketch&) = default;
};

// Bucket and sign of position (r, c): 16 bits of Philox block (r, c div 8), the low half of word (c mod 8) div 2 for
// even c, the high half for odd c; the top bit is the sign, the lowest log₂ K bits are the bucket.
struct sketch_position {
  std::uint32_t bucket;
  bool negative;
};
// The stream that buckets and signs are read from.
RESECT_HD constexpr philox_stream sketch_stream(std::uint64_t seed) noexcept {
  return philox_stream{seed, 0x736b65746368u};  // "sketch": apart from what else is drawn with this seed
}
// Bucket and sign of column c, from the Philox block (r, c div 8) of the stream.
RESECT_HD constexpr sketch_position sketch_position_of(const philox_words& block, std::uint64_t c,
                                                       std::uint32_t buckets) noexcept {
  const std::uint32_t bits = block.word[c % 8 / 2] >> (16 * (c % 2));
  return {bits & (buckets - 1), (bits & 0x8000u) != 0};
}

namespace detail {
inline constexpr index_t sketch_room = index_t{1} << 31;  // what exact_sum can take between two calls of normalize
}  // namespace detail

// The sketch of a matrix that comes in blocks, in any order: add each element once, merge what others added, finish.
// One a worker; 288 bytes a bucket. Elements are float or a small_float, finite.
// Elements that came twice are noticed when it is finished, not when they come: only sums are kept, one of them over
// the positions, Σ u(r)·v(c) mod 2⁶⁴ with u and v from Philox. If as many others never came, it differs from that of
// the whole matrix but for a chance below 2⁻⁵⁸ over the seed.
class sketcher {
 public:
  // Errors: invalid_argument (buckets), shape_mismatch (extents below 0 or above 2³¹).
  static result<sketcher> try_make(index_t rows, index_t cols, sketch_options options = {}) {
    const index_t k = options.buckets;
    if (k < 8 || k > 4096 || !std::has_single_bit(static_cast<std::uint64_t>(k)))
      return error{errc::invalid_argument, "buckets", text(k), "a power of two from 8 to 4096"};
    if (rows < 0 || cols < 0 || rows > detail::sketch_room || cols > detail::sketch_room)
      return error{errc::shape_mismatch, "matrix", text(rows, " x ", cols), "extents from 0 to 2^31"};
    return sketcher(rows, cols, options);
  }

  // Adds a block (m, n) whose element (0, 0) is element `origin` of the matrix. Cost: a Philox block for 8 elements,
  // and three integer additions each; never allocates.
  //   Errors, with nothing added: shape_mismatch (not inside the matrix), conflict (more elements than the matrix has:
  //   some came twice), not_finite, and those of try_as_matrix.
  template <matrix_like W>
    requires(widens_to_float<matrix_element<W>>)
  status try_add(const W& w, block_origin origin = {}) noexcept {
    const auto view = try_as_matrix(w, "block");
    if (!view) return view.error();
    const auto block = *view;
    if (origin.row < 0 || origin.col < 0 || origin.row > rows_ - block.rows || origin.col > cols_ - block.cols)
      return error{errc::shape_mismatch, "block",
                   text(block.rows, " x ", block.cols, " at ", origin.row, ", ", origin.col),
                   text("a part of ", rows_, " x ", cols_)};
    if (block.rows * block.cols > rows_ * cols_ - count_) return too_many(count_ + block.rows * block.cols);
    if (const auto at = first_not_finite(block))
      return error{errc::not_finite, text("W(", origin.row + at.row, ", ", origin.col + at.col, ")"), "NaN or infinity",
                   "finite elements"};
    for (index_t r = 0; r < block.rows; ++r) add_row(block.row(r), origin.row + r, origin.col);
    count_ += block.rows * block.cols;
    positions_ += positions_of(origin, block.rows, block.cols);
    return {};
  }

  // Adds what another one saw of the same matrix.
  //   Errors, with nothing added: shape_mismatch, conflict (seed or buckets differ; more elements in all than the
  //   matrix has: both saw some).
  status try_merge(const sketcher& other) noexcept {
    if (other.rows_ != rows_ || other.cols_ != cols_)
      return error{errc::shape_mismatch, "sketch", text(other.rows_, " x ", other.cols_), text(rows_, " x ", cols_)};
    if (other.seed_ != seed_ || other.sums_.size() != sums_.size())
      return error{errc::conflict, "sketch", text("seed ", other.seed_, ", ", other.sums_.size(), " buckets"),
                   text("seed ", seed_, ", ", sums_.size(), " buckets")};
    if (other.count_ > rows_ * cols_ - count_) return too_many(count_ + other.count_);
    make_room(other.used_);
    for (index_t b = 0; b < sums_.size(); ++b) sums_[b].merge(other.sums_[b]);
    squares_.merge(other.squares_);
    count_ += other.count_;
    positions_ += other.positions_;
    return {};
  }

  // Errors: conflict (elements are missing, or came twice in place of others).
  result<matrix_sketch> try_finish() const {
    if (count_ != rows_ * cols_)
      return error{errc::conflict, "sketch", text(count_, " elements"),
                   text("all ", rows_ * cols_, " of ", rows_, " x ", cols_)};
    if (positions_ != positions_of({}, rows_, cols_))
      return error{errc::conflict, "sketch", "elements that came twice in place of others",
                   text("all ", rows_ * cols_, " of ", rows_, " x ", cols_, ", each once")};
    matrix_sketch out;
    out.seed = seed_;
    out.rows = rows_;
    out.cols = cols_;
    out.squared_norm = squares_.value();
    out.buckets.reserve(sums_.size());
    for (const exact_sum& s : sums_) out.buckets.push_back(s.value());
    return out;
  }

 private:
  sketcher(index_t rows, index_t cols, const sketch_options& options)
      : seed_(options.seed), rows_(rows), cols_(cols), sums_(options.buckets) {}

  error too_many(index_t n) const noexcept {
    return {errc::conflict, "sketch", text(n, " elements"),
            text(rows_ * cols_, " of ", rows_, " x ", cols_, ", each once")};
  }

  // Σ u(r)·v(c) mod 2⁶⁴ over a block. u(r) = f(r + 1) − f(r) and v(c) = g(c + 1) − g(c), so four numbers tell it. As
  // many elements as there are positions, not all once: one is missing, so a coefficient of u·v is −1, and the sum is
  // off by Σ_r a_r·u(r) with an a_r that is uniform. The probability that this error is 0 is at most 33/2⁶⁴.
  std::uint64_t positions_of(block_origin at, index_t rows, index_t cols) const noexcept {
    const philox_stream corners{seed_, 0x636f726e657273u};  // "corners"
    const auto f = [&](index_t r) { return corners.block(0, static_cast<std::uint64_t>(r)).pair(0); };
    const auto g = [&](index_t c) { return corners.block(0, static_cast<std::uint64_t>(c)).pair(1); };
    return (f(at.row + rows) - f(at.row)) * (g(at.col + cols) - g(at.col));
  }

  void make_room(index_t additions) noexcept {
    if (used_ + additions > detail::sketch_room) {
      for (exact_sum& s : sums_) s.normalize();
      squares_.normalize();
      used_ = 1;  // words below 256 weigh less than one addition
    }
    used_ += additions;
  }

  template <class T>
  void add_row(vector_view<T> row, index_t r, index_t first) noexcept {
    make_room(row.size);
    const philox_stream stream = sketch_stream(seed_);
    const auto buckets = static_cast<std::uint32_t>(sums_.size());
    philox_words block;
    for (index_t j = 0; j < row.size; ++j) {
      const auto c = static_cast<std::uint64_t>(first + j);
      if (j == 0 || c % 8 == 0) block = stream.block(static_cast<std::uint64_t>(r), c / 8);
      const sketch_position at = sketch_position_of(block, c, buckets);
      const auto x = static_cast<float>(row[j]);
      sums_[at.bucket].add(at.negative ? -x : x);
      squares_.add(x);
    }
  }

  std::uint64_t seed_;
  index_t rows_, cols_;
  index_t count_ = 0;            // elements added
  std::uint64_t positions_ = 0;  // of the elements added
  index_t used_ = 0;             // additions since the sums were normalized
  array<exact_sum> sums_;
  exact_square_sum squares_;
};

// The sketch of a whole matrix W (m, n) of float, f16, bf16 or fp8, on the executor's workers. The same bits as a
// sketcher gives for any split. Errors: those of sketcher::try_make and try_add, and of try_as_matrix.
template <executor E, matrix_like W>
  requires(widens_to_float<matrix_element<W>>)
result<matrix_sketch> try_sketch(E& exec, const W& w, sketch_options options = {}) {
  const auto view = try_as_matrix(w, "W");
  if (!view) return view.error();
  auto first = sketcher::try_make(view->rows, view->cols, options);
  if (!first) return first.error();
  constexpr index_t most_parts = 16;
  const index_t rows_a_part = (view->rows + most_parts - 1) / most_parts + (view->rows == 0 ? 1 : 0);
  const index_t n = (view->rows + rows_a_part - 1) / rows_a_part;
  struct part {
    sketcher sum;
    status outcome;
  };
  array<part> parts(n, part{*first, {}});
  exec.bulk(n, [&](index_t p) {
    const index_t begin = p * rows_a_part;
    const index_t rows = algo::min(rows_a_part, view->rows - begin);
    part& mine = parts[p];
    mine.outcome = mine.sum.try_add(view->middle_rows(begin, rows), {.row = begin});
  });
  for (const part& p : parts) {
    if (!p.outcome) return p.outcome.error();
    if (auto s = first->try_merge(p.sum); !s) return s.error();
  }
  return first->try_finish();
}

// What two sketches say about how far their matrices are apart.
struct sketch_distance {
  bool identical = false;        // every number of the sketches is the same: the distance is 0 as far as they can tell
  double relative = 0;           // estimate of ‖A − B‖_F / ‖A‖_F; 0/0 = 0
  double se = 0;                 // its standard error, at most (fewer differing elements: less)
  double relative_at_least = 0;  // | ‖A‖ − ‖B‖ | / ‖A‖: no estimate, the distance is never below it
};

// How far the matrices of two sketches are apart, relative to the first: √(Σ (a_b − b_b)²)/‖A‖ with the standard
// error relative/√(2K) (delta method on the variance above; the square root's bias, −1/(4K) relative, is below it).
// Unrelated matrices of equal norm are √2 apart. Zeros of both signs count as equal.
//   Errors: conflict (revision, seed or buckets differ), shape_mismatch.
inline result<sketch_distance> try_compare(const matrix_sketch& a, const matrix_sketch& b) noexcept {
  if (a.rows != b.rows || a.cols != b.cols)
    return error{errc::shape_mismatch, "sketch", text(b.rows, " x ", b.cols), text(a.rows, " x ", a.cols)};
  if (a.revision != b.revision || a.seed != b.seed || a.buckets.size() != b.buckets.size() || a.buckets.empty())
    return error{errc::conflict, "sketch",
                 text("revision ", b.revision, ", seed ", b.seed, ", ", b.buckets.size(), " buckets"),
                 text("revision ", a.revision, ", seed ", a.seed, ", ", a.buckets.size(), " buckets")};
  double squared = 0;
  for (index_t i = 0; i < a.buckets.size(); ++i) {
    const double d = a.buckets[i] - b.buckets[i];
    squared = fma_rn(d, d, squared);
  }
  const double norm = sqrt_rn(a.squared_norm), other = sqrt_rn(b.squared_norm);
  const auto relative = [&](double x) { return x == 0 ? 0.0 : div_rn(x, norm); };
  sketch_distance out;
  out.identical = a == b;
  out.relative = relative(sqrt_rn(squared));
  out.se = out.relative * sqrt_rn(0.5 / static_cast<double>(a.buckets.size()));
  out.relative_at_least = relative(norm > other ? norm - other : other - norm);
  return out;
}

#if RESECT_EXCEPTIONS
template <executor E, matrix_like W>
  requires(widens_to_float<matrix_element<W>>)
matrix_sketch sketch(E& exec, const W& w, sketch_options options = {}) {
  return value_or_throw(try_sketch(exec, w, options));
}
inline sketch_distance compare(const matrix_sketch& a, const matrix_sketch& b) {
  return value_or_throw(try_compare(a, b));
}
#endif

}  // namespace RESECT_NAMESPACE::random
