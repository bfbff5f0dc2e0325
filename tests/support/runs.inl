// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What of running plans is compiled for the hosts that tests run: included by runs.hpp, which declares it, and by runs.cpp,
// which defines it. RESECT_COMPILED is `extern template` or `template`.
namespace support {

RESECT_COMPILED host_ref::host_ref(hosts::llama_host&);
RESECT_COMPILED host_ref::host_ref(planted_host&);
RESECT_COMPILED host_ref::host_ref(counting_host<hosts::llama_host>&);
RESECT_COMPILED host_ref::host_ref(counting_host<planted_host>&);
RESECT_COMPILED edit_ref::edit_ref(hosts::llama_host&);
RESECT_COMPILED edit_ref::edit_ref(planted_host&);
RESECT_COMPILED edit_ref::edit_ref(host_ref&);

}  // namespace support

namespace resect::residual {

#define RESECT_RUNS_OF(H)                                                                       \
  RESECT_COMPILED status try_run(inline_executor&, H&, const plan&, H::state&, int, int);       \
  RESECT_COMPILED status try_run(H&, const plan&, H::state&, int, int);                         \
  RESECT_COMPILED status try_forward(H&, const plan&, resect::model::batch_view, pass_memory&); \
  RESECT_COMPILED status try_forward(H&, const plan&, resect::model::batch_view)

RESECT_RUNS_OF(hosts::llama_host);
RESECT_RUNS_OF(support::planted_host);
RESECT_RUNS_OF(support::host_ref);
RESECT_RUNS_OF(support::counting_host<hosts::llama_host>);
RESECT_RUNS_OF(support::counting_host<support::planted_host>);
#undef RESECT_RUNS_OF

RESECT_COMPILED status try_forward(support::edit_ref&, const plan&, resect::model::batch_view, pass_memory&);
RESECT_COMPILED status try_forward(support::edit_ref&, const plan&, resect::model::batch_view);

}  // namespace resect::residual
