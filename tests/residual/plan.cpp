// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <limits>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include <support/catch.hpp>
#include <support/steps.hpp>

#include <resect/random/distributions.hpp>
#include <resect/residual/operators.hpp>

using namespace resect::residual;
using resect::errc;
using resect::matrix_view;
using resect::status;
using resect::text;
using support::block_step;
using support::idle_rows;
using support::parts;
using support::rows_step;
using support::weights_step;
using support::effect_on_place::edits;
using support::effect_on_place::overwrites;

namespace {

status nothing(const tap&, matrix_view<const float>, matrix_view<float>) { return {}; }
void nothing_to_block(const tap&, matrix_view<const float>, matrix_view<float>) {}
bool nothing_to_weight(const weight_desc&, matrix_view<float>) { return false; }

step span_of(int first, int last) { return replace_span(layers(first, last), nothing, 1); }
step block_of(int first, int last, support::effect_on_place how) {
  return block_step(layers(first, last), nothing_to_block, "block", how);
}
step weights_of(int first, int last, support::effect_on_place how) {
  return weights_step(layers(first, last), nothing_to_weight, "weights", how);
}

std::string names(const plan& p) {
  std::string out;
  for (const step& s : p.steps()) out.append(out.empty() ? "" : " ").append(s.name.view());
  return out;
}

// Whether two steps can be in one plan; the order in which they are added must not matter.
bool agree(const step& a, const step& b) {
  plan ab, ba;
  REQUIRE(ab.try_add(a));
  REQUIRE(ba.try_add(b));
  const bool one = ab.try_add(b).has_value(), other = ba.try_add(a).has_value();
  CHECK(one == other);
  CHECK(ab.steps().size() == (one ? 2 : 1));
  return one;
}

const model_desc model{.name = "m", .fingerprint = 1, .n_layers = 6, .d_model = 8, .n_vocab = 10};

}  // namespace

static_assert(std::is_copy_constructible_v<plan> && std::is_nothrow_move_constructible_v<plan>);
static_assert(layer(3) == layers(3, 4) && layer(3) != layers(3, 5));

TEST_CASE("steps stand in the order of the pass, whatever the order they were added in") {
  std::vector<step> all;
  all.push_back(weights_of(1, 2, edits));
  for (const site s : {site::resid_pre, site::attn_delta, site::resid_mid, site::mlp_delta})
    all.push_back(idle_rows(s, layer(1), name(s)));
  all.push_back(block_of(1, 2, edits));
  all.push_back(idle_rows(site::resid_post, layer(1), "resid_post"));
  const std::string want = "weights resid_pre attn_delta resid_mid mlp_delta block resid_post";
  for (std::size_t shift = 0; shift < all.size(); ++shift) {
    plan forwards, backwards;
    for (std::size_t i = 0; i < all.size(); ++i) {
      REQUIRE(forwards.try_add(all[(i + shift) % all.size()]));
      REQUIRE(backwards.try_add(all[(all.size() - i + shift) % all.size()]));
    }
    CHECK(names(forwards) == want);
    CHECK(names(backwards) == want);
    CHECK(forwards.fingerprint() == backwards.fingerprint());
  }
}

TEST_CASE("at one place steps stand by priority, then by first layer, then as added") {
  const auto at = [](std::string_view name, int priority, layer_range range) {
    auto s = idle_rows(site::mlp_delta, range, name);
    s.priority = priority;
    return s;
  };
  const auto p = plan{} | at("d", 1, layers(0, 4)) | at("b", 0, layers(2, 3)) | at("c", 0, layers(2, 5)) |
                 at("a", -1, layer(3)) | at("e", 2, layer(0));
  CHECK(names(p) == "a b c d e");
}

TEST_CASE("two steps that overwrite one place are refused") {
  for (const site s : {site::attn_delta, site::mlp_delta, site::resid_mid, site::resid_pre, site::resid_post}) {
    const auto place = [&](layer_range r, support::effect_on_place how) { return idle_rows(s, r, "x", how); };
    CHECK_FALSE(agree(place(layer(2), overwrites), place(layer(2), overwrites)));
    CHECK_FALSE(agree(place(layers(0, 3), overwrites), place(layers(2, 5), overwrites)));
    CHECK_FALSE(agree(place(layers(0, 6), overwrites), place(layer(2), overwrites)));
    CHECK(agree(place(layers(0, 3), overwrites), place(layers(3, 5), overwrites)));
    CHECK(agree(place(layer(2), overwrites), place(layer(2), edits)));
    CHECK(agree(place(layer(2), edits), place(layer(2), edits)));
  }
  CHECK(agree(idle_rows(site::attn_delta, layer(2), "a", overwrites),
              idle_rows(site::mlp_delta, layer(2), "b", overwrites)));
  CHECK_FALSE(agree(block_of(1, 3, overwrites), block_of(2, 4, overwrites)));
  CHECK(agree(block_of(1, 3, overwrites), block_of(2, 4, edits)));
  CHECK_FALSE(agree(weights_of(1, 3, overwrites), weights_of(2, 4, overwrites)));
  CHECK(agree(weights_of(1, 3, overwrites), weights_of(3, 4, overwrites)));
  CHECK(agree(weights_of(1, 3, edits), weights_of(2, 4, edits)));
}

TEST_CASE("what one layer writes and the next one reads is one place") {
  const auto pre = idle_rows(site::resid_pre, layer(3), "pre", overwrites);
  CHECK_FALSE(agree(zero_stream(layer(2)), pre));
  CHECK_FALSE(agree(zero_stream(layers(0, 3)), pre));
  CHECK(agree(zero_stream(layer(3)), pre));
  CHECK(agree(zero_stream(layer(1)), pre));
  CHECK(agree(zero_stream(layer(2)), idle_rows(site::resid_pre, layer(3), "pre", edits)));
}

TEST_CASE("a step inside a skipped layer is refused, one on the stream beside it is not") {
  for (const auto& removed : {skip(layers(2, 4)), [] {
                                delta_means m{.n_layers = 6, .width = 1, .mean = std::vector<float>(6, 0.0f)};
                                return mean_delta(layers(2, 4), m);
                              }()}) {
    for (const site s : {site::attn_delta, site::resid_mid, site::mlp_delta}) {
      CHECK_FALSE(agree(removed, idle_rows(s, layer(2))));
      CHECK_FALSE(agree(removed, idle_rows(s, layers(0, 3))));
      CHECK_FALSE(agree(removed, idle_rows(s, layers(3, 6))));
      CHECK(agree(removed, idle_rows(s, layers(0, 2))));
      CHECK(agree(removed, idle_rows(s, layers(4, 6))));
    }
    for (const site s : {site::resid_pre, site::resid_post})
      for (int l = 0; l < 6; ++l) CHECK(agree(removed, idle_rows(s, layer(l), "x", overwrites)));
    CHECK_FALSE(agree(removed, weights_of(3, 4, edits)));
    CHECK_FALSE(agree(removed, block_of(3, 4, edits)));
    CHECK_FALSE(agree(removed, span_of(3, 5)));
    CHECK_FALSE(agree(removed, skip(layer(3))));
    CHECK(agree(removed, skip(layer(4))));
    CHECK(agree(removed, span_of(4, 5)));
  }
}

TEST_CASE("a step inside a replaced span is refused, but the stream before and after the span may be edited") {
  const auto span = span_of(2, 5);
  for (const site s : {site::attn_delta, site::resid_mid, site::mlp_delta}) {
    for (int l = 2; l < 5; ++l) CHECK_FALSE(agree(span, idle_rows(s, layer(l))));
    CHECK_FALSE(agree(span, idle_rows(s, layers(0, 6))));
    CHECK(agree(span, idle_rows(s, layer(1))));
    CHECK(agree(span, idle_rows(s, layer(5))));
  }
  for (int l = 0; l < 6; ++l) {
    CHECK(agree(span, idle_rows(site::resid_pre, layer(l))) == (l <= 2 || l >= 5));
    CHECK(agree(span, idle_rows(site::resid_post, layer(l))) == (l < 2 || l >= 4));
    CHECK(agree(span, weights_of(l, l + 1, edits)) == (l < 2 || l >= 5));
    CHECK(agree(span, block_of(l, l + 1, edits)) == (l < 2 || l >= 5));
    CHECK(agree(span, skip(layer(l))) == (l < 2 || l >= 5));
  }
  CHECK(agree(span, idle_rows(site::resid_pre, layers(0, 3))));
  CHECK_FALSE(agree(span, idle_rows(site::resid_pre, layers(0, 4))));
  CHECK_FALSE(agree(span, idle_rows(site::resid_pre, layers(2, 4))));
  CHECK(agree(span, idle_rows(site::resid_post, layers(4, 6))));
  CHECK_FALSE(agree(span, idle_rows(site::resid_post, layers(3, 6))));
  CHECK_FALSE(agree(span, idle_rows(site::resid_post, layers(1, 3))));
  CHECK_FALSE(agree(span, span_of(4, 6)));
  CHECK_FALSE(agree(span, span_of(0, 6)));
  CHECK_FALSE(agree(span, span_of(3, 4)));
  CHECK(agree(span, span_of(0, 2)));
  CHECK(agree(span, span_of(5, 6)));
}

TEST_CASE("what the operators overwrite: doses go together, cuts do not") {
  CHECK(agree(scale_delta(layer(1), 0.5f), scale_delta(layer(1), 0.25f)));
  CHECK_FALSE(agree(scale_delta(layer(1), 0.5f), skip(layer(1))));
  CHECK(agree(scale_delta(layer(1), 0.5f, delta::mlp), scale_delta(layer(1), 2.0f, delta::mlp)));
  CHECK(agree(scale_delta(layer(1), 0.0f, delta::mlp), scale_delta(layer(1), 0.0f, delta::attention)));
  CHECK_FALSE(agree(scale_delta(layer(1), 0.0f, delta::mlp), scale_delta(layer(1), 0.0f, delta::mlp)));
  CHECK(agree(scale_delta(layer(1), 0.5f, delta::mlp), scale_delta(layer(1), 0.5f)));
  CHECK_FALSE(agree(scale_delta(layer(1), 0.5f, delta::mlp), skip(layer(1))));
  CHECK_FALSE(agree(zero_stream(layer(1)), zero_stream(layers(0, 2))));
  CHECK(agree(zero_stream(layer(1)), skip(layer(1))));
  CHECK_FALSE(agree(reinit(layer(1), 1, norm_gains::keep), reinit(layer(1), 2, norm_gains::keep)));
  CHECK_FALSE(agree(reinit(layer(1), 1, norm_gains::keep), skip(layer(1))));
  CHECK(agree(reinit(layer(1), 1, norm_gains::keep), scale_delta(layer(1), 0.5f)));
}

TEST_CASE("a refused step leaves the plan as it was and says which two steps contradict each other") {
  plan p = plan{} | skip(layers(1, 3)) | scale_delta(layer(4), 0.5f, delta::mlp);
  const auto before = p.fingerprint();
  const auto refused = [&](const step& s) {
    const auto text = parts(p.try_add(s));
    CHECK(p.fingerprint() == before);
    CHECK(names(p) == "scale_delta.mlp skip");
    return text;
  };
  CHECK(refused(reinit(layers(2, 4), 7, norm_gains::keep)) ==
        "conflict | reinit.keep on layers [2, 4) | also skip on layers [1, 3) | steps that do not undo each "
        "other");
  CHECK(refused(span_of(4, 6)) ==
        "conflict | replace_span on layers [4, 6) | also scale_delta.mlp on layers [4, 5) | steps that do not undo "
        "each other");
  CHECK(refused(skip(layers(3, 3))) == "invalid argument | layers of skip | [3, 3) | 0 <= first < last");
  CHECK(refused(skip(layers(4, 3))) == "invalid argument | layers of skip | [4, 3) | 0 <= first < last");
  CHECK(refused(skip(layers(-1, 3))) == "invalid argument | layers of skip | [-1, 3) | 0 <= first < last");
  for (const site s : {site::embed_out, site::head_in, site::head_norm, site::logits})
    CHECK(refused(idle_rows(s, layer(0))) == "invalid argument | site of idle | " +
                                                 std::string(s == site::embed_out ? "none, or " : "") +
                                                 std::string(name(s)) + " | a site of a layer");
  step empty;
  empty.name = "mine";
  empty.range = layer(0);
  for (const auto kind : {form::rows, form::block, form::replace, form::weights, form::products}) {
    empty.what = kind;
    CHECK(refused(empty) == "null pointer | operator of mine | none | an operator of the step's form");
  }
  CHECK_THROWS_WITH(p | skip(layer(2)),
                    "conflict: skip on layers [2, 3): got also skip on layers [1, 3), wanted steps that "
                    "do not undo each other");
  CHECK(p.fingerprint() == before);
}

TEST_CASE("a plan is a value: adding to a copy leaves the original alone") {
  const auto a = plan{} | skip(layer(1));
  const auto b = a | skip(layer(2));
  CHECK(a.steps().size() == 1);
  CHECK(b.steps().size() == 2);
  CHECK(plan{}.empty());
  CHECK_FALSE(a.empty());
}

TEST_CASE("the fingerprint is 0 for the empty plan, the same for the same plan, and else its own") {
  CHECK(plan{}.fingerprint() == 0);
  const auto of = [](const step& s) { return (plan{} | s).fingerprint(); };
  delta_means m{.n_layers = 6, .width = 2, .rows = 4, .model = 5, .reference = 6, .mean = std::vector<float>(12, 0.5f)};
  const auto means_of = [](delta_means x) { return mean_delta(layer(1), x); };
  auto other_mean = m, other_model = m, other_rows = m;
  other_mean.mean[2] = 0.25f;
  other_model.model = 7;
  other_rows.reference = 7;
  const auto late = [](step s) {
    s.priority = 1;
    return s;
  };
  const auto identified = [](std::string_view id, std::uint64_t hash) {
    return step{layer(1), site::resid_post, named(id, hash, [](const tap&, matrix_view<float>) {})};
  };
  const std::vector<step> all{skip(layer(1)),
                              skip(layer(2)),
                              skip(layers(1, 3)),
                              scale_delta(layer(1), 0.5f),
                              scale_delta(layer(1), -0.5f),
                              scale_delta(layer(1), 0.0f, delta::mlp),
                              scale_delta(layer(1), 0.0f, delta::attention),
                              scale_delta(layer(1), 0.5f, delta::mlp),
                              zero_stream(layer(1)),
                              zero_stream(layer(2)),
                              means_of(m),
                              means_of(other_mean),
                              means_of(other_model),
                              means_of(other_rows),
                              reinit(layer(1), 1, norm_gains::keep),
                              reinit(layer(1), 2, norm_gains::keep),
                              reinit(layer(1), 1, norm_gains::reset),
                              reinit(layer(1), 1, norm_gains::keep, {.std = 0.03f}),
                              reinit(layer(1), 1, norm_gains::reset, {.reset_gain = 0.0f}),
                              replace_span(layer(1), nothing, 1),
                              replace_span(layer(1), nothing, 2),
                              replace_span(layers(1, 3), nothing, 1),
                              idle_rows(site::resid_pre, layer(1)),
                              idle_rows(site::resid_post, layer(1)),
                              identified("other/1", 9),
                              identified("other/2", 9),
                              identified("other/1", 3),
                              late(idle_rows(site::resid_post, layer(1)))};
  std::set<std::uint64_t> seen{0};
  for (const step& s : all) {
    seen.insert(of(s));
    CHECK(of(s) == of(step(s)));
  }
  CHECK(seen.size() == all.size() + 1);
  CHECK(of(idle_rows(site::resid_post, layer(1), "shown otherwise")) == of(idle_rows(site::resid_post, layer(1))));
  CHECK(of(reinit(layer(1), 1, norm_gains::keep)) == of(reinit(layer(1), 1, norm_gains::keep)));

  const auto x = support::affine_step(site::resid_post, layer(1), 2.0f, 0.0f),
             y = support::affine_step(site::resid_post, layer(1), 1.0f, 3.0f);
  CHECK((plan{} | x | y).fingerprint() != (plan{} | y | x).fingerprint());  // 2h + 3 and 2(h + 3)
  CHECK((plan{} | x | y).fingerprint() != (plan{} | x).fingerprint());
  CHECK((plan{} | skip(layer(1)) | skip(layer(2))).fingerprint() ==
        (plan{} | skip(layer(2)) | skip(layer(1))).fingerprint());
}

TEST_CASE("check names the missing layer, the width that does not fit and the second stream") {
  CHECK(parts((plan{} | skip(layers(4, 6))).check(model)) == "fine");
  CHECK(parts((plan{} | skip(layers(4, 7))).check(model)) ==
        "invalid argument | layers of skip | [4, 7) | layers 0 to 5");
  CHECK(parts((plan{} | skip(layer(1)) | zero_stream(layer(9))).check(model)) ==
        "invalid argument | layers of zero_stream | [9, 10) | layers 0 to 5");
  CHECK(parts((plan{} | replace_span(layers(1, 2), nothing, 1, 8)).check(model)) == "fine");
  CHECK(parts((plan{} | replace_span(layers(1, 2), nothing, 1, 9)).check(model)) ==
        "shape mismatch | width of replace_span | 9 | d_model = 8");
  delta_means m{.n_layers = 6, .width = 4, .mean = std::vector<float>(24, 0.0f)};
  CHECK(parts((plan{} | mean_delta(layer(1), m)).check(model)) ==
        "shape mismatch | width of mean_delta | 4 | d_model = 8");
  auto two = model;
  two.n_streams = 2;
  CHECK(parts((plan{} | skip(layer(1))).check(two)) == "unsupported | residual streams of the model | 2 | 1");
  CHECK(parts(plan{}.check(two)) == "fine");
}

TEST_CASE("mean_delta wants means that cover its layers and fit their extents") {
  delta_means m{.n_layers = 3, .width = 4, .mean = std::vector<float>(12, 0.0f)};
  const auto refused = [](layer_range where, const delta_means& means) {
    const auto s = try_mean_delta(where, means);
    return s ? std::string("fine") : parts(s.error());
  };
  CHECK(refused(layers(0, 3), m) == "fine");
  CHECK(refused(layers(2, 4), m) == "invalid argument | layers of mean_delta | [2, 4) | layers 0 to 2 of the means");
  CHECK(refused(layers(-1, 1), m) == "invalid argument | layers of mean_delta | [-1, 1) | layers 0 to 2 of the means");
  CHECK(refused(layers(1, 1), m) == "invalid argument | layers of mean_delta | [1, 1) | layers 0 to 2 of the means");
  m.mean.pop_back();
  CHECK(refused(layers(0, 1), m) == "shape mismatch | means of mean_delta | 11 values | 3 x 4");
  m.width = 0;
  m.mean.clear();
  CHECK(refused(layers(0, 1), m) == "shape mismatch | means of mean_delta | 0 values | 3 x 0");
  CHECK_THROWS_AS(mean_delta(layers(0, 1), m), resect::exception);
}

TEST_CASE("steps made with numbers that are not finite are refused by plans") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();
  const auto kept = plan{} | scale_delta(layer(1), 0.5f);
  for (const float g : {nan, infinite, -infinite})
    for (const delta which : {delta::block, delta::attention, delta::mlp}) {
      plan p = kept;
      const auto refused = p.try_add(scale_delta(layer(3), g, which));
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == errc::not_finite);
      CHECK(p.fingerprint() == kept.fingerprint());
    }
  CHECK(plan{}.try_add(scale_delta(layer(3), nan)).error().message() ==
        "not finite: factor of scale_delta: got nan, wanted a finite number");
  CHECK(plan{}.try_add(reinit(layer(3), 1, norm_gains::keep, {.std = nan})).error().operand == "std of reinit.keep");
  CHECK(plan{}.try_add(reinit(layer(3), 1, norm_gains::reset, {.reset_gain = infinite})).error().operand ==
        "reset_gain of reinit.reset");
  CHECK_THROWS_AS(plan{} | scale_delta(layer(3), nan), resect::exception);
}

TEST_CASE("sites have names of their own, and sets of them") {
  std::set<std::string> seen;
  for (int i = 0; i < n_sites; ++i) {
    const auto s = static_cast<site>(i);
    seen.insert(std::string(name(s)));
    CHECK(is_layer_site(s) == (i >= 1 && i <= 5));
    site_set one{s};
    for (int j = 0; j < n_sites; ++j) CHECK(one.contains(static_cast<site>(j)) == (i == j));
  }
  CHECK(seen.size() == n_sites);
  CHECK(site_set{}.empty());
  CHECK((site_set{site::logits} | site_set{site::embed_out}) == site_set{site::embed_out, site::logits});
}

TEST_CASE("an operator whose form is not the step's is refused, not run on what it does not know") {
  const auto refused = [](const step& s) { return parts(plan{}.try_add(s)); };
  const operators::scale_delta<delta::block> dose{0.5f};
  CHECK(refused({layer(1), site::resid_post, dose}) ==
        "invalid argument | operator of scale_delta at resid_post | one on a block | an operator on rows");
  CHECK(refused({layer(1), site::mlp_delta, operators::skip{}}) ==
        "invalid argument | operator of skip at mlp_delta | one on a block | an operator on rows");
  auto map = replace_span(layers(1, 3), nothing, 1).op;
  CHECK(refused({layer(1), site::resid_post, map}) ==
        "invalid argument | operator of replace_span at resid_post | one that is not on rows | an operator on rows");
  CHECK(refused(replace_span(layers(2, 4), dose)) ==
        "invalid argument | operator of scale_delta in place of a span | one on a block, which changes the delta of a "
        "layer that runs | a map of the stream");
  CHECK(refused(replace_span(layers(2, 4), operators::skip{})).find("operator of skip in place of a span") !=
        std::string::npos);
  CHECK(refused(replace_span(layers(2, 4), operators::scale_delta<delta::mlp>{0.5f})) ==
        "invalid argument | site of scale_delta.mlp | resid_post | a site at which the operator has a meaning");
  CHECK(refused(replace_span(layers(2, 4), operators::zero_stream{})) == "fine");
}

TEST_CASE("an operator on rows has no site that was not named") {
  const auto idle = [](const tap&, matrix_view<float>) {};
  CHECK(parts(plan{}.try_add(step{layer(1), named("mine.idle/1", 1, idle)})) ==
        "invalid argument | site of mine.idle | none, or embed_out | a site of a layer");
  CHECK(plan{}.try_add(step{layer(1), site::resid_post, named("mine.idle/1", 1, idle)}));
}

TEST_CASE("a plan of many steps refuses exactly the steps that one of its steps refuses alone") {
  const resect::random::philox_stream draws{11, 0};
  std::uint64_t next = 0;
  const auto below = [&](std::uint64_t n) { return static_cast<int>(resect::random::integer_below(draws, next++, n)); };
  int refused = 0, kept = 0;
  for (int round = 0; round < 40; ++round) {
    plan all;
    std::vector<step> in;
    for (int i = 0; i < 14; ++i) {
      const int first = below(20), last = first + 1 + (below(3) == 0 ? below(6) : 0);
      const auto how = below(2) == 0 ? overwrites : edits;
      constexpr site sites[] = {site::resid_pre, site::attn_delta, site::mlp_delta, site::resid_post};
      step s = [&] {
        switch (below(5)) {
          case 0: return span_of(first, last);
          case 1: return skip(layers(first, last));
          case 2: return weights_of(first, last, how);
          default: return idle_rows(sites[below(4)], layers(first, last), "x", how);
        }
      }();
      if (s.what != form::replace) s.priority = below(3) - 1;
      bool fits = true;
      for (const step& other : in) {
        plan two;
        REQUIRE(two.try_add(other));
        fits = fits && two.try_add(s).has_value();
      }
      INFO("round " << round << ", step " << i);
      CHECK(all.try_add(s).has_value() == fits);
      if (fits) in.push_back(s);
      ++(fits ? kept : refused);
    }
    CHECK(all.steps().size() == static_cast<resect::index_t>(in.size()));
  }
  CHECK(refused > 100);
  CHECK(kept > 100);
}
