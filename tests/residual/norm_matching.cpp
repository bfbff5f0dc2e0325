// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/residual/detail/apply_step.hpp>
#include <resect/residual/norm_matching.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/select.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;

namespace {

using size = resect::index_t;

constexpr int width = 9;
// what a matched norm may miss: one rounding of each element, and that of the factor
constexpr double bound = 0x1p-23;

struct block_of_rows {
  std::vector<row_meta> rows;
  floats h;
  matrix_view<float> view() { return {h.data(), static_cast<size>(rows.size()), width}; }
  double norm(std::size_t r) const {
    return row_norms::of({h.data(), static_cast<size>(rows.size()), width}, static_cast<size>(r));
  }
  floats row(std::size_t r) const {
    return {h.begin() + static_cast<long>(r) * width, h.begin() + static_cast<long>(r + 1) * width};
  }
};

// Ten rows of two sequences whose norms run over six decades, the third row zero.
block_of_rows uneven(std::uint64_t seed) {
  block_of_rows out;
  for (int r = 0; r < 10; ++r) out.rows.push_back({r / 5, r % 5, r, 0});
  out.h.resize(10 * width);
  resect::random::fill_gaussian(out.h, seed, 3);
  for (std::size_t r = 0; r < 10; ++r)
    for (std::size_t c = 0; c < width; ++c)
      out.h[r * width + c] *= r == 2 ? 0.0f : std::pow(10.0f, static_cast<float>(r) - 4.0f);
  return out;
}

// Rows replaced by others: h := values, whatever stood there.
step replaced_by(const floats& values, site where = site::resid_post) {
  return rows_step(
      where, layer(0),
      [values](const tap&, matrix_view<float> h) {
        for (size r = 0; r < h.rows; ++r)
          for (size c = 0; c < h.cols; ++c) h(r, c) = values[static_cast<std::size_t>(r * h.cols + c)];
      },
      "replaced", effect_on_place::overwrites);
}

void run_rows(const step& s, block_of_rows& b) {
  CHECK(resect::residual::detail::apply_step(s, {s.where, 0, b.rows}, {}, b.view()));
}

// The same direction: a = f·b for one factor f ≥ 0.
void check_direction(const floats& a, const floats& b, double factor) {
  for (std::size_t i = 0; i < a.size(); ++i)
    CHECK(std::fabs(static_cast<double>(a[i]) - factor * static_cast<double>(b[i])) <=
          bound * factor * std::fabs(static_cast<double>(b[i])));
}

std::string refused(const resect::result<step>& s) { return s ? "fine" : parts(s.error()); }

}  // namespace

TEST_CASE("matched to the row that stood there, every row keeps its new direction and the old norm") {
  const auto original = uneven(1), other = uneven(2);
  norm_counts counts;
  auto got = original;
  auto replacement = other;
  for (float& x : replacement.h) x *= 1e4f;
  std::swap_ranges(replacement.h.begin(), replacement.h.begin() + width, replacement.h.begin() + 2 * width);
  run_rows(match_norm(replaced_by(replacement.h), per_row_original{}, &counts), got);
  for (std::size_t r = 0; r < 10; ++r) {
    const double wanted = original.norm(r), now = replacement.norm(r);
    if (r == 0) CHECK(largest(got.row(0)) == 0);       // replaced by zeros: no direction to rescale
    else if (r == 2) CHECK(largest(got.row(2)) == 0);  // a row of norm 0 becomes one again
    else {
      CHECK(std::fabs(got.norm(r) - wanted) <= bound * wanted);
      check_direction(got.row(r), replacement.row(r), wanted / now);
    }
  }
  CHECK(counts.rows == 10);
  CHECK(counts.zero_rows == 1);
}

TEST_CASE("rows that are not changed keep their bits") {
  const auto original = uneven(1);
  auto got = original;
  got.h[5] = -0.0f;
  const auto want = got.h;
  run_rows(match_norm(idle_rows(site::resid_mid, layer(0))), got);
  CHECK(same_bits(got.h, want));
  auto one = uneven(1);
  const auto bits = one.h;
  run_rows(match_norm(scale_delta(layer(0), -1.0f, delta::mlp)), one);  // the same norm in another direction
  for (std::size_t i = 0; i < bits.size(); ++i) CHECK(one.h[i] == -bits[i]);
}

TEST_CASE("huge and tiny rows are rescaled without overflow") {
  for (const float scale : {1e30f, 1e-30f}) {
    auto original = uneven(1), other = uneven(2);
    for (std::size_t r = 0; r < 10; ++r)
      for (std::size_t c = 0; c < width; ++c) {
        original.h[r * width + c] = (c % 2 == 0 ? 1.0f : -2.0f) * scale;
        other.h[r * width + c] = static_cast<float>(c + r) / scale;
      }
    auto got = original;
    run_rows(match_norm(replaced_by(other.h)), got);
    for (std::size_t r = 0; r < 10; ++r) CHECK(std::fabs(got.norm(r) / original.norm(r) - 1.0) <= bound);
  }
}

TEST_CASE("what is not finite stays so") {
  auto original = uneven(1), other = uneven(2);
  other.h[4 * width] = std::numeric_limits<float>::quiet_NaN();
  other.h[5 * width] = std::numeric_limits<float>::infinity();
  auto got = original;
  got.h[6 * width] = std::numeric_limits<float>::quiet_NaN();
  run_rows(match_norm(replaced_by(other.h)), got);
  for (const std::size_t r : {4u, 5u, 6u}) CHECK_FALSE(std::isfinite(got.norm(r)));
  for (const std::size_t r : {0u, 1u, 3u, 7u}) CHECK(std::isfinite(got.norm(r)));
}

TEST_CASE("matched to a teacher, rows get its norm by place; places that it does not know are refused") {
  const auto teacher = uneven(7);
  row_norms norms;
  const auto some = teacher.rows;
  norms.add({site::resid_post, 0, batch_view(some).first(4)}, {teacher.h.data(), 4, width});
  norms.add({site::resid_post, 0, batch_view(some).subspan(6, 3)}, {teacher.h.data() + 6 * width, 3, width});
  norms.add({site::resid_post, 0, batch_view(some).subspan(7, 1)}, {teacher.h.data(), 1, width});  // known already
  CHECK(norms.size() == 7);
  CHECK(*norms.find({1, 2}) == teacher.norm(7));
  CHECK_FALSE(norms.find({0, 4}));

  const auto other = uneven(2);
  auto shuffled = uneven(1);
  std::swap(shuffled.rows[0], shuffled.rows[8]);  // places decide, not rows of the matrix
  norm_counts counts;
  const auto matched = match_norm(replaced_by(other.h), per_row_teacher{norms}, &counts);
  run_rows(matched, shuffled);
  for (std::size_t r = 0; r < 10; ++r) {
    const auto wanted = norms.find({shuffled.rows[r].seq, shuffled.rows[r].pos});
    if (wanted && r != 2) CHECK(std::fabs(shuffled.norm(r) - *wanted) <= bound * *wanted);
    else CHECK(same_bits(shuffled.row(r), other.row(r)));
  }
  CHECK(counts.rows == 10);
  CHECK(counts.zero_rows == 1);
  CHECK(
      parts(resect::residual::detail::check_rows(std::vector<step>{matched}, shuffled.rows, 0, 1)) ==
      "invalid argument | replaced on layers [0, 1): norm matching | sequence 0 position 4 | a place that the teacher "
      "has a norm for");
  std::vector<row_meta> pads{{5, 5, 0, row_meta::pad}};
  norms.add({site::resid_post, 0, pads}, {teacher.h.data(), 1, width});
  CHECK(norms.size() == 7);
}

TEST_CASE("a scalar and an affine map act on every row alike") {
  const auto other = uneven(2);
  norm_counts counts;
  auto scaled = uneven(1), mapped = scaled;
  run_rows(match_norm(replaced_by(other.h), global_scalar{2.5f}, &counts), scaled);
  per_channel_affine map;
  for (int c = 0; c < width; ++c) {
    map.scale.push_back(0.5f * static_cast<float>(c));
    map.shift.push_back(static_cast<float>(c) - 4.0f);
  }
  run_rows(match_norm(replaced_by(other.h), map), mapped);
  for (std::size_t i = 0; i < other.h.size(); ++i) {
    CHECK(scaled.h[i] == 2.5f * other.h[i]);
    const auto c = i % width;
    CHECK(mapped.h[i] == Approx(static_cast<double>(map.scale.data()[c]) * static_cast<double>(other.h[i]) +
                                static_cast<double>(map.shift.data()[c]))
                             .epsilon(1e-6)
                             .margin(1e-6));
  }
  CHECK(counts.zero_rows == 1);
  CHECK(mapped.row(2) == map.shift);  // a zero row is shifted too
}

TEST_CASE("matching acts on the rows that the step acts on, whichever is said first") {
  const auto original = uneven(1), other = uneven(2);
  const auto chosen = range(1, 4) & !mask({{1, 2}});
  const auto check = [&](auto policy) {
    auto first = original, second = original, whole = original;
    run_rows(match_norm(at(chosen, replaced_by(other.h)), policy), first);
    run_rows(match_norm(replaced_by(other.h), policy), whole);
    for (std::size_t r = 0; r < 10; ++r)
      if (!chosen.contains(original.rows[r])) CHECK(same_bits(first.row(r), original.row(r)));
    // the values that replace rows are told by place here, so that being given fewer rows does not matter
    const auto by_place = rows_step(site::resid_post, layer(0), [&](const tap& t, matrix_view<float> h) {
      for (size r = 0; r < h.rows; ++r) {
        const auto& m = t.rows[static_cast<std::size_t>(r)];
        for (size c = 0; c < h.cols; ++c) h(r, c) = other.h[static_cast<std::size_t>((m.seq * 5 + m.pos) * width + c)];
      }
    });
    first = original;
    run_rows(match_norm(at(chosen, by_place), policy), first);
    run_rows(at(chosen, match_norm(by_place, policy)), second);
    CHECK(same_bits(first.h, second.h));
    for (std::size_t r = 0; r < 10; ++r)
      CHECK(same_bits(first.row(r), (chosen.contains(original.rows[r]) ? whole : original).row(r)));
  };
  check(per_row_original{});
  check(global_scalar{3.0f});
  row_norms norms;
  auto teacher = uneven(5);
  norms.add({site::resid_post, 0, teacher.rows}, teacher.view());
  check(per_row_teacher{norms});
}

TEST_CASE("a skipped layer that is matched runs, and its input gets the norm of its output, both ways") {
  for (auto& model : small_models()) {
    llama_setting s(model);
    reference_llama ref{model, [before = stream_values{}](site where, int l, stream_values& h) mutable {
                          if (l != 1) return;
                          if (where == site::resid_pre) before = h;
                          if (where != site::resid_post) return;
                          for (std::size_t t = 0; t < h.size(); ++t) {
                            double now = 0, wanted = 0;
                            for (std::size_t i = 0; i < h[t].size(); ++i) {
                              now += before[t][i] * before[t][i];
                              wanted += h[t][i] * h[t][i];
                            }
                            for (std::size_t i = 0; i < h[t].size(); ++i)
                              h[t][i] = before[t][i] * std::sqrt(wanted / now);
                          }
                        }};
    const auto p = plan{} | match_norm(skip(layer(1)));
    counting_host host(s.host);
    const auto got = by_surgery(host, p, s.batch);
    CHECK(host.n.layers == std::vector<int>{1, 1, 1, 1});
    CHECK(relative_difference(got, flat(ref.logits(s.batch))) < 1e-5);
    CHECK(same_bits(by_forward(s.host, p, s.batch), got));
    CHECK(relative_difference(got, by_surgery(s.host, plan{} | skip(layer(1)), s.batch)) > 1e-3);
    const auto scalar = plan{} | match_norm(skip(layer(1)), global_scalar{2.0f});
    host.reset();
    by_surgery(host, scalar, s.batch);
    CHECK(host.n.layers == std::vector<int>{1, 0, 1, 1});  // nothing of the output is needed
    CHECK(same_bits(by_forward(s.host, scalar, s.batch), by_surgery(s.host, scalar, s.batch)));
  }
}

TEST_CASE("a replaced span is matched to a teacher's rows") {
  llama_setting s;
  row_norms norms;
  value_or_throw(s.host.try_forward(s.batch, {site::resid_post}, [&](const tap& at, matrix_view<const float> h) {
    if (at.layer == 2) norms.add(at, h);
  }));
  forget_all(s.host, s.batch);
  const auto thrice = [](const tap&, matrix_view<const float> in, matrix_view<float> out) {
    for (size r = 0; r < in.rows; ++r)
      for (size c = 0; c < in.cols; ++c) out(r, c) = 3.0f * in(r, c);
  };
  norm_counts counts;
  const auto matched = plan{} | match_norm(replace_span(layers(1, 3), thrice, 1), per_row_teacher{norms}, &counts);
  auto state = value_or_throw(s.host.try_embed(s.batch));
  run(s.host, matched, state, 0, 3);
  const auto h = s.host.stream(state);
  for (std::size_t r = 0; r < s.batch.size(); ++r)
    CHECK(row_norms::of(h, static_cast<size>(r)) ==
          Approx(*norms.find({s.batch[r].seq, s.batch[r].pos})).epsilon(bound));
  CHECK(counts.rows == static_cast<std::int64_t>(s.batch.size()));
  CHECK(same_bits(by_surgery(s.host, matched, s.batch), by_forward(s.host, matched, s.batch)));

  auto more = s.batch;
  more.push_back({9, 0, 1, row_meta::wants_logits});
  auto other = value_or_throw(s.host.try_embed(more));
  CHECK(parts(try_run(s.host, matched, other, 0, 4)) ==
        "invalid argument | replace_span on layers [1, 3): norm matching | sequence 9 position 0 | a place that the "
        "teacher has a norm for");
}

TEST_CASE("without matching a step is the step; else the plan's fingerprint tells policies apart") {
  const auto s = skip(layer(1));
  CHECK(match_norm(s, no_matching{}).identity() == s.identity());
  row_norms one, two;
  auto b = uneven(1);
  one.add({site::resid_post, 0, b.rows}, b.view());
  b.h[0] += 1.0f;
  two.add({site::resid_post, 0, b.rows}, b.view());
  const std::vector<step> all{s,
                              match_norm(s),
                              match_norm(s, per_row_teacher{one}),
                              match_norm(s, per_row_teacher{two}),
                              match_norm(s, global_scalar{2.0f}),
                              match_norm(s, global_scalar{3.0f}),
                              match_norm(s, per_channel_affine{{1.0f}, {0.0f}}),
                              match_norm(s, per_channel_affine{{0.0f}, {1.0f}}),
                              match_norm(match_norm(s))};
  std::set<std::uint64_t> seen;
  for (const step& x : all) seen.insert((plan{} | x).fingerprint());
  CHECK(seen.size() == all.size());
}

TEST_CASE("one factor for all rows is refused where rows need different ones, as first tokens do") {
  const auto norms_of = [](const floats& sizes) {
    row_norms out;
    for (std::size_t r = 0; r < sizes.size(); ++r)
      out.add({0, static_cast<std::int32_t>(r)}, {sizes.data() + r, 1, 1}, 0);
    return out;
  };
  const auto teacher = norms_of({100, 1, 1, 1});  // the first row is a hundred times the others
  CHECK(parts(try_scalar_for(norms_of({2, 2, 2, 2}), teacher).error()) ==
        "conflict | one norm factor for all rows | factors of rows from 0.5 to 50 | factors within 4 times of each "
        "other, "
        "or a policy per row");
  const auto fits = try_scalar_for(norms_of({50, 0.5f, 0.5f, 0.25f}), teacher);
  REQUIRE(fits);
  CHECK(fits->factor == Approx(103 / 51.25));
  CHECK(parts(try_scalar_for(norms_of({}), teacher).error()) ==
        "invalid argument | rows for one norm factor | no common place | rows that the teacher has, too");
  // what the repair of a skip would be on a real stream
  llama_setting s;
  row_norms before, after;
  resect::value_or_throw(
      s.host.try_forward(s.batch, {site::resid_pre, site::resid_post}, [&](const tap& at, matrix_view<const float> h) {
        if (at.layer == 1) (at.where == site::resid_pre ? before : after).add(at, h);
      }));
  CHECK(try_scalar_for(before, after, 100.0));
}

TEST_CASE("what cannot be matched is refused") {
  const auto nothing = [](const tap&, matrix_view<const float>, matrix_view<float>) {};
  row_norms norms;
  auto b = uneven(1);
  norms.add({site::resid_post, 0, b.rows}, b.view());
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(refused(try_match_norm(reinit(layer(1), 1, norm_gains::keep))) ==
        "unsupported | norm matching of reinit.keep | a step on weights | a step on rows, a block or a span");
  CHECK(refused(try_match_norm(replace_span(layer(1), nothing, 1))) ==
        "unsupported | norm matching of replace_span | per_row_original on a replaced span, whose layers do not run | "
        "per_row_teacher");
  CHECK(refused(try_match_norm(skip(layer(1)), per_row_teacher{})) ==
        "invalid argument | norm matching of skip | a teacher without rows | a teacher with rows");
  CHECK(refused(try_match_norm(skip(layers(1, 3)), per_row_teacher{norms})) ==
        "invalid argument | norm matching of skip | layers [1, 3) | one layer: each has its own norms");
  CHECK(refused(try_match_norm(replace_span(layers(1, 3), nothing, 1), per_row_teacher{norms})) == "fine");
  CHECK(refused(try_match_norm(skip(layer(1)), global_scalar{nan})) ==
        "not finite | norm matching of skip | nan | a finite factor");
  CHECK(refused(try_match_norm(skip(layer(1)), per_channel_affine{{1.0f, 2.0f}, {1.0f}})) ==
        "shape mismatch | norm matching of skip | 2 scales, 1 shifts | as many of each, 1 or more");
  CHECK(refused(try_match_norm(skip(layer(1)), per_channel_affine{})) ==
        "shape mismatch | norm matching of skip | 0 scales, 0 shifts | as many of each, 1 or more");
  CHECK(refused(try_match_norm(replace_span(layer(1), nothing, 1, 8), per_channel_affine{{1.0f}, {1.0f}})) ==
        "shape mismatch | norm matching of replace_span | 1 scales, 1 shifts | 8 of each");
  CHECK(refused(try_match_norm(skip(layer(1)), per_channel_affine{{1.0f}, {nan}})) ==
        "not finite | norm matching of skip | nan | finite scales and shifts");
  CHECK_THROWS_AS(match_norm(skip(layer(1)), global_scalar{nan}), resect::exception);
  // the map's length becomes the step's width, which a plan checks against the model
  llama_setting s;
  const auto p = plan{} | match_norm(skip(layer(1)), per_channel_affine{{1.0f}, {1.0f}});
  CHECK(parts(p.check(s.host.describe())) == "shape mismatch | width of skip | 1 | d_model = 24");
}

TEST_CASE("a teacher holds norms of one site of one layer, and finite ones") {
  row_norms norms;
  const auto b = uneven(1);
  const auto h = matrix_view<const float>{b.h.data(), static_cast<size>(b.rows.size()), width};
  REQUIRE(norms.try_add({site::resid_post, 3, b.rows}, h));
  const auto before = norms.hash();
  CHECK(parts(norms.try_add({site::resid_post, 4, b.rows}, h)) ==
        "conflict | rows for row_norms | resid_post of layer 4 | resid_post of layer 3, as the first rows");
  CHECK(parts(norms.try_add({site::resid_mid, 3, b.rows}, h)) ==
        "conflict | rows for row_norms | resid_mid of layer 3 | resid_post of layer 3, as the first rows");
  CHECK_THROWS_AS(norms.add({site::resid_mid, 3, b.rows}, h), resect::exception);
  CHECK(norms.hash() == before);
  CHECK(norms.try_add({site::resid_post, 3, b.rows}, h));
  const float values[] = {1, std::numeric_limits<float>::infinity()};
  norms.add(token_place{90, 7}, {values, 1, 2}, 0);
  CHECK(refused(try_match_norm(skip(layer(1)), per_row_teacher{norms})) ==
        "not finite | norm matching of skip | norm inf of sequence 90 position 7 | finite norms of the teacher");
}
