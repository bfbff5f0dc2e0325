// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <map>
#include <set>
#include <string>
#include <vector>

#include <support/every_operator.hpp>

// Operators that put the deltas of reference rows, or means of them, in place of a row's own.
using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::shared_value;
using size = resect::index_t;

namespace {

// A store of one layer whose row at (seq, pos) is (seq, pos).
row_store numbered(const std::vector<row_meta>& rows, site where = site::mlp_delta) {
  row_store store(where, layer(0), 2, static_cast<size>(rows.size()));
  for (const auto& row : rows) {
    const floats h{static_cast<float>(row.seq), static_cast<float>(row.pos)};
    REQUIRE(store.try_add({where, 0, {&row, 1}}, {h.data(), 1, 2}));
  }
  return store;
}
std::vector<row_meta> ragged(std::initializer_list<int> lengths) {
  std::vector<row_meta> out;
  int seq = 0;
  for (const int n : lengths) {
    for (int pos = 0; pos < n; ++pos) out.push_back({seq, pos});
    ++seq;
  }
  return out;
}
std::string refused(const resect::result<step>& s) { return s ? "fine" : parts(s.error()); }
std::string refused(const resect::result<delta_means>& s) { return s ? "fine" : parts(s.error()); }

// Where the rows of a batch get their deltas from.
std::map<token_place, token_place> sources(const step& s, const std::vector<row_meta>& rows) {
  std::map<token_place, token_place> out;
  for (const auto& row : rows) {
    floats h{-1, -1};
    REQUIRE(s.op.apply({site::mlp_delta, 0, {&row, 1}}, {}, {h.data(), 1, 2}));
    out[row.place()] = {static_cast<std::int32_t>(h[0]), static_cast<std::int32_t>(h[1])};
  }
  return out;
}

}  // namespace

TEST_CASE("resampling is a derangement: every row is used once, no row gets its own, and positions stay where asked") {
  const auto rows = ragged({5, 3, 5, 4, 5});
  const shared_value<row_store> store = numbered(rows);
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (const auto from : {resample_from::any_row, resample_from::same_position}) {
      const auto pairs = sources(resample_delta(layer(0), store, seed, from), rows);
      std::set<token_place> used;
      int moved = 0;
      for (const auto& [to, source] : pairs) {
        CHECK(to != source);
        if (from == resample_from::same_position) CHECK(to.pos == source.pos);
        used.insert(source);
        moved += to.pos != source.pos;
      }
      CHECK(used.size() == rows.size());
      CHECK((moved > 0) == (from == resample_from::any_row));
    }
}

TEST_CASE("another seed is another derangement, and each partner is drawn about equally often") {
  const auto rows = ragged({1, 1, 1, 1, 1});
  const shared_value<row_store> store = numbered(rows);
  std::map<int, int> partners;
  constexpr int draws = 4000;
  for (std::uint64_t seed = 0; seed < draws; ++seed)
    ++partners[sources(resample_delta(layer(0), store, seed), rows).at({2, 0}).seq];
  CHECK(partners.size() == 4);
  for (const auto& [seq, n] : partners) CHECK(std::abs(n - draws / 4) < 5 * 28);  // five standard deviations
  CHECK(resample_delta(layer(0), store, 1).identity() != resample_delta(layer(0), store, 2).identity());
  CHECK(resample_delta(layer(0), store, 1).identity() == resample_delta(layer(0), store, 1).identity());
}

TEST_CASE("a row that stands alone cannot be resampled, nor one whose place the reference lacks") {
  CHECK(refused(try_resample_delta(layer(0), numbered(ragged({3, 2})), 1)) ==
        "invalid argument | rows to resample from | 1 sequence that reaches position 2 | 2 or more");
  CHECK(refused(try_resample_delta(layer(0), numbered(ragged({3, 2})), 1, resample_from::any_row)) == "fine");
  CHECK(refused(try_resample_delta(layer(0), numbered(ragged({1})), 1, resample_from::any_row)) ==
        "invalid argument | rows to resample from | 1 row | 2 or more");
  CHECK(refused(try_resample_delta(layer(0), numbered(ragged({3, 3}), site::resid_post), 1)) ==
        "conflict | source of resample_delta | rows of resid_post | deltas of blocks, attn_delta or mlp_delta");
  CHECK(refused(try_resample_delta(layer(1), numbered(ragged({3, 3})), 1)) ==
        "invalid argument | source of resample_delta | layers [0, 1) | layers [1, 2)");
  llama_setting s;
  auto some = s.batch;
  some.pop_back();
  const auto p = plan{} | resample_delta(layer(1), captured_deltas(s.host, some), 1, resample_from::any_row);
  CHECK(parts(try_forward(s.host, p, s.batch)) ==
        "invalid argument | resample_delta on layers [1, 2): source of resample_delta | no row of sequence 3 position "
        "13 in "
        "layer 1 | a place of the row_store");
}

TEST_CASE("a resampled block leaves the layer out and adds another row's delta") {
  llama_setting s;
  const auto deltas = captured_deltas(s.host, s.batch), pre = captured_at(s.host, site::resid_pre, s.batch);
  const auto p = plan{} | resample_delta(layer(1), deltas, 9, resample_from::any_row);
  counting_host host(s.host);
  auto state = resect::value_or_throw(s.host.try_embed(s.batch));
  REQUIRE(try_run(host, p, state, 0, 2));
  CHECK(host.n.layers == std::vector<int>{1, 0, 0, 0});
  const auto h = s.host.stream(state);
  std::set<token_place> used;
  for (std::size_t r = 0; r < s.batch.size(); ++r) {
    const auto before = pre.find(1, s.batch[r].place());
    const auto is_from = [&](const row_meta& other) {
      const auto d = deltas.find(1, other.place());
      for (size c = 0; c < h.cols; ++c)
        if (h(static_cast<size>(r), c) != before[static_cast<std::size_t>(c)] + d[static_cast<std::size_t>(c)])
          return false;
      return true;
    };
    int found = 0;
    for (const auto& other : s.batch)
      if (is_from(other)) ++found, used.insert(other.place());
    CHECK(found == 1);
    CHECK_FALSE(is_from(s.batch[r]));
  }
  CHECK(used.size() == s.batch.size());
}

TEST_CASE("means of all rows and by position are those of the stored rows") {
  const auto rows = ragged({3, 1, 2});
  const auto store = numbered(rows);
  const auto all = resect::value_or_throw(try_means(store, 5)),
             each = resect::value_or_throw(try_means(store, 5, mean_over::position));
  CHECK(all.rows == 6);
  CHECK(all.positions == 0);
  CHECK(all.mean[0] == static_cast<float>(5.0 / 6));  // sequences 0, 0, 0, 1, 2, 2
  CHECK(all.mean[1] == static_cast<float>(4.0 / 6));  // positions 0, 1, 2, 0, 0, 1
  CHECK(each.positions == 3);
  CHECK(std::vector<float>(each.mean.begin(), each.mean.end()) == floats{1, 0, 1, 1, 0, 2});
  CHECK(each.what == delta::mlp);
  const auto s = mean_delta(layer(0), each);
  CHECK(s.where == site::mlp_delta);
  CHECK(s.identity() != mean_delta(layer(0), all).identity());
  for (const auto& [to, source] : sources(s, rows)) CHECK(source.pos == to.pos);
}

TEST_CASE("means by position refuse a row beyond them, and stores that cannot give means are refused") {
  llama_setting s;
  std::vector<row_meta> heads;
  for (const auto& row : s.batch)
    if (row.pos < 5) heads.push_back(row);
  const auto means = resect::value_or_throw(
      try_means(captured_deltas(s.host, heads), s.host.describe().fingerprint, mean_over::position));
  CHECK(parts(try_forward(s.host, plan{} | mean_delta(layer(1), means), s.batch)) ==
        "invalid argument | mean_delta on layers [1, 2): means of mean_delta | sequence 0 position 5 | a position "
        "below 5");
  CHECK(try_forward(s.host, plan{} | at(range(0, 5), mean_delta(layer(1), means)), s.batch));
  CHECK(refused(try_means(numbered(ragged({2}), site::resid_mid), 1)) ==
        "conflict | source of means | rows of resid_mid | deltas of blocks, attn_delta or mlp_delta");
  CHECK(refused(try_means(row_store(site::mlp_delta, layers(1, 3), 2, 4), 1)) ==
        "invalid argument | source of means | 0 rows of layers from 1 | 1 or more of layers from 0");
  CHECK(refused(try_means(numbered({{0, 2}}), 1, mean_over::position)) ==
        "invalid argument | source of means | no row at position 0 | a row at each position below 3");
}

TEST_CASE("means of another model and means that are not finite are refused; of an unknown model they fit any") {
  llama_setting s;
  auto means = some_means(s.model.config.n_layers, s.model.config.d_model);
  CHECK((plan{} | mean_delta(layer(1), means)).check(s.host.describe()));
  means.model = s.host.describe().fingerprint;
  CHECK((plan{} | mean_delta(layer(1), means)).check(s.host.describe()));
  means.model = 12345;
  const auto p = plan{} | mean_delta(layer(1), means);
  const auto want = "invalid argument | model of mean_delta | fingerprint 12345 | fingerprint " +
                    std::to_string(s.host.describe().fingerprint) + ", the host's";
  CHECK(parts(p.check(s.host.describe())) == want);
  CHECK(parts(try_forward(s.host, p, s.batch)) == want);
  auto anonymous = s.host.describe();
  anonymous.fingerprint = 0;
  CHECK(p.check(anonymous));
  for (const float x : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    means.mean[means.width + 2] = x;  // of layer 1
    CHECK(refused(try_mean_delta(layers(0, 3), means)) ==
          "not finite | means of mean_delta in layer 1 | " + std::string(resect::text(x).view()) + " | finite means");
    CHECK(try_mean_delta(layers(2, 4), means));
  }
}
