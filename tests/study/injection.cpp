// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <vector>

#include <support/catch.hpp>
#include <support/expect_error.hpp>
#include <support/neox_host.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/run.hpp>
#include <resect/study/injection.hpp>
#include <resect/study/intact_streams.hpp>
#include <resect/study/surgery_probe.hpp>

using namespace resect;
using namespace resect::residual;
using neox = support::neox::host<>;

namespace {

neox a_host(support::neox::block kind = support::neox::block::sequential) {
  return neox{{kind, support::neox::positions::learned}};
}

study::token_windows windows_of(index_t sequences) {
  std::vector<std::int32_t> ids;
  for (std::uint64_t i = 0; i < 900; ++i)
    ids.push_back(static_cast<std::int32_t>(random::integer_below(random::philox_stream{5, 0}, i, 41)));
  return study::windows({ids, {}}, {.sequences = sequences, .context = 10});
}

// The stream before layer l.
matrix<float> stream_at(neox& h, const study::token_windows& w, int l) {
  auto state = value_or_throw(h.try_embed(w.rows));
  value_or_throw(h.try_run(state, 0, l, model::no_hooks<float>()));
  matrix<float> out(static_cast<index_t>(w.rows.size()), h.describe().d_model);
  copy(h.stream(state), out.view());
  return out;
}

}  // namespace

TEST_CASE("moments gathered from a host are those of its streams, in folds of whole sequences, however it is cut") {
  auto h = a_host();
  cpu exec;
  const auto w = windows_of(20);
  const layer_range spans[] = {{1, 2}, {0, 3}};
  const model::batch_view whole[] = {w.rows};
  const auto cut = std::span<const model::row_meta>(w.rows);
  const model::batch_view parts[] = {cut.first(70), cut.subspan(70, 60), cut.subspan(130)};
  const auto refused = student::try_gather_moments(exec, h, spans, whole, {.kept_rows = -1});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().operand == "kept rows of moments");
  const auto one = value_or_throw(student::try_gather_moments(exec, h, spans, whole, {.kept_rows = 30}));
  const auto several = value_or_throw(student::try_gather_moments(exec, h, spans, parts));
  REQUIRE(one.size() == 2);
  const auto x = stream_at(h, w, 0), y = stream_at(h, w, 3);
  for (int fold = 0; fold < 4; ++fold) {
    CHECK(one[1].folds[fold].rows() == 45);  // five sequences of ten rows, first positions apart
    CHECK(several[1].folds[fold].rows() == 45);
    double squares = 0;
    for (index_t r = 50 * fold; r < 50 * fold + 50; ++r)
      if (r % 10 != 0) squares += static_cast<double>(x(r, 3)) * static_cast<double>(x(r, 3));
    CHECK(std::fabs(one[1].folds[fold].xx(3) - squares) < 1e-9 * squares);
  }
  REQUIRE(one[1].x.rows == 30);
  CHECK(one[1].x(0, 5) == x(1, 5));
  CHECK(one[1].y(9, 5) == y(11, 5));  // row 10 is a first position
}

TEST_CASE("gathering refuses spans that do not exist and too few sequences") {
  auto h = a_host();
  cpu exec;
  const auto w = windows_of(3);
  const model::batch_view whole[] = {w.rows};
  const layer_range beyond[] = {{2, 4}}, empty[] = {{1, 1}}, one[] = {{0, 1}};
  support::expect_error(student::try_gather_moments(exec, h, beyond, whole), errc::invalid_argument,
                        {"span", "[2, 4)", "[0, 3)"});
  support::expect_error(student::try_gather_moments(exec, h, empty, whole), errc::invalid_argument, {"span", "[1, 1)"});
  support::expect_error(student::try_gather_moments(exec, h, one, whole), errc::invalid_argument,
                        {"folds of moments", "4 of 3 sequences"});
}

TEST_CASE("a map in a plan writes what it says, and a plan refuses a map of another width") {
  auto h = a_host();
  cpu exec;
  const auto w = windows_of(6);
  student::span_map map{student::scalar_map{16, 0.5f}, {}};
  auto arm = value_or_throw(
      study::detail::try_spliced("half", layers(1, 3), replace_span(layers(1, 3), student::on(exec, map))));
  auto state = value_or_throw(h.try_embed(w.rows));
  REQUIRE(residual::try_run(exec, h, arm.arm.plan, state, 0, 3));
  const auto before = stream_at(h, w, 1);
  for (index_t r = 0; r < before.rows; ++r)
    for (index_t c = 0; c < before.cols; ++c) CHECK(h.stream(state)(r, c) == 0.5f * before(r, c));
  map.map.columns = 15;
  const auto narrow = value_or_throw(
      study::detail::try_spliced("half", layers(1, 3), replace_span(layers(1, 3), student::on(exec, map))));
  auto again = value_or_throw(h.try_embed(w.rows));
  support::expect_error(residual::try_run(exec, h, narrow.arm.plan, again, 0, 3), errc::shape_mismatch,
                        {"map.scalar", "15", "16"});
}

TEST_CASE("errors of the stream are 0 where nothing is altered and grow as they are planted") {
  auto h = a_host();
  const auto w = windows_of(8);
  const auto intact = value_or_throw(study::intact_streams::try_make(h, w));
  CHECK(intact.layers() == 3);
  CHECK(intact.judged_rows() == 72);
  CHECK_FALSE(intact.judged(10));  // a first position
  auto moved = stream_at(h, w, 2);
  CHECK(value_or_throw(intact.try_compare(2, moved.view())).fvu().value == 0);
  const auto variance = value_or_throw(intact.try_compare(2, matrix<float>(80, 16).view())).sums().total(1);
  const auto add = [&](float size) {
    auto out = moved;
    for (index_t r = 0; r < out.rows; ++r) out(r, 0) += size;
    return value_or_throw(intact.try_compare(2, out.view()));
  };
  const auto near = add(0.5f), far = add(1.5f);
  CHECK(std::fabs(near.fvu().value - 72 * 0.25 / variance) < 1e-6);
  const auto growth = value_or_throw(metrics::try_amplification(far, near));
  CHECK(std::fabs(growth.value - 9) < 1e-4);
  CHECK(growth.lo <= 9.001);
  CHECK(growth.hi >= 8.999);
  support::expect_error(intact.try_compare(1, moved.view().block(0, 0, 80, 15)), errc::shape_mismatch,
                        {"stream before layer 1", "80 x 15"});
}

TEST_CASE("an injection of the embedding runs no layer below it, and impossible depths are refused") {
  auto h = a_host();
  cpu exec;
  const auto w = windows_of(6);
  const auto arm = value_or_throw(study::try_untrained_arm(3, 0, 1));
  auto state = value_or_throw(h.try_embed(w.rows));
  REQUIRE(residual::try_run(exec, h, arm.arm.plan, state, 0, 3));
  const auto embedding = stream_at(h, w, 0);
  for (index_t r = 0; r < embedding.rows; ++r) CHECK(h.stream(state)(r, 2) == embedding(r, 2));
  CHECK(study::flop_per_token(h, arm.arm.plan) == 2.0 * 41 * 16);  // the head alone
  CHECK(study::flop_per_token(h, plan{}) >
        study::flop_per_token(h, value_or_throw(study::try_skip_arm({1, 2})).arm.plan));
  support::expect_error(study::try_untrained_arm(1, 2, 1), errc::invalid_argument, {"depth of an injection", "1", "2"});
  support::expect_error(study::try_untrained_arm(0, 0, 1), errc::invalid_argument, {"depth of an injection", "0"});
}

TEST_CASE("a probe after surgery reads what the plan leaves, and refuses texts that do not fit it") {
  auto h = a_host();
  cpu exec;
  study::labelled_texts texts;
  for (std::int32_t i = 0; i < 60; ++i) {
    const std::int32_t text[] = {i % 41, i % 2 ? 3 : 4};
    REQUIRE(texts.try_add(text, i % 2));
  }
  using prober = study::surgery_probe<cpu<>, neox>;
  support::expect_error(prober::try_start(exec, h, texts), errc::invalid_argument,
                        {"labelled texts", "0 to fit, of 60"});
  texts.fitted = 40;
  auto probe = value_or_throw(prober::try_start(exec, h, texts));
  CHECK(value_or_throw(probe.try_head_in(plan{})).accuracy.value > 0.9);
  const auto lost = value_or_throw(probe.try_head_in(plan{} | zero_stream(layer(2))));
  CHECK_FALSE(lost.above_chance());
  support::expect_error(texts.try_add({}, 1), errc::invalid_argument, {"ids of labelled text 60"});
  support::expect_error(texts.try_add(std::vector<std::int32_t>{1}, -1), errc::invalid_argument,
                        {"label of labelled text 60", "-1"});
}
