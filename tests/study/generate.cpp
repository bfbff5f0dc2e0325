// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>

#include <hosts/llama/host.hpp>
#include <support/catch.hpp>
#include <support/study_setting.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/select.hpp>
#include <resect/residual/steer.hpp>
#include <resect/residual/swap_matrix.hpp>
#include <resect/study/generate.hpp>

using namespace resect;
using namespace resect::study;
using residual::plan;

namespace {

using prompts = std::vector<std::vector<std::int32_t>>;
const prompts ragged{{5, 60, 7, 12, 33}, {1}, {44, 2, 9}, {17, 17, 17, 17, 17, 17, 17, 17, 17}};

struct setting : support::study_setting {
  cpu<> exec;
  hosts::llama_host host;
  setting() : study_setting(4), host(exec, model) {}
};

// The logits after a text, by a pass over all of it in an empty cache.
std::vector<float> recomputed(hosts::llama_host& host, const plan& p, const std::vector<std::int32_t>& ids,
                              std::size_t prompt) {
  std::vector<model::row_meta> rows;
  for (const auto id : ids) rows.push_back({0, static_cast<std::int32_t>(rows.size()), id, 0});
  rows[prompt - 1].flags |= model::row_meta::prompt_end;
  for (std::size_t i = prompt; i < rows.size(); ++i) rows[i].flags |= model::row_meta::decode;
  rows.back().flags |= model::row_meta::wants_logits;
  host.forget(0);
  residual::forward(host, p, rows);
  const auto logits = host.logits();
  std::vector<float> out(logits.row(0).data, logits.row(0).data + logits.cols);
  host.forget(0);
  return out;
}

// What generation has to give: every text recomputed at every step, one prompt at a time.
std::vector<generation> by_recompute(hosts::llama_host& host, const plan& p, const prompts& all,
                                     const generation_options& o) {
  std::vector<generation> out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto ids = all[i];
    generation one;
    for (index_t step = 0; step < o.max_new; ++step) {
      const auto logits = recomputed(host, p, ids, all[i].size());
      const auto id = study::detail::next_id(logits, o, i, step);
      if (std::find(o.stop_ids.begin(), o.stop_ids.end(), id) != o.stop_ids.end()) {
        one.stopped = true;
        break;
      }
      one.ids.push_back(id);
      ids.push_back(id);
    }
    out.push_back(std::move(one));
  }
  return out;
}

std::vector<plan> plans() {
  std::vector<float> v(32);
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i % 5) - 2;
  return {plan{}, plan{} | residual::skip(residual::layer(2)),
          plan{} | residual::scale_delta(residual::layers(0, 3), -2.0f) |
              residual::steer(residual::steering::add{}, residual::layer(3), model::site::resid_post, v, 3.0f),
          plan{} | residual::at(residual::last(), residual::zero_stream(residual::layer(0)))};
}

}  // namespace

TEST_CASE("greedy and sampled continuations under plans are those of a full recompute at every step") {
  setting s;
  std::size_t different = 0;
  std::vector<std::vector<generation>> greedy;
  for (const double temperature : {0.0, 0.7, 1.5})
    for (const plan& p : plans()) {
      if (p.steps().size() == 1 && p.steps()[0].rows.flags() != 0) continue;  // below: needs marks of its own
      const generation_options o{.max_new = 12, .temperature = temperature, .seed = 9, .stop_ids = {3, 4}};
      const auto got = generate(s.host, p, ragged, o);
      CHECK(got == by_recompute(s.host, p, ragged, o));
      if (temperature == 0) greedy.push_back(got);
      else different += got != greedy[0];
      for (const auto& g : got) CHECK((g.stopped || g.ids.size() == 12));
    }
  CHECK(different > 0);  // draws are draws
  CHECK(std::count(greedy.begin(), greedy.end(), greedy[0]) <
        static_cast<std::ptrdiff_t>(greedy.size()));  // plans do something
}

TEST_CASE("steps on weights hold for the whole generation: continuations are those of a full recompute under them") {
  setting s;
  const auto& w = s.model.layers[1].down;
  std::vector<float> other(w.data.begin(), w.data.end());
  for (std::size_t i = 0; i < other.size(); ++i) other[i] *= i % 3 == 0 ? -2.0f : 1.0f;
  const auto swapped = plan{} | residual::swap_matrix(residual::layer(1), "mlp.down",
                                                      matrix_view<const float>{other.data(), w.rows, w.cols});
  const auto both = swapped | residual::reinit(residual::layer(2), 3, residual::norm_gains::keep) |
                    residual::skip(residual::layer(3));
  for (const double temperature : {0.0, 1.0})
    for (const plan& p : {swapped, both}) {
      const generation_options o{.max_new = 10, .temperature = temperature};
      const auto got = generate(s.host, p, ragged, o);
      CHECK(got == by_recompute(s.host, p, ragged, o));
      if (temperature > 0) CHECK(got != generate(s.host, plan{}, ragged, o));
    }
}

TEST_CASE("a continuation does not depend on the other prompts of its batch") {
  setting s;
  const generation_options o{.max_new = 8, .temperature = 1.0};
  const auto together = generate(s.host, plan{}, ragged, o);
  const auto first = generate(s.host, plan{}, prompts{ragged[0]}, o);
  CHECK(together[0] == first[0]);
  const auto elsewhere = generate(s.host, plan{}, ragged, {.max_new = 8, .temperature = 1.0, .first_sequence = 40});
  CHECK(together == elsewhere);
  CHECK(generate(s.host, plan{}, ragged, {.max_new = 8, .temperature = 1.0, .seed = 2}) != together);
}

TEST_CASE("a stop id ends a continuation and is no part of it") {
  setting s;
  const auto free = generate(s.host, plan{}, ragged, {.max_new = 6});
  const std::int32_t third = free[0].ids[2];
  const auto stopped = generate(s.host, plan{}, ragged, {.max_new = 6, .stop_ids = {third}});
  CHECK(stopped[0].stopped);
  const auto end = std::find(free[0].ids.begin(), free[0].ids.end(), third);
  CHECK(stopped[0].ids == std::vector<std::int32_t>(free[0].ids.begin(), end));
}

TEST_CASE("drawn ids have the frequencies of the softmax at the temperature") {
  const std::vector<float> logits{0.0f, 1.0f, 2.0f, -INFINITY, 0.5f};
  for (const double temperature : {0.5, 1.0, 3.0}) {
    std::vector<double> p;
    double total = 0;
    for (const float x : logits) total += p.emplace_back(std::exp(static_cast<double>(x) / temperature));
    std::vector<int> seen(logits.size());
    constexpr int draws = 20000;
    for (int i = 0; i < draws; ++i)
      ++seen[static_cast<std::size_t>(
          study::detail::next_id(logits, {.temperature = temperature}, static_cast<std::size_t>(i), 3))];
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double want = p[i] / total, sd = std::sqrt(want * (1 - want) / draws);
      INFO("id " << i << " at temperature " << temperature);
      CHECK(std::fabs(seen[i] / double{draws} - want) <= 4 * sd);
    }
  }
}

TEST_CASE("generation refuses what it cannot do, by name, and leaves no sequence behind") {
  setting s;
  const auto refusal = [&](const prompts& p, const generation_options& o, const plan& under = {}) {
    const auto r = try_generate(s.host, under, p, o);
    for (std::int32_t seq = 0; seq < 4; ++seq) CHECK(s.host.cached(seq) == 0);
    return r ? std::string("fine") : std::string(r.error().message().view());
  };
  CHECK(refusal({{1}, {}}, {}) == "invalid argument: prompt 1: got no id, wanted 1 or more");
  CHECK(refusal({{1, 61}}, {}) == "invalid argument: prompt 0, id 1: got 61, wanted 0 to 60");
  CHECK(refusal({{1}}, {.max_new = -1}) == "invalid argument: max_new: got -1, wanted 0 or more");
  CHECK(refusal({{1}}, {.temperature = NAN}).find("temperature") != std::string::npos);
  CHECK(refusal({}, {}) == "fine");
  CHECK(refusal(ragged, {.max_new = 2}) == "fine");
  auto spoiled = s.model;
  spoiled.layers[2].down.data[7] = NAN;
  hosts::llama_host broken(s.exec, spoiled);
  const auto nan = try_generate(broken, plan{}, ragged);
  REQUIRE_FALSE(nan);
  CHECK(nan.error().message() ==
        "not finite: logits of prompt 0, step 0: got NaN or infinite values, wanted finite logits");
}
