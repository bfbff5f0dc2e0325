// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/accuracy.hpp>
#include <resect/metrics/accumulators/agreement.hpp>

#include <cmath>
#include <concepts>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

TEST_CASE("three of seven items: accuracy with Wilson's interval") {
  item_accuracy a;
  const index_t label[] = {1, 2, 3, 4, 5, 6, 7}, predicted[] = {1, 2, 3, 0, 0, 0, 0};
  for (int i = 0; i < 7; ++i) a.add(label[i], predicted[i]);
  CHECK(a.estimate().value == Approx(3.0 / 7).epsilon(1e-15));
  CHECK(a.estimate().lo == Approx(0.158).margin(0.001));
  CHECK(a.estimate().hi == Approx(0.7495).margin(0.001));
  CHECK(a.correct() == 3);
}

TEST_CASE("ties go to the lowest id and are counted; what row_argmax finds can be added") {
  const std::vector<float> row{1, 3, 3, 2};
  item_accuracy item;
  token_accuracy token{1};
  item.add(1, row_argmax(row));
  item.add(2, row_argmax(row));
  token.add(0, 1, row_argmax(row));
  token.add(0, 2, row_argmax(row));
  CHECK(item.correct() == 1);
  CHECK(item.ties() == 2);
  CHECK(token.estimate().value == 0.5);
  CHECK(token.ties() == 2);
}

TEST_CASE("accuracy over tokens is clustered: tokens that repeat their cluster's fate do not narrow the interval") {
  token_accuracy tokens{20};
  item_accuracy items;
  draws d{1};
  for (index_t c = 0; c < 20; ++c) {
    const index_t right = d.uniform() < 0.5 ? 1 : 0;
    for (int k = 0; k < 50; ++k) {
      tokens.add(c, index_t{1}, right);
      items.add(1, right);
    }
  }
  CHECK(tokens.estimate().value == items.estimate().value);
  CHECK(tokens.estimate().hi - tokens.estimate().lo > 5 * (items.estimate().hi - items.estimate().lo));
}

TEST_CASE("accuracies merge to one pass") {
  const auto feed = [](auto& a, index_t i) {
    draws d{4, static_cast<std::uint64_t>(i)};
    const index_t label = d.below(3), predicted = d.below(3);
    if constexpr (std::same_as<std::remove_reference_t<decltype(a)>, item_accuracy>) a.add(label, predicted);
    else a.add(i % 8, label, predicted);
  };
  const auto make_item = [] { return item_accuracy{}; };
  const auto make_token = [] { return token_accuracy{8}; };
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    CHECK(same_estimate(merged_from_parts(seed, 4, 200, make_item, feed).estimate(),
                        one_pass(200, make_item, feed).estimate(), 0));
    CHECK(same_estimate(merged_from_parts(seed, 4, 200, make_token, feed).estimate(),
                        one_pass(200, make_token, feed).estimate()));
  }
}

template <class A, class B>
concept merges_with = requires(A a, const B& b) { a.merge(b); };

TEST_CASE("agreement with a model is not accuracy: the types do not merge") {
  STATIC_REQUIRE(merges_with<token_accuracy, token_accuracy>);
  STATIC_REQUIRE_FALSE(merges_with<token_accuracy, top1_agreement>);
  STATIC_REQUIRE_FALSE(merges_with<top1_agreement, token_accuracy>);
  STATIC_REQUIRE_FALSE(merges_with<item_accuracy, token_accuracy>);
}

TEST_CASE("an item without a prediction or a label gives no estimate") {
  const std::vector<float> bad{1, std::numeric_limits<float>::quiet_NaN()};
  item_accuracy item;
  item.add(0, 0);
  item.add(0, row_argmax(bad));
  CHECK(item.invalid() == 1);
  CHECK(std::isnan(item.estimate().value));
  for (const index_t label : {index_t{0}, index_t{-1}}) {
    token_accuracy token{6};
    for (index_t c = 0; c < 6; ++c) token.add(c, index_t{0}, index_t{0});
    token.add(0, label, index_t{label == 0 ? -1 : 0});
    CHECK(std::isnan(token.estimate().value));
  }
  CHECK(std::isnan(item_accuracy{}.estimate().value));
}

}  // namespace tests
