// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/quant/gather_hessians.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;
using namespace resect::quant;
using support::expect_error;

namespace {

using resect::index_t;
using floats = std::vector<float>;

constexpr int d = 6, n_layers = 3, n_vocab = 11;

// Layers h ← h + W·h, of one matrix each, whose product a function may compute.
class linear_host {
 public:
  using value = float;
  using space = host_space;
  using own = model::own_product<float>;
  using product = model::product_function<float>;

  struct state {
    state() = default;
    state(state&&) = default;
    state& operator=(state&&) = default;
    std::vector<model::row_meta> rows;
    floats stream;
  };
  struct weight_override {};
  class product_override {
   public:
    product_override(linear_host* host, int layer) : host_(host), layer_(layer) {}
    product_override(product_override&& other) noexcept
        : host_(std::exchange(other.host_, nullptr)), layer_(other.layer_) {}
    product_override& operator=(product_override&& other) noexcept {
      std::swap(host_, other.host_);
      std::swap(layer_, other.layer_);
      return *this;
    }
    ~product_override() {
      if (host_) host_->products.erase(layer_);
    }

   private:
    linear_host* host_;
    int layer_;
  };

  linear_host() {
    desc.n_layers = n_layers, desc.d_model = d, desc.n_vocab = n_vocab, desc.fingerprint = 99;
    for (int l = 0; l < n_layers; ++l) {
      matrices.push_back({"mlp", l, 0, model::weight_role::matrix, d, d});
      values.emplace_back(d * d);
      random::fill_gaussian(values.back(), 1, static_cast<std::uint64_t>(l), 0, 0.3);
    }
  }

  const model::model_desc& describe() const { return desc; }
  model::access supports(model::site, int) const { return model::access::none; }
  status try_forward(model::batch_view, model::site_set, model::observer<float>) { return {}; }
  status try_forward(model::batch_view, const model::hooks<float>&) { return {}; }
  matrix_view<const float> logits() const { return {}; }
  void forget(std::int32_t) {}
  std::uint64_t cache_epoch(std::int32_t) const { return 0; }
  index_t cached(std::int32_t) const { return 0; }

  result<state> try_embed(model::batch_view b) {
    state s;
    s.rows.assign(b.begin(), b.end());
    for (const auto& r : b)
      for (int i = 0; i < d; ++i)
        s.stream.push_back(static_cast<float>(
            random::gaussian(7, static_cast<std::uint64_t>(r.token), static_cast<std::uint64_t>(i))));
    return s;
  }
  status try_run(state& s, int first, int last, const model::hooks<float>&) {
    const auto rows = static_cast<index_t>(s.rows.size()) - rows_lost;
    for (int l = first; l < last; ++l, ++layers_run) {
      const floats& w = values[static_cast<std::size_t>(l)];
      const auto multiply = [&](matrix_view<const float> x, matrix_view<float> y) -> status {
        for (index_t r = 0; r < x.rows; ++r)
          for (int i = 0; i < d; ++i) {
            float sum = 0;
            for (int k = 0; k < d; ++k) sum += w[static_cast<std::size_t>(i * d + k)] * x(r, k);
            y(r, i) = sum;
          }
        return {};
      };
      floats y(s.stream.size());
      const matrix_view<const float> x{s.stream.data(), rows, d};
      const matrix_view<float> out{y.data(), rows, d};
      const auto f = products.find(l);
      const status done = f == products.end() ? multiply(x, out)
                                              : f->second(matrices[static_cast<std::size_t>(l)], x, out, own(multiply));
      if (!done) return done;
      for (std::size_t i = 0; i < y.size(); ++i) s.stream[i] += y[i];
    }
    return {};
  }
  state snapshot(const state& s) {
    state copy;
    copy.rows = s.rows, copy.stream = s.stream;
    return copy;
  }
  matrix_view<float> stream(state& s) { return {s.stream.data(), static_cast<index_t>(s.rows.size()), d}; }
  model::batch_view rows(const state& s) const { return s.rows; }
  status try_head(const state&, index_t, matrix_view<float>, matrix_view<float>) { return {}; }
  std::span<const model::weight_desc> weights(int l) const {
    return std::span(matrices).subspan(static_cast<std::size_t>(l), 1);
  }
  status try_read_weight(const model::weight_desc&, matrix_view<float>) const { return {}; }
  result<weight_override> try_override_weight(const model::weight_desc&, matrix_view<const float>) {
    return weight_override{};
  }
  result<product_override> try_override_product(const model::weight_desc& w, product f) {
    products[w.layer] = std::move(f);
    return product_override(this, w.layer);
  }

  model::model_desc desc;
  std::vector<model::weight_desc> matrices;
  std::vector<floats> values;
  std::map<int, product> products;
  int layers_run = 0;
  index_t rows_lost = 0;
};
static_assert(model::product_host<linear_host>);

std::vector<model::row_meta> rows_of(int n, int seed) {
  std::vector<model::row_meta> out;
  for (int i = 0; i < n; ++i) out.push_back({0, i, (i * 5 + seed) % n_vocab, 0});
  return out;
}

}  // namespace

TEST_CASE("gather: each matrix gets the moment of the rows that it reads, pads left out, and the pass keeps its bits") {
  linear_host host;
  cpu exec;
  auto a = rows_of(9, 1), b = rows_of(4, 3);
  a[3].flags = a[4].flags = a[8].flags = model::row_meta::pad;
  const model::batch_view batches[] = {a, b};
  const model::weight_desc wanted[] = {host.matrices[1], host.matrices[0]};
  auto got = try_gather_hessians(exec, host, wanted, batches, {"stories", 5});
  REQUIRE(got);
  REQUIRE(got->size() == 2);
  CHECK(host.products.empty());
  CHECK(host.layers_run == 2 * 2);  // none after the last matrix

  hessian before_1(d), before_0(d);
  for (const auto& batch : batches) {
    auto s = host.try_embed(batch);
    REQUIRE(s);
    for (int l = 0; l < 2; ++l) {
      const auto h = host.stream(*s);
      for (index_t r = 0; r < h.rows; ++r)
        if ((batch[static_cast<std::size_t>(r)].flags & model::row_meta::pad) == 0)
          REQUIRE((l == 0 ? before_0 : before_1).try_add(exec, h.middle_rows(r, 1)));
      REQUIRE(host.try_run(*s, l, l + 1, model::no_hooks<float, host_space>()));
    }
  }
  for (int i = 0; i < 2; ++i) {
    const hessian &h = (*got)[i], &want = i == 0 ? before_1 : before_0;
    CHECK(h.rows() == 10);
    for (index_t r = 0; r < d; ++r)
      for (index_t c = 0; c <= r; ++c) CHECK(std::fabs(h(r, c) - want(r, c)) < 1e-12);
    CHECK(h.owner().layer == 1 - i);
    CHECK(h.owner().model == 99);
    CHECK(h.owner().matrix == "mlp");
    REQUIRE(h.texts().size() == 1);
    CHECK(h.texts()[0].hash == 5);
  }

  const auto run = [&] {
    auto s = host.try_embed(a);
    REQUIRE(host.try_run(*s, 0, n_layers, model::no_hooks<float, host_space>()));
    return s->stream;
  };
  const floats plain = run();
  hessian any(d);
  auto guard = host.try_override_product(host.matrices[1], [&](const auto&, auto x, auto y, const auto& own) -> status {
    REQUIRE(any.try_add(exec, x));
    return own(x, y);
  });
  CHECK(run() == plain);
  CHECK(any.rows() == 9);
}

TEST_CASE("gather: no matrix, an unknown layer and rows that are not the batch's are refused by name") {
  linear_host host;
  cpu exec;
  const auto a = rows_of(5, 1);
  const model::batch_view batches[] = {a};
  auto gain = host.matrices[0];
  gain.role = model::weight_role::norm_gain;
  expect_error(try_gather_hessians(exec, host, std::span(&gain, 1), batches, {"t", 1}), errc::invalid_argument,
               {"layer 0, mlp", "a matrix of one of 3 layers"});
  auto beyond = host.matrices[0];
  beyond.layer = 3;
  expect_error(try_gather_hessians(exec, host, std::span(&beyond, 1), batches, {"t", 1}), errc::invalid_argument,
               {"layer 3"});
  const model::weight_desc twice[] = {host.matrices[1], host.matrices[1]};
  expect_error(try_gather_hessians(exec, host, twice, batches, {"t", 1}), errc::conflict, {"layer 1, mlp", "twice"});
  host.rows_lost = 1;
  expect_error(try_gather_hessians(exec, host, std::span(&host.matrices[0], 1), batches, {"t", 1}),
               errc::shape_mismatch, {"mlp of layer 0", "4", "5, those of the batch"});
  CHECK(host.products.empty());
}
