// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/conformance/certificate.hpp>

#include <support/catch.hpp>

using namespace resect::conformance;

namespace {

certificate made_up() {
  certificate c;
  c.host = "engine";
  c.model = "tiny";
  c.model_fingerprint = 0x1f;
  c.level = host_level::edit;
  c.batch_fingerprint = 0xabc;
  c.rows = 23;
  c.longest = 11;
  check good;
  good.id = "T0";
  good.name = "runs";
  good.measure = "errors";
  check near = good;
  near.id = "T1.a";
  near.name = "longer name";
  near.measured = 2.5e-5;
  near.tolerance = 1e-4;
  near.note = "a note";
  near.layer = 3;  // a pass says no place
  check bad = near;
  bad.result = verdict::fail;
  bad.measured = 12.3456;
  bad.note = "";
  bad.where = site::resid_mid;
  bad.layer = 0;
  bad.seq = 0;
  bad.pos = 4;
  check nowhere = bad;
  nowhere.where.reset();
  nowhere.layer = nowhere.seq = nowhere.pos = -1;
  nowhere.note = "why";
  check left_out;
  left_out.id = "T6.e";
  left_out.name = "pads";
  left_out.result = verdict::not_applicable;
  left_out.note = "no pads";
  c.checks = {good, near, bad, nowhere, left_out};
  return c;
}

}  // namespace

TEST_CASE("a certificate prints one table, to the blank") {
  CHECK(to_text(made_up()).view() ==
        "host engine, level edit\n"
        "model tiny, fingerprint 1f; batch abc of 23 rows, longest sequence 11\n"
        "\n"
        "pass T0    runs         0         exact  errors\n"
        "pass T1.a  longer name  2.5e-05   <= 0.0001  errors\n"
        "           a note\n"
        "FAIL T1.a  longer name  12.3      <= 0.0001  errors\n"
        "           worst at resid_mid, layer 0, sequence 0, position 4\n"
        "FAIL T1.a  longer name  12.3      <= 0.0001  errors\n"
        "           why\n"
        "n/a  T6.e  pads         no pads\n"
        "\n"
        "2 passed, 2 failed, 1 not applicable\n");
}

TEST_CASE("a certificate passes where no check failed and one was made") {
  certificate c;
  CHECK_FALSE(c.passed());
  c.checks.emplace_back().result = verdict::not_applicable;
  CHECK_FALSE(c.passed());
  c.checks.emplace_back();
  CHECK(c.passed());
  CHECK((c.count(verdict::pass) == 1 && c.count(verdict::fail) == 0 && c.count(verdict::not_applicable) == 1));
  c.checks.emplace_back().result = verdict::fail;
  CHECK_FALSE(c.passed());
  CHECK(made_up().find("T6.e")->note == "no pads");
  CHECK(made_up().find("T6") == nullptr);
}

TEST_CASE("a check begins as one that passed with nothing measured, at no place") {
  const check k;
  CHECK((k.result == verdict::pass && k.measured == 0.0 && k.tolerance == 0.0));
  CHECK((k.layer == -1 && !k.where && k.seq == -1 && k.pos == -1));
}
