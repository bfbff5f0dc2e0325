// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <hosts/llama/host.hpp>
#include <support/llama_models.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/residual/run.hpp>

// One pass through a host, both ways, and comparisons of what comes out.
namespace support {

using floats = std::vector<float>;

inline floats copied(resect::matrix_view<const float> m) {
  floats out;
  for (resect::index_t r = 0; r < m.rows; ++r)
    for (resect::index_t c = 0; c < m.cols; ++c) out.push_back(m(r, c));
  return out;
}

inline bool same_bits(const floats& a, const floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline double largest(const floats& a) {
  double out = 0;
  for (const float x : a) out = std::max(out, std::fabs(static_cast<double>(x)));
  return out;
}

// The largest difference, over the largest value of `want`; infinite where sizes differ, something is NaN or
// there is nothing to compare with.
inline double relative_difference(const floats& got, const floats& want) {
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

inline floats flat(const stream_values& rows) {
  floats out;
  for (const auto& row : rows)
    for (const double x : row) out.push_back(static_cast<float>(x));
  return out;
}

template <class H>
floats head_of(H& host, const typename H::state& state) {
  const auto& m = host.describe();
  const auto rows = static_cast<resect::index_t>(host.rows(state).size());
  floats norm(static_cast<std::size_t>(rows * m.d_model)), logits(static_cast<std::size_t>(rows * m.n_vocab));
  value_or_throw(host.try_head(state, 0, {norm.data(), rows, m.d_model}, {logits.data(), rows, m.n_vocab}));
  return logits;
}

// Logits of every row, by partial passes on a state.
template <class H>
floats by_surgery(H& host, const resect::residual::plan& p, resect::model::batch_view batch) {
  auto state = value_or_throw(host.try_embed(batch));
  resect::residual::run(host, p, state, 0, host.describe().n_layers);
  return head_of(host, state);
}

template <class H>
void forget_all(H& host, resect::model::batch_view batch) {
  for (const auto& row : batch) host.forget(row.seq);
}

// Logits of the rows that want them, by a whole pass with callbacks.
template <class H>
floats by_forward(H& host, const resect::residual::plan& p, resect::model::batch_view batch) {
  forget_all(host, batch);
  resect::residual::forward(host, p, batch);
  return copied(host.logits());
}

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const resect::exception& e) {
    std::string out{name(e.error().code)};
    for (const auto& part : {e.error().operand, e.error().got, e.error().wanted}) out.append(" | ").append(part.view());
    return out;
  }
  return "fine";
}

// The kinds of small model that tests run: both rope layouts, tied and untied, heads that share keys, and heads
// whose widths do not add up to the model's.
inline std::vector<hosts::llama_config> small_configs() {
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

inline std::vector<hosts::llama_model> small_models() {
  std::vector<hosts::llama_model> out;
  for (const auto& c : small_configs())
    for (const auto output : {output_matrix::tied, output_matrix::untied})
      out.push_back(random_llama(c, output, 40 + out.size()));
  return out;
}

inline constexpr int small_lengths[] = {9, 1, 5, 14};

// A small model on the example runtime, with a batch of four sequences.
template <class Backend = resect::cpu<>>
struct llama_setting {
  hosts::llama_model model;
  Backend backend;
  hosts::llama_host<Backend> host{backend, model};
  std::vector<resect::model::row_meta> batch = random_batch(small_lengths, model.config.n_vocab, 3);

  explicit llama_setting(hosts::llama_model m = random_llama(small_configs().front(), output_matrix::untied, 9),
                         Backend b = Backend{})
      : model(std::move(m)), backend(std::move(b)) {}
};

}  // namespace support
