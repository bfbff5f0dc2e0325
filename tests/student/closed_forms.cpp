// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>

#include <student/planted_spans.hpp>
#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/student.hpp>

using namespace resect;
using student::span_moments;

namespace {

// Moments of a pair in four folds; no row stands apart but first positions.
std::vector<span_moments> folds_of(const planted::affine_pair& p) {
  cpu exec;
  const auto rows = planted::rows_of(p.x.rows);
  std::vector<span_moments> out;
  for (index_t k = 0; k < 4; ++k) {
    const index_t first = p.x.rows * k / 4, count = p.x.rows * (k + 1) / 4 - first;
    out.push_back(value_or_throw(span_moments::try_make(p.x.cols)));
    value_or_throw(out.back().try_add(
        exec, std::span(rows).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)),
        p.x.view().middle_rows(first, count), p.y.view().middle_rows(first, count)));
  }
  return out;
}
span_moments merged(const planted::affine_pair& p) {
  return value_or_throw(student::try_merged(std::span<const span_moments>(folds_of(p))));
}

template <class Map>
matrix<float> image(const Map& map, const matrix<float>& x) {
  cpu exec;
  matrix<float> y(x.rows, x.cols);
  value_or_throw(map.try_apply(exec, x.view(), y.view()));
  return y;
}

// Rows that the moments hold.
template <class F>
double over_rows(const planted::affine_pair& p, F f) {
  double out = 0;
  for (index_t r = 0; r < p.x.rows; ++r)
    if (r % 10 != 0) out += f(r);
  return out;
}
double squared(double x) { return x * x; }

double squared_error(const planted::affine_pair& p, const matrix<float>& y) {
  return over_rows(p, [&](index_t r) {
    double e = 0;
    for (index_t c = 0; c < y.cols; ++c) e += squared(static_cast<double>(p.y(r, c)) - static_cast<double>(y(r, c)));
    return e;
  });
}
double cosine_loss(const planted::affine_pair& p, const matrix<float>& y) {
  return over_rows(p, [&](index_t r) {
    return student::detail::mean_cosine_loss(matrix_view<const float>(y.view()).middle_rows(r, 1),
                                             matrix_view<const float>(p.y.view()).middle_rows(r, 1));
  });
}

}  // namespace

TEST_CASE("a planted affine map is recovered by the affine fit") {
  cpu exec;
  const planted::affine_pair p(400, 12, 0);
  const auto folds = folds_of(p);
  const auto fit = value_or_throw(student::try_fit_affine(exec, std::span<const span_moments>(folds)));
  CHECK(fit.choice().lambda == 1e-6);
  CHECK(fit.choice().held_out_fvu() < 1e-9);
  CHECK_FALSE(fit.choice().fewer_rows_than_inputs());
  for (index_t i = 0; i < 12; ++i) {
    CHECK(std::fabs(fit.map.bias[i] - p.b[static_cast<std::size_t>(i)]) < 1e-3);
    for (index_t j = 0; j < 12; ++j) CHECK(std::fabs(fit.map.weights(i, j) - p.w(i, j)) < 1e-4);
  }
  const planted::affine_pair fresh(50, 12, 0, 7);
  CHECK(squared_error(fresh, image(fit.map, fresh.x)) < 1e-4);
}

TEST_CASE("the scalar and the factors of channels are the optima that a search finds") {
  const planted::affine_pair p(100, 6, 0.5);
  const auto m = merged(p);
  const auto scalar = value_or_throw(student::try_fit_scalar(m));
  const double x = over_rows(p, [&](index_t r) { return student::row_norm(p.x.view(), r); }),
               y = over_rows(p, [&](index_t r) { return student::row_norm(p.y.view(), r); });
  CHECK(std::fabs(static_cast<double>(scalar.factor) - y / x) < 1e-6 * y / x);
  const auto channel = value_or_throw(student::try_fit_channel(m));
  CHECK(channel.dead == 0);
  const double best = squared_error(p, image(channel, p.x));
  for (index_t c = 0; c < 6; ++c)
    for (const float step : {-0.01f, 0.01f}) {
      auto other = channel;
      other.factors[c] += step;
      INFO("column " << c << ", " << step);
      CHECK(squared_error(p, image(other, p.x)) > best);
    }
}

TEST_CASE("LinearPatch scales magnitudes in the Hadamard basis, and is the identity where nothing changes") {
  planted::affine_pair p(100, 12, 0);
  const auto basis = value_or_throw(quant::rotation::try_make_without_signs(12));
  cpu exec;
  auto hx = p.x;
  REQUIRE(basis.try_rotate_rows(exec, hx.view()));
  for (index_t r = 0; r < p.x.rows; ++r)
    for (index_t c = 0; c < 12; ++c) p.y(r, c) = hx(r, c) * (1 + 0.25f * static_cast<float>(c));
  REQUIRE(basis.try_restore_rows(exec, p.y.view()));  // y = Hᵀ·diag(d)·H·x
  const auto map = value_or_throw(student::try_fit_linear_patch(merged(p)));
  for (index_t c = 0; c < 12; ++c) CHECK(std::fabs(map.factors[c] - (1 + 0.25f * static_cast<float>(c))) < 1e-4f);
  CHECK(squared_error(p, image(map, p.x)) < 1e-5);
  p.y = p.x;
  const auto same = value_or_throw(student::try_fit_linear_patch(merged(p)));
  for (const float d : same.factors) CHECK(d == 1.0f);
  CHECK(squared_error(p, image(same, p.x)) < 1e-8);
}

TEST_CASE("reduced rank recovers a planted map of its rank, and at full rank is the affine map") {
  cpu exec;
  planted::affine_pair p(400, 12, 0);
  const auto left = planted::gaussian_rows(12, 2, 50), right = planted::gaussian_rows(2, 12, 51);
  for (index_t r = 0; r < p.x.rows; ++r)
    for (index_t c = 0; c < 12; ++c) {
      double sum = static_cast<double>(p.x(r, c)) + 0.5;
      for (index_t k = 0; k < 2; ++k)
        for (index_t i = 0; i < 12; ++i)
          sum += static_cast<double>(left(c, k)) * static_cast<double>(right(k, i)) * static_cast<double>(p.x(r, i));
      p.y(r, c) = static_cast<float>(sum);
    }
  const auto folds = folds_of(p);
  const auto affine = value_or_throw(student::try_fit_affine(exec, std::span<const span_moments>(folds)));
  const auto whole = merged(p);
  const auto two = value_or_throw(student::try_fit_reduced_rank(exec, whole, affine, 2));
  CHECK(two.map.rank() == 2);
  CHECK(two.kept_energy > 1 - 1e-6);
  CHECK(squared_error(p, image(two.map, p.x)) < 1e-3);
  const auto one = value_or_throw(student::try_fit_reduced_rank(exec, whole, affine, 1));
  CHECK(one.kept_energy < 0.999);
  CHECK(squared_error(p, image(one.map, p.x)) > 100 * squared_error(p, image(two.map, p.x)));
  const auto all = value_or_throw(student::try_fit_reduced_rank(exec, whole, affine, 12));
  const auto a = image(affine.map, p.x), b = image(all.map, p.x);
  for (index_t i = 0; i < a.data.size(); ++i) CHECK(std::fabs(a.data[i] - b.data[i]) < 1e-3f);
  support::expect_error(student::try_fit_reduced_rank(exec, whole, affine, 13), errc::invalid_argument,
                        {"rank of a span map", "13", "1 to 12"});
}

TEST_CASE("the cosine map turns rows nearer to their targets than the ridge fit that it starts from") {
  cpu exec;
  planted::affine_pair p(600, 8, 0);
  for (index_t r = 0; r < p.x.rows; ++r) {  // norms that an affine map cannot follow
    const float factor = r % 3 == 0 ? 40.0f : 1.0f;
    for (index_t c = 0; c < 8; ++c) p.y(r, c) = factor * (p.y(r, c) + (r % 2 ? 0.5f : -0.5f) * p.x(r, (c + 1) % 8));
  }
  const auto folds = folds_of(p);
  const auto affine = value_or_throw(student::try_fit_affine(exec, std::span<const span_moments>(folds)));
  const auto fit = value_or_throw(student::try_fit_cosine(exec, matrix_view<const float>(p.x.view()),
                                                          matrix_view<const float>(p.y.view()), affine.map));
  CHECK(fit.steps > 0);
  CHECK(fit.loss < fit.start_loss);
  const double before = cosine_loss(p, image(affine.map, p.x)), after = cosine_loss(p, image(fit.map, p.x));
  INFO("1 − cos over all rows: " << before << " before, " << after << " after, " << fit.steps << " steps");
  CHECK(after < 0.95 * before);
  const planted::affine_pair few(7, 8, 0);
  support::expect_error(student::try_fit_cosine(exec, matrix_view<const float>(few.x.view()),
                                                matrix_view<const float>(few.y.view()), affine.map),
                        errc::invalid_argument, {"rows of the cosine fit", "7", "8 or more"});
  support::expect_error(student::try_fit_cosine(exec, matrix_view<const float>(p.w.view()).block(0, 0, 8, 5),
                                                matrix_view<const float>(p.w.view()).block(0, 0, 8, 5), affine.map),
                        errc::shape_mismatch, {"x", "8 x 5"});
}

TEST_CASE("rows apart get their mean delta, whatever the map does to others") {
  cpu exec;
  const planted::affine_pair p(100, 6, 0);
  const auto m = merged(p);
  const student::span_map map{student::scalar_map{6, 0.0f}, student::apart_rows_of(m)};
  matrix<float> y(100, 6);
  const auto rows = planted::rows_of(100);
  REQUIRE(map.try_apply(exec, rows, matrix_view<const float>(p.x.view()), y.view()));
  for (index_t r = 0; r < 100; ++r)
    for (index_t c = 0; c < 6; ++c) {
      const float shift = static_cast<float>(m.apart_delta()[static_cast<std::size_t>(c)] / 10);
      CHECK(y(r, c) == (r % 10 == 0 ? p.x(r, c) + shift : 0.0f));
    }
  support::expect_error(map.try_apply(exec, std::span(rows).first(5), matrix_view<const float>(p.x.view()), y.view()),
                        errc::shape_mismatch, {"rows of a span map", "5", "100"});
}

TEST_CASE("maps of other widths, and moments without a row, are refused by name") {
  cpu exec;
  const auto none = value_or_throw(span_moments::try_make(6));
  support::expect_error(student::try_fit_scalar(none), errc::invalid_argument, {"rows of the span moments", "0 rows"});
  support::expect_error(student::try_fit_channel(none), errc::invalid_argument, {"rows of the span moments", "0"});
  support::expect_error(student::try_fit_linear_patch(none), errc::invalid_argument, {"rows of the span moments", "0"});
  const planted::affine_pair p(40, 6, 0);
  const auto map = value_or_throw(student::try_fit_channel(merged(p)));
  matrix<float> x(3, 7), y(3, 7);
  support::expect_error(map.try_apply(exec, matrix_view<const float>(x.view()), y.view()), errc::shape_mismatch,
                        {"x", "3 x 7", "3 x 6"});
  auto folds = folds_of(p);
  folds[2] = value_or_throw(span_moments::try_make(6, {.limit_x = 5}));
  support::expect_error(student::try_fit_affine(exec, std::span<const span_moments>(folds)), errc::conflict,
                        {"folds", "5"});
}

TEST_CASE("a probe finds what lies in rows, says what chance is, and refuses one class") {
  cpu exec;
  auto x = planted::gaussian_rows(300, 10, 1), noise = planted::gaussian_rows(300, 10, 2);
  std::vector<std::int32_t> labels;
  for (index_t r = 0; r < 300; ++r) {
    labels.push_back(static_cast<std::int32_t>(r % 3));
    x(r, 4) += 6.0f * static_cast<float>(r % 3 == 1);
    x(r, 7) -= 6.0f * static_cast<float>(r % 3 == 2);
  }
  const auto probe = [&](const matrix<float>& rows, std::span<const std::int32_t> of) {
    return student::try_probe(exec, matrix_view<const float>(rows.view()).middle_rows(0, 200), of.first(200),
                              matrix_view<const float>(rows.view()).middle_rows(200, 100), of.subspan(200));
  };
  const auto found = value_or_throw(probe(x, labels));
  INFO("accuracy " << found.accuracy.value << ", majority " << found.majority << ", permuted " << found.permuted);
  CHECK(found.accuracy.value > 0.95);
  CHECK(found.above_chance());
  CHECK(found.classes == 3);
  CHECK(std::fabs(found.majority - 0.33) < 0.02);
  CHECK(found.permuted < 0.5);
  const auto nothing = value_or_throw(probe(noise, labels));
  CHECK(nothing.accuracy.value < 0.5);
  CHECK_FALSE(nothing.above_chance());
  support::expect_error(probe(x, std::vector<std::int32_t>(300, 2)), errc::invalid_argument,
                        {"classes of the probe", "1", "2 or more"});
  labels[3] = -1;
  support::expect_error(probe(x, labels), errc::invalid_argument, {"labels of the probe", "-1"});
}

TEST_CASE("a probe numbers the labels that occur: their size is no matter, and a new label is missed") {
  cpu exec;
  auto x = planted::gaussian_rows(300, 6, 1);
  std::vector<std::int32_t> small, large;
  for (index_t r = 0; r < 300; ++r) {
    small.push_back(static_cast<std::int32_t>(r % 3));
    large.push_back(std::vector<std::int32_t>{4, 70000, 2000000000}[static_cast<std::size_t>(r % 3)]);
    x(r, 4) += 6.0f * static_cast<float>(r % 3 == 1);
    x(r, 2) -= 6.0f * static_cast<float>(r % 3 == 2);
  }
  const auto probe = [&](const std::vector<std::int32_t>& labels) {
    const std::span<const std::int32_t> of = labels;
    return value_or_throw(student::try_probe(exec, matrix_view<const float>(x.view()).middle_rows(0, 200),
                                             of.first(200), matrix_view<const float>(x.view()).middle_rows(200, 100),
                                             of.subspan(200)));
  };
  const auto a = probe(small), b = probe(large);
  CHECK(b.classes == 3);
  CHECK(b.accuracy.value == a.accuracy.value);
  CHECK(b.majority == a.majority);
  CHECK(b.permuted == a.permuted);
  for (std::size_t r = 200; r < 300; ++r) large[r] = 5;  // between the labels of the fitted rows
  CHECK(probe(large).accuracy.value == 0);
  CHECK(probe(large).majority == 0);
}

TEST_CASE("a map with values that are not finite, or of extents that do not fit, is refused by plans") {
  cpu exec;
  const planted::affine_pair p(400, 12, 0.1);
  const auto folds = folds_of(p);
  student::gathered_span span{residual::layers(1, 3), {}, p.x, p.y};
  for (const auto& fold : folds) span.folds.push_back(fold);
  const auto forms = value_or_throw(student::try_fit_closed_forms(exec, span));
  support::expect_error(student::try_fit_closed_forms(exec, span, {.ridge = {}, .rank = -3, .cosine = {}}),
                        errc::invalid_argument, {"span [1, 3): rank of the reduced map", "-3", "1 or more"});
  const auto refused = [&](const auto& map, const student::apart_rows& apart) {
    const auto done =
        residual::plan{}.try_add(residual::replace_span(span.span, student::on(exec, student::span_map{map, apart})));
    return done ? std::string("fine") : std::string(done.error().message().view());
  };
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  int maps = 0;
  forms.for_each([&](std::string_view name, const auto& map) {
    INFO(name);
    ++maps;
    CHECK(refused(map, forms.apart) == "fine");
    auto apart = forms.apart;
    apart.shift = array<float>(12, nan);
    CHECK(refused(map, apart).find("not finite: ") == 0);
    apart.shift = array<float>(11, 0.0f);
    CHECK(refused(map, apart).find(": shift of rows apart: got 11, wanted 12") != std::string::npos);
    auto bad = map;
    if constexpr (requires { bad.factor; }) bad.factor = nan;
    else if constexpr (requires { bad.bias; }) bad.bias[3] = nan;
    else if constexpr (requires { bad.factors; }) bad.factors[3] = nan;
    if (name == "identity") return;
    CHECK(refused(bad, forms.apart).find("not finite: map.") == 0);
  });
  CHECK(maps == 7);
  auto small = forms.affine.map;
  small.weights = matrix<float>(3, 3);
  CHECK(refused(small, forms.apart) == "shape mismatch: map.affine: weights of the map: got 3 x 3, wanted 12 x 12");
  auto narrow = forms.linear_patch;
  narrow.factors = array<float>(11, 1.0f);
  CHECK(refused(narrow, student::apart_rows{}) ==
        "shape mismatch: map.linear_patch: basis of the map: got 12, wanted 11");
  auto cut = forms.reduced_rank.map;
  cut.factors.r = matrix<float>(1, 11);
  CHECK(refused(cut, forms.apart).find("R of the map") != std::string::npos);
}
