// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/planted_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/residual/detail/apply_step.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/select.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;

namespace {

using size = resect::index_t;

constexpr std::uint32_t decode = row_meta::decode, pad = row_meta::pad, wants = row_meta::wants_logits,
                        sequence_end = row_meta::sequence_end, prompt_end = row_meta::prompt_end;

// Rows of every kind: what small selections can tell apart, and one value beyond each.
std::vector<row_meta> universe() {
  std::vector<row_meta> out;
  for (int seq = 0; seq < 3; ++seq)
    for (int pos = 0; pos < 9; ++pos)
      for (int token = 0; token < 4; ++token)
        for (const std::uint32_t flags :
             {0u, decode, sequence_end, prompt_end, decode | sequence_end, decode | prompt_end,
              sequence_end | prompt_end, decode | sequence_end | prompt_end})
          out.push_back({seq, pos, token, flags});
  return out;
}

// A random selection of the universe's rows, of some depth.
selection random_selection(const resect::random::philox_stream& draws, std::uint64_t& at, int depth) {
  const auto below = [&](std::uint64_t n) { return static_cast<int>(resect::random::integer_below(draws, at++, n)); };
  if (depth > 0) {
    const int how = below(3);
    auto a = random_selection(draws, at, depth - 1);
    if (how == 2) return !a;
    const auto b = random_selection(draws, at, depth - 1);
    return how == 0 ? a & b : a | b;
  }
  switch (below(6)) {
    case 0: return last();
    case 1: return last_prompt();
    case 2: return decoding();
    case 3: return token_in({below(3), below(3)});
    case 4: return mask({{below(2), below(5)}, {below(2), below(5)}, {below(2), below(5)}});
    default: {
      const int first = below(5);
      return range(first, first + below(4));
    }
  }
}

floats noise(std::size_t n, std::uint64_t seed) {
  floats out(n);
  resect::random::fill_gaussian(out, seed, 5);
  return out;
}

delta_means some_means(int n_layers, int width) {
  delta_means m{.n_layers = n_layers,
                .width = width,
                .rows = 1,
                .reference = 1,
                .mean = floats(static_cast<std::size_t>(n_layers * width))};
  resect::random::fill_gaussian(m.mean, 17, 0);
  return m;
}

bool chosen_in(const std::vector<row_meta>& rows, std::size_t r, const selection& s) { return s.contains(rows[r]); }

void on_two_hosts(resect::function_ref<void(host_ref, const std::vector<row_meta>&)> f) {
  llama_setting s;
  f(s.host, s.batch);
  planted_host planted;
  f(planted, planted.draw(4, 9));
}

}  // namespace

static_assert(noexcept(selection{}.contains(row_meta{})));

TEST_CASE("each predicate contains the rows that it names") {
  const auto meets = [](const selection& s, auto want) {
    for (const row_meta& row : universe()) CHECK(s.contains(row) == want(row));
  };
  meets(all(), [](const row_meta&) { return true; });
  meets(!all(), [](const row_meta&) { return false; });
  meets(range(2, 4), [](const row_meta& r) { return r.pos == 2 || r.pos == 3; });
  meets(range(4, 4), [](const row_meta&) { return false; });
  meets(range(4, 2), [](const row_meta&) { return false; });
  meets(range(3, std::numeric_limits<std::int32_t>::max()), [](const row_meta& r) { return r.pos >= 3; });
  meets(token_in({3, 1, 3}), [](const row_meta& r) { return r.token == 1 || r.token == 3; });
  meets(token_in({}), [](const row_meta&) { return false; });
  meets(not_bos(1), [](const row_meta& r) { return r.token != 1; });
  meets(not_bos(-1), [](const row_meta&) { return true; });
  meets(mask({{1, 5}, {0, 2}, {1, 5}}),
        [](const row_meta& r) { return (r.seq == 1 && r.pos == 5) || (r.seq == 0 && r.pos == 2); });
  meets(last(), [](const row_meta& r) { return (r.flags & sequence_end) != 0; });
  meets(last_prompt(), [](const row_meta& r) { return (r.flags & prompt_end) != 0; });
  meets(decoding(), [](const row_meta& r) { return (r.flags & decode) != 0; });
  meets(prompt(), [](const row_meta& r) { return (r.flags & decode) == 0; });
  meets(satisfying([](const row_meta& r) { return r.pos > r.token; }, 1),
        [](const row_meta& r) { return r.pos > r.token; });
}

TEST_CASE("pads are in no selection and in no complement; a step without one acts on them") {
  const row_meta row{0, 1, 2, pad | sequence_end | prompt_end};
  for (const auto& s : {all(), !all(), last(), !last(), range(0, 9), !range(0, 9), token_in({2}), not_bos(1),
                        mask({{0, 1}}), all() | !all(), satisfying([](const row_meta&) { return true; }, 1)})
    CHECK_FALSE(s.contains(row));
  CHECK(selection{}.contains(row));
  CHECK((selection{} & all()).contains({}));
  CHECK_FALSE((selection{} & all()).contains(row));
  CHECK_FALSE((!selection{}).contains({}));
}

TEST_CASE("and, or and not are those of sets, for 400 random pairs") {
  const resect::random::philox_stream draws{3, 1};
  std::uint64_t at = 0;
  for (int i = 0; i < 400; ++i) {
    const auto a = random_selection(draws, at, i % 4), b = random_selection(draws, at, i % 3);
    const auto f = satisfying([](const row_meta& r) { return (r.pos + r.seq) % 2 == 0; }, 9);
    const auto both = a & b, either = a | b, inverse = !a, three = (a & f) | (!b & !f);
    bool right = true;
    for (const row_meta& r : universe()) {
      const bool in_a = a.contains(r), in_b = b.contains(r), in_f = f.contains(r);
      right = right && both.contains(r) == (in_a && in_b) && either.contains(r) == (in_a || in_b) &&
              inverse.contains(r) == !in_a && three.contains(r) == ((in_a && in_f) || (!in_b && !in_f));
    }
    CHECK(right);
  }
}

TEST_CASE("two selections are provably disjoint exactly where they share no row, for 600 random pairs") {
  const resect::random::philox_stream draws{4, 1};
  std::uint64_t at = 0;
  int disjoint = 0;
  for (int i = 0; i < 600; ++i) {
    const auto a = random_selection(draws, at, i % 4), b = random_selection(draws, at, i % 3);
    const auto all_rows = universe();
    const bool meet = std::any_of(all_rows.begin(), all_rows.end(),
                                  [&](const row_meta& r) { return a.contains(r) && b.contains(r); });
    CHECK(provably_disjoint(a, b) == !meet);
    CHECK(provably_disjoint(b, a) == !meet);
    disjoint += !meet;
  }
  CHECK(disjoint > 60);
  CHECK(disjoint < 540);
}

TEST_CASE("what is proven of predicates that nobody can see into, and of very many places") {
  const auto even = satisfying([](const row_meta& r) { return r.pos % 2 == 0; }, 1);
  const auto odd = satisfying([](const row_meta& r) { return r.pos % 2 == 1; }, 2);
  CHECK(provably_disjoint(even, !even));
  CHECK_FALSE(provably_disjoint(even, odd));  // true, but not proven
  CHECK(provably_disjoint(even & range(0, 4), even & range(4, 9)));
  CHECK_FALSE(provably_disjoint(selection{}, all()));
  CHECK_FALSE(provably_disjoint(selection{}, selection{}));
  CHECK(provably_disjoint(selection{}, !all()));
  std::vector<token_place> some, more, scattered;
  for (int i = 0; i < 3000; ++i) {
    (i < 20 ? some : more).push_back({i, i % 7});
    scattered.push_back({i, i});
  }
  CHECK(provably_disjoint(mask(some), mask(more)));
  CHECK_FALSE(provably_disjoint(mask(some), mask(some)));
  CHECK_FALSE(provably_disjoint(mask(scattered), !mask(scattered)));  // true, but of too many classes
}

TEST_CASE("the ends of texts are marked before they are cut: every way of cutting selects the same rows") {
  std::vector<row_meta> whole;
  for (int pos = 0; pos < 7; ++pos) whole.push_back({4, pos, 1, pos >= 5 ? decode : sequence_end});
  for (int pos = 0; pos < 3; ++pos) whole.push_back({9, pos, 1, pos == 2 ? pad : wants});
  whole.push_back({2, 0, 1, decode});
  mark_ends(whole);
  const auto selected = [](const std::vector<row_meta>& rows, const selection& s) {
    std::set<std::pair<int, int>> out;
    for (const auto& row : rows)
      if (s.contains(row)) out.emplace(row.seq, row.pos);
    return out;
  };
  using places = std::set<std::pair<int, int>>;
  CHECK(selected(whole, last()) == places{{4, 6}, {9, 1}, {2, 0}});
  CHECK(selected(whole, last_prompt()) == places{{4, 4}, {9, 1}});
  CHECK(whole[5].flags == decode);           // cleared where it was wrong
  CHECK((whole[8].flags & wants) == wants);  // others are kept
  for (std::size_t chunk = 1; chunk <= whole.size(); ++chunk)
    for (const auto& s : {last(), last_prompt(), range(1, 5), !range(1, 5), prompt()}) {
      places got;
      for (std::size_t first = 0; first < whole.size(); first += chunk) {
        const std::vector<row_meta> part(whole.begin() + static_cast<long>(first),
                                         whole.begin() + static_cast<long>(std::min(whole.size(), first + chunk)));
        got.merge(selected(part, s));
      }
      CHECK(got == selected(whole, s));
    }
  mark_ends({});
}

TEST_CASE("a restricted step changes its rows as the whole step does, and no bit of the others") {
  const int d = 7;
  std::vector<row_meta> rows;
  for (int seq = 0; seq < 3; ++seq)
    for (int pos = 0; pos < 4 + seq; ++pos) rows.push_back({seq, pos, (seq + pos) % 3, seq == 1 && pos == 0 ? pad : 0});
  mark_ends(rows);
  const auto n = static_cast<size>(rows.size());
  const auto means = some_means(2, d);
  const auto by_place = rows_step(site::resid_mid, layer(1), [](const tap& at, matrix_view<float> h) {
    for (size r = 0; r < h.rows; ++r)
      h(r, 0) +=
          static_cast<float>(100 * at.rows[static_cast<std::size_t>(r)].seq + at.rows[static_cast<std::size_t>(r)].pos);
  });
  const std::vector<step> steps{zero_stream(layer(1)),
                                scale_delta(layer(1), 0.5f, delta::mlp),
                                scale_delta(layer(1), 0.0f),
                                scale_delta(layer(1), 0.25f),
                                scale_delta(layer(1), 1.0f),
                                mean_delta(layer(1), means),
                                by_place};
  for (const auto& chosen : {all(), !all(), range(1, 3), !range(1, 3), last(), token_in({2}), mask({{0, 0}, {2, 5}}),
                             range(0, 2) & token_in({1}), range(2, 4) & mask({{1, 2}, {1, 3}})})
    for (const step& s : steps)
      for (const size stride : {size{d}, size{d + 3}}) {
        const auto before = noise(static_cast<std::size_t>(n * stride), 1), start = noise(before.size(), 2);
        auto whole = start, part = start;
        const auto apply = [&](const step& x, floats& h) {
          const tap at{x.where, 1, rows};
          const matrix_view<float> view{h.data(), n, d, stride};
          const matrix_view<const float> input{before.data(), n, d, stride};
          CHECK(resect::residual::detail::apply_step(x, at, x.what == form::rows ? matrix_view<const float>{} : input,
                                                     view));
        };
        apply(s, whole);
        apply(at(chosen, s), part);
        for (size i = 0; i < n * stride; ++i) {
          const auto r = static_cast<std::size_t>(i / stride);
          const bool acts = i % stride < d && chosen_in(rows, r, chosen);
          const auto k = static_cast<std::size_t>(i);
          CHECK(same_bits({part[k]}, {(acts ? whole : start)[k]}));
        }
        auto twice = start;
        apply(at(range(0, 3), at(chosen, s)), twice);
        auto once = start;
        apply(at(chosen & range(0, 3), s), once);
        CHECK(same_bits(twice, once));
      }
}

TEST_CASE("a step is not called where there is no row for it, and sees neighbours without a copy") {
  int calls = 0;
  const float* seen = nullptr;
  const auto s = at(range(2, 4), rows_step(site::resid_mid, layer(0), [&](const tap& t, matrix_view<float> h) {
                      ++calls;
                      seen = h.data;
                      CHECK(h.rows == static_cast<size>(t.rows.size()));
                      for (const auto& row : t.rows) CHECK((row.pos == 2 || row.pos == 3));
                    }));
  floats h(12, 1.0f);
  std::vector<row_meta> rows{{0, 0}, {0, 1}, {0, 4}, {0, 5}};
  CHECK(resect::residual::detail::apply_step(s, {site::resid_mid, 0, rows}, {}, {h.data(), 4, 3}));
  CHECK(calls == 0);
  rows = {{0, 1}, {0, 2}, {0, 3}, {0, 4}};
  CHECK(resect::residual::detail::apply_step(s, {site::resid_mid, 0, rows}, {}, {h.data(), 4, 3}));
  CHECK(calls == 1);
  CHECK(seen == h.data() + 3);
  rows = {{0, 2}, {1, 0}, {2, 3}, {2, 4}};
  CHECK(resect::residual::detail::apply_step(s, {site::resid_mid, 0, rows}, {}, {h.data(), 4, 3}));
  CHECK(calls == 2);
  CHECK((seen < h.data() || seen >= h.data() + 12));
}

TEST_CASE("restricted plans give the same bits both ways, and what the reference says") {
  for (auto& model : small_models()) {
    llama_setting s(model);
    const auto chosen = range(1, 6) & !token_in({s.batch[2].token});
    const auto in = [&](std::size_t t) { return chosen.contains(s.batch[t]); };
    for (const float g : {0.0f, 0.5f}) {
      stream_values before;
      reference_llama ref{model, [&](site where, int l, stream_values& h) {
                            if (l != 1) return;
                            if (where == site::resid_pre) before = h;
                            if (where != site::resid_post) return;
                            for (std::size_t t = 0; t < h.size(); ++t)
                              for (std::size_t i = 0; i < h[t].size() && in(t); ++i)
                                h[t][i] = before[t][i] + static_cast<double>(g) * (h[t][i] - before[t][i]);
                          }};
      const auto p = plan{} | at(chosen, scale_delta(layer(1), g));
      const auto got = by_surgery(s.host, p, s.batch);
      CHECK(relative_difference(got, flat(ref.logits(s.batch))) < 1e-5);
      CHECK(same_bits(by_forward(s.host, p, s.batch), got));
      CHECK(relative_difference(got, by_surgery(s.host, plan{}, s.batch)) > 1e-3);
    }
  }
}

TEST_CASE("a selection of every row of text is the whole step, one of none is the intact model") {
  on_two_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto intact = by_surgery(host, plan{}, batch);
    const auto means = some_means(host.describe().n_layers, host.describe().d_model);
    for (const auto& s : {skip(layers(1, 3)), scale_delta(layer(2), 0.5f), zero_stream(layer(0)),
                          scale_delta(layer(1), 0.0f, delta::attention), mean_delta(layers(0, 2), means)}) {
      CHECK(same_bits(by_surgery(host, plan{} | at(all(), s), batch), by_surgery(host, plan{} | s, batch)));
      CHECK(same_bits(by_forward(host, plan{} | at(all(), s), batch), by_forward(host, plan{} | s, batch)));
      CHECK(same_bits(by_surgery(host, plan{} | at(!all(), s), batch), intact));
      CHECK(same_bits(by_forward(host, plan{} | at(!all(), s), batch), intact));
    }
  });
}

TEST_CASE("an edit at a position changes the rows from there on, in its sequences only") {
  llama_setting s;
  const auto intact = by_surgery(s.host, plan{}, s.batch);
  const auto vocab = static_cast<long>(s.model.config.n_vocab);
  const auto p = plan{} | at(mask({{0, 4}, {3, 9}}), zero_stream(layer(1)));
  const auto got = by_surgery(s.host, p, s.batch);
  for (std::size_t r = 0; r < s.batch.size(); ++r) {
    const auto& row = s.batch[r];
    const bool later = (row.seq == 0 && row.pos >= 4) || (row.seq == 3 && row.pos >= 9);
    const auto first = static_cast<long>(r) * vocab;
    CHECK(std::equal(got.begin() + first, got.begin() + first + vocab, intact.begin() + first) == !later);
  }
}

TEST_CASE("steps whose rows are disjoint may stand together, others may not") {
  const auto agree = [](const step& a, const step& b) {
    plan ab, ba;
    REQUIRE(ab.try_add(a));
    REQUIRE(ba.try_add(b));
    const bool one = ab.try_add(b).has_value(), other = ba.try_add(a).has_value();
    CHECK(one == other);
    return one;
  };
  const auto zero = [](const selection& s) { return at(s, zero_stream(layer(2))); };
  CHECK(agree(zero(range(0, 4)), zero(!range(0, 4))));
  CHECK(agree(zero(range(0, 4)), zero(range(4, 9))));
  CHECK_FALSE(agree(zero(range(0, 4)), zero(range(3, 9))));
  CHECK_FALSE(agree(zero(range(0, 4)), zero(last())));
  CHECK(agree(zero(!last()), zero(last())));
  CHECK(agree(zero(token_in({1, 2})), zero(token_in({3}))));
  CHECK_FALSE(agree(zero(range(0, 4)), zero_stream(layer(2))));
  CHECK_FALSE(agree(zero_stream(layer(2)), zero(range(0, 4))));

  // what one layer writes and the next one reads is one place, for these rows too
  const auto pre = idle_rows(site::resid_pre, layer(3), "pre", effect_on_place::overwrites);
  CHECK_FALSE(agree(zero(range(0, 4)), pre));
  CHECK(agree(zero(range(0, 4)), at(range(4, 5), pre)));

  // a layer that is skipped for some rows: nothing may act inside it on these rows
  const auto skipped = at(range(0, 4), skip(layer(2)));
  for (const auto& inside :
       {scale_delta(layer(2), 0.5f, delta::mlp), scale_delta(layer(2), 0.5f), idle_rows(site::attn_delta, layer(2))}) {
    CHECK_FALSE(agree(skipped, inside));
    CHECK_FALSE(agree(skipped, at(range(2, 6), inside)));
    CHECK(agree(skipped, at(range(4, 6), inside)));
    CHECK(agree(at(range(0, 4), scale_delta(layer(2), 0.25f)), inside));
  }
  CHECK(agree(skipped, at(!range(0, 4), skip(layer(2)))));
  CHECK_FALSE(agree(skipped, skip(layer(2))));
  CHECK(agree(skipped, reinit(layer(2), 1, norm_gains::keep)));  // the layer runs for the other rows
  CHECK(agree(skipped, idle_rows(site::resid_pre, layer(2))));
  CHECK_FALSE(agree(at(range(0, 4), idle_rows(site::attn_delta, layer(2))), skip(layers(1, 3))));
}

TEST_CASE("two halves that are disjoint do what the whole does") {
  on_two_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto whole = by_surgery(host, plan{} | skip(layer(1)), batch);
    const auto halves = plan{} | at(range(0, 3), skip(layer(1))) | at(!range(0, 3), skip(layer(1)));
    CHECK(same_bits(by_surgery(host, halves, batch), whole));
    CHECK(same_bits(by_forward(host, halves, batch), whole));
  });
}

TEST_CASE("the fingerprint of a plan tells selections apart") {
  std::set<std::uint64_t> seen;
  const std::vector<selection> kinds{all(),
                                     !all(),
                                     last(),
                                     !last(),
                                     last_prompt(),
                                     decoding(),
                                     range(0, 4),
                                     range(0, 5),
                                     range(1, 4),
                                     range(0, 2) | range(3, 4),
                                     range(0, 2) & range(3, 4),
                                     token_in({1}),
                                     token_in({2}),
                                     token_in({1, 2}),
                                     token_in({1}) | token_in({2}),
                                     mask({{0, 1}}),
                                     mask({{1, 0}}),
                                     mask({{0, 1}, {1, 0}}),
                                     satisfying([](const row_meta&) { return true; }, 1),
                                     satisfying([](const row_meta&) { return true; }, 2)};
  seen.insert((plan{} | skip(layer(1))).fingerprint());
  for (const auto& s : kinds) {
    const auto f = (plan{} | at(s, skip(layer(1)))).fingerprint();
    seen.insert(f);
    CHECK(f == (plan{} | at(selection(s), skip(layer(1)))).fingerprint());
  }
  CHECK(seen.size() == kinds.size() + 1);
  CHECK((plan{} | at(token_in({2, 1, 2}), skip(layer(1)))).fingerprint() ==
        (plan{} | at(token_in({1, 2}), skip(layer(1)))).fingerprint());
  CHECK((plan{} | at(selection{}, skip(layer(1)))).fingerprint() == (plan{} | skip(layer(1))).fingerprint());
}

TEST_CASE("a cache that grew under one selection is not continued under another") {
  llama_setting s;
  const auto first = plan{} | at(range(0, 2), skip(layer(1))), second = plan{} | at(range(0, 3), skip(layer(1)));
  const std::vector<row_meta> one{s.batch[0]}, two{s.batch[1]};
  forward(s.host, first, one);
  CHECK(try_forward(s.host, second, two).error().code == resect::errc::stale_cache);
  CHECK(try_forward(s.host, first, two));
}

TEST_CASE("a plan that looks for ends refuses whole texts without marks") {
  llama_setting s;
  const auto run = [&](const plan& p) {
    auto state = value_or_throw(s.host.try_embed(s.batch));
    return parts(try_run(s.host, p, state, 0, 4));
  };
  const auto ends = plan{} | at(last(), zero_stream(layer(1)));
  const auto prompts = plan{} | at(!last_prompt(), skip(layer(1)));
  CHECK(run(ends) ==
        "invalid argument | rows of zero_stream | no row of sequence 0 marked as the last | a batch that mark_ends has "
        "marked");
  CHECK(run(prompts) ==
        "invalid argument | rows of skip | no row of sequence 0 marked as the last of its prompt | a batch that "
        "mark_ends has marked");
  mark_ends(s.batch);
  CHECK(run(ends) == "fine");
  CHECK(run(prompts) == "fine");
  CHECK(same_bits(by_surgery(s.host, ends, s.batch), by_forward(s.host, ends, s.batch)));
  s.batch[9].flags = wants;  // the end of the second sequence, which has one row
  CHECK(run(ends).find("no row of sequence 1 marked as the last") != std::string::npos);
}

TEST_CASE("steps that act on all rows cannot be restricted") {
  const auto refused = [](const step& s) {
    const auto r = try_at(range(0, 1), s);
    return r ? std::string("fine") : parts(r.error());
  };
  const auto nothing = [](const tap&, matrix_view<const float>, matrix_view<float>) {};
  CHECK(refused(replace_span(layer(1), nothing, 1)) ==
        "unsupported | replace_span on some rows | a step that replaces whole layers | a step on rows or on a block");
  CHECK(refused(reinit(layer(1), 1, norm_gains::keep)) ==
        "unsupported | reinit.keep on some rows | a step that changes weights | a step on rows or on a block");
  CHECK(refused(skip(layer(1))) == "fine");
  CHECK_THROWS_AS(at(last(), reinit(layer(1), 1, norm_gains::keep)), resect::exception);
}

TEST_CASE("a selection that holds no row, or cannot be told from another, is refused by at and by plans") {
  const auto both = [](const selection& s) {
    step by_hand = skip(layer(1));
    by_hand.rows = s;
    plan p;
    const auto direct = parts(p.try_add(by_hand));
    const auto restricted = try_at(s, skip(layer(1)));
    CHECK((restricted ? "fine" : parts(restricted.error())) == direct);
    CHECK(p.empty() == (direct != "fine"));
    return direct;
  };
  const auto early = [](const row_meta& r) { return r.pos < 3; };
  const std::string identity =
      "invalid argument | rows of skip: identity of satisfying | 0 | a number that differs between different "
      "predicates";
  CHECK(both(satisfying(early, 0)) == identity);
  CHECK(both(!satisfying(early, 0) & range(0, 3)) == identity);
  CHECK(both(range(-2, -1)) == "invalid argument | rows of skip: positions of range | [-2, -1) | 0 <= first < last");
  CHECK(both(range(-1, 3)) == "invalid argument | rows of skip: positions of range | [-1, 3) | 0 <= first < last");
  CHECK(both(last() | range(5, 2)) ==
        "invalid argument | rows of skip: positions of range | [5, 2) | 0 <= first < last");
  CHECK(both(range(4, 4)) == "invalid argument | rows of skip: positions of range | [4, 4) | 0 <= first < last");
  CHECK(both(token_in({})) == "invalid argument | rows of skip: ids of token_in | none | 1 or more");
  CHECK(both(mask({})) == "invalid argument | rows of skip: places of mask | none | 1 or more");
  CHECK(both(satisfying(early, 1) & !range(0, 1) & !token_in({3})) == "fine");
  CHECK(both(not_bos(-1)) == "fine");
}
