// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/compress/policy.hpp>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

using namespace resect;
using namespace resect::compress;

namespace {

model::weight_desc weight(const char* name, int layer, resect::index_t rows = 2048, resect::index_t cols = 2048) {
  return {name, layer, 0, model::weight_role::matrix, rows, cols};
}
resect::index_t rank_of(const policy& p, const model::weight_desc& w, int layers = 24) {
  const auto choice = p.try_choose(w, layers);
  REQUIRE(choice);
  return *choice ? (*choice)->rank : 0;
}

}  // namespace

TEST_CASE("policy: patterns of names") {
  CHECK(fits_pattern("layers.3.attn.q", "*"));
  CHECK(fits_pattern("layers.3.attn.q", "*.attn.?"));
  CHECK(fits_pattern("layers.3.attn.q", "layers.3.*q"));
  CHECK(fits_pattern("", "*"));
  CHECK(fits_pattern("aab", "*a*b"));
  CHECK_FALSE(fits_pattern("layers.3.attn.q", "*.attn"));
  CHECK_FALSE(fits_pattern("layers.31.attn.q", "layers.3.*"));
  CHECK_FALSE(fits_pattern("", "?"));
  CHECK_FALSE(fits_pattern("q", ""));
}

TEST_CASE("policy: the preset has the ranks that study S002 recommends for 2048 x 2048") {
  const auto p = s002_policy(1024);
  CHECK(rank_of(p, weight("attn.q", 0)) == 384);
  CHECK(rank_of(p, weight("attn.v", 23)) == 384);
  CHECK(rank_of(p, weight("attn.o", 5)) == 256);
  CHECK(rank_of(p, weight("attn.k", 5)) == 192);
  CHECK(rank_of(p, weight("mlp.up", 5, 8192)) == 0);
  CHECK(rank_of(p, weight("mlp.down", 0)) == 0);
  CHECK(rank_of(p, weight("attn.k", 5, 512, 2048)) == 0);  // too small
  CHECK(rank_of(s002_policy(), weight("attn.k", 5, 512, 2048)) == 48);
}

TEST_CASE("policy: the first rule that fits decides, what is skipped stays, and so do gains") {
  policy p;
  p.rules = {policy_rule{.pattern = "*.attn.*", .then = {.rank = 7, .bits = 3}}, policy_rule{.share = 0.25}};
  p.skip = {"layers.1.*"};
  CHECK(rank_of(p, weight("attn.q", 0)) == 7);
  CHECK((*p.try_choose(weight("attn.q", 0), 4))->bits == 3);
  CHECK(rank_of(p, weight("mlp.up", 0)) == 512);
  CHECK(rank_of(p, weight("mlp.up", 0, 3, 2)) == 1);
  CHECK(rank_of(p, weight("attn.q", 1)) == 0);
  auto gain = weight("attn.norm", 0);
  gain.role = model::weight_role::norm_gain;
  CHECK_FALSE(p.try_choose(gain, 4)->has_value());
  CHECK_FALSE(policy{}.try_choose(weight("attn.q", 0), 4)->has_value());
}

TEST_CASE("policy: a rank above the smaller extent is an error that names the rule and the matrix") {
  policy p;
  p.rules = {policy_rule{.pattern = "*.q", .then = {.rank = 9}}};
  support::expect_error(p.try_choose(weight("attn.q", 2, 8, 64), 4), errc::invalid_argument,
                        {"rank of rule *.q", "9", "0 to 8", "attn.q in layer 2"});
  const auto refused = [&](const matrix_choice& then, std::initializer_list<std::string_view> texts) {
    p.rules = {policy_rule{.pattern = "*.q", .then = then}};
    support::expect_error(p.try_choose(weight("attn.q", 2), 4), errc::invalid_argument, texts);
  };
  refused({.factor_bits = 99}, {"factor bits of rule *.q", "99", "2 to 16"});
  refused({.bits = -3}, {"bits of rule *.q", "-3", "0 for no Q"});
  refused({.group = -7}, {"group of rule *.q", "-7", "at least 0"});
  p.rules = {policy_rule{.share = 1.5}};
  support::expect_error(p.try_choose(weight("attn.q", 2), 4), errc::invalid_argument, {"share of rule *", "1.5"});
}
