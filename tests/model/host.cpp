// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/model/host.hpp>

#include <support/catch.hpp>

using namespace resect;
using namespace resect::model;

TEST_CASE("a model of which a host says nothing has nothing, one stream and a head of its own") {
  const model_desc m;
  CHECK(m.name.empty());
  CHECK((m.fingerprint == 0 && m.n_layers == 0 && m.d_model == 0 && m.n_vocab == 0));
  CHECK(m.n_streams == 1);
  CHECK_FALSE(m.tied_head);
  const weight_desc w;
  CHECK((w.layer == 0 && w.id == 0 && w.role == weight_role::matrix && w.rows == 0 && w.cols == 0));
}

TEST_CASE("writing includes reading, reading includes nothing") {
  CHECK(access::none < access::read);
  CHECK(access::read < access::write);
}

TEST_CASE("no hooks: no site is wanted, and a call anyway changes nothing") {
  const auto k = no_hooks<float>();
  CHECK((k.read.empty() && k.write.empty()));
  CHECK(k.epoch == 0);
  float x[2] = {1, 2};
  const row_meta row{};
  CHECK(k.call(tap{site::resid_pre, 0, {&row, 1}}, {x, 1, 2}) == edit::unchanged);
  CHECK((x[0] == 1 && x[1] == 2));
}

TEST_CASE("looking by way of hooks wants the same sites, writes nothing, under no plan; the host's answer comes back") {
  struct {
    using value = float;
    using space = host_space;
    status try_forward(batch_view batch, const hooks<float>& k) {
      site_set want;
      want.insert(site::resid_mid);
      CHECK((k.read == want && k.write.empty() && k.epoch == 0));
      float x[2] = {3, 4};
      CHECK(k.call(tap{site::resid_mid, 5, batch}, {x, 1, 2}) == edit::unchanged);
      return error{errc::unsupported, "batch", "one of this kind", "another"};
    }
  } host;
  const row_meta row{2, 1, 7, 0};
  site_set want;
  want.insert(site::resid_mid);
  int calls = 0;
  auto look = [&](const tap& at, matrix_view<const float> rows) {
    ++calls;
    CHECK((at.where == site::resid_mid && at.layer == 5 && at.rows.size() == 1 && at.rows[0].token == 7));
    CHECK((rows(0, 0) == 3 && rows(0, 1) == 4));
  };
  const auto done = try_observe(host, {&row, 1}, want, look);
  CHECK(calls == 1);
  REQUIRE_FALSE(done);
  CHECK(done.error().code == errc::unsupported);
  CHECK_THROWS_AS(observe(host, {&row, 1}, want, look), resect::exception);
  CHECK(calls == 2);
}
