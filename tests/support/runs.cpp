// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/runs.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <support/catch.hpp>

#define RESECT_COMPILED template
#include <support/runs.inl>
#undef RESECT_COMPILED

namespace support {

floats copied(resect::matrix_view<const float> m) {
  floats out;
  for (resect::index_t r = 0; r < m.rows; ++r)
    for (resect::index_t c = 0; c < m.cols; ++c) out.push_back(m(r, c));
  return out;
}

bool same_bits(const floats& a, const floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

double largest(const floats& a) {
  double out = 0;
  for (const float x : a) out = std::max(out, std::fabs(static_cast<double>(x)));
  return out;
}

double relative_difference(const floats& got, const floats& want) {
  constexpr double wrong = std::numeric_limits<double>::infinity();
  if (got.size() != want.size() || largest(want) == 0) return wrong;
  double out = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double d = std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (std::isnan(d)) return wrong;
    out = std::max(out, d);
  }
  return out / largest(want);
}

floats flat(const stream_values& rows) {
  floats out;
  for (const auto& row : rows)
    for (const double x : row) out.push_back(static_cast<float>(x));
  return out;
}

floats by_surgery(host_ref host, const resect::residual::plan& p, resect::model::batch_view batch) {
  auto state = value_or_throw(host.try_embed(batch));
  resect::residual::run(host, p, state, 0, host.describe().n_layers);
  return head_of(host, state);
}

void forget_all(edit_ref host, resect::model::batch_view batch) {
  for (const auto& row : batch) host.forget(row.seq);
}

namespace {

template <class H>
floats logits_of_a_pass(H& host, const resect::residual::plan& p, resect::model::batch_view batch) {
  for (const auto& row : batch) host.forget(row.seq);
  resect::residual::forward(host, p, batch);
  return copied(host.logits());
}

}  // namespace

floats by_forward(edit_ref host, const resect::residual::plan& p, resect::model::batch_view batch) {
  return logits_of_a_pass(host, p, batch);
}
floats by_whole_pass(host_ref host, const resect::residual::plan& p, resect::model::batch_view batch) {
  return logits_of_a_pass(host, p, batch);
}

void on_all_hosts(resect::function_ref<void(host_ref, const std::vector<resect::model::row_meta>&)> f) {
  for (auto& model : small_models()) {
    llama_setting s(std::move(model));
    CAPTURE(s.model.fingerprint);
    f(s.host, s.batch);
  }
  planted_host planted;
  f(planted, planted.draw(5, 7));
}

std::vector<hosts::llama_config> small_configs() {
  hosts::llama_config c{
      .n_layers = 4, .d_model = 24, .d_ff = 40, .n_heads = 4, .n_kv_heads = 2, .head_dim = 6, .n_vocab = 37};
  std::vector<hosts::llama_config> out;
  for (const auto rope : {hosts::rope_layout::interleaved, hosts::rope_layout::half}) {
    c.rope = rope;
    c.n_kv_heads = 2;
    c.head_dim = 6;
    out.push_back(c);
    c.n_kv_heads = 1;
    c.head_dim = 10;
    c.rms_eps = 1e-2f;
    c.rope_theta = 100.0f;
    out.push_back(c);
  }
  return out;
}

std::vector<hosts::llama_model> small_models() {
  std::vector<hosts::llama_model> out;
  for (const auto& c : small_configs())
    for (const auto output : {output_matrix::tied, output_matrix::untied})
      out.push_back(random_llama(c, output, 40 + out.size()));
  return out;
}

}  // namespace support
