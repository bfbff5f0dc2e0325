// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdlib>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <resect/metrics/accumulators/accuracy.hpp>
#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/column_mean.hpp>
#include <resect/metrics/accumulators/delta_nll.hpp>
#include <resect/metrics/accumulators/disjoint.hpp>
#include <resect/metrics/accumulators/explained_variance.hpp>
#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/accumulators/kl_profile.hpp>
#include <resect/metrics/accumulators/norm_profile.hpp>
#include <resect/metrics/accumulators/paired_tokens.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/accumulators/relative_error.hpp>
#include <resect/metrics/accumulators/top_k.hpp>
#include <resect/metrics/intervals/two_way.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/metrics/rows/sharded.hpp>
#include <resect/metrics/similarity/angular_table.hpp>
#include <resect/metrics/similarity/centred_cosine.hpp>
#include <resect/metrics/similarity/cosine.hpp>
#include <resect/metrics/similarity/cosine_profile.hpp>
#include <resect/metrics/similarity/covariance_cka.hpp>
#include <resect/metrics/similarity/pooled_cosine.hpp>
#include <resect/metrics/similarity/streaming_cka.hpp>
#include <resect/metrics/verdicts/goodhart.hpp>
#include <resect/metrics/verdicts/paired_items.hpp>
#include <resect/metrics/verdicts/recovery.hpp>
#include <resect/random/distributions.hpp>
#include <support/catch.hpp>

namespace {
thread_local long allocations = 0;
}

// All plain forms are replaced together, so that none is left to a sanitizer's own.
[[gnu::noinline]] void* operator new(std::size_t n) {
  ++allocations;
  if (void* p = std::malloc(n > 0 ? n : 1)) return p;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(n > 0 ? n : 1);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void* operator new[](std::size_t n) { return operator new(n); }
void* operator new[](std::size_t n, const std::nothrow_t& t) noexcept { return operator new(n, t); }
void operator delete[](void* p) noexcept { operator delete(p); }
void operator delete[](void* p, std::size_t) noexcept { operator delete(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { operator delete(p); }

namespace tests {

using namespace resect::metrics;
using resect::index_t;

TEST_CASE("add, merge, estimate and the row kernels never allocate") {
  std::vector<float> x(1000), y(1000);
  resect::random::fill_gaussian(x, 1, 0);
  resect::random::fill_gaussian(y, 1, 1);
  perplexity p{8}, p2{8};
  paired_delta d{8};
  kl_divergence k{8};
  top1_agreement t{8};
  mean_cosine c{8};
  norm_profile n{8}, n2{8};
  moments m;
  log_histogram h;
  std::vector<clustered_sums> seeds(5, clustered_sums{8});
  double sink = 0;

  const long before = allocations;
  for (index_t i = 0; i < 64; ++i) {
    const logit_comparison row = compare_logits(x, y, i);
    p.add(i % 8, row.nll_full);
    p2.add(i % 8, row.nll_edited);
    d.add(i % 8, row.nll_full, row.nll_edited);
    k.add(i % 8, row.kl);
    t.add(i % 8, row.top1_full, row.top1_edited, row.tie_full);
    c.add(i % 8, std::span<const float>(x), std::span<const float>(y));
    n.add(i % 8, i / 8, x, y);
    n2.add(i % 8, i / 8, y, x);
    m.add(row.kl);
    h.add(row.nll_full);
    for (clustered_sums& s : seeds) s.add(i % 8, row.kl);
    sink += static_cast<double>(row_argmax(x).id) + log_sum_exp(x);
  }
  if (!p.merge(p2) || !n.merge(n2)) sink += 1;
  sink += p.estimate().hi + p.estimate_tokens().se + d.estimate().se + k.estimate().value + t.estimate().value +
          c.estimate().value + n.rest().p99_norm() + n.influence().estimate().lo + m.sd() + h.quantile(0.5) +
          try_two_way(seeds)->mean.se;
  const long after = allocations;
  CHECK(after == before);
  CHECK(sink == sink);
  // The counter counts (the pointer escapes, so that the allocation cannot be left out).
  std::vector<int> made(10);
  asm volatile("" : : "r"(made.data()) : "memory");
  CHECK(allocations > after);
}

TEST_CASE("the accumulators of rows, predictions and items never allocate either") {
  constexpr index_t d = 100;
  std::vector<float> x(10 * d), y(10 * d);
  std::vector<double> mean(d);
  resect::random::fill_gaussian(x, 1, 0);
  resect::random::fill_gaussian(y, 1, 1);
  const resect::matrix_view<const float> vx{x.data(), 10, d, d, 1}, vy{y.data(), 10, d, d, 1};
  const auto row = [&](const std::vector<float>& a, index_t r) {
    return std::span<const float>(a.data() + r * d, static_cast<std::size_t>(d));
  };
  mean_relative_error relative{8};
  mean_centred_cosine centred{8};
  frobenius_error frobenius{8}, frobenius2{8};
  pooled_cosine pooled{8};
  kl_profile kl{8};
  explained_variance explained{8, d}, explained2{8, d};
  token_accuracy accuracy{8};
  top_k_overlap overlap{8, 10};
  goodhart_table goodhart{8};
  mean_angular_distance angle{8};
  angular_table angles{8, 10}, angles2{8, 10};
  input_recoverability recoverable{8};
  streaming_cka cka{8, 10, d, d}, cka2{8, 10, d, d};
  covariance_cka plain_cka{10, d, d}, plain_cka2{10, d, d};
  cosine_profile cosines{8}, apart{16};
  paired_tokens tokens{8}, more_tokens{8};
  double sink = 0;

  const long before = allocations;
  for (index_t i = 0; i < 64; ++i) {
    const auto a = row(x, i % 10), b = row(y, i % 10);
    const centred_sums s = centred_products(a, b, mean);
    relative.add(i % 8, s);
    centred.add(i % 8, s);
    frobenius.add(i % 8, s);
    frobenius2.add(i % 8, s);
    pooled.add(i % 8, s);
    kl.add(i % 8, s.dd);
    explained.add(i % 8, a, b);
    explained2.add(i % 8, b, a);
    accuracy.add(i % 8, i, row_argmax(a));
    overlap.add(i % 8, a, b);
    goodhart.add(i % 8, grade::pass, i % 3 ? grade::pass : grade::fail);
    angle.add(i % 8, a, b);
    recoverable.add(i % 8, recover_input(a, vy, i % 10, {1, i, 0}));
    cosines.add(i % 8, a, b);
    tokens.add(i % 8, s.aa, s.bb);
    more_tokens.add(i % 8, s.bb, s.aa);
    if (!plain_cka.try_add(vx, vy) || !plain_cka2.try_add(vy, vx)) sink += 1;
    if (!angles.try_add(i % 8, vx) || !angles2.try_add(i % 8, vy)) sink += 1;
    if (!cka.try_add(i % 8, vx, vy) || !cka2.try_add(i % 8, vy, vx)) sink += 1;
  }
  if (!frobenius.merge(frobenius2) || !explained.merge(explained2) || !cka.merge(cka2)) sink += 1;
  if (!angles.merge(angles2) || angles.best_block(3) < 0) sink += 1;
  if (!plain_cka.merge(plain_cka2) || !tokens.merge(more_tokens)) sink += 1;
  if (try_merge_disjoint(tokens, more_tokens) || try_merge_disjoint(cosines, apart)) sink += 1;
  sink += plain_cka.value() + cosines.p01() + tokens.rms_delta_p().se + tokens.correlation() + tokens.ratio_tokens().hi;
  sink += relative.estimate().se + centred.estimate().se + frobenius.estimate().se + pooled.estimate().se + kl.p99() +
          accuracy.estimate().value + overlap.estimate().value + goodhart.conditional_gap().value +
          angle.estimate().value + recoverable.margin().value + cka.estimate().value;
  CHECK(allocations == before);
  CHECK(sink == sink);
}

TEST_CASE("shards of rows, questions about rows and accumulators of two arms never allocate") {
  constexpr index_t d = 100;
  std::vector<float> x(10 * d), y(10 * d);
  resect::random::fill_gaussian(x, 1, 0);
  resect::random::fill_gaussian(y, 1, 1);
  const resect::matrix_view<const float> vx{x.data(), 10, d, d, 1};
  const auto part = [&](const std::vector<float>& a, index_t first, index_t n) {
    return std::span<const float>(a.data() + first, static_cast<std::size_t>(n));
  };
  goodhart_arms arms{8}, more_arms{8};
  paired_items items, more_items;
  reconstruction_fidelity<negatives_from::anywhere> anywhere{8};
  reconstruction_fidelity<negatives_from::same_sequence> near{8};
  reconstruction_fidelity<negatives_from::other_sequences> far{8};
  double sink = 0;

  const long before = allocations;
  for (index_t i = 0; i < 64; ++i) {
    logit_shard all(part(x, 0, 400), part(y, 0, 400), 0, i);
    all.merge(logit_shard(part(x, 400, 600), part(y, 400, 600), 400, i));
    sink += all.finish().kl;
    const grade a = i % 3 ? grade::pass : grade::fail, b = i % 5 ? grade::pass : grade::fail;
    arms.add(i % 8, {a, b}, {b, a});
    more_arms.add(i % 8, {b, a}, {a, a});
    items.add(a, b);
    more_items.add(b, a);
    const auto row = part(y, (i % 10) * d, d);
    anywhere.add(i % 8, recover_row(row, vx, i % 10, negatives_from::anywhere, {}, {1, i, 0}));
    near.add(i % 8, recover_row(row, vx, i % 10, negatives_from::same_sequence, {0, 10}, {1, i, 0}));
    far.add(i % 8, recover_row(row, vx, i % 10, negatives_from::other_sequences, {i % 10, i % 10 + 1}, {1, i, 0}));
  }
  if (!arms.merge(more_arms)) sink += 1;
  items.merge(more_items);
  sink += arms.execution_change().hi + items.difference().hi + anywhere.margin().value + near.estimate().value +
          far.estimate().value;
  CHECK(allocations == before);
  CHECK(sink == sink);
}

TEST_CASE("what adds to an accumulator, compares rows or takes in a part throws nothing") {
  using row = std::span<const float>;
  using matrix = resect::matrix_view<const float>;
  const auto adds = []<class A, class... Args>(A*, Args...) {
    return noexcept(std::declval<A&>().add(std::declval<Args>()...));
  };
  const auto tries = []<class A, class... Args>(A*, Args...) {
    return noexcept(std::declval<A&>().try_add(std::declval<Args>()...));
  };
  const index_t i = 0;
  const row r;
  const matrix m;
  CHECK(adds(static_cast<clustered_sums*>(nullptr), i, 0.0));
  CHECK(adds(static_cast<perplexity*>(nullptr), i, 0.0));
  CHECK(adds(static_cast<paired_delta*>(nullptr), i, 0.0, 0.0));
  CHECK(adds(static_cast<kl_divergence*>(nullptr), i, 0.0));
  CHECK(adds(static_cast<kl_profile*>(nullptr), i, 0.0));
  CHECK(adds(static_cast<top1_agreement*>(nullptr), i, i, i));
  CHECK(adds(static_cast<token_accuracy*>(nullptr), i, i, row_top{}));
  CHECK(adds(static_cast<item_accuracy*>(nullptr), i, row_top{}));
  CHECK(adds(static_cast<top_k_overlap*>(nullptr), i, r, r));
  CHECK(adds(static_cast<mean_cosine*>(nullptr), i, r, r));
  CHECK(adds(static_cast<cosine_profile*>(nullptr), i, r, r));
  CHECK(adds(static_cast<mean_relative_error*>(nullptr), i, row_sums{}));
  CHECK(adds(static_cast<mean_centred_cosine*>(nullptr), i, centred_sums{}));
  CHECK(adds(static_cast<frobenius_error*>(nullptr), i, row_sums{}));
  CHECK(adds(static_cast<pooled_cosine*>(nullptr), i, row_sums{}));
  CHECK(adds(static_cast<explained_variance*>(nullptr), i, r, r));
  CHECK(adds(static_cast<norm_profile*>(nullptr), i, i, r, r));
  CHECK(adds(static_cast<column_mean*>(nullptr), r));
  CHECK(adds(static_cast<mean_angular_distance*>(nullptr), i, r, r));
  CHECK(adds(static_cast<goodhart_table*>(nullptr), i, grade::pass, grade::fail));
  CHECK(adds(static_cast<paired_items*>(nullptr), grade::pass, grade::fail));
  CHECK(adds(static_cast<paired_tokens*>(nullptr), i, 0.0, 0.0));
  CHECK(adds(static_cast<input_recoverability*>(nullptr), i, recovery{}));
  CHECK(adds(static_cast<moments*>(nullptr), 0.0));
  CHECK(adds(static_cast<log_histogram*>(nullptr), 0.0));
  CHECK(tries(static_cast<angular_table*>(nullptr), i, m));
  CHECK(tries(static_cast<streaming_cka*>(nullptr), i, m, m));
  CHECK(tries(static_cast<covariance_cka*>(nullptr), m, m));
  CHECK(noexcept(std::declval<logit_shard&>().merge(std::declval<const logit_shard&>())));
  CHECK((noexcept(compare_logits(r, r, i)) && noexcept(row_products(r, r)) && noexcept(row_argmax(r))));
}

TEST_CASE("accumulators are values: copies are independent, moves and assignments work") {
  STATIC_REQUIRE(std::is_copy_constructible_v<perplexity>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<norm_profile>);
  STATIC_REQUIRE(std::is_copy_assignable_v<top1_agreement>);
  STATIC_REQUIRE(std::is_default_constructible_v<mean_cosine>);
  kl_divergence a{6};
  a.add(0, 1.0);
  kl_divergence b = a;
  b.add(1, 2.0);
  CHECK(a.estimate().n == 1);
  CHECK(b.estimate().n == 2);
  a = b;
  CHECK(a.estimate().n == 2);
}

}  // namespace tests
