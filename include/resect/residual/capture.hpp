// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/residual/row_store.hpp>
#include <resect/residual/run_whole.hpp>

namespace RESECT_NAMESPACE::residual {

namespace detail {

// Takes back what a pass has added to a store, unless it was kept.
class store_pass {
 public:
  explicit store_pass(row_store& store) noexcept : store_(store) { store_.begin_pass(); }
  store_pass(const store_pass&) = delete;
  store_pass& operator=(const store_pass&) = delete;
  ~store_pass() {
    if (!kept_) store_.undo_pass();
  }
  void keep() noexcept { kept_ = true; }

 private:
  row_store& store_;
  bool kept_ = false;
};

// Checks that the host has the layers of a store and shows its sites there.
template <observable_host H>
status check_captured(const H& host, const row_store& store) {
  const int n = host.describe().n_layers;
  const auto [first, last] = store.layers();
  if (last > n)
    return error{errc::invalid_argument, "layers of a row_store", text("[", first, ", ", last, ")"),
                 text("layers 0 to ", n - 1)};
  for (const site where : {site::resid_pre, site::attn_delta, site::resid_mid, site::mlp_delta, site::resid_post}) {
    if (!store.sites().contains(where)) continue;
    for (int l = first; l < last; ++l)
      if (host.supports(where, l) == access::none)
        return error{errc::unsupported, text("row_store of ", name(where), " in layer ", l),
                     "a host that cannot read it", "one that can"};
  }
  return {};
}

}  // namespace detail

// Runs a whole pass under a plan or a schedule (plan{}: the intact model) and adds the rows that the store is made for, as
// the plan leaves them. Errors: invalid_argument for a store of layers that the host lacks, unsupported for one of a site
// that it does not show there (nothing runs then); what row_store::try_add and try_observe report; the batch's sequences
// are forgotten where the store refuses rows. After any error or exception the store is as before.
template <editable_host H, class Plan>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_capture(H& host, const Plan& p, batch_view batch, row_store& to, pass_memory& memory) {
  if (auto s = detail::check_captured(host, to); !s) return s;
  detail::store_pass pass(to);
  status kept;
  const auto add = [&](const tap& at, matrix_view<const float> h) {
    if (kept) kept = to.try_add(at, h);
  };
  if (auto s = try_observe(host, p, batch, to.sites(), add, memory); !s) return s;
  if (kept) pass.keep();
  else
    for (const row_meta& row : batch) host.forget(row.seq);
  return kept;
}
// The same with memory of its own.
template <editable_host H, class Plan>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_capture(H& host, const Plan& p, batch_view batch, row_store& to) {
  pass_memory memory;
  return try_capture(host, p, batch, to, memory);
}

}  // namespace RESECT_NAMESPACE::residual
