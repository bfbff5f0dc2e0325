// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/residual/host.hpp>

#include <support/catch.hpp>

using namespace resect;
using namespace resect::residual;

TEST_CASE("a model of which a host says nothing has nothing, one stream and a head of its own") {
  const model_desc m;
  CHECK(m.name.empty());
  CHECK((m.fingerprint == 0 && m.n_layers == 0 && m.d_model == 0 && m.n_vocab == 0));
  CHECK(m.n_streams == 1);
  CHECK_FALSE(m.tied_head);
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
