// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstring>

#include <hosts/llama/host.hpp>
#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/forwarding_host.hpp>
#include <support/study_setting.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/study/compression.hpp>

using namespace resect;
using namespace resect::compress;
using namespace resect::study;

namespace {

struct setting : support::study_setting {
  setting() : study_setting(4) {}
};

using threaded = cpu<threads>;

// Rounds every value to a multiple of `step`.
weight_method rounding(float step) {
  weight_method m;
  m.name = "rounding";
  m.hash = fingerprint{}.add(static_cast<double>(step)).value();
  m.apply = [step](const model::weight_desc&, matrix_view<float> w, executor_ref exec) -> status {
    exec.bulk(w.rows, [&](resect::index_t r) {
      for (resect::index_t c = 0; c < w.cols; ++c) w(r, c) = step * std::nearbyint(w(r, c) / step);
    });
    return {};
  };
  return m;
}

// The same model with the matrices of some layers rounded: what a run under the method has to equal.
hosts::llama_model rounded(hosts::llama_model model, const std::vector<int>& layers, float step) {
  for (const int l : layers) {
    auto& layer = model.layers[static_cast<std::size_t>(l)];
    for (auto* m : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
      for (float& x : m->data) x = step * std::nearbyint(x / step);
  }
  return model;
}

// Hands out what a layer is made of by value.
template <model::surgical_host H>
struct listing_host : support::forwarding_surgical_host<H> {
  using base = support::forwarding_surgical_host<H>;
  using weight_override = typename H::weight_override;
  using base::base;
  status try_forward(model::batch_view b, model::site_set want, model::observer<float> look) {
    return base::host_.try_forward(b, want, look);
  }
  status try_forward(model::batch_view b, const model::hooks<float>& k) { return base::host_.try_forward(b, k); }
  status try_run(typename H::state& s, int first, int last, const model::hooks<float>& k) {
    return base::host_.try_run(s, first, last, k);
  }
  std::vector<model::weight_desc> weights(int l) const {
    const auto all = base::host_.weights(l);
    return {all.begin(), all.end()};
  }
  result<weight_override> try_override_weight(const model::weight_desc& w, matrix_view<const float> values) {
    return base::host_.try_override_weight(w, values);
  }
};

TEST_CASE("a host that lists its weights by value gives the same report") {
  const setting s;
  cpu<> exec;
  hosts::llama_host host(exec, s.model);
  listing_host<hosts::llama_host> listing(host);
  static_assert(model::surgical_host<decltype(listing)>);
  const auto want = compression(exec, host, s.evaluation, s.calibration, rounding(0.05f));
  const auto got = compression(exec, listing, s.evaluation, s.calibration, rounding(0.05f));
  REQUIRE(got.rows.size() == want.rows.size());
  for (std::size_t i = 0; i < got.rows.size(); ++i)
    CHECK(got.rows[i].alone.mean.kl.value == want.rows[i].alone.mean.kl.value);
}

TEST_CASE("S, R and I are those of models whose weights were altered by hand, bit for bit") {
  const setting s;
  constexpr float step = 0.05f;
  threaded exec{threads{2}};
  hosts::llama_host host(exec, s.model);
  const auto r = compression(exec, host, s.evaluation, s.calibration, rounding(step));
  REQUIRE(r.rows.size() == 4);
  CHECK_FALSE(r.saturated);

  intact_outputs outputs;
  head_workspace work;
  REQUIRE(study::detail::try_baseline(exec, host, s.evaluation, work, outputs));
  const auto sums_of = [&](const std::vector<int>& layers) {
    const auto model = rounded(s.model, layers, step);
    hosts::llama_host other(exec, model);
    auto state = value_or_throw(other.try_embed(s.evaluation.rows));
    value_or_throw(other.try_run(state, 0, 4, model::no_hooks<float>()));
    return value_or_throw(study::detail::try_effect(exec, other, state, s.evaluation, outputs, work));
  };
  const auto all = sums_of({0, 1, 2, 3});
  CHECK(r.all.kl.value == all.estimate().kl.value);
  for (int l = 0; l < 4; ++l) {
    const auto& row = r.rows[static_cast<std::size_t>(l)];
    CHECK(row.layer() == l);
    const auto alone = sums_of({l});
    CHECK(row.alone.mean.kl.value == alone.estimate().kl.value);
    CHECK(row.alone.mean.dlnppl.value == alone.estimate().dlnppl.value);
    CHECK(row.alone.mean.kl.value > 0);
    std::vector<int> others;
    for (int other = 0; other < 4; ++other)
      if (other != l) others.push_back(other);
    const auto without = sums_of(others);
    CHECK(row.without.kl.estimate().value == without.estimate().kl.value);
    CHECK(row.causal.restored.value == Approx(all.estimate().kl.value - without.estimate().kl.value).epsilon(1e-12));
    CHECK(row.causal.interaction.value == Approx(row.causal.restored.value - row.alone.mean.kl.value).margin(1e-15));
    CHECK(row.causal.restored.n_clusters == 8);
    CHECK(row.causal.restored.lo < row.causal.restored.value);
    CHECK((row.error > 0.001 && row.error < 0.5));
  }
}

TEST_CASE("a method that changes nothing costs nothing: every measure of it is exactly zero") {
  const setting s;
  threaded exec{threads{1}};
  hosts::llama_host host(exec, s.model);
  weight_method same{
      "same", 1, [](const model::weight_desc&, matrix_view<float>, executor_ref) { return status{}; }, {}};
  const auto r = compression(exec, host, s.evaluation, s.calibration, same);
  for (const auto& row : r.rows) {
    CHECK(row.alone.mean.kl.value == 0);
    CHECK(row.alone.mean.top1.value == 1);
    CHECK(row.causal.restored.value == 0);
    CHECK(row.causal.interaction.value == 0);
    CHECK(row.error == 0);
  }
  CHECK(r.all.kl.value == 0);
}

TEST_CASE("where the altered model knows no more than word frequencies do, R is not given") {
  const setting s;
  threaded exec{threads{1}};
  auto model = s.model;
  for (float& x : model.embed.data) x *= 6;  // a model that is sure of itself
  hosts::llama_host host(exec, model);
  weight_method noise{"noise",
                      1,
                      [](const model::weight_desc& w, matrix_view<float> v, executor_ref) {
                        random::fill_gaussian({v.data, static_cast<std::size_t>(v.rows * v.cols)}, 3,
                                              static_cast<std::uint64_t>(w.id), 0, 3.0);
                        return status{};
                      },
                      {}};
  const auto r = compression(exec, host, s.evaluation, s.calibration, noise);
  CHECK(r.unigram_kl.value > 0);
  CHECK(r.saturated == (r.all.kl.value > r.unigram_kl.value / 2));
  REQUIRE(r.saturated);
  for (const auto& row : r.rows) {
    CHECK(std::isnan(row.causal.restored.value));
    CHECK(std::isnan(row.causal.interaction.value));
    CHECK(std::isfinite(row.alone.mean.kl.value));
  }
}

TEST_CASE(
    "the unigrams of a compression study are those of the whole calibration text, of its rows only where it has none") {
  const setting s;
  threaded exec{threads{1}};
  hosts::llama_host host(exec, s.model);
  const weight_method same{
      "same", 1, [](const model::weight_desc&, matrix_view<float>, executor_ref) { return status{}; }, {}};
  const auto distance = [&](const token_windows& calibration) {
    return compression(exec, host, s.evaluation, calibration, same, {.layers = {1}}).unigram_kl.value;
  };
  auto other = s.calibration;
  other.unigrams = {{5, 100000}};
  CHECK(distance(other) > 2 * distance(s.calibration));
  other.unigrams.clear();
  const double of_rows = distance(other);
  CHECK(of_rows != distance(s.calibration));
  for (const auto& row : s.calibration.rows) other.unigrams.push_back({row.token, 1});
  CHECK(of_rows == distance(other));
  token_windows empty;
  empty.context = 12;
  const auto refused = try_compression(exec, host, s.evaluation, empty, same, {.layers = {1}}, [](const progress&) {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().operand == "text of the unigrams");
}

TEST_CASE("the compression study gives the same bits for 1, 2, 3, 7 and 64 workers, and leaves the weights alone") {
  const setting s;
  std::vector<double> first;
  for (const int workers : {1, 2, 3, 7, 64}) {
    threaded exec{threads{workers}};
    hosts::llama_host host(exec, s.model);
    const auto r = compression(exec, host, s.evaluation, s.calibration, rounding(0.03f), {.layers = {1, 3}});
    std::vector<double> now{r.all.kl.value, r.all.kl.se};
    for (const auto& row : r.rows)
      now.insert(now.end(), {row.alone.mean.kl.value, row.causal.restored.value, row.causal.restored.se,
                             row.causal.interaction.se, row.alone.mean.cosine.value, row.error});
    if (first.empty()) first = now;
    REQUIRE(now.size() == first.size());
    CHECK(std::memcmp(now.data(), first.data(), now.size() * sizeof(double)) == 0);
    const auto again = compression(exec, host, s.evaluation, s.calibration, rounding(0.03f), {.layers = {1, 3}});
    CHECK(again.rows[0].alone.mean.kl.value == r.rows[0].alone.mean.kl.value);
  }
}

TEST_CASE("the announced cost of a compression study is the work that is done") {
  const setting s;
  threaded exec{threads{1}};
  hosts::llama_host model(exec, s.model);
  support::counting_host host(model);
  const compression_options options{.layers = {1, 2}};
  double last = -1, total = 0;
  const auto r =
      try_compression(exec, host, s.evaluation, s.calibration, rounding(0.05f), options, [&](const progress& p) {
        CHECK(p.done >= last);
        last = p.done;
        total = p.total;
      });
  REQUIRE(r);
  CHECK(last == total);
  // intact 4; the prefix to layer 1: 1; layer 2 alone, which is also all but 1: 3; layer 1, altered: 1; then layer 1 alone,
  // which is also all but 2: 2; and both: 2
  CHECK(host.n.layer_runs() == 4 + 1 + 3 + 1 + 2 + 2);
}

TEST_CASE("a compression study refuses what it cannot do, by name") {
  const setting s;
  threaded exec{threads{1}};
  hosts::llama_host host(exec, s.model);
  const auto ignore = [](const progress&) {};
  const auto refusal = [&](const weight_method& m, const compression_options& o, const token_windows& calibration) {
    const auto r = try_compression(exec, host, s.evaluation, calibration, m, o, ignore);
    return r ? std::string("fine") : std::string(r.error().message().view());
  };
  CHECK(refusal({}, {}, s.calibration) == "null pointer: method: got no function, wanted a function");
  CHECK(refusal(rounding(0.1f), {.layers = {4}}, s.calibration) ==
        "invalid argument: layers: got layer 4, wanted layers 0 to 3");
  CHECK(refusal(rounding(0.1f), {.head_rows = 0}, s.calibration).find("head_rows") != std::string::npos);
  CHECK(refusal(rounding(0.1f), {}, s.evaluation).find("calibration windows") != std::string::npos);
  weight_method fails{"fails",
                      1,
                      [](const model::weight_desc& w, matrix_view<float>, executor_ref) -> status {
                        if (w.layer == 2) return error{errc::invalid_argument, "rank", "0", "1 or more"};
                        return {};
                      },
                      {}};
  CHECK(refusal(fails, {}, s.calibration) ==
        "invalid argument: fails of layer 2, attn.q: rank: got 0, wanted 1 or more");
  auto of_another = rounding(0.1f);
  of_another.check_model = [&](std::uint64_t model) -> status {
    CHECK(model == host.describe().fingerprint);
    return error{errc::conflict, "H", "of one model", "of another"};
  };
  CHECK(refusal(of_another, {}, s.calibration) == "conflict: H: got of one model, wanted of another");
}

}  // namespace
