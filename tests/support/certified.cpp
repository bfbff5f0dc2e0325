// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/certified.hpp>

namespace support {

resect::result<certificate> try_certified(observe_ref host, resect::model::batch_view batch,
                                          const conformance_options& o) {
  return resect::conformance::try_conformance(host, batch, o);
}
resect::result<certificate> try_certified(edit_ref host, resect::model::batch_view batch,
                                          const conformance_options& o) {
  return resect::conformance::try_conformance(host, batch, o);
}
resect::result<certificate> try_certified(host_ref host, resect::model::batch_view batch,
                                          const conformance_options& o) {
  return resect::conformance::try_conformance(host, batch, o);
}

}  // namespace support
