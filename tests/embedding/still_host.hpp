// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <vector>

#include <resect/core/storage_float.hpp>
#include <resect/model/host.hpp>

namespace embedding {

// A host of the edit level that takes no memory after it was made: what is allocated during a pass is resect's. Each
// layer adds 0.25 by its attention and 0.5 by its MLP to every element.
template <resect::widens_to_float T>
class basic_still_host {
 public:
  using value = T;
  using space = resect::host_space;
  using hooks = resect::model::hooks<T>;
  using batch_view = resect::model::batch_view;
  using site = resect::model::site;
  using tap = resect::model::tap;
  using view = resect::matrix_view<T>;

  basic_still_host(int n_layers, int d_model, resect::index_t most_rows)
      : stream_(static_cast<std::size_t>(most_rows * d_model)), delta_(stream_.size()) {
    desc_.name = "still";
    desc_.n_layers = n_layers;
    desc_.d_model = d_model;
    desc_.n_vocab = d_model;
  }

  const resect::model::model_desc& describe() const noexcept { return desc_; }
  resect::model::access supports(site, int) const noexcept { return resect::model::access::write; }
  resect::status try_forward(batch_view batch, resect::model::site_set want, resect::model::observer<T> call) {
    return resect::model::try_observe(*this, batch, want, call);
  }
  resect::status try_forward(batch_view batch, const hooks& k) {
    rows_ = static_cast<resect::index_t>(batch.size());
    const view h{stream_.data(), rows_, desc_.d_model}, d{delta_.data(), rows_, desc_.d_model};
    for (resect::index_t r = 0; r < rows_; ++r)
      for (resect::index_t c = 0; c < h.cols; ++c)
        h(r, c) = T{static_cast<float>(batch[static_cast<std::size_t>(r)].token + 1) + static_cast<float>(c)};
    const auto call = [&](site where, int l, view rows) {
      if (k.read.contains(where) || k.write.contains(where)) k.call(tap{where, l, batch}, rows);
    };
    for (int l = 0; l < desc_.n_layers; ++l) {
      call(site::resid_pre, l, h);
      for (const site half : {site::attn_delta, site::mlp_delta}) {
        std::fill(delta_.begin(), delta_.end(), T{half == site::attn_delta ? 0.25f : 0.5f});
        call(half, l, d);
        for (resect::index_t i = 0; i < rows_ * desc_.d_model; ++i)
          h.data[i] = T{static_cast<float>(h.data[i]) + static_cast<float>(d.data[i])};
        call(half == site::attn_delta ? site::resid_mid : site::resid_post, l, h);
      }
    }
    return {};
  }
  resect::matrix_view<const T> logits() const noexcept { return {stream_.data(), rows_, desc_.d_model}; }
  void forget(std::int32_t) noexcept {}
  std::uint64_t cache_epoch(std::int32_t) const noexcept { return 0; }
  resect::index_t cached(std::int32_t) const noexcept { return 0; }

 private:
  resect::model::model_desc desc_;
  std::vector<T> stream_, delta_;
  resect::index_t rows_ = 0;
};
using still_host = basic_still_host<float>;

static_assert(resect::model::editable_host<still_host>);

}  // namespace embedding
