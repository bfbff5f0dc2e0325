// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <limits>
#include <resect/core/algorithm.hpp>
#include <span>
#include <string_view>

#include <resect/core/backend.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/storage_float.hpp>
#include <resect/model/weight.hpp>

// What a matrix reads, as rounding needs it: H = (1/N)·Σ x·xᵀ over the rows x of activations that come in.
namespace RESECT_NAMESPACE::quant {

// A text whose rows were added.
struct hessian_text {
  short_text<120> name;
  std::uint64_t hash = 0;  // of its ids or bytes; what tells texts apart
  friend bool operator==(const hessian_text& a, const hessian_text& b) noexcept {
    return a.hash == b.hash && a.name.view() == b.name.view();
  }
};

// The matrix that reads these rows.
struct hessian_owner {
  std::uint64_t model = 0;  // fingerprint of the model; 0: not said
  int layer = -1;
  short_text<48> matrix;

  // Whether this is the wanted one. What is not said agrees with all: an owner without a name, a model of 0.
  // Error: conflict names both.
  status check(const hessian_owner& wanted) const noexcept {
    if (*this == hessian_owner{} || wanted == hessian_owner{}) return {};
    const bool same_model = model == wanted.model || model == 0 || wanted.model == 0;
    if (same_model && layer == wanted.layer && matrix.view() == wanted.matrix.view()) return {};
    const auto say = [&](const hessian_owner& o) {
      return same_model ? text("layer ", o.layer, ", ", o.matrix.view())
                        : text("layer ", o.layer, ", ", o.matrix.view(), " of model ", hexadecimal(o.model).view());
    };
    return error{errc::conflict, "H", say(*this), say(wanted)};
  }
  friend bool operator==(const hessian_owner& a, const hessian_owner& b) noexcept {
    return a.model == b.model && a.layer == b.layer && a.matrix.view() == b.matrix.view();
  }
};

// Σ x·xᵀ, packed, and Σ x apart, in double: a value that grows by rows and merges.
//   Memory n(n + 1)/2 + n doubles, and as working memory 512·n + 256·n doubles while rows are added.
//   Merging any partition of the rows equals one pass to 1e-12·√(h_ii·h_jj).
class hessian {
 public:
  hessian() = default;
  // Of a matrix with n columns. Before the first row it is zero.
  explicit hessian(index_t n) : n_(n), products_(n * (n + 1) / 2), sums_(n) {}

  // What was stored of one: sums of `rows` rows. Errors: shape_mismatch, invalid_argument (rows < 0, or a negative
  // diagonal), not_finite.
  static result<hessian> try_restore(index_t n, index_t rows, std::span<const double> products,
                                     std::span<const double> sums) {
    if (n < 0 || static_cast<index_t>(products.size()) != n * (n + 1) / 2)
      return error{errc::shape_mismatch, "products", text(products.size()), text("n(n + 1)/2 with n = ", n)};
    if (static_cast<index_t>(sums.size()) != n) return error{errc::shape_mismatch, "sums", text(sums.size()), text(n)};
    if (rows < 0) return error{errc::invalid_argument, "rows of H", text(rows), "at least 0"};
    hessian h;
    h.n_ = n;
    h.rows_ = rows;
    h.products_.assign(products);
    h.sums_.assign(sums);
    if (auto s = h.check(); !s) return s.error();
    return h;
  }

  index_t size() const noexcept { return n_; }
  // N, the rows that were added.
  index_t rows() const noexcept { return rows_; }
  // Σ x_i·x_j for j ≤ i, at i(i + 1)/2 + j.
  std::span<const double> products() const noexcept { return products_.span(); }
  // Σ x_i.
  std::span<const double> sums() const noexcept { return sums_.span(); }

  // h_ij = Σ x_i·x_j / N; zeros before the first row.
  double operator()(index_t i, index_t j) const noexcept {
    return products_[algo::max(i, j) * (algo::max(i, j) + 1) / 2 + algo::min(i, j)] * scale();
  }
  // Σ x_i / N.
  double mean(index_t i) const noexcept { return sums_[i] * scale(); }
  // h_ij − mean_i·mean_j: what is left of the loss where a bias takes up the mean.
  double covariance(index_t i, index_t j) const noexcept { return (*this)(i, j) - mean(i) * mean(j); }

  std::span<const hessian_text> texts() const noexcept { return texts_.span(); }
  // Says that the rows that are added come from this text, too.
  void add_text(std::string_view name, std::uint64_t hash) {
    const hessian_text t{name, hash};
    for (const hessian_text& known : texts_)
      if (known == t) return;
    texts_.push_back(t);
  }
  const hessian_owner& owner() const noexcept { return owner_; }
  void set_owner(std::uint64_t model, const model::weight_desc& w) { owner_ = {model, w.layer, w.name.view()}; }

  // Adds the rows of X (k, n): float, double, f16 or bf16, any strides.
  //   Sums in double in slices of 512 rows by the backend's products: error ≤ (k + 2)·2⁻⁵³·√(h_ii·h_jj). Cost k·n² flop.
  //   Working memory grows to the largest call's, of at most 512 rows; later calls take none. Same bits for any number of
  //   workers, if the backend's products have that. Errors: shape_mismatch, null_pointer, bad_stride, not_finite: nothing is
  //   added then; those of the backend's products, after which a part of the rows may be in the sums, and this is to be
  //   thrown away.
  template <dense_backend<double> B, class T>
    requires std::same_as<typename B::space, host_space>
  status try_add(B& exec, matrix_view<T> x) {
    using element = std::remove_const_t<T>;
    const matrix_view<const element> rows = x;
    if (auto s = check_view(rows, rows.rows, n_, "X"); !s) return s;
    if (auto s = check_rows<element>(exec, rows); !s) return s;
    if (n_ == 0) return {};
    for (index_t first = 0; first < rows.rows; first += slice)
      if (auto s = add_slice<element>(exec, rows.middle_rows(first, algo::min(slice, rows.rows - first))); !s) return s;
    rows_ += rows.rows;
    return {};
  }
  template <dense_backend<double> B, operand X>
    requires std::same_as<typename B::space, host_space>
  status try_add(B& exec, const X& x) {
    return on_view(x, "X", [&](auto view) { return try_add(exec, view); });
  }

  // Adds the rows of another one. Errors: shape_mismatch; conflict (of another matrix): nothing is added then.
  status try_merge(const hessian& other) {
    if (other.n_ != n_) return error{errc::shape_mismatch, "H to merge", text(other.n_, " columns"), text(n_)};
    if (auto s = other.check_owner(owner_); !s) return s;
    for (index_t i = 0; i < products_.size(); ++i) products_[i] += other.products_[i];
    for (index_t i = 0; i < n_; ++i) sums_[i] += other.sums_[i];
    rows_ += other.rows_;
    if (owner_ == hessian_owner{}) owner_ = other.owner_;
    for (const hessian_text& t : other.texts_) add_text(t.name.view(), t.hash);
    return {};
  }

  // Whether this belongs to a matrix: hessian_owner::check.
  status check_owner(const hessian_owner& wanted) const noexcept { return owner_.check(wanted); }

  // Of all that it holds: what an artifact records.
  std::uint64_t hash() const noexcept {
    fingerprint f;
    f.add(static_cast<std::uint64_t>(n_)).add(static_cast<std::uint64_t>(rows_));
    for (const double x : products_) f.add(x);
    for (const double x : sums_) f.add(x);
    for (const hessian_text& t : texts_) f.add(t.name.view()).add(t.hash);
    return f.add(owner_.model).add(static_cast<std::uint64_t>(owner_.layer)).add(owner_.matrix.view()).value();
  }

  friend bool operator==(const hessian& a, const hessian& b) {
    return a.n_ == b.n_ && a.rows_ == b.rows_ && a.products_ == b.products_ && a.sums_ == b.sums_ &&
           a.texts_ == b.texts_ && a.owner_ == b.owner_;
  }

 private:
  static constexpr index_t slice = 512, strip = 256, rows_a_task = 16;

  double scale() const noexcept { return rows_ > 0 ? 1 / static_cast<double>(rows_) : 0.0; }

  status check() const noexcept {
    for (index_t i = 0, at = 0; i < n_; ++i)
      for (index_t j = 0; j <= i; ++j, ++at) {
        const double h = products_[at];
        if (!(h - h == 0))
          return error{errc::not_finite, text("H, row ", i, ", column ", j), text(h), "a finite number"};
        if (i == j && h < 0) return error{errc::invalid_argument, text("H, diagonal ", i), text(h), "at least 0"};
      }
    for (index_t i = 0; i < n_; ++i)
      if (!(sums_[i] - sums_[i] == 0))
        return error{errc::not_finite, text("mean of column ", i), text(sums_[i]), "a finite number"};
    return {};
  }

  template <class T, executor E>
  static status check_rows(E& exec, matrix_view<const T> x) {
    constexpr index_t none = std::numeric_limits<index_t>::max();
    const index_t at = parallel_reduce(
        exec, x.rows, 16, none,
        [&](index_t first, index_t last) {
          for (index_t r = first; r < last; ++r)
            for (index_t c = 0; c < x.cols; ++c) {
              const double value = widened(x(r, c));
              if (!(value - value == 0)) return r * x.cols + c;
            }
          return none;
        },
        [](index_t a, index_t b) { return a < b ? a : b; });
    if (at == none) return {};
    return error{errc::not_finite, text("X, row ", at / x.cols, ", column ", at % x.cols),
                 text(widened(x(at / x.cols, at % x.cols))), "a finite number"};
  }
  template <class T>
  static double widened(T x) noexcept {
    if constexpr (std::floating_point<T>) return static_cast<double>(x);
    else return static_cast<double>(static_cast<float>(x));
  }

  template <class T, class B>
  status add_slice(B& exec, matrix_view<const T> x) {
    wide_.resize(algo::max(wide_.size(), algo::min(slice, x.rows) * n_));
    product_.resize(algo::max(product_.size(), algo::min(strip, n_) * n_));
    const matrix_view<double> wide{wide_.data(), x.rows, n_};
    exec.bulk((x.rows + rows_a_task - 1) / rows_a_task, [&](index_t task) {
      for (index_t r = task * rows_a_task; r < algo::min(x.rows, (task + 1) * rows_a_task); ++r)
        for (index_t c = 0; c < n_; ++c) wide(r, c) = widened(x(r, c));
    });
    const matrix_view<const double> from = wide;
    for (index_t first = 0; first < n_; first += strip) {
      const index_t w = algo::min(strip, n_ - first);
      const matrix_view<double> product{product_.data(), w, first + w};
      if (auto s = exec.try_gemm(1.0, from.block(0, first, x.rows, w).transposed(), from.block(0, 0, x.rows, first + w),
                                 0.0, product);
          !s)
        return s;
      exec.bulk((w + rows_a_task - 1) / rows_a_task, [&](index_t task) {
        for (index_t i = task * rows_a_task; i < algo::min(w, (task + 1) * rows_a_task); ++i) {
          double* const to = products_.data() + (first + i) * (first + i + 1) / 2;
          for (index_t j = 0; j <= first + i; ++j) to[j] += product(i, j);
          double sum = 0;
          for (index_t r = 0; r < x.rows; ++r) sum += from(r, first + i);
          sums_[first + i] += sum;
        }
      });
    }
    return {};
  }

  index_t n_ = 0, rows_ = 0;
  array<double> products_, sums_;
  array<hessian_text> texts_;
  hessian_owner owner_;
  array<double> wide_, product_;  // working memory
};

}  // namespace RESECT_NAMESPACE::quant
