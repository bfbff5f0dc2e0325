// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <vector>

#include <support/operator_checks.hpp>
#include <support/passes.hpp>

#include <resect/residual/noise.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::status;
using size = resect::index_t;

TEST_CASE("a span replaced by the host's own layers changes no bit, for every span") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto want = by_surgery(host, plan{}, batch);
    const int n = host.describe().n_layers;
    for (int i = 0; i < n; ++i)
      for (int j = i + 1; j <= n; ++j)
        check_identity(host, plan{} | replace_span(layers(i, j), own_layers(host, layers(i, j)), 1), batch, want);
    check_identity(host,
                   plan{} | replace_span(layers(0, 1), own_layers(host, layers(0, 1)), 1) |
                       replace_span(layers(1, 3), own_layers(host, layers(1, 3)), 1),
                   batch, want);
  });
}

TEST_CASE("a replaced span is the function of what came in, with the rows' meta data, the same both ways") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    std::vector<tap> taps;
    std::vector<row_meta> rows;
    const auto student = [&](const tap& at, matrix_view<const float> in, matrix_view<float> out) {
      taps.push_back(at);
      rows.assign(at.rows.begin(), at.rows.end());
      for (size r = 0; r < in.rows; ++r)
        for (size c = 0; c < in.cols; ++c)
          out(r, c) = 0.5f * in(r, in.cols - 1 - c) + static_cast<float>(at.rows[static_cast<std::size_t>(r)].pos);
    };
    stream_values before;
    reference_llama ref{s.model, [&](site where, int l, stream_values& h) {
                          if (where == site::resid_pre && l == 1) before = h;
                          if (where != site::resid_post || l != 2) return;
                          for (std::size_t t = 0; t < h.size(); ++t)
                            for (std::size_t i = 0; i < h[t].size(); ++i)
                              h[t][i] = 0.5 * before[t][h[t].size() - 1 - i] + s.batch[t].pos;
                        }};
    check_against(s.host, plan{} | replace_span(layers(1, 3), student, 1), s.batch, flat(ref.logits(s.batch)));
    REQUIRE(taps.size() == 2);
    for (const auto& at : taps) {
      CHECK(at.where == site::resid_pre);
      CHECK(at.layer == 1);
    }
    CHECK(rows == s.batch);
  }
}

TEST_CASE("the stream may be edited right before and right after a replaced span") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    const auto student = [](const tap&, matrix_view<const float> in, matrix_view<float> out) {
      for (size r = 0; r < in.rows; ++r)
        for (size c = 0; c < in.cols; ++c) out(r, c) = 2.0f * in(r, c) - 1.0f;
    };
    stream_values before;
    reference_llama ref{s.model, [&](site where, int l, stream_values& h) {
                          if (where == site::resid_pre && l == 1) before = h;
                          if (where != site::resid_post || l != 2) return;
                          for (std::size_t t = 0; t < h.size(); ++t)
                            for (std::size_t i = 0; i < h[t].size(); ++i)
                              h[t][i] = 0.5 * (2.0 * (3.0 * before[t][i] + 0.25) - 1.0) + 0.125;
                        }};
    const auto p = plan{} | affine_step(site::resid_post, layer(2), 0.5f, 0.125f) |
                   replace_span(layers(1, 3), student, 1) | affine_step(site::resid_pre, layer(1), 3.0f, 0.25f);
    check_against(s.host, p, s.batch, flat(ref.logits(s.batch)));
  }
}

TEST_CASE("a student may return nothing, a status, and be anything that can be called") {
  planted_host host;
  const auto batch = host.draw(2, 3);
  const auto copy = [](matrix_view<const float> in, matrix_view<float> out) {
    for (size r = 0; r < in.rows; ++r)
      for (size c = 0; c < in.cols; ++c) out(r, c) = in(r, c);
  };
  const auto want = by_surgery(host, plan{} | skip(layers(1, 3)), batch);
  const auto returns_nothing = [copy](const tap&, matrix_view<const float> in, matrix_view<float> out) {
    copy(in, out);
  };
  const auto returns_status = [copy](const tap&, matrix_view<const float> in, matrix_view<float> out) -> status {
    copy(in, out);
    return {};
  };
  check_identity(host, plan{} | replace_span(layers(1, 3), returns_nothing, 1), batch, want);
  check_identity(host, plan{} | replace_span(layers(1, 3), returns_status, 1), batch, want);
  const resect::shared_function<status(const tap&, matrix_view<const float>, matrix_view<float>)> shared{
      returns_status};
  check_identity(host, plan{} | replace_span(layers(1, 3), shared, 1), batch, want);
}

TEST_CASE("what stands in the place of a span sees h_i in its input and in its output, the same both ways") {
  planted_host host;
  const auto batch = host.draw(2, 5);
  const auto intact = by_surgery(host, plan{}, batch);
  const auto twice = [](const tap&, matrix_view<float> h) {
    for (size r = 0; r < h.rows; ++r)
      for (size c = 0; c < h.cols; ++c) h(r, c) *= 2.0f;
  };
  const auto twice_by_input = [](const tap&, matrix_view<const float> in, matrix_view<float> out) {
    for (size r = 0; r < in.rows; ++r)
      for (size c = 0; c < in.cols; ++c) {
        if (out(r, c) != in(r, c)) return status{resect::error{resect::errc::conflict, "output", "other", "h_i"}};
        out(r, c) = 2.0f * in(r, c);
      }
    return status{};
  };
  const auto same_both_ways = [&](const plan& p) {
    const auto got = by_surgery(host, p, batch);
    CHECK(same_bits(by_forward(host, p, batch), got));
    CHECK_FALSE(same_bits(got, intact));
    return got;
  };
  const auto want = same_both_ways(plan{} | replace_span(layers(2, 4), twice_by_input, 1));
  CHECK(same_bits(same_both_ways(plan{} | replace_span(layers(2, 4), twice, 1)), want));
  CHECK(same_bits(same_both_ways(plan{} | replace_span(layers(2, 4), named("mine.twice/1", 1, twice_by_input))), want));
  CHECK(same_bits(same_both_ways(plan{} | inject(4, twice, 1)), same_both_ways(plan{} | inject(4, twice_by_input, 1))));
  same_both_ways(plan{} | replace_span(layers(2, 4), operators::noise{0.1f, 1}));
  CHECK(largest(same_both_ways(plan{} | replace_span(layers(2, 6), operators::zero_stream{}))) == 0);
  const auto nothing = [](const tap&, matrix_view<float>) {};
  CHECK(same_bits(same_both_ways(plan{} | replace_span(layers(2, 4), nothing, 1)),
                  by_surgery(host, plan{} | skip(layers(2, 4)), batch)));
}

TEST_CASE("own_layers continues no cache, and the error says whose rows those are") {
  llama_setting s;
  const auto p = plan{} | replace_span(layers(1, 3), own_layers(s.host, layers(1, 3)), 7);
  REQUIRE(try_forward(s.host, p, rows_of(s.batch, 0, 0, 4)));
  CHECK(parts(try_forward(s.host, p, rows_of(s.batch, 0, 4, 6))) ==
        "unsupported | rows of own_layers in replace_span | sequence 0 from position 4 | whole sequences from position "
        "0: "
        "own_layers continues no cache");
  const auto beyond = plan{} | replace_span(layers(1, 3), own_layers(s.host, layers(1, 9)), 7);
  CHECK(parts(try_forward(s.host, beyond, rows_of(s.batch, 0, 0, 4))).find("own_layers in replace_span: ") !=
        std::string::npos);
}
