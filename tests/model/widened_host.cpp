// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/model/widened_host.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <resect/core/float16.hpp>
#include <resect/core/float8.hpp>
#include <resect/conformance/suite.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/study/sensitivity.hpp>
#include <support/catch.hpp>
#include <support/faulty_hosts.hpp>
#include <support/planted_host.hpp>

namespace tests {

using namespace resect;
using namespace resect::residual;
using namespace resect::conformance;
using resect::index_t;
using resect::model::access;

namespace {

// One layer of the edit level whose rows are what the test puts there, with other elements between them. The site that
// is shown is resid_mid.
template <class T>
class bare_host {
 public:
  using value = T;
  using space = host_space;

  bare_host(index_t n, index_t width) : rows(n), cols(width), stored(static_cast<std::size_t>(n * (width + gap))) {
    desc.n_layers = 1;
    desc.d_model = desc.n_vocab = static_cast<int>(width);
  }
  matrix_view<T> view() { return {stored.data(), rows, cols, cols + gap}; }

  const model_desc& describe() const { return desc; }
  access supports(site, int) const { return access::write; }
  status try_forward(batch_view b, site_set want, observer<T> look) { return try_observe(*this, b, want, look); }
  status try_forward(batch_view b, const hooks<T>& k) {
    asked = {k.read, k.write};
    epoch = k.epoch;
    if (refuses) return error{errc::unsupported, "batch", "one", "none"};
    if (k.read.contains(site::resid_mid) || k.write.contains(site::resid_mid))
      answer = k.call(tap{site::resid_mid, 0, b}, view());
    shown_logits = stored;
    return {};
  }
  matrix_view<const T> logits() const { return {shown_logits.data(), rows, cols, cols + gap}; }
  void forget(std::int32_t s) { forgotten = s; }
  std::uint64_t cache_epoch(std::int32_t) const { return epoch; }
  index_t cached(std::int32_t s) const { return 10 + s; }

  static constexpr index_t gap = 3;
  index_t rows, cols;
  std::vector<T> stored, shown_logits;
  model_desc desc;
  std::pair<site_set, site_set> asked;
  std::uint64_t epoch = 0;
  edit answer = edit::unchanged;
  std::int32_t forgotten = -1;
  bool refuses = false;
};
static_assert(editable_host<bare_host<bf16>> && !surgical_host<bare_host<bf16>>);
static_assert(editable_host<widened_host<bare_host<bf16>>> && !surgical_host<widened_host<bare_host<bf16>>>);

template <class T>
class looking_host : public bare_host<T> {  // of the lowest level
 public:
  using bare_host<T>::bare_host;
  status try_forward(batch_view b, site_set want, observer<T> look) {
    return bare_host<T>::try_forward(b, want, look);
  }
};
static_assert(observable_host<looking_host<f16>> && !editable_host<looking_host<f16>>);
static_assert(observable_host<widened_host<looking_host<f16>>> && !editable_host<widened_host<looking_host<f16>>>);

using bf16_planted = support::basic_planted_host<bf16>;
static_assert(surgical_host<bf16_planted> && surgical_host<widened_host<bf16_planted>>);
static_assert(std::is_same_v<widened_host<bf16_planted>::value, float>);

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}
template <class T>
std::vector<float> numbers(matrix_view<T> m) {
  std::vector<float> out;
  for (index_t r = 0; r < m.rows; ++r)
    for (index_t c = 0; c < m.cols; ++c) out.push_back(static_cast<float>(m(r, c)));
  return out;
}

// What a host of this type has to round: a sum of two numbers once, by half an epsilon of it; a delta that leads from one
// row to another is as large as both at most and rounded before that, by as much of either.
template <class T>
conformance_options tolerances() {
  const double epsilon = static_cast<double>(T::epsilon());
  return {.rounding = 1.5 * epsilon, .identity = 0.5 * epsilon};
}

std::vector<row_meta> rows_of(index_t n) {
  std::vector<row_meta> out;
  for (index_t r = 0; r < n; ++r) out.push_back({0, static_cast<std::int32_t>(r), 0, row_meta::wants_logits});
  return out;
}

template <class T>
void rows_go_through() {
  bare_host<T> inner(3, 20);
  for (std::size_t i = 0; i < inner.stored.size(); ++i) inner.stored[i] = T{0.1f * static_cast<float>(i)};
  widened_host host(inner);
  const auto before = numbers(inner.view());
  const auto batch = rows_of(3);

  // A callback that looks gets the numbers, and the host's rows stay.
  auto stored = inner.stored;
  std::vector<float> seen;
  auto look = [&](const tap& at, matrix_view<const float> h) {
    CHECK((at.where == site::resid_mid && at.rows.size() == 3));
    seen = numbers(h);
  };
  REQUIRE(host.try_forward(batch, {site::resid_mid}, look));
  CHECK(same_bits(seen, before));
  CHECK(same_bits(inner.stored, stored));
  CHECK(same_bits(numbers(host.logits()), before));

  // One that writes is rounded once, to the nearest; what lies between the rows stays.
  auto write = [&](const tap&, matrix_view<float> h) {
    for (index_t c = 0; c < h.cols; ++c) h(1, c) = 1.0f + 0.001f * static_cast<float>(c);
    return edit::modified;
  };
  REQUIRE(host.try_forward(batch, hooks<float>{{}, {site::resid_mid}, write, 77}));
  CHECK((inner.answer == edit::modified && inner.epoch == 77));
  CHECK((inner.asked.first.empty() && inner.asked.second == site_set{site::resid_mid}));
  for (index_t c = 0; c < 20; ++c) {
    const auto at = static_cast<std::size_t>(23 + c);
    stored[at] = T{1.0f + 0.001f * static_cast<float>(c)};
  }
  CHECK(same_bits(inner.stored, stored));
  CHECK(same_bits(numbers(host.logits()), numbers(inner.view())));

  // One that says that it left the rows has left them.
  auto pretend = [&](const tap&, matrix_view<float> h) {
    h(0, 0) = 5;
    return edit::unchanged;
  };
  REQUIRE(host.try_forward(batch, hooks<float>{{}, {site::resid_mid}, pretend, 0}));
  CHECK(inner.answer == edit::unchanged);
  CHECK(same_bits(inner.stored, stored));

  host.forget(4);
  CHECK(inner.forgotten == 4);
  CHECK((host.cached(5) == 15 && host.cache_epoch(0) == 0));
  CHECK(&host.describe() == &inner.desc);
}

}  // namespace

TEST_CASE("rows of a host of f16 or bf16 are seen as the floats that they stand for, and rounded once where written") {
  rows_go_through<f16>();
  rows_go_through<bf16>();
}

TEST_CASE("elements that a callback leaves keep their bits, NaN's too; what is too large becomes infinity") {
  bare_host<f16> inner(2, 4);
  inner.stored[0].bits = 0x7e01;  // NaN with a payload, which no float gives back
  inner.stored[1].bits = 0x8000;  // −0
  inner.stored[2].bits = 0x0001;
  const auto before = inner.stored;
  widened_host host(inner);
  auto touch = [&](const tap&, matrix_view<float> h) {
    CHECK(std::isnan(h(0, 0)));
    CHECK((h(0, 1) == 0 && std::signbit(h(0, 1)) && h(0, 2) == 0x1p-24f));
    h(1, 0) = 70000.0f;
    h(1, 1) = -65504.0f;
    return edit::modified;
  };
  REQUIRE(host.try_forward(rows_of(2), hooks<float>{{}, {site::resid_mid}, touch, 0}));
  for (std::size_t i = 0; i < 7; ++i) CHECK(inner.stored[i].bits == before[i].bits);
  CHECK(inner.view()(1, 0).bits == 0x7c00);
  CHECK(inner.view()(1, 1).bits == 0xfbff);

  auto zero = [&](const tap&, matrix_view<float> h) {  // another zero is another number here
    h(0, 1) = 0.0f;
    return edit::modified;
  };
  REQUIRE(host.try_forward(rows_of(2), hooks<float>{{}, {site::resid_mid}, zero, 0}));
  CHECK(inner.stored[1].bits == 0);
}

TEST_CASE("an error of the host comes through, and the logits stay those of the last pass") {
  bare_host<bf16> inner(1, 3);
  for (bf16& x : inner.stored) x = bf16{2.0f};
  widened_host host(inner);
  CHECK(host.logits().rows == 0);
  REQUIRE(host.try_forward(rows_of(1), no_hooks<float>()));
  inner.refuses = true;
  inner.shown_logits[0] = bf16{9.0f};
  const auto failed = host.try_forward(rows_of(1), no_hooks<float>());
  REQUIRE_FALSE(failed);
  CHECK(failed.error().operand == "batch");
  CHECK((host.logits().rows == 1 && host.logits()(0, 0) == 2.0f));
}

TEST_CASE("a looking host of f16 shows its rows too") {
  looking_host<f16> inner(2, 5);
  inner.stored[1] = f16{0.3f};
  widened_host host(inner);
  float seen = 0;
  auto look = [&](const tap&, matrix_view<const float> h) { seen = h(0, 1); };
  REQUIRE(host.try_forward(rows_of(2), {site::resid_mid}, look));
  CHECK(seen == static_cast<float>(f16{0.3f}));
  CHECK(host.logits()(0, 1) == seen);
}

TEST_CASE("a plan on bf16 rows does what the same edit of the stored numbers does, bit for bit") {
  bf16_planted by_hand, inner;
  widened_host host(inner);
  const auto batch = inner.draw(3, 20);
  std::vector<bf16> kept;  // the layer's input, put back behind it
  auto leave_out = [&](const tap& at, matrix_view<bf16> h) {
    if (at.layer != 3) return edit::unchanged;
    const auto n = static_cast<std::size_t>(h.rows * h.cols);
    if (at.where == site::resid_pre) {
      kept.assign(h.data, h.data + n);
      return edit::unchanged;
    }
    std::copy(kept.begin(), kept.end(), h.data);
    return edit::modified;
  };
  REQUIRE(by_hand.try_forward(batch, hooks<bf16>{{site::resid_pre}, {site::resid_post}, leave_out, 0}));
  REQUIRE(try_forward(host, plan{} | skip(layer(3)), batch));
  CHECK(same_bits(numbers(host.logits()), numbers(by_hand.logits())));

  bf16_planted intact;
  REQUIRE(intact.try_forward(batch, no_hooks<bf16>()));
  CHECK_FALSE(same_bits(numbers(host.logits()), numbers(intact.logits())));
}

TEST_CASE("a state's floats: written before a run, a copy or a head they count; a run is seen in them") {
  bf16_planted inner;
  widened_host host(inner);
  const auto batch = inner.draw(2, 6);
  auto state = host.try_embed(batch);
  REQUIRE(state);
  const auto quiet = no_hooks<float>();
  const auto h = host.stream(*state);
  CHECK((h.rows == 12 && h.cols == 8 && host.rows(*state).size() == 12));
  auto direct = inner.try_embed(batch);
  CHECK(same_bits(numbers(h), numbers(inner.stream(*direct))));

  h(5, 4) = 1.001f;  // no bf16
  inner.stream(*direct)(5, 4) = bf16{1.001f};
  const auto copy = host.snapshot(*state);
  auto moved = std::move(*state);
  REQUIRE(host.try_run(moved, 0, 2, quiet));
  REQUIRE(inner.try_run(*direct, 0, 2, no_hooks<bf16>()));
  CHECK(host.stream(moved).data == h.data);
  CHECK(same_bits(numbers(h), numbers(inner.stream(*direct))));

  auto again = host.snapshot(copy);
  REQUIRE(host.try_run(again, 0, 2, quiet));
  CHECK(same_bits(numbers(host.stream(again)), numbers(h)));

  // The head of two rows, one of them written just before.
  h(7, 1) = -3.0f;
  inner.stream(*direct)(7, 1) = bf16{-3.0f};
  std::vector<float> norm(2 * 8), logits(2 * 36);
  std::vector<bf16> own_norm(norm.size()), own_logits(logits.size());
  REQUIRE(inner.describe().n_vocab == 36);
  REQUIRE(host.try_head(moved, 6, {norm.data(), 2, 8}, {logits.data(), 2, 36}));
  REQUIRE(inner.try_head(*direct, 6, {own_norm.data(), 2, 8}, {own_logits.data(), 2, 36}));
  CHECK(same_bits(norm, numbers(matrix_view<bf16>{own_norm.data(), 2, 8})));
  CHECK(same_bits(logits, numbers(matrix_view<bf16>{own_logits.data(), 2, 36})));

  const auto before = logits;
  CHECK(host.try_head(moved, 6, {nullptr, 2, 8}, {logits.data(), 2, 36}).error().operand == "norm");
  CHECK(host.try_head(moved, 6, {norm.data(), 2, 8}, {logits.data(), 2, 36, 0}).error().operand == "logits");
  CHECK_FALSE(host.try_head(moved, 11, {norm.data(), 2, 8}, {logits.data(), 2, 36}));
  CHECK(same_bits(logits, before));
}

TEST_CASE("a state that is copied or asked for its head while it runs goes on as it was, shown or not") {
  const auto run = [](bool shown, bool looked) {
    bf16_planted inner;
    widened_host host(inner);
    auto state = value_or_throw(host.try_embed(inner.draw(1, 4)));
    if (shown) host.stream(state)(2, 5) = 0.5f;
    else {
      host.stream(state)(2, 5) = 0.5f;
      state = host.snapshot(state);
    }
    std::vector<float> norm(8), logits(36), seen;
    auto look = [&](const tap& at, matrix_view<float> h) {
      if (!looked) return edit::unchanged;
      CHECK(same_bits(numbers(h), numbers(host.stream(state))));
      static_cast<void>(host.snapshot(state));
      REQUIRE(host.try_head(state, 1, {norm.data(), 1, 8}, {logits.data(), 1, 36}));
      CHECK(norm == std::vector<float>(h.row(1).data, h.row(1).data + 8));
      return at.layer == 3 ? edit::modified : edit::unchanged;
    };
    REQUIRE(host.try_run(state, 0, 6, hooks<float>{{}, {site::resid_post}, look, 0}));
    return numbers(host.stream(state));
  };
  const auto plain = run(false, false);
  CHECK(same_bits(run(true, false), plain));
  CHECK(same_bits(run(true, true), plain));
  CHECK(same_bits(run(false, true), plain));
}

TEST_CASE("a run that a callback or the host ends early is seen in a state's floats as far as it came") {
  bf16_planted inner;
  widened_host host(inner);
  const auto batch = inner.draw(1, 4);
  auto reached = value_or_throw(inner.try_embed(batch));
  REQUIRE(inner.try_run(reached, 0, 4, no_hooks<bf16>()));
  auto state = value_or_throw(host.try_embed(batch));
  const auto h = host.stream(state);
  auto stop = [&](const tap& at, matrix_view<float>) -> edit {
    if (at.layer == 3) throw 7;
    return edit::unchanged;
  };
  CHECK_THROWS_AS(host.try_run(state, 0, 6, hooks<float>{{}, {site::resid_post}, stop, 0}), int);
  CHECK(same_bits(numbers(h), numbers(inner.stream(reached))));
  const auto copy = host.snapshot(state);  // and nothing old is written back
  CHECK(same_bits(numbers(h), numbers(inner.stream(reached))));

  h(0, 4) = 1.0001f;
  CHECK(host.try_run(state, -1, 2, no_hooks<float>()).error().operand == "layers to run");
  CHECK(h(0, 4) == 1.0f);  // refused, and rounded all the same
  h(0, 4) = 3.0f;
  CHECK(host.stream(state)(0, 4) == 3.0f);
}

TEST_CASE("a head of matrices with strides, and of rows that a state has not") {
  bf16_planted inner;
  widened_host host(inner);
  auto state = value_or_throw(host.try_embed(inner.draw(1, 5)));
  std::vector<float> norm(2 * 8), logits(2 * 36), down(2 * 8), apart(2 * 40);
  REQUIRE(host.try_head(state, 2, {norm.data(), 2, 8}, {logits.data(), 2, 36}));
  const matrix_view<float> strided_norm{down.data(), 2, 8, 1, 2}, strided_logits{apart.data(), 2, 36, 40};
  REQUIRE(host.try_head(state, 2, strided_norm, strided_logits));
  CHECK(same_bits(numbers(strided_norm), norm));
  CHECK(same_bits(numbers(strided_logits), logits));
  for (const auto& [row, rows] : {std::pair<index_t, index_t>{4, 2}, {-1, 2}, {0, -1}, {0, index_t{1} << 45}, {index_t{1} << 62, 2}})
    CHECK(host.try_head(state, row, {norm.data(), rows, 8}, {logits.data(), rows, 36}).error().operand ==
          "rows of the head");
  CHECK(host.try_head(state, 5, {nullptr, 0, 8}, {nullptr, 0, 36}));
  CHECK(host.try_head(state, 2, {norm.data(), 2, 7}, {logits.data(), 2, 36}).error().operand == "norm");
  CHECK(host.try_head(state, 2, {norm.data(), 2, 8}, {logits.data(), 1, 36}).error().operand == "logits");
}

TEST_CASE("infinity stays one, or becomes NaN where a type has none; nothing is made finite") {
  const auto stored = []<class T>(T, float x) {
    bare_host<T> inner(1, 1);
    widened_host host(inner);
    auto write = [&](const tap&, matrix_view<float> h) {
      h(0, 0) = x;
      return edit::modified;
    };
    REQUIRE(host.try_forward(rows_of(1), hooks<float>{{}, {site::resid_mid}, write, 0}));
    return static_cast<float>(inner.view()(0, 0));
  };
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float x : {infinity, 1e6f}) {
    CHECK(stored(fp8_e5m2{}, x) == infinity);
    CHECK(stored(fp8_e5m2{}, -x) == -infinity);
    CHECK(std::isnan(stored(fp8_e4m3{}, x)));
    CHECK(stored(f16{}, x) == infinity);
  }
  CHECK(stored(fp8_e4m3{}, 440.0f) == 448.0f);
}

TEST_CASE("hosts that describe by value and hand out their weights by reference or by value are widened too") {
  struct by_reference : bf16_planted {
    model_desc describe() const { return bf16_planted::describe(); }
    const std::vector<weight_desc>& weights(int l) const {
      const auto all = bf16_planted::weights(l);
      held.assign(all.begin(), all.end());
      return held;
    }
    mutable std::vector<weight_desc> held;
  };
  struct by_value : bf16_planted {
    std::vector<weight_desc> weights(int l) const {
      const auto all = bf16_planted::weights(l);
      return {all.begin(), all.end()};
    }
  };
  const auto examine = [](auto& inner) {
    widened_host host(inner);
    CHECK(host.describe().d_model == 8);
    const std::span<const weight_desc> w = host.weights(2);  // of what lives on: by_reference's are held
    if constexpr (std::is_same_v<decltype(inner), by_reference&>) CHECK((w.size() == 3 && w[1].layer == 2));
    const auto batch = inner.draw(2, 5);
    auto state = value_or_throw(host.try_embed(batch));
    REQUIRE(try_run(host, plan{} | reinit(layer(1), 3, norm_gains::keep), state, 0, 6));
  };
  by_reference a;
  examine(a);
  by_value b;
  examine(b);
}

TEST_CASE("weights of a widened host are the host's, read and overridden") {
  bf16_planted inner;
  widened_host host(inner);
  const auto all = host.weights(1);
  REQUIRE(all.size() == 3);
  std::vector<float> w(64), back(64);
  REQUIRE(host.try_read_weight(all[0], {w.data(), 8, 8}));
  {
    const auto guard = host.try_override_weight(all[0], matrix_view<const float>{back.data(), 8, 8});
    REQUIRE(guard);
    REQUIRE(inner.try_read_weight(all[0], {back.data(), 8, 8}));
    CHECK(back == std::vector<float>(64));
  }
  REQUIRE(host.try_read_weight(all[0], {back.data(), 8, 8}));
  CHECK(same_bits(back, w));
}

TEST_CASE("widened hosts of f16 and bf16 conform within what their type rounds, and faults in them are found") {
  const auto examine = []<class T>(T) {
    support::basic_planted_host<T> inner;
    widened_host host(inner);
    const auto c = conformance_of(host, tolerances<T>());
    INFO(to_text(c).c_str());
    CHECK(c.passed());
    CHECK(c.level == host_level::surgery);
    // every tolerance of 0 is kept at 0: same bits are promised and found
    for (const check& k : c.checks)
      if (k.tolerance == 0) CHECK(k.measured == 0);

    const auto strict = conformance_of(host);
    for (const check& k : strict.checks)
      if (k.tolerance == 0 && k.result != verdict::not_applicable) CHECK(k.result == verdict::pass);
    CHECK(strict.find("T1.b")->result == verdict::fail);  // a sum of two such numbers is rounded, and that is said

    using support::fault;
    for (const auto& [f, id] : {std::pair<fault, const char*>{fault::rows_reordered, "T4.a"},
                                {fault::writes_late, "T2.a"},
                                {fault::mid_is_pre, "T1.b"},
                                {fault::writes_to_a_copy, "T2.a"},
                                {fault::snapshot_shares, "T3.b"},
                                {fault::override_sticks, "T2.d"},
                                {fault::leaks_future, "T4.b"},
                                {fault::epoch_lost, "T5.e"},
                                {fault::swallows_nan, "T8.a"}}) {
      support::basic_planted_host<T> again;
      widened_host wide(again);
      support::faulty_host<widened_host<support::basic_planted_host<T>>> faulty(wide, f);
      const auto found = conformance_of(faulty, tolerances<T>());
      INFO(id << "\n" << to_text(found).c_str());
      CHECK(found.find(id)->result == verdict::fail);
    }
  };
  examine(f16{});
  examine(bf16{});
}

TEST_CASE("the layer study of a host of bf16 says what that of the same host in fp32 says") {
  support::planted_host exact;
  bf16_planted inner;
  widened_host host(inner);
  std::vector<std::int32_t> ids, document;
  const auto texts = exact.draw(80, 40);
  for (const row_meta& row : texts) {
    ids.push_back(row.token);
    document.push_back(row.seq);
  }
  inline_executor exec;
  const study::token_text tokens{ids, document};
  const auto windows = value_or_throw(study::try_windows(tokens, {.sequences = 16, .context = 32}));
  const auto calibration = value_or_throw(study::try_calibration_windows(tokens, windows));
  const study::sensitivity_options options{.alterations = {study::alteration::skip}};
  const auto wide = study::sensitivity(exec, exact, windows, calibration, options);
  const auto narrow = study::sensitivity(exec, host, windows, calibration, options);
  REQUIRE(wide.rows.size() == narrow.rows.size());
  for (std::size_t i = 0; i < wide.rows.size(); ++i) {
    INFO("layer " << wide.rows[i].layer());
    const double a = wide.rows[i].mean.kl.value, b = narrow.rows[i].mean.kl.value;
    // quadratic in a difference of logits that half an epsilon is off
    CHECK(std::fabs(a - b) <= static_cast<double>(bf16::epsilon()) * a);
    CHECK(narrow.rows[i].layer() == wide.rows[i].layer());
  }
}

}  // namespace tests
