// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/catch.hpp>

#include <resect/core/copy.hpp>
#include <resect/residual/noise.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/select.hpp>
#include <resect/residual/swap_matrix.hpp>
#include <resect/study/arm.hpp>

using namespace resect;
using namespace resect::study;
using residual::layer;
using residual::layers;
using residual::plan;
using residual::skip;

namespace {
const auto keep = residual::norm_gains::keep;

// An operator whose fields are its whole identity, as of a trained student.
struct copied_rows {
  static constexpr std::string_view id = "tests.copied_rows/1";
  residual::operator_facts facts() const noexcept { return {.what = residual::form::replace, .overwrites = true}; }
  void fields(field_visitor& v) const { v.number("times", 2, 1); }
  status apply(const residual::tap&, matrix_view<const float> in, matrix_view<float> out) const {
    copy(in, out);
    return {};
  }
};
}  // namespace

TEST_CASE("the key of an arm names operators, layers, parameters and seed") {
  CHECK(identity_of(plan{}).key == "intact");
  CHECK(identity_of(plan{} | skip(layer(3))).key == "skip 3");
  CHECK(identity_of(plan{} | skip(layers(1, 4)) | skip(layer(6))).key == "skip 1-3,6");
  CHECK(identity_of(plan{} | residual::scale_delta(layer(2), 0.5f)).key == "scale_delta 2: factor 0.5");
  CHECK(identity_of(plan{} | skip(layer(5)) | residual::scale_delta(layer(2), 0.5f)).key ==
        "scale_delta 2: factor 0.5 + skip 5");
  CHECK(identity_of(plan{} | residual::reinit(layer(2), 7, keep)).key == "reinit.keep 2, seed 7");
  CHECK(identity_of(plan{} | residual::noise(layer(1), model::site::resid_post, 0.25f, 4)).key ==
        "noise 1: relative_size 0.25, site resid_post, seed 4");
}

TEST_CASE("the key of an arm tells two replaced spans from one span over the same layers") {
  const auto one = identity_of(plan{} | residual::replace_span(layers(0, 2), copied_rows{})),
             two = identity_of(plan{} | residual::replace_span(layer(0), copied_rows{}) |
                               residual::replace_span(layer(1), copied_rows{}));
  CHECK(one.key == "tests.copied_rows/1 0-1: times 2");
  CHECK(two.key == "tests.copied_rows/1 0,1: times 2");
  CHECK(one.layers == two.layers);
}

TEST_CASE("an identity holds what a report lists: layers, their gaps, matrix, seed and parameters") {
  const auto spread = identity_of(plan{} | skip(layer(1)) | skip(layers(4, 6)));
  CHECK(spread.layers == std::vector<int>{1, 4, 5});
  CHECK_FALSE(spread.contiguous());
  CHECK(identity_of(plan{} | skip(layers(4, 6))).contiguous());
  CHECK(spread.operation == "skip");
  const auto dosed = identity_of(plan{} | residual::scale_delta(layer(0), 0.25f));
  CHECK(dosed.parameters == std::vector<parameter>{{"factor", 0.25}});
  const float values[] = {1, 2, 3, 4};
  const auto swapped =
      identity_of(plan{} | residual::swap_matrix(layer(0), "attn.q", matrix_view<const float>{values, 2, 2}));
  CHECK(swapped.matrix == "attn.q");
  CHECK(swapped.operation == "swap_matrix");
}

TEST_CASE("arms that differ in a seed are one group, arms that differ in layers one family") {
  const auto a = identity_of(plan{} | residual::reinit(layer(2), 1, keep)),
             b = identity_of(plan{} | residual::reinit(layer(2), 2, keep)),
             c = identity_of(plan{} | residual::reinit(layer(3), 1, keep));
  CHECK((a.group == b.group && a.key != b.key && a.group != c.group && a.family == c.family));
  CHECK((a.seed == std::uint64_t{1} && b.seed == std::uint64_t{2}));
  const auto mixed = identity_of(plan{} | residual::reinit(layer(2), 1, keep) | residual::reinit(layer(3), 2, keep));
  CHECK_FALSE(mixed.seed);
  CHECK(mixed.key == "reinit.keep 2: seed 1 + reinit.keep 3: seed 2");
  CHECK(identity_of(plan{} | skip(layer(1))).family != identity_of(plan{} | residual::zero_stream(layer(1))).family);
}

TEST_CASE("steps that no field tells apart have different keys, and a name that is only shown has no part in any") {
  const auto span = [](std::uint64_t identity) {
    return plan{} | residual::replace_span(
                        layers(1, 3), [](const model::tap&, matrix_view<const float>, matrix_view<float>) {}, identity);
  };
  CHECK(identity_of(span(1)).key != identity_of(span(2)).key);
  CHECK(identity_of(span(1)).key == identity_of(span(1)).key);
  const float a[] = {1, 2}, b[] = {1, 3};
  const auto swapped = [](const float* x) {
    return plan{} | residual::swap_matrix(layer(0), "q", matrix_view<const float>{x, 1, 2});
  };
  CHECK(identity_of(swapped(a)).key != identity_of(swapped(b)).key);
  const auto last = plan{} | residual::at(residual::last(), skip(layer(1)));
  CHECK(identity_of(last).key != identity_of(plan{} | skip(layer(1))).key);
  auto renamed = skip(layer(1));
  renamed.name = "left out";
  CHECK(identity_of(plan{} | renamed).key == "skip 1");
  CHECK((plan{} | renamed).fingerprint() == (plan{} | skip(layer(1))).fingerprint());
}
