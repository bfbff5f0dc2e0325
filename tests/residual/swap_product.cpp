// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/planted_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/swap_matrix.hpp>
#include <resect/residual/swap_product.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::status;
using resect::model::own_product;
using size = resect::index_t;

namespace {

using llama = hosts::llama_host;

floats values_of(const llama& host, int layer, std::string_view name) {
  for (const auto& w : host.weights(layer))
    if (w.name == name) {
      floats v(static_cast<std::size_t>(w.rows * w.cols));
      resect::value_or_throw(host.try_read_weight(w, {v.data(), w.rows, w.cols}));
      return v;
    }
  return {};
}
matrix_view<const float> matrix_of(const llama& host, int layer, std::string_view name, const floats& v) {
  for (const auto& w : host.weights(layer))
    if (w.name == name) return {v.data(), w.rows, w.cols};
  return {};
}
// Logits of a whole pass on the host itself, which lends its products.
floats whole(llama& host, const plan& p, const std::vector<row_meta>& batch) {
  forget_all(host, batch);
  resect::value_or_throw(try_forward(host, p, batch));
  auto out = copied(host.logits());
  forget_all(host, batch);
  return out;
}
floats partial(llama& host, const plan& p, const std::vector<row_meta>& batch) {
  auto state = resect::value_or_throw(host.try_embed(batch));
  resect::value_or_throw(try_run(host, p, state, 0, host.describe().n_layers));
  return head_of(host, state);
}

// y := own(x), scaled.
struct scaled_product {
  static constexpr std::string_view id = "tests.scaled_product/1";
  float by = 1;
  void fields(resect::field_visitor& v) const { v.number("by", static_cast<double>(by)); }
  status product(const weight_desc&, matrix_view<const float> x, matrix_view<float> y, own_product<float> own) const {
    if (auto s = own(x, y); !s) return s;
    for (size r = 0; r < y.rows; ++r)
      for (size c = 0; c < y.cols; ++c) y(r, c) *= by;
    return {};
  }
};

}  // namespace

TEST_CASE("oracle mode measures the error of a matrix on the model's rows and changes no bit") {
  llama_setting s;
  const auto intact = whole(s.host, plan{}, s.batch);
  const auto own = values_of(s.host, 1, "mlp.down");
  auto half = own;
  for (float& x : half) x *= 0.5f;
  product_error error, none;
  const auto p =
      plan{} | oracle_matrix(layer(1), "mlp.down", matrix_of(s.host, 1, "mlp.down", half), error) |
      oracle_matrix(layer(2), "attn.q", matrix_of(s.host, 2, "attn.q", values_of(s.host, 2, "attn.q")), none);
  CHECK(same_bits(whole(s.host, p, s.batch), intact));
  CHECK(error.rows == static_cast<size>(s.batch.size()));
  CHECK(error.relative() == Approx(0.25).epsilon(1e-5));  // ‖(W − W/2)·x‖² = ‖W·x‖²/4
  CHECK(none.relative() < 1e-10);
  CHECK(same_bits(partial(s.host, p, s.batch), partial(s.host, plan{}, s.batch)));
  CHECK(error.rows == 2 * static_cast<size>(s.batch.size()));
  CHECK(same_bits(whole(s.host, plan{}, s.batch), intact));  // products are the host's again
}

TEST_CASE("a product that an operator computes acts as other values of the matrix do, alone and with a swap") {
  llama_setting s;
  auto twice = values_of(s.host, 1, "attn.v");
  for (float& x : twice) x *= 2.0f;
  const auto swapped = swap_matrix(layer(1), "attn.v", matrix_of(s.host, 1, "attn.v", twice));
  const auto product = [](float by) { return swap_product(layer(1), "attn.v", scaled_product{by}); };
  const auto want = whole(s.host, plan{} | swapped, s.batch);
  CHECK(same_bits(whole(s.host, plan{} | product(2), s.batch), want));
  CHECK(same_bits(partial(s.host, plan{} | product(2), s.batch), partial(s.host, plan{} | swapped, s.batch)));
  CHECK(same_bits(whole(s.host, plan{} | product(0.5f) | swapped, s.batch), whole(s.host, plan{}, s.batch)));
  CHECK(same_bits(whole(s.host, plan{} | product(1), s.batch), whole(s.host, plan{}, s.batch)));
}

TEST_CASE("products are the host's again after a pass that fails") {
  llama_setting s;
  const auto intact = whole(s.host, plan{}, s.batch);
  product_error error;
  const auto own = values_of(s.host, 1, "attn.q");
  const auto fails = replace_span(
      layer(3),
      [](const tap&, matrix_view<const float>, matrix_view<float>) -> status {
        return resect::error{resect::errc::unsupported, "student", "none", "one"};
      },
      1);
  const auto p = plan{} | swap_product(layer(1), "attn.v", scaled_product{3}) |
                 oracle_matrix(layer(1), "attn.q", matrix_of(s.host, 1, "attn.q", own), error) | fails;
  CHECK(try_forward(s.host, p, s.batch).error().operand == "student");
  forget_all(s.host, s.batch);
  CHECK(same_bits(whole(s.host, plan{}, s.batch), intact));
}

TEST_CASE("products need a host that lends them, a matrix of this name, and its extents") {
  planted_host planted;
  const auto batch = planted.draw(2, 3);
  const auto p = plan{} | swap_product(layer(1), "attn.v", scaled_product{2});
  CHECK(parts(try_forward(planted, p, batch)) ==
        "unsupported | products for tests.scaled_product | a host without try_override_product | a product_host");
  llama_setting s;
  product_error error;
  const floats v(6, 1.0f);
  CHECK(parts(try_forward(s.host, plan{} | swap_product(layer(1), "none", scaled_product{2}), s.batch)) ==
        "invalid argument | none of layer 1 for tests.scaled_product | no such weight | the name of a weight of the "
        "layer");
  CHECK(parts(try_forward(s.host, plan{} | oracle_matrix(layer(1), "attn.q", {v.data(), 2, 3}, error), s.batch))
            .substr(0, 48) == "shape mismatch | attn.q of layer 1 for oracle_ma");
  const auto refused = try_oracle_matrix(layer(1), "", {v.data(), 2, 3}, error);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().operand == "weight of oracle_matrix");
}

TEST_CASE("a product stands for one matrix: without a name, or with one that would be cut, it is refused") {
  const std::string long_name(49, 'w');
  for (const auto& name : {std::string(), long_name}) {
    const auto refused = try_swap_product(layer(1), name, scaled_product{2});
    REQUIRE_FALSE(refused);
    CHECK(parts(refused.error()) ==
          "invalid argument | weight of swap_product | \"" + name + "\" | a name of 1 to 48 characters");
    CHECK_THROWS_AS(swap_product(layer(1), name, scaled_product{2}), resect::exception);
  }
  CHECK(try_swap_product(layer(1), long_name.substr(1), scaled_product{2})->weight.name.view() == long_name.substr(1));
  step unnamed{layer(1), scaled_product{2}};
  unnamed.what = form::products;
  CHECK(parts(plan{}.try_add(unnamed)) ==
        "invalid argument | weight of tests.scaled_product | no name | the name of one matrix, as swap_product(layers, "
        "name, operator) takes it");
  CHECK(parts(plan{}.try_add(step{layer(1), operators::oracle_matrix{}})).find("as swap_product(") !=
        std::string::npos);
}
