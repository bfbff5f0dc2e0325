// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/certified.hpp>
#include <support/faulty_hosts.hpp>
#include <support/faulty_surgery_hosts.hpp>
#include <support/planted_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <hosts/llama/load.hpp>
#include <resect/conformance/suite.hpp>

using namespace resect::residual;
using namespace resect::conformance;
using namespace support;

namespace {

std::set<std::string> ids_of(const certificate& c, verdict v) {
  std::set<std::string> out;
  for (const check& k : c.checks)
    if (k.result == v) out.emplace(k.id.view());
  return out;
}

certificate of_fault(fault f) {
  llama_setting s;
  faulty_host host(s.host, f);
  return certified(host);
}

// What does not apply to a host that shows every site and packs its batches.
const std::set<std::string> with_resid_mid{"T1.j", "T1.k", "T2.k", "T2.l"},
    without_pads{"T1.j", "T1.k", "T2.k", "T2.l", "T6.e"};

// The check that is meant for a fault.
struct planted_fault {
  fault what;
  std::string_view caught_by;
};
const planted_fault faults[] = {
    {fault::refuses, "T0"},
    {fault::observing_rounds, "T0.a"},
    {fault::writing_rounds, "T0.b"},
    {fault::writing_rounds, "T0.c"},
    {fault::site_missing, "T1.a"},
    {fault::row_unnamed, "T1.a"},
    {fault::site_twice, "T1.a"},
    {fault::mid_is_pre, "T1.b"},
    {fault::delta_before_scale, "T1.c"},
    {fault::post_before_add, "T1.d"},
    {fault::last_pre_differs, "T1.d"},
    {fault::logits_short, "T5.a"},
    {fault::shown_logits_differ, "T1.e"},
    {fault::states_differ, "T1.f"},
    {fault::writes_late, "T2.a"},
    {fault::writes_to_a_copy, "T2.a"},
    {fault::deltas_to_a_copy, "T2.b"},
    {fault::edits_persist, "T2.c"},
    {fault::override_sticks, "T2.d"},
    {fault::override_without_effect, "T2.d"},
    {fault::cut_matters, "T3.a"},
    {fault::snapshot_shares, "T3.b"},
    {fault::rows_reordered, "T4.a"},
    {fault::tokens_misnamed, "T4.a"},
    {fault::flags_lost, "T4.a"},
    {fault::leaks_future, "T4.b"},
    {fault::leaks_sequences, "T4.c"},
    {fault::cache_off_by_one, "T5.a"},
    {fault::cache_off_by_one, "T5.b"},
    {fault::cache_off_by_one, "T5.c"},
    {fault::cache_off_by_one, "T5.d"},
    {fault::length_wrong, "T5.e"},
    {fault::epoch_lost, "T5.e"},
    {fault::depends_on_company, "T6.a"},
    {fault::depends_on_order, "T6.b"},
    {fault::depends_on_number, "T6.c"},
    {fault::drops_silent_rows, "T6.d"},
    {fault::differs_every_time, "T7.a"},
    {fault::differs_every_time, "T7.d"},
    {fault::forgets_nothing, "T7.b"},
    {fault::forgets_all, "T7.c"},
    {fault::swallows_nan, "T8.a"},
    {fault::swallows_nan, "T8.b"},
    {fault::spreads_nan, "T8.c"},
};

// Faults of one place: the checks that find it, and no others do.
using ids = std::set<std::string>;
struct hidden_fault {
  surgery_fault what;
  ids caught_by;
};
const hidden_fault hidden_faults[] = {
    {surgery_fault::only_reads_call, {"T2.a", "T2.b", "T2.e", "T2.f", "T2.g", "T5.g", "T5.h"}},
    {surgery_fault::writes_call_twice, {"T2.e", "T2.f", "T2.g", "T5.g", "T5.h"}},
    {surgery_fault::keeps_logits, {"T2.a", "T5.h"}},
    {surgery_fault::runs_call_nothing, {"T1.h", "T2.h", "T2.i"}},
    {surgery_fault::runs_write_to_a_copy, {"T2.h", "T2.i"}},
    {surgery_fault::runs_count_from_first, {"T1.h", "T2.h", "T2.i"}},
    {surgery_fault::runs_round_what_they_show, {"T1.h", "T1.i", "T2.h"}},
    {surgery_fault::head_of_row_0, {"T1.g"}},
    {surgery_fault::head_norm_rounds, {"T1.g"}},
    {surgery_fault::gathered_rows_misnamed, {"T2.f", "T4.d"}},
    {surgery_fault::continuing_loses_mid, {"T5.h"}},
    {surgery_fault::continuing_loses_one_layer, {"T5.h"}},
    {surgery_fault::continuing_shows_old, {"T5.f", "T5.h"}},
    {surgery_fault::gains_without_effect, {"T2.d"}},
    {surgery_fault::whole_passes_lack_overrides, {"T2.j"}},
    {surgery_fault::inner_override_restores_all, {"T2.d"}},
};

}  // namespace

TEST_CASE("the example runtime conforms: both rope layouts, shared heads, tied and untied") {
  for (auto& model : small_models()) {
    llama_setting s(std::move(model));
    for (const auto& c : {conformance_of(s.host), conformance_of(s.host, s.batch)}) {
      INFO(to_text(c).c_str());
      CHECK(c.passed());
      CHECK(c.level == host_level::surgery);
      CHECK(ids_of(c, verdict::not_applicable) == without_pads);
      for (const char* id : {"T8.a", "T8.b"}) CHECK(c.find(id)->note.empty());  // NaN reaches no earlier row either
    }
  }
}

TEST_CASE("a fault in one place is caught by the checks that look there, and by no other") {
  const auto found = [](auto& inner, surgery_fault f) {
    faulty_surgery_host host(inner, f);
    const auto c = certified(host);
    INFO(to_text(c).c_str());
    CHECK(c.passed() == (f == surgery_fault::none));
    return ids_of(c, verdict::fail);
  };
  for (const auto& [what, caught_by] : hidden_faults) {
    llama_setting s;
    INFO("fault " << static_cast<int>(what));
    CHECK(found(s.host, what) == caught_by);
  }
  llama_setting s;
  CHECK(found(s.host, surgery_fault::none).empty());
  // a host that gathers inside its last layer
  planted_options o;
  o.at_the_end = last_layer::wanted_rows;
  planted_host gathers(o);
  CHECK(found(gathers, surgery_fault::none).empty());
  CHECK(found(gathers, surgery_fault::gathered_rows_misnamed) == ids{"T2.f", "T4.d"});
}

TEST_CASE("every planted fault is caught by the check meant for it, every check by some fault") {
  std::set<std::string> failed;
  for (const auto& fault : hidden_faults) failed.insert(fault.caught_by.begin(), fault.caught_by.end());
  for (const auto& [what, id] : faults) {
    const auto c = of_fault(what);
    INFO("fault " << static_cast<int>(what) << "\n" << to_text(c).c_str());
    REQUIRE(c.find(id) != nullptr);
    CHECK(c.find(id)->result == verdict::fail);
    CHECK_FALSE(c.passed());
    failed.emplace(id);
  }
  const auto right = of_fault(fault::none);
  INFO(to_text(right).c_str());
  CHECK(right.passed());
  failed.emplace("T6.e");  // where there are pads: below
  for (const auto id : {"T0.d", "T1.j", "T1.k", "T2.k", "T2.l"})
    failed.emplace(id);  // hosts without resid_mid, and levels: tests/conformance/neox.cpp
  for (const check& k : right.checks) CHECK(failed.contains(std::string(k.id.view())));
}

TEST_CASE("a host whose logits are fewer than asked for is told so") {
  const auto c = of_fault(fault::logits_short);
  INFO(to_text(c).c_str());
  for (const char* id : {"T5.a", "T5.b"})
    CHECK(c.find(id)->note.view().find("shape mismatch: logits of the host: got ") == 0);
}

TEST_CASE("single rows that continue a sequence are flagged as such, and no others") {
  llama_setting s;
  faulty_host host(s.host, fault::none);
  REQUIRE(certified(host, s.batch).passed());
  int continuing = 0, beginning = 0, chunks = 0;
  for (const auto& batch : host.batches()) {
    std::map<std::int32_t, int> rows;
    for (const row_meta& row : batch) ++rows[row.seq];
    for (const row_meta& row : batch) {
      const bool decode = (row.flags & row_meta::decode) != 0;
      if (decode) CHECK((row.pos > 0 && rows[row.seq] == 1));
      continuing += decode;
      beginning += row.pos == 0 && rows[row.seq] == 1;
      chunks += row.pos > 0 && rows[row.seq] > 1;
    }
  }
  CHECK((continuing > 0 && beginning > 0 && chunks > 0));
}

TEST_CASE("of a long batch, 24 tokens are changed one at a time") {
  llama_setting s;
  std::vector<row_meta> batch;
  for (std::int32_t i = 0; i < 60; ++i) batch.push_back({i / 3, i % 3, i % 37, row_meta::wants_logits});
  faulty_host host(s.host, fault::none);
  REQUIRE(certified(host, batch).passed());
  int one_changed = 0;
  for (const auto& ran : host.batches()) {
    if (ran.size() != batch.size()) continue;
    int differ = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) differ += ran[i].token != batch[i].token;
    one_changed += differ == 1;
  }
  CHECK(one_changed == 24);
}

TEST_CASE("a host that throws gets a certificate that says so") {
  llama_setting s;
  faulty_host host(s.host, fault::throws);
  const auto c = certified(host);
  CHECK_FALSE(c.passed());
  REQUIRE(c.checks.size() == 1);  // the text itself cannot be run
  CHECK(c.find("T0")->note == "a callback of this host ends badly");
  CHECK(c.find("T4.a") == nullptr);
}

TEST_CASE("whatever a host throws, and wherever, there is a certificate") {
  const auto number = of_fault(fault::throws_a_number);
  CHECK(number.find("T0")->note == "the host threw something");
  CHECK(number.checks.size() == 1);
  const auto forget = of_fault(fault::forget_throws);
  CHECK_FALSE(forget.passed());
  CHECK(forget.find("T0")->note == "nothing is forgotten here");
}

TEST_CASE("a callback whose rows and matrix do not fit each other is named") {
  const auto c = of_fault(fault::row_unnamed);
  CHECK(c.find("T1.a")->note == "attn_delta of layer 0: a matrix of 23 rows and 22 rows of meta data");
}

TEST_CASE("of a host that shows no layer, no check of what layers show applies, and the certificate says why") {
  const auto c = of_fault(fault::shows_no_layer);
  INFO(to_text(c).c_str());
  CHECK(c.passed());
  for (const char* id : {"T1.b", "T1.c", "T1.d", "T1.h", "T1.i", "T1.k", "T2.b", "T2.h"}) {
    INFO(id);
    REQUIRE(c.find(id) != nullptr);
    CHECK(c.find(id)->result == verdict::not_applicable);
    CHECK_FALSE(c.find(id)->note.empty());
  }
  CHECK(c.find("T1.h")->note == "the host shows no layer");
  for (const char* id : {"T1.g", "T2.d", "T3.b", "T5.a"}) CHECK(c.find(id)->result == verdict::pass);
}

TEST_CASE("a state that lacks a row, and a weight that is read as what it was, are told so") {
  const auto of = [](surgery_fault f) {
    llama_setting s;
    faulty_surgery_host host(s.host, f);
    return certified(host);
  };
  CHECK(of(surgery_fault::states_lose_a_row).find("T1.f")->note ==
        "shape mismatch: rows of the state: got 22, wanted 23");
  CHECK(of(surgery_fault::reads_the_original)
            .find("T2.d")
            ->note.view()
            .find("is read as something else than what was written") != std::string_view::npos);
}

TEST_CASE("a host that says nothing of its model is refused by name") {
  struct nameless : faulty_host {
    using faulty_host::faulty_host;
    const model_desc& describe() const { return said; }
    model_desc said{};
  };
  llama_setting s;
  nameless host(s.host, fault::none);
  CHECK(try_certified(host, {}).error().operand == "model of the host");
  host.said = s.host.describe();
  for (int model_desc::*extent : {&model_desc::n_layers, &model_desc::d_model, &model_desc::n_vocab}) {
    const int right = host.said.*extent;
    host.said.*extent = extent == &model_desc::n_vocab ? 1 : 0;
    CHECK(try_certified(host, {}).error().operand == "model of the host");
    host.said.*extent = right;
  }
}

TEST_CASE("a host that reports NaN as an error conforms, and the certificate says that it does") {
  const auto c = of_fault(fault::reports_nan);
  INFO(to_text(c).c_str());
  CHECK(c.passed());
  const auto right = of_fault(fault::none);
  for (const char* id : {"T8.a", "T8.b"}) {
    CHECK(c.find(id)->note == "the host reports it as an error");
    CHECK(right.find(id)->note.empty());
  }
}

TEST_CASE("of a host that takes no rows, no check of writing applies, and the certificate says why") {
  const auto c = of_fault(fault::writes_nowhere);
  INFO(to_text(c).c_str());
  CHECK(c.passed());
  for (const char* id :
       {"T2.a", "T2.b", "T2.c", "T2.e", "T2.f", "T2.g", "T2.h", "T2.i", "T5.g", "T8.a", "T8.b", "T8.c"}) {
    INFO(id);
    REQUIRE(c.find(id) != nullptr);
    CHECK(c.find(id)->result == verdict::not_applicable);
    CHECK_FALSE(c.find(id)->note.empty());
  }
  for (const char* id : {"T1.a", "T1.d", "T2.d", "T3.a", "T4.b", "T5.a", "T7.a"})
    CHECK(c.find(id)->result == verdict::pass);
}

TEST_CASE("a host that copies rows out, and back where a callback says that it modified them, conforms") {
  const auto c = of_fault(fault::copies_back);
  INFO(to_text(c).c_str());
  CHECK(c.passed());
}

TEST_CASE("a host whose mask multiplies by 0 conforms, and the certificate says where NaN goes") {
  const auto c = of_fault(fault::masks_by_zero);
  INFO(to_text(c).c_str());
  CHECK(c.passed());
  for (const char* id : {"T8.a", "T8.b"})
    CHECK(c.find(id)->note == "earlier rows of the sequence are not finite either: a mask that multiplies by 0");
}

TEST_CASE("sequences of a batch may come in any order") {
  llama_setting s;
  for (row_meta& row : s.batch) row.seq = 90 - 7 * row.seq;
  REQUIRE(s.batch.front().seq > s.batch.back().seq);
  const auto c = certified(s.host, s.batch);
  INFO(to_text(c).c_str());
  CHECK(c.passed());
  CHECK(ids_of(c, verdict::not_applicable) == without_pads);
}

TEST_CASE("a failure says where it was seen") {
  const auto mid = of_fault(fault::mid_is_pre);
  const check& k = *mid.find("T1.b");
  CHECK(k.where == site::resid_mid);
  CHECK((k.layer >= 0 && k.seq >= 0 && k.pos >= 0));
  CHECK(k.measured > 0.1);
  const auto future = of_fault(fault::leaks_future);
  CHECK(future.find("T4.b")->where.has_value());
  CHECK(future.find("T4.b")->where != site::embed_out);
  for (const auto& [what, id] : {std::pair{fault::rows_reordered, "T4.a"},
                                 {fault::site_missing, "T1.a"},
                                 {fault::swallows_nan, "T8.a"},
                                 {fault::override_without_effect, "T2.d"}}) {
    const auto c = of_fault(what);
    INFO(to_text(c).c_str());
    CHECK(c.find(id)->where.has_value());  // of what is counted, the first place
    CHECK((c.find(id)->layer >= 0 || c.find(id)->where == site::embed_out));
    CHECK(c.find(id)->measured >= 1);
  }
  CHECK(future.find("T4.c")->result == verdict::pass);  // it stays in its sequence
  const auto late = of_fault(fault::writes_late);
  CHECK(late.find("T2.a")->where == site::resid_pre);
  CHECK(of_fault(fault::override_sticks).find("T2.d")->note == "attn.norm: does not come back");
  CHECK(of_fault(fault::override_without_effect).find("T2.d")->note == "attn.norm: is written without effect");
  CHECK(of_fault(fault::refuses).find("T0")->note == "out of memory: batch: got no memory, wanted some");
}

TEST_CASE("pads: a host that keeps them apart conforms, one that reads them does not") {
  for (auto& model : small_models()) {
    llama_setting s(std::move(model));
    padded_host right(s.host, padding::apart);
    const auto good = certified(right);
    INFO(to_text(good).c_str());
    CHECK(good.passed());
    CHECK(good.level == host_level::edit);
    CHECK(good.find("T6.e")->result == verdict::pass);
    CHECK(ids_of(good, verdict::not_applicable) == with_resid_mid);
  }
  llama_setting s;
  padded_host wrong(s.host, padding::read);
  const auto bad = certified(wrong);
  INFO(to_text(bad).c_str());
  CHECK(bad.find("T6.e")->result == verdict::fail);
  CHECK(bad.find("T6.a")->result == verdict::fail);
  CHECK(bad.find("T4.c")->result == verdict::pass);
}

TEST_CASE("a host that runs a batch in parts conforms") {
  llama_setting s;
  splitting_host host(s.host, 5);
  const auto c = certified(host);
  INFO(to_text(c).c_str());
  CHECK(c.passed());
  CHECK(ids_of(c, verdict::not_applicable) == without_pads);
}

TEST_CASE("a host is asked for no more than its level and its sites") {
  planted_host planted;
  const auto whole = certified(planted);
  INFO(to_text(whole).c_str());
  CHECK(whole.passed());

  observed_only watched(planted);
  const auto observed = certified(watched);
  CHECK(observed.passed());
  CHECK(observed.level == host_level::observe);
  for (const auto id : {"T0.b", "T2.a", "T3.a", "T5.e", "T8.a"}) CHECK(observed.find(id) == nullptr);
  for (const auto id : {"T0.a", "T1.b", "T4.c", "T5.b", "T6.d", "T7.c", "T4.d", "T5.f"})
    CHECK(observed.find(id) != nullptr);

  planted_options o;
  o.at_the_end = last_layer::wanted_rows;  // the last layer gathers the rows that want logits
  planted_host gathers(o);
  CHECK(certified(gathers).passed());

  for (const auto& [fused, without] :
       {std::pair<site, std::set<std::string>>{site::resid_mid, {"T1.b", "T1.c", "T1.i", "T2.b"}},
        {site::attn_delta, {"T1.b"}},
        {site::logits, {"T1.e"}},
        {site::resid_post, {"T1.c", "T5.c", "T5.d"}}}) {
    o = {};
    o.fused = fused;
    planted_host host(o);
    const auto c = certified(host);
    INFO(to_text(c).c_str());
    auto want = without;
    want.insert("T6.e");
    CHECK(ids_of(c, verdict::fail).empty());
    // where resid_mid is fused away, the whole layer's sum is looked at
    for (const char* id : {"T1.j", "T1.k", "T2.k", "T2.l"})
      CHECK((c.find(id)->result == verdict::pass) == (fused == site::resid_mid));
    CHECK((c.find("T1.i")->result == verdict::pass) == (fused != site::resid_mid));
    for (const auto& id : want) {
      INFO(id);
      CHECK(c.find(id)->result == verdict::not_applicable);
      CHECK_FALSE(c.find(id)->note.empty());
    }
  }
}

TEST_CASE("the committed small model conforms") {
  const auto model = resect::value_or_throw(hosts::try_load_llama(RESECT_SOURCE_DIR "/examples/models/tiny"));
  resect::cpu<> exec;
  hosts::llama_host host(exec, model);
  const auto c = certified(host, {.host = "llama", .layers = 2});
  INFO(to_text(c).c_str());
  CHECK(c.passed());
  CHECK(c.host == "llama");
  CHECK(c.model_fingerprint == model.fingerprint);
}

TEST_CASE("a certificate is the same every time, and leaves the host as it was") {
  llama_setting s;
  const auto before = by_forward(s.host, plan{}, s.batch);
  const auto first = certified(s.host, s.batch), second = certified(s.host, s.batch);
  CHECK(to_text(first).view() == to_text(second).view());
  CHECK(same_bits(by_forward(s.host, plan{}, s.batch), before));
  forget_all(s.host, s.batch);
  const auto other_text = certified(s.host, {.seed = 2});
  CHECK(other_text.batch_fingerprint != first.batch_fingerprint);
  CHECK(other_text.passed());
  for (int seq = 0; seq < 200; ++seq) CHECK(s.host.cached(seq) == 0);
}

TEST_CASE("layers that are visited are spread from the first to the last") {
  llama_setting s;  // four layers
  const auto visited = [&](int n) {
    return resect::conformance::bench<hosts::llama_host>(s.host, {.layers = n}, s.batch).layers;
  };
  CHECK(visited(0) == std::vector<int>{0, 1, 2, 3});
  CHECK(visited(1) == std::vector<int>{0});
  CHECK(visited(2) == std::vector<int>{0, 3});
  CHECK(visited(3) == std::vector<int>{0, 1, 3});
  CHECK(visited(9) == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("tolerances decide: a host is held to the number that is given") {
  llama_setting s;
  const auto strict = certified(s.host, {.rounding = 0.0, .identity = 0.0});
  CHECK(strict.find("T1.b")->result == verdict::fail);
  CHECK(strict.find("T5.b")->result == verdict::fail);
  CHECK(strict.find("T0.a")->result == verdict::pass);
  CHECK(strict.find("T1.b")->measured == certified(s.host).find("T1.b")->measured);
}

TEST_CASE("every title has at most 80 characters and names a function, an option or a site") {
  const std::string_view names[] = {
      "try_forward", "try_run",     "try_head",    "try_override_weight", "try_override_product",
      "own_layers",  "forget(seq)", "cached(seq)", "stream(state)",       "options.level",
      "tap.rows",    "embed_out",   "resid_pre",   "attn_delta",          "resid_mid",
      "mlp_delta",   "resid_post",  "head_in",     "head_norm",           "logits()"};
  llama_setting s;
  const auto c = conformance_of(s.host);
  CHECK(c.checks.size() > 55);
  for (const check& k : c.checks) {
    const std::string_view title = k.name.view();
    INFO(title);
    CHECK(title.size() <= 80);
    CHECK(std::any_of(std::begin(names), std::end(names),
                      [&](std::string_view n) { return title.find(n) != std::string_view::npos; }));
  }
}

TEST_CASE("a batch that no host has to run is the caller's error") {
  llama_setting s;
  const auto refused = [&](std::vector<row_meta> batch, conformance_options o = {}) {
    const auto c = try_conformance(s.host, batch, o);
    return c ? std::string("fine") : parts(c.error());
  };
  using rows = std::vector<row_meta>;
  CHECK(refused({}) == "fine");
  CHECK(refused(rows{{0, 0, 1}, {0, 1, 2}, {0, 2, 3}}) == "fine");
  CHECK(refused(rows{{0, 0, 1}, {0, 1, 2}}) == "shape mismatch | longest sequence of the batch | 2 | 3 rows or more");
  CHECK(refused(rows{{0, 1, 1}, {0, 2, 2}}) ==
        "invalid argument | row 0 of the batch | sequence 0, position 1 | position 0, sequences in [0, 2^29]");
  CHECK(refused(rows{{0, 0, 1}, {0, 2, 2}}) ==
        "invalid argument | row 1 of the batch | sequence 0, position 2 | position 1, sequences in [0, 2^29]");
  CHECK(refused(rows{{0, 0, 1}, {1, 0, 1}, {0, 0, 1}}) ==
        "invalid argument | rows of sequence 0 | apart from each other | rows next to each other");
  CHECK(refused(rows{{0, 0, 37}}) == "invalid argument | token of row 0 | 37 | an id below 37, no pad");
  CHECK(refused(rows{{0, 0, 1, row_meta::pad}}) == "invalid argument | token of row 0 | 1 | an id below 37, no pad");
  CHECK(refused({}, {.rounding = -1.0}) == "invalid argument | tolerances | -1, 1e-06 | 0 or more");
  CHECK(refused({}, {.identity = std::numeric_limits<double>::quiet_NaN()}) ==
        "invalid argument | tolerances | 0.0001, nan | 0 or more");
}

TEST_CASE("the table names host, model and level, every check in one line, and sums up") {
  const auto c = of_fault(fault::mid_is_pre);
  const std::string table{to_text(c).view()};
  CHECK(table.starts_with("host random, level surgery\nmodel random, fingerprint 9; batch "));
  CHECK(table.find(" of 23 rows, longest sequence 11\n") != std::string::npos);
  for (const check& k : c.checks) CHECK(table.find(std::string(k.id.view())) != std::string::npos);
  CHECK(table.find("FAIL T1.b  resid_mid equals resid_pre + attn_delta") != std::string::npos);
  CHECK(table.find("worst at resid_mid, layer ") != std::string::npos);
  CHECK(table.find("n/a  T6.e") != std::string::npos);
  const std::string sum = std::to_string(c.count(verdict::pass)) + " passed, " +
                          std::to_string(c.count(verdict::fail)) + " failed, 5 not applicable\n";
  CHECK(table.ends_with(sum));
  for (std::size_t from = 0; from < table.size();) {  // fits a terminal
    const auto end = table.find('\n', from);
    CHECK(end - from <= 140);
    from = end + 1;
  }
}
