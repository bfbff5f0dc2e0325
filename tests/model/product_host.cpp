// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/catch.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/model/host.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/swap_matrix.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::model::own_product;
using resect::model::weight_desc;

namespace {

using llama = hosts::llama_host;
static_assert(resect::model::product_host<llama>);

const weight_desc& weight_named(const llama& host, int layer, std::string_view name) {
  for (const auto& w : host.weights(layer))
    if (w.name == name) return w;
  throw std::runtime_error("no such weight");
}

// Logits by partial passes, by a whole pass, and by a pass whose last rows continue a cache.
std::vector<floats> all_ways(llama& host, const std::vector<row_meta>& batch) {
  std::vector<floats> out{by_surgery(host, plan{}, batch), by_forward(host, plan{}, batch)};
  forget_all(host, batch);
  std::vector<row_meta> first, rest;
  for (const auto& row : batch) (row.pos < 2 ? first : rest).push_back(row);
  forward(host, plan{}, first);
  forward(host, plan{}, rest);
  out.push_back(copied(host.logits()));
  forget_all(host, batch);
  return out;
}

std::vector<float> other_values(const llama& host, const weight_desc& w) {
  std::vector<float> values(static_cast<std::size_t>(w.rows * w.cols));
  value_or_throw(host.try_read_weight(w, {values.data(), w.rows, w.cols}));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= i % 3 == 0 ? -1.0f : 0.5f;
  return values;
}

}  // namespace

TEST_CASE("a product that is overridden by the host's own changes no bit, in whole, partial and continued passes") {
  llama_setting s;
  const auto want = all_ways(s.host, s.batch);
  for (const auto name : {"attn.q", "attn.o", "mlp.gate", "mlp.down"}) {
    int calls = 0;
    const auto own = [&calls](const weight_desc&, matrix_view<const float> x, matrix_view<float> y,
                              own_product<float> product) {
      ++calls;
      return product(x, y);
    };
    const auto guard = s.host.try_override_product(weight_named(s.host, 1, name), own);
    REQUIRE(guard);
    const auto got = all_ways(s.host, s.batch);
    for (std::size_t i = 0; i < want.size(); ++i) CHECK(same_bits(got[i], want[i]));
    CHECK(calls == 4);
  }
  CHECK(same_bits(all_ways(s.host, s.batch)[0], want[0]));
}

TEST_CASE("another matrix by the host's own product has the bits of swap_matrix, by any other product its numbers") {
  llama_setting s;
  const auto& w = weight_named(s.host, 1, "mlp.up");
  const auto values = other_values(s.host, w);
  const matrix_view<const float> other{values.data(), w.rows, w.cols};
  const auto swapped = plan{} | swap_matrix(layer(1), "mlp.up", other);
  const auto partial = by_surgery(s.host, swapped, s.batch), whole = by_whole_pass(s.host, swapped, s.batch);
  {
    const auto own = [](const weight_desc&, matrix_view<const float> x, matrix_view<float> y,
                        own_product<float> product) { return product(x, y); };
    const auto weight = s.host.try_override_weight(w, other);
    const auto product = s.host.try_override_product(w, own);
    REQUIRE((weight && product));
    CHECK(same_bits(all_ways(s.host, s.batch)[0], partial));
    CHECK(same_bits(all_ways(s.host, s.batch)[1], whole));
  }
  const auto by_hand = [&](const weight_desc& of, matrix_view<const float> x, matrix_view<float> y,
                           own_product<float>) -> resect::status {
    CHECK((of.name == "mlp.up" && of.layer == 1));
    for (resect::index_t r = 0; r < x.rows; ++r)
      for (resect::index_t o = 0; o < other.rows; ++o) {
        double sum = 0;
        for (resect::index_t c = 0; c < x.cols; ++c)
          sum += static_cast<double>(x(r, c)) * static_cast<double>(other(o, c));
        y(r, o) = static_cast<float>(sum);
      }
    return {};
  };
  const auto product = s.host.try_override_product(w, by_hand);
  REQUIRE(product);
  for (const auto& got : all_ways(s.host, s.batch))
    CHECK((got.size() != partial.size() || relative_difference(got, partial) < 1e-4));
}

TEST_CASE("what a product's function reports ends the pass, and overrides nest") {
  llama_setting s;
  const auto& w = weight_named(s.host, 0, "attn.v");
  const auto want = by_surgery(s.host, plan{}, s.batch);
  const auto fails = [](const weight_desc&, matrix_view<const float>, matrix_view<float>,
                        own_product<float>) -> resect::status {
    return resect::error{resect::errc::unsupported, "packed product", "3 bits", "4 bits"};
  };
  const auto own = [](const weight_desc&, matrix_view<const float> x, matrix_view<float> y,
                      own_product<float> product) { return product(x, y); };
  {
    const auto outer = s.host.try_override_product(w, own);
    {
      const auto inner = s.host.try_override_product(w, fails);
      REQUIRE(inner);
      auto state = value_or_throw(s.host.try_embed(s.batch));
      CHECK(s.host.try_run(state, 0, 1, resect::model::no_hooks<float>()).error().operand == "packed product");
      CHECK(try_forward(s.host, plan{}, s.batch).error().operand == "packed product");
    }
    CHECK(same_bits(by_surgery(s.host, plan{}, s.batch), want));
  }
  CHECK(s.host.try_override_product(weight_named(s.host, 0, "attn.norm"), own).error().operand ==
        "weight of the product");
  CHECK(s.host.try_override_product(w, {}).error().code == resect::errc::null_pointer);
}
