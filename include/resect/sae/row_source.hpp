// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <utility>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/operand.hpp>
#include <resect/random/distributions.hpp>
#include <resect/student/span_moments.hpp>

// Where rows to train on come from: of one site or of several at once, a pass at a time.
namespace RESECT_NAMESPACE::sae {

// Rows that a source has seen, and why it left some out. A row that is left out at one site is left out at all of them.
struct row_counts {
  std::int64_t kept = 0;
  std::int64_t first = 0;    // at the first position of a sequence, a BOS, or a pad
  std::int64_t massive = 0;  // norm above ten medians, at one of the sites

  std::int64_t seen() const noexcept { return kept + first + massive; }
};

// S (a value) gives rows of sites() places of a model, pass after pass without an end; the same row of every site is the
// same token. A pass is a function of the cursor alone, so a run goes on from a number.
//   sites(), width(site)   how many places, and the elements of their rows
//   rows_a_pass()          most rows of a pass
//   cursor_of_epoch()      cursors of one round through all rows: cursor / cursor_of_epoch() is the number of the round
//   identity()             a hash of all that decides which rows come
//   try_pass(cursor)       makes the next pass. → the cursor after it
//   rows(site)             (n, width) of the last pass, the same n at every site
//   mean(site)             the row about which variance is taken: of a sample that is fixed when the source is made
//   counts()               of all passes so far
template <class S>
concept row_source = requires(S& s, const S& c, index_t site, std::uint64_t cursor) {
  { c.sites() } -> std::same_as<index_t>;
  { c.width(site) } -> std::same_as<index_t>;
  { c.rows_a_pass() } -> std::same_as<index_t>;
  { c.cursor_of_epoch() } -> std::same_as<std::uint64_t>;
  { c.identity() } -> std::same_as<std::uint64_t>;
  { s.try_pass(cursor) } -> std::same_as<result<std::uint64_t>>;
  { c.rows(site) } -> std::convertible_to<matrix_view<const float>>;
  { c.mean(site) } -> std::convertible_to<std::span<const float>>;
  { c.counts() } -> std::convertible_to<const row_counts&>;
};

namespace detail {

// The order in which an epoch visits its n units: drawn anew for each, from the seed and its number. Seed 0: as they stand.
class epoch_order {
 public:
  epoch_order() = default;
  epoch_order(index_t units, std::uint64_t seed) : seed_(seed), order_(units) { set(0); }

  index_t units() const noexcept { return order_.size(); }
  // The unit of a cursor; O(units) where its epoch is another one than that of the last call.
  index_t at(std::uint64_t cursor) {
    const auto n = static_cast<std::uint64_t>(units());
    if (cursor / n != epoch_) set(cursor / n);
    return order_[static_cast<index_t>(cursor % n)];
  }

 private:
  void set(std::uint64_t epoch) {
    epoch_ = epoch;
    for (index_t i = 0; i < units(); ++i) order_[i] = i;
    if (seed_ == 0) return;
    const random::philox_stream draws{seed_, 0x65706f6368u + (epoch << 40)};
    for (index_t i = units() - 1; i > 0; --i)
      std::swap(order_[i], order_[static_cast<index_t>(random::integer_below(draws, static_cast<std::uint64_t>(i),
                                                                             static_cast<std::uint64_t>(i) + 1))]);
  }

  std::uint64_t seed_ = 0, epoch_ = 0;
  array<index_t> order_;
};

// Row r of every site goes to row `to`.
template <class = void>
void move_row(array<matrix<float>>& sites, index_t from, index_t to) noexcept {
  if (from == to) return;
  for (auto& m : sites)
    for (index_t c = 0; c < m.cols; ++c) m(to, c) = m(from, c);
}

// The mean of `rows` rows whose sum this is.
template <class = void>
array<float> mean_of(const array<double>& sum, std::int64_t rows) {
  array<float> out(sum.size());
  for (index_t c = 0; c < sum.size(); ++c) out[c] = static_cast<float>(sum[c] / static_cast<double>(rows));
  return out;
}

}  // namespace detail

// Rows that are there already: (N, d) of each site, as a .npy file has them (io::try_npy_values). Rows of norm above ten
// medians of their site are left out. Blocks of 256 rows come in an order of their own in each epoch (seed 0: as they stand).
//   Keeps views: the rows stay where they are. Cost of try_make: N·d at each site.
//   Errors of try_make: shape_mismatch (no site, no row, sites of other numbers of rows), null_pointer, bad_stride,
//   not_finite (site, row and column).
class array_rows {
 public:
  static constexpr index_t block = 256;

  template <operand_of<float> X>
  static result<array_rows> try_make(const X& rows, std::uint64_t seed = 1) {
    return on_view(rows, "rows", [&](matrix_view<const float> x) { return try_make(x, seed); });
  }
  static result<array_rows> try_make(matrix_view<const float> rows, std::uint64_t seed = 1) {
    return try_make(std::span<const matrix_view<const float>>(&rows, 1), seed);
  }
  static result<array_rows> try_make(std::span<const matrix_view<const float>> sites, std::uint64_t seed = 1) {
    if (sites.empty()) return error{errc::shape_mismatch, "sites of rows", "none", "1 or more"};
    array_rows out;
    fingerprint f;
    f.add("resect.sae.array_rows/1").add(seed);
    for (const auto& x : sites) {
      const auto named = text("rows of site ", out.from_.size());
      if (auto s = check_view(x, sites.front().rows, x.cols, named.view()); !s) return s.error();
      if (x.rows < 1 || x.cols < 1)
        return error{errc::shape_mismatch, named.view(), text(x.rows, " x ", x.cols), "at least 1 x 1"};
      if (auto s = check_finite(x, named.view()); !s) return s.error();
      out.add(x, f);
    }
    out.order_ = detail::epoch_order((sites.front().rows + block - 1) / block, seed);
    out.identity_ = f.value();
    return out;
  }

  index_t sites() const noexcept { return from_.size(); }
  index_t width(index_t site) const noexcept { return from_[site].cols; }
  index_t rows_a_pass() const noexcept { return block; }
  std::uint64_t cursor_of_epoch() const noexcept { return static_cast<std::uint64_t>(order_.units()); }
  std::uint64_t identity() const noexcept { return identity_; }
  std::span<const float> mean(index_t site) const noexcept { return means_[site].span(); }
  const row_counts& counts() const noexcept { return counts_; }
  matrix_view<const float> rows(index_t site) const noexcept { return pass_[site].view().middle_rows(0, kept_); }

  result<std::uint64_t> try_pass(std::uint64_t cursor) {
    const index_t first = order_.at(cursor) * block, n = algo::min(block, from_[0].rows - first);
    kept_ = 0;
    for (index_t r = first; r < first + n; ++r) {
      if (massive(r)) {
        ++counts_.massive;
        continue;
      }
      for (index_t s = 0; s < sites(); ++s)
        for (index_t c = 0; c < width(s); ++c) pass_[s](kept_, c) = from_[s](r, c);
      ++kept_;
    }
    counts_.kept += kept_;
    return cursor + 1;
  }

 private:
  void add(matrix_view<const float> x, fingerprint& f) {
    array<double> norms(x.rows);
    for (index_t r = 0; r < x.rows; ++r) norms[r] = student::row_norm(x, r);
    array<double> sorted = norms;
    algo::sort(sorted.begin(), sorted.end());
    limits_.push_back(student::apart_medians * sorted[sorted.size() / 2]);
    from_.push_back(x);
    pass_.push_back(matrix<float>(algo::min(block, x.rows), x.cols));
    f.add(static_cast<std::uint64_t>(x.rows)).add(static_cast<std::uint64_t>(x.cols));
    array<float> row(x.cols);
    array<double> sum(x.cols);
    std::int64_t n = 0;
    for (index_t r = 0; r < x.rows; ++r) {
      const bool ordinary = norms[r] <= limits_[limits_.size() - 1];
      for (index_t c = 0; c < x.cols; ++c) {
        row[c] = x(r, c);
        if (ordinary) sum[c] += static_cast<double>(row[c]);
      }
      n += ordinary ? 1 : 0;
      f.add(std::as_const(row).span());
    }
    means_.push_back(detail::mean_of(sum, n));
  }
  bool massive(index_t r) const noexcept {
    for (index_t s = 0; s < sites(); ++s)
      if (student::row_norm(from_[s], r) > limits_[s]) return true;
    return false;
  }

  array<matrix_view<const float>> from_;
  array<matrix<float>> pass_;
  array<array<float>> means_;
  array<double> limits_;
  detail::epoch_order order_;
  index_t kept_ = 0;
  std::uint64_t identity_ = 0;
  row_counts counts_;
};

}  // namespace RESECT_NAMESPACE::sae
