// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <resect/compress/packed_decomposition.hpp>
#include <resect/core/float16.hpp>
#include <resect/metrics/accumulators/accuracy.hpp>
#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/column_mean.hpp>
#include <resect/metrics/accumulators/delta_nll.hpp>
#include <resect/metrics/accumulators/explained_variance.hpp>
#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/accumulators/kl_profile.hpp>
#include <resect/metrics/accumulators/norm_profile.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/accumulators/quantiles.hpp>
#include <resect/metrics/accumulators/relative_error.hpp>
#include <resect/metrics/accumulators/top_k.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/metrics/similarity/centred_cosine.hpp>
#include <resect/metrics/similarity/cosine.hpp>
#include <resect/metrics/similarity/pooled_cosine.hpp>
#include <resect/model/widened_host.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/capture.hpp>
#include <resect/residual/codec.hpp>
#include <resect/residual/noise.hpp>
#include <resect/residual/norm_matching.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/patch.hpp>
#include <resect/residual/resample.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/select.hpp>
#include <resect/residual/steer.hpp>
#include <support/catch.hpp>

#include "allocation_count.hpp"
#include "still_host.hpp"

// What runs once a token or once a tap takes no memory. Everything is made
// first; then only the calls are counted.
namespace {

using namespace resect;
using namespace resect::residual;

constexpr int width = 64;
constexpr int n_layers = 4;

template <class F>
long allocated_by(F f) {
  const long before = embedding::allocations();
  f();
  return embedding::allocations() - before;
}

bool can_count() {
  if (embedding::allocations() >= 0) return true;
  std::puts("skipped: allocations cannot be counted on this system");
  return false;
}

std::vector<row_meta> batch_of(int sequences, int length) {
  std::vector<row_meta> out;
  for (std::int32_t s = 0; s < sequences; ++s)
    for (std::int32_t p = 0; p < length; ++p) out.push_back({s, p, s * length + p, row_meta::wants_logits});
  mark_ends(out);
  return out;
}

// Allocations of a pass under the plan, counted from the second pass on as an
// engine's own memory would be.
long allocated_by_pass(const plan& p, const std::vector<row_meta>& batch) {
  embedding::still_host host{n_layers, width, static_cast<resect::index_t>(batch.size())};
  pass_memory memory;
  REQUIRE(try_forward(host, p, batch, memory).has_value());
  const std::vector<float> first(host.logits().data, host.logits().data + host.logits().rows * width);
  status done;
  const long n = allocated_by([&] { done = try_forward(host, p, batch, memory); });
  REQUIRE(done.has_value());
  const auto bound = schedule::try_make(host, p);
  REQUIRE(bound.has_value());
  CHECK(allocated_by([&] { done = try_forward(host, *bound, batch); }) == 0);  // with no memory of its own, too
  REQUIRE(done.has_value());
  CHECK(std::equal(first.begin(), first.end(), host.logits().data));
  return n;
}

}  // namespace

TEST_CASE("every way of taking memory is counted") {
  if (!can_count()) return;
  void* volatile p = nullptr;
  CHECK(allocated_by([&] { p = std::malloc(10); }) == 1);
  CHECK(allocated_by([&] { p = std::realloc(p, 100000); }) >= 1);
  std::free(p);
  CHECK(allocated_by([&] { p = std::calloc(3, 5); }) == 1);
  std::free(p);
  CHECK(allocated_by([&] { p = std::aligned_alloc(64, 64); }) == (embedding::counts_aligned_alloc ? 1 : 0));
  std::free(p);
  CHECK(allocated_by([&] { p = ::operator new(7); }) == 1);
  ::operator delete(p);
  CHECK(allocated_by([&] { p = ::operator new(64, std::align_val_t{64}); }) == 1);
  ::operator delete(p, std::align_val_t{64});
  std::vector<int> v;
  CHECK(allocated_by([&] { v.resize(100); }) == 1);
}

TEST_CASE("adding a token to any accumulator takes no memory") {
  if (!can_count()) return;
  std::vector<float> x(1000), y(1000);
  random::fill_gaussian(x, 1, 0);
  random::fill_gaussian(y, 1, 1);
  const std::vector<double> mean(x.size(), 0.01);
  metrics::perplexity perplexity{4};
  metrics::paired_delta delta{4};
  metrics::kl_divergence kl{4};
  metrics::kl_profile kl_profile{4};
  metrics::top1_agreement top1{4};
  metrics::top_k_overlap top5{4, 5};
  metrics::item_accuracy items;
  metrics::token_accuracy tokens{4};
  metrics::mean_cosine cosine{4};
  metrics::mean_centred_cosine centred{4};
  metrics::frobenius_error frobenius{4};
  metrics::pooled_cosine pooled{4};
  metrics::norm_profile norms{4};
  metrics::column_mean columns{1000};
  metrics::explained_variance variance{4, 1000};
  metrics::moments moments;
  metrics::log_histogram histogram;
  const long n = allocated_by([&] {
    for (resect::index_t i = 0; i < 32; ++i) {
      const resect::index_t c = i % 4;
      const metrics::logit_comparison row = metrics::compare_logits(x, y, i);
      const metrics::row_sums sums = metrics::row_products(x, y);
      perplexity.add(c, row.nll_full);
      delta.add(c, row.nll_full, row.nll_edited);
      kl.add(c, row.kl);
      kl_profile.add(c, row.kl);
      top1.add(c, row.top1_full, row.top1_edited);
      top5.add(c, x, y);
      items.add(i, metrics::row_argmax(x));
      tokens.add(c, i, metrics::row_argmax(y));
      cosine.add(c, std::span<const float>(x), std::span<const float>(y));
      centred.add(c, metrics::centred_products(x, y, mean));
      frobenius.add(c, sums);
      pooled.add(c, sums);
      norms.add(c, i, x, y);
      columns.add(x);
      variance.add(c, x, y);
      moments.add(row.kl);
      histogram.add(row.kl);
    }
  });
  CHECK(n == 0);
  CHECK(kl.estimate().n == 32);
  CHECK(variance.estimate().n == 32);
}

TEST_CASE("comparing rows of bf16, and widening them, takes no memory") {
  if (!can_count()) return;
  std::vector<float> x(5000), memory(5000);
  random::fill_gaussian(x, 3, 0);
  std::vector<bf16> a(x.size()), b(x.size());
  convert(x, a);
  convert(x, b);
  double sum = 0;
  const long n = allocated_by([&] {
    sum += metrics::compare_logits(a, b, 7).nll_full + metrics::compare_logits(a, x, 7).nll_edited;
    sum += metrics::log_sum_exp(a) + metrics::nll(a, 7) + static_cast<double>(metrics::row_argmax(a).id);
    sum += metrics::row_products(a, b).dot + metrics::row_products(x, b).dd;
    sum += static_cast<double>(widened(a, memory)[7]) + static_cast<double>(widened(x, memory)[7]);
  });
  CHECK(n == 0);
  CHECK(sum > 0);
}

TEST_CASE("draws by position take no memory") {
  if (!can_count()) return;
  std::vector<float> x(999);
  const random::philox_stream stream{1, 2};
  double sum = 0;
  CHECK(allocated_by([&] {
          random::fill_gaussian(x, 5, 6, 7, 2.0);
          for (std::uint64_t i = 0; i < 100; ++i)
            sum += random::gaussian(stream, i) + random::uniform(stream, i) +
                   static_cast<double>(random::integer_below(stream, i, 10 + i));
        }) == 0);
  CHECK(sum != 0);
}

TEST_CASE("the functions of steps take no memory at a tap") {
  if (!can_count()) return;
  std::vector<float> direction(width, 0.5f);
  delta_means means{n_layers, width, 1, 1, 1, std::vector<float>(n_layers * width, 0.5f)};
  const auto place = site::resid_post;
  const step steps[] = {
      scale_delta(layer(1), 0.5f),
      scale_delta(layer(1), 0.5f, delta::mlp),
      skip(layer(1)),
      zero_stream(layer(1)),
      mean_delta(layer(1), means),
      noise(layer(1), place, 0.1f, 3),
      steer(steering::add{}, layer(1), place, direction, 2.0f),
      steer(steering::keep_norm{}, layer(1), place, direction, 2.0f),
      steer(steering::clamp{}, layer(1), place, direction, 2.0f),
      steer(steering::relative{}, layer(1), place, direction, 0.5f),
      steer(steering::project_out{}, layer(1), place, direction),
      match_norm(steer(steering::add{}, layer(1), place, direction, 2.0f), global_scalar{0.5f}),
      at(range(0, 3), zero_stream(layer(1))),
      at(last(), scale_delta(layer(1), 0.5f)),
      replace_span(
          layer(1), [](const tap&, matrix_view<const float> in, matrix_view<float> out) { out(0, 0) = in(0, 0); }, 1),
  };
  const auto batch = batch_of(1, 5);
  std::vector<float> rows(5 * width, 1.5f), inputs(5 * width, 1.0f);
  const matrix_view<float> h{rows.data(), 5, width};
  const matrix_view<const float> in{inputs.data(), 5, width};
  for (const step& s : steps) {
    INFO(s.name.view());
    CHECK(allocated_by([&] {
            const tap where{place, 1, batch};
            static_cast<void>(s.op.apply(where, s.what == form::rows ? matrix_view<const float>{} : in, h));
          }) == 0);
  }
}

TEST_CASE("a pass under a plan of row steps takes no memory") {
  if (!can_count()) return;
  std::vector<float> direction(width, 0.5f);
  const auto p = plan{} | scale_delta(layer(0), 0.5f, delta::attention) | scale_delta(layers(1, 3), 0.0f, delta::mlp) |
                 steer(steering::add{}, layers(0, n_layers), site::resid_mid, direction, 2.0f) |
                 noise(layer(2), site::resid_pre, 0.1f, 3) | at(range(1, 4), zero_stream(layer(3)));
  CHECK(allocated_by_pass(p, batch_of(1, 7)) == 0);
  CHECK(allocated_by_pass(plan{}, batch_of(3, 7)) == 0);
}

TEST_CASE("matching norms takes no memory once the pass's own has grown, by any policy") {
  if (!can_count()) return;
  const auto batch = batch_of(2, 7);
  const auto rows = static_cast<resect::index_t>(batch.size());
  std::vector<float> values(batch.size() * width, 0.25f);
  row_norms teacher;
  teacher.add({site::resid_post, 1, batch}, matrix_view<const float>{values.data(), rows, width});
  const auto added = steer(steering::add{}, layer(1), site::resid_post, std::vector<float>(width, 0.5f), 2.0f);
  const plan plans[] = {
      plan{} | match_norm(added, per_row_original{}),
      plan{} | match_norm(added, per_row_teacher{teacher}),
      plan{} | match_norm(scale_delta(layer(1), 0.5f),
                          per_channel_affine{std::vector<float>(width, 0.5f), std::vector<float>(width, 0.1f)}),
      plan{} | match_norm(scale_delta(layer(1), 0.5f), global_scalar{0.5f}),
  };
  for (const plan& p : plans) {
    embedding::still_host host{n_layers, width, rows};
    pass_memory memory;
    status done;
    for (int pass = 0; pass < 2; ++pass) {  // then blocks of the scratch have become one
      done = try_forward(host, p, batch, memory);
      REQUIRE(done.has_value());
    }
    CHECK(allocated_by([&] { done = try_forward(host, p, batch, memory); }) == 0);
    CHECK(done.has_value());
  }
}

TEST_CASE("a pass under any plan takes no memory once its own has grown") {
  if (!can_count()) return;
  delta_means means{n_layers, width, 1, 1, 1, std::vector<float>(n_layers * width, 0.5f)};
  const auto scattered = token_in({0, 2, 9});
  const auto p =
      plan{} | scale_delta(layer(0), 0.5f) | mean_delta(layer(1), means) | at(scattered, scale_delta(layer(2), 0.25f)) |
      match_norm(
          at(scattered, steer(steering::add{}, layer(0), site::resid_mid, std::vector<float>(width, 0.5f), 2.0f))) |
      replace_span(
          layer(3), [](const tap&, matrix_view<const float> in, matrix_view<float> out) { out(0, 0) = in(0, 0); }, 1);
  const auto batch = batch_of(2, 7);
  embedding::still_host host{n_layers, width, static_cast<resect::index_t>(batch.size())};
  pass_memory memory;
  status done;
  CHECK(allocated_by([&] { done = try_forward(host, p, batch, memory); }) > 0);
  REQUIRE(done.has_value());
  const std::vector<float> first(host.logits().data, host.logits().data + host.logits().rows * width);
  done = try_forward(host, p, batch, memory);  // blocks of the scratch become one
  for (int pass = 0; pass < 3; ++pass) {
    CHECK(allocated_by([&] { done = try_forward(host, p, batch, memory); }) == 0);
    CHECK(std::equal(first.begin(), first.end(), host.logits().data));
  }
  const auto fewer = batch_of(1, 3);
  CHECK(allocated_by([&] { done = try_forward(host, p, fewer, memory); }) == 0);
  REQUIRE(done.has_value());
}

TEST_CASE("operators that read stored rows take no memory once the pass's own has grown, nor does a coder") {
  if (!can_count()) return;
  struct halves {  // a coder of the first half of a row
    std::string_view id = "embedding.halves/1";
    void fields(field_visitor&) const {}
    index_t d = 0;
    index_t width() const noexcept { return d; }
    index_t features() const noexcept { return d / 2; }
    void encode(std::span<const float> h, std::span<float> f) const noexcept {
      for (std::size_t i = 0; i < f.size(); ++i) f[i] = h[i];
    }
    void decode(std::span<const float> f, std::span<float> h) const noexcept {
      for (std::size_t i = 0; i < h.size(); ++i) h[i] = i < f.size() ? f[i] : 0.0f;
    }
  };
  const auto batch = batch_of(2, 7);
  const auto rows = static_cast<index_t>(batch.size());
  embedding::still_host host{n_layers, width, rows};
  row_store post(site::resid_post, layers(0, n_layers), width, rows);
  auto deltas = row_store::of_block_deltas(layers(0, n_layers), width, rows);
  REQUIRE(try_capture(host, plan{}, batch, post).has_value());
  REQUIRE(try_capture(host, plan{}, batch, deltas).has_value());
  std::vector<float> basis(width, 0.0f);
  basis[1] = 1.0f;
  const shared_value<row_store> source(std::move(post));
  const auto chosen = token_in({0, 2, 9});
  const auto p = plan{} | resample_delta(layer(0), std::move(deltas), 1, resample_from::any_row) |
                 at(chosen, patch(patch_direction::noise, layer(1), site::resid_post, source)) |
                 subspace_swap(layer(2), site::resid_post, {basis.data(), width, 1}, source) |
                 splice(codec_error::keep, layer(3), site::resid_post, halves{.d = width}, edit_feature{1, 0, 1}) |
                 splice(codec_error::drop, layer(2), site::resid_post, halves{.d = width});
  const auto bound = schedule::try_make(host, p);
  REQUIRE(bound.has_value());
  pass_memory memory;
  status done;
  for (int pass = 0; pass < 2; ++pass) {
    done = try_forward(host, *bound, batch, memory);
    REQUIRE(done.has_value());
  }
  for (int pass = 0; pass < 3; ++pass)
    CHECK(allocated_by([&] { done = try_forward(host, *bound, batch, memory); }) == 0);
  CHECK(done.has_value());
}

TEST_CASE("a pass of a widened host takes no memory once its own has grown") {
  if (!can_count()) return;
  const auto batch = batch_of(2, 7);
  embedding::basic_still_host<bf16> inner{n_layers, width, static_cast<resect::index_t>(batch.size())};
  widened_host host(inner);
  const auto p = plan{} | scale_delta(layer(0), 0.5f) |
                 steer(steering::add{}, layer(2), site::resid_mid, std::vector<float>(width, 0.5f), 2.0f);
  pass_memory memory;
  status done;
  CHECK(allocated_by([&] { done = try_forward(host, p, batch, memory); }) > 0);
  REQUIRE(done.has_value());
  done = try_forward(host, p, batch, memory);  // blocks of the scratch become one
  for (int pass = 0; pass < 3; ++pass) {
    REQUIRE(done.has_value());
    CHECK(allocated_by([&] { done = try_forward(host, p, batch, memory); }) == 0);
  }
}

// Products that take no memory of their own.
struct plain_backend : inline_executor {
  using space = host_space;
  static status try_gemm(float alpha, matrix_view<const float> a, matrix_view<const float> b, float beta,
                         matrix_view<float> c) {
    for (resect::index_t i = 0; i < c.rows; ++i)
      for (resect::index_t j = 0; j < c.cols; ++j) {
        float sum = 0;
        for (resect::index_t k = 0; k < a.cols; ++k) sum += a(i, k) * b(k, j);
        c(i, j) = alpha * sum + (beta == 0 ? 0.0f : beta * c(i, j));
      }
    return {};
  }
};

TEST_CASE("Q·x + L·(R·x) takes no memory once its working memory has grown") {
  if (!can_count()) return;
  using q_format = quant::affine_symmetric<2, quant::f16_store>;
  using factor_format = quant::affine_symmetric<4, quant::f16_store>;
  plain_backend exec;
  matrix<float> w(20, 24), l(3, 20), r(3, 24), x(5, 24), y(5, 20);
  std::uint64_t stream = 0;
  for (matrix<float>* const m : {&w, &l, &r, &x}) random::fill_gaussian(m->data.span(), 1, ++stream);
  compress::decomposition<q_format, factor_format> d;
  d.q = quant::quantize(exec, w, q_format{.group = 8});
  d.factors = {quant::quantize(exec, l, factor_format{}), quant::quantize(exec, r, factor_format{})};
  const auto packed = value_or_throw(compress::packed_decomposition<q_format, factor_format>::try_make(d));
  scratch memory;
  bool done = true;
  const auto run = [&] { done = done && packed.try_apply(exec, x.view(), y.view(), memory); };
  run();
  run();
  CHECK(allocated_by(run) == 0);
  CHECK(done);
}
