// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/conformance/suite.hpp>
#include <support/host_ref.hpp>

// Certificates of hosts of any type: the suite is compiled once for each level, in certified.cpp.
namespace support {

using resect::conformance::certificate;
using resect::conformance::conformance_options;

resect::result<certificate> try_certified(observe_ref host, resect::model::batch_view batch,
                                          const conformance_options& o);
resect::result<certificate> try_certified(edit_ref host, resect::model::batch_view batch, const conformance_options& o);
resect::result<certificate> try_certified(host_ref host, resect::model::batch_view batch, const conformance_options& o);

// As try_conformance, on the level that the host has.
template <resect::model::observable_host H>
resect::result<certificate> try_certified(H& host, resect::model::batch_view batch, const conformance_options& o = {}) {
  if constexpr (resect::model::surgical_host<H>) return try_certified(host_ref(host), batch, o);
  else if constexpr (resect::model::editable_host<H>) return try_certified(edit_ref(host), batch, o);
  else return try_certified(observe_ref(host), batch, o);
}
template <resect::model::observable_host H>
certificate certified(H& host, resect::model::batch_view batch, const conformance_options& o = {}) {
  return value_or_throw(try_certified(host, batch, o));
}
template <resect::model::observable_host H>
certificate certified(H& host, const conformance_options& o = {}) {
  return value_or_throw(try_certified(host, resect::model::batch_view{}, o));
}

}  // namespace support
