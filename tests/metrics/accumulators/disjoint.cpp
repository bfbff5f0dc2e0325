// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/disjoint.hpp>
#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/similarity/pooled_cosine.hpp>

#include <type_traits>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/accumulators/accuracy.hpp>
#include <resect/metrics/accumulators/explained_variance.hpp>
#include <resect/metrics/accumulators/kl_profile.hpp>
#include <resect/metrics/accumulators/norm_profile.hpp>
#include <resect/metrics/accumulators/relative_error.hpp>
#include <resect/metrics/accumulators/top_k.hpp>
#include <resect/metrics/similarity/cosine_profile.hpp>
#include <resect/metrics/similarity/streaming_cka.hpp>
#include <resect/metrics/verdicts/goodhart.hpp>
#include <resect/metrics/verdicts/recovery.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

// Two parts that hold clusters 0 … 3 and 4 … 7, and one that has one more observation of cluster 2.
template <class A, class Add>
void check_disjoint(A low, A high, A again, Add add) {
  for (index_t c = 0; c < 4; ++c) add(low, c);
  for (index_t c = 4; c < 8; ++c) add(high, c);
  add(again, 2);
  A sum = low;
  REQUIRE(try_merge_disjoint(sum, high));
  A added = low;
  REQUIRE(added.merge(high));
  for (index_t c = 0; c < 8; ++c) CHECK(detail::counted(sum).count(c) == detail::counted(added).count(c));
  const resect::status refused = try_merge_disjoint(sum, again);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == resect::errc::conflict);
  CHECK(refused.error().operand.view() == "cluster 2");
  CHECK(detail::counted(sum).count(2) == detail::counted(low).count(2));  // untouched
  CHECK(sum.merge(again));                                                // exact, and allowed by that name
  CHECK(detail::counted(sum).count(2) == detail::counted(low).count(2) + detail::counted(again).count(2));
}

}  // namespace

TEST_CASE("a sequence split over two parts is refused where parts are said to share none, by every clustered type") {
  const std::vector<float> x{1, 2, 3}, y{1, 2, 4};
  const auto three = [](auto a, auto add) { check_disjoint(a, a, a, add); };
  three(clustered_sums{8}, [](auto& a, index_t c) { a.add(c, 1.5); });
  three(joint_sums<2>{8}, [](auto& a, index_t c) { a.add(c, 1.5, 1); });
  three(kl_divergence{8}, [](auto& a, index_t c) { a.add(c, 0.5); });
  three(perplexity{8}, [](auto& a, index_t c) { a.add(c, 2.5); });
  three(top1_agreement{8}, [](auto& a, index_t c) { a.add(c, 3, 3); });
  three(token_accuracy{8}, [](auto& a, index_t c) { a.add(c, index_t{3}, index_t{3}); });
  three(top_k_overlap{8, 2}, [&](auto& a, index_t c) { a.add(c, x, y); });
  three(kl_profile{8}, [](auto& a, index_t c) { a.add(c, 0.5); });
  three(cosine_profile{8}, [](auto& a, index_t c) { a.add(c, 0.5); });
  three(norm_profile{8}, [&](auto& a, index_t c) { a.add(c, c, x, y); });
  three(frobenius_error{8}, [&](auto& a, index_t c) { a.add(c, row_products(x, y)); });
  three(pooled_cosine{8}, [&](auto& a, index_t c) { a.add(c, row_products(x, y)); });
  three(explained_variance{8, 3}, [&](auto& a, index_t c) { a.add(c, x, y); });
  three(input_recoverability{8}, [](auto& a, index_t c) { a.add(c, recovery{1, 0.1, false}); });
  three(goodhart_table{8}, [](auto& a, index_t c) { a.add(c, grade::pass, grade::fail); });
  three(goodhart_arms{8}, [](auto& a, index_t c) { a.add(c, goodhart_arms::item{}, goodhart_arms::item{}); });
  std::vector<float> rows(12);
  resect::random::fill_gaussian(rows, 1, 0);
  const resect::matrix_view<const float> batch{rows.data(), 4, 3};
  three(streaming_cka{8, 4, 3, 3}, [&](auto& a, index_t c) { REQUIRE(a.try_add(c, batch, batch)); });
}

TEST_CASE("other shapes are refused as merge refuses them, and the throwing form throws") {
  clustered_sums a{4}, b{5}, c{4};
  CHECK(try_merge_disjoint(a, b).error().code == resect::errc::shape_mismatch);
  a.add(1, 2.0);
  c.add(3, 4.0);
  merge_disjoint(a, c);
  CHECK(a.total().value() == 6);
  CHECK_THROWS_AS(merge_disjoint(a, c), resect::exception);
  CHECK(a.total().value() == 6);
  STATIC_REQUIRE_FALSE(clustered_accumulator<log_histogram>);
}

}  // namespace tests
