// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <hosts/llama/host.hpp>
#include <support/counting_host.hpp>
#include <support/host_ref.hpp>
#include <support/llama_models.hpp>
#include <support/planted_host.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/core/executor.hpp>
#include <resect/residual/run.hpp>

// One pass through a host, both ways, and comparisons of what comes out. What runs a plan is compiled once for each of the
// hosts that tests run, in runs.cpp.
namespace support {

using floats = std::vector<float>;

floats copied(resect::matrix_view<const float> m);
bool same_bits(const floats& a, const floats& b);
double largest(const floats& a);

// The largest difference, over the largest value of `want`; infinite where sizes differ, something is NaN or
// there is nothing to compare with.
double relative_difference(const floats& got, const floats& want);

floats flat(const stream_values& rows);

template <class H>
floats head_of(H& host, const typename H::state& state) {
  const auto& m = host.describe();
  const auto rows = static_cast<resect::index_t>(host.rows(state).size());
  floats norm(static_cast<std::size_t>(rows * m.d_model)), logits(static_cast<std::size_t>(rows * m.n_vocab));
  value_or_throw(host.try_head(state, 0, {norm.data(), rows, m.d_model}, {logits.data(), rows, m.n_vocab}));
  return logits;
}

// Logits of every row, by partial passes on a state.
floats by_surgery(host_ref host, const resect::residual::plan& p, resect::model::batch_view batch);

void forget_all(edit_ref host, resect::model::batch_view batch);

// Logits of the rows that want them, by a whole pass with callbacks; of a host of the edit level, which has no weights.
floats by_forward(edit_ref host, const resect::residual::plan& p, resect::model::batch_view batch);
// The same of a host of the surgery level, which can also hold the weights of a plan.
floats by_whole_pass(host_ref host, const resect::residual::plan& p, resect::model::batch_view batch);

// f on every kind of host, with a batch: eight small Llama models and the planted one.
void on_all_hosts(resect::function_ref<void(host_ref, const std::vector<resect::model::row_meta>&)> f);

// The error that f throws: its code, and what it says of operand, value and expectation. "fine" where it throws none.
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
std::vector<hosts::llama_config> small_configs();
std::vector<hosts::llama_model> small_models();

inline constexpr int small_lengths[] = {9, 1, 5, 14};

// A small model on the example runtime, with a batch of four sequences.
template <class Backend = resect::cpu<>>
struct llama_setting {
  hosts::llama_model model;
  Backend backend;
  hosts::llama_host host{backend, model};
  std::vector<resect::model::row_meta> batch = random_batch(small_lengths, model.config.n_vocab, 3);

  explicit llama_setting(hosts::llama_model m = random_llama(small_configs().front(), output_matrix::untied, 9),
                         Backend b = Backend{})
      : model(std::move(m)), backend(std::move(b)) {}
};

}  // namespace support

#define RESECT_COMPILED extern template
#include <support/runs.inl>
#undef RESECT_COMPILED
