// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <limits>
#include <vector>

#include <support/every_operator.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using size = resect::index_t;

TEST_CASE("a coder spliced in with its error kept and nothing edited keeps negative zeros and NaN") {
  const auto s = splice(codec_error::keep, layer(0), site::resid_post, few_directions(4, 3));
  floats h{-0.0f, 0.0f, std::numeric_limits<float>::quiet_NaN(), -2.0f};
  const auto want = h;
  const std::vector<row_meta> row{{0, 0}};
  REQUIRE(s.op.apply({site::resid_post, 0, row}, {}, {h.data(), 1, 4}));
  CHECK(same_bits(h, want));
}

TEST_CASE("an edit of a feature moves the row along its direction if the error is kept, and leaves the rest") {
  const size d = 6;
  const few_directions code(d, 5);
  floats h(6), f(5), decoded(6), edited(6);
  resect::random::fill_gaussian(h, 3, 0, 0, 3.0);
  const auto start = h;
  code.encode(h, f);
  code.decode(f, decoded);
  f[2] = 0.5f * f[2] + 1.0f;
  code.decode(f, edited);
  const std::vector<row_meta> row{{0, 0}};
  const edit_feature half_and_one{2, 0.5f, 1.0f};
  REQUIRE(splice(codec_error::keep, layer(0), site::resid_post, code, half_and_one)
              .op.apply({site::resid_post, 0, row}, {}, {h.data(), 1, d}));
  for (std::size_t c = 0; c < h.size(); ++c) CHECK(h[c] == start[c] + (edited[c] - decoded[c]));
  h = start;
  REQUIRE(splice(codec_error::drop, layer(0), site::resid_post, code, half_and_one)
              .op.apply({site::resid_post, 0, row}, {}, {h.data(), 1, d}));
  CHECK(same_bits(h, edited));
}

TEST_CASE("with its error dropped an unedited coder leaves what it decodes, which measures its damage") {
  llama_setting s;
  const auto intact = by_surgery(s.host, plan{}, s.batch);
  const few_directions code(s.model.config.d_model, 11);
  for (const site where : {site::resid_pre, site::attn_delta, site::resid_mid, site::mlp_delta, site::resid_post}) {
    const auto dropped = by_surgery(s.host, plan{} | splice(codec_error::drop, layer(1), where, code), s.batch);
    CHECK(relative_difference(dropped, intact) > 1e-3);
    CHECK(same_bits(by_surgery(s.host, plan{} | splice(codec_error::keep, layer(1), where, code), s.batch), intact));
  }
}

TEST_CASE("keep and drop, coder and edit are parts of the identity, and a coder of another width does not fit") {
  const auto id = [](codec_error e, size features, edit_feature edit) {
    return splice(e, layer(0), site::resid_post, few_directions(24, features), edit).identity();
  };
  const auto one = id(codec_error::keep, 5, {1, 0, 0});
  CHECK(one == id(codec_error::keep, 5, {1, 0, 0}));
  CHECK(one != id(codec_error::drop, 5, {1, 0, 0}));
  CHECK(one != id(codec_error::keep, 6, {1, 0, 0}));
  CHECK(one != id(codec_error::keep, 5, {2, 0, 0}));
  CHECK(one != id(codec_error::keep, 5, {1, 0, 1}));
  llama_setting s;
  CHECK(parts((plan{} | splice(codec_error::drop, layer(1), site::resid_post, few_directions(9, 5)))
                  .check(s.host.describe())) == "shape mismatch | width of codec.drop | 9 | d_model = 24");
}

TEST_CASE("an edit of a feature that the coder lacks, or with values that are not finite, is refused by plans") {
  const auto refused = [](edit_feature edit) {
    return parts(plan{}.try_add(splice(codec_error::keep, layer(1), site::resid_post, few_directions(4, 8), edit)));
  };
  CHECK(refused({8, 0, 0}) == "invalid argument | feature of edit_feature | 8 | 0 to 7");
  CHECK(refused({-1, 0, 0}) == "invalid argument | feature of edit_feature | -1 | 0 to 7");
  CHECK(refused({3, 0, std::numeric_limits<float>::quiet_NaN()}) ==
        "not finite | factor or value of edit_feature | nan | finite numbers");
  CHECK(refused({3, std::numeric_limits<float>::infinity(), 0}) ==
        "not finite | factor or value of edit_feature | inf | finite numbers");
  CHECK(refused({7, 0, 1}) == "fine");
}
