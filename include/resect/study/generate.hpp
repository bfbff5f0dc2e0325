// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/finite.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/model/host.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/run.hpp>

// Continuation of prompts by a model under a plan.
namespace RESECT_NAMESPACE::study {

// Options of generation: length, temperature, seed, stop ids.
struct generation_options {
  index_t max_new = 64;                     // ids after each prompt, at most
  double temperature = 0;                   // 0: the most likely id, the lowest of several (greedy)
  std::uint64_t seed = 1;                   // seed of the draws where the temperature is above 0
  std::vector<std::int32_t> stop_ids = {};  // end a continuation; not part of it
  std::int32_t first_sequence = 0;          // prompt i is sequence first_sequence + i of the host
};

// The continuation of one prompt.
struct generation {
  std::vector<std::int32_t> ids;
  bool stopped = false;  // whether a stop id ended it

  friend bool operator==(const generation&, const generation&) = default;
};

namespace detail {

inline status check_generation(const model::model_desc& m, std::span<const std::vector<std::int32_t>> prompts,
                               const generation_options& o) {
  if (o.max_new < 0) return error{errc::invalid_argument, "max_new", text(o.max_new), "0 or more"};
  if (!(o.temperature >= 0 && is_finite(o.temperature)))
    return error{errc::invalid_argument, "temperature", text(o.temperature), "a finite number, at least 0"};
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty()) return error{errc::invalid_argument, text("prompt ", i), "no id", "1 or more"};
    for (std::size_t k = 0; k < prompts[i].size(); ++k)
      if (prompts[i][k] < 0 || prompts[i][k] >= m.n_vocab)
        return error{errc::invalid_argument, text("prompt ", i, ", id ", k), text(prompts[i][k]),
                     text("0 to ", m.n_vocab - 1)};
  }
  return {};
}

// The rows of all prompts; the last row of each wants logits.
inline std::vector<model::row_meta> prompt_rows(std::span<const std::vector<std::int32_t>> prompts,
                                                std::int32_t first_sequence) {
  std::vector<model::row_meta> rows;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    std::int32_t pos = 0;
    for (const std::int32_t id : prompts[i])
      rows.push_back({first_sequence + static_cast<std::int32_t>(i), pos++, id, 0});
    rows.back().flags = model::row_meta::wants_logits | model::row_meta::prompt_end;
  }
  return rows;
}

// An id drawn from softmax(logits/T) by one uniform number u in (0, 1): the first id at which the sum of probabilities, in
// the order of ids and in double, passes u. −1 where a logit is NaN or +∞, or all are −∞.
inline std::int32_t draw_id(std::span<const float> logits, double temperature, double u) {
  const auto top = metrics::row_argmax(logits);
  if (top.id < 0) return -1;
  const double largest = static_cast<double>(logits[static_cast<std::size_t>(top.id)]);
  if (!is_finite(largest)) return -1;
  const auto weight = [&](float x) { return std::exp((static_cast<double>(x) - largest) / temperature); };
  double total = 0, passed = 0;
  for (const float x : logits) total += weight(x);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    passed += weight(logits[i]);
    if (passed > u * total) return static_cast<std::int32_t>(i);
  }
  return static_cast<std::int32_t>(top.id);  // u within a rounding of 1
}

// The next id of a prompt: greedy, or drawn by Philox at (seed, prompt, step).
inline std::int32_t next_id(std::span<const float> logits, const generation_options& o, std::size_t prompt,
                            index_t step) {
  if (o.temperature == 0) {
    const auto top = metrics::row_argmax(logits).id;
    return top >= 0 && is_finite(logits[static_cast<std::size_t>(top)]) ? static_cast<std::int32_t>(top) : -1;
  }
  const random::philox_stream stream{o.seed, static_cast<std::uint64_t>(prompt)};
  return draw_id(logits, o.temperature,
                 random::uniform_open_f64(stream.block(static_cast<std::uint64_t>(step), 0).pair(0)));
}

// Forgets the sequences of a batch before a generation and after it, also after an error.
template <model::editable_host H>
struct borrowed_sequences {
  H& host;
  std::int32_t first, last;

  borrowed_sequences(H& h, std::int32_t begin, std::size_t n)
      : host(h), first(begin), last(begin + static_cast<std::int32_t>(n)) {
    forget();
  }
  borrowed_sequences(const borrowed_sequences&) = delete;
  borrowed_sequences& operator=(const borrowed_sequences&) = delete;
  ~borrowed_sequences() { forget(); }
  void forget() {
    for (std::int32_t seq = first; seq < last; ++seq) host.forget(seq);
  }
};

// The overridden weights of a plan for a whole generation; empty for a host of the edit level.
struct no_weights {};
template <model::editable_host H>
auto try_hold(H& host, const residual::plan& plan) {
  if constexpr (model::surgical_host<H>) {
    inline_executor here;
    return residual::try_hold_weights(here, host, plan);
  } else {
    if (auto s = residual::detail::check_no_weights(plan); !s) return result<no_weights>(s.error());
    return result<no_weights>(no_weights{});
  }
}

}  // namespace detail

// Continues a ragged batch of prompts under a plan, id by id, with the host's cache: one pass over all prompts, then
// one pass for each new id of the unfinished prompts. Returns one continuation for each prompt.
//   prompts   ids, each prompt with one at least; a BOS is an id like any other
// The plan sees the prompts' last rows as prompt_end and later rows as decode. Greedy and sampled continuations equal those
// of a full recompute of every text at every step, as far as the host's cached pass equals its whole pass.
// Determinism: each draw depends on (seed, prompt, step) and the logits alone, never on the other prompts.
// Memory: the host's cache, freed at the end. Cost: Σ(prompt + new ids) rows.
// Errors: invalid_argument for a prompt without ids, an id outside the vocabulary, max_new or temperature out of range;
// not_finite names prompt and step where no id can be chosen; what residual::try_forward reports. Weights of steps on
// weights are overridden for the whole generation. At the end, also after an error, the sequences are forgotten and
// the weights restored.
template <model::editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
result<std::vector<generation>> try_generate(H& host, const residual::plan& plan,
                                             std::span<const std::vector<std::int32_t>> prompts,
                                             const generation_options& options = {}) {
  if (auto s = detail::check_generation(host.describe(), prompts, options); !s) return s.error();
  std::vector<generation> out(prompts.size());
  if (prompts.empty() || options.max_new == 0) return out;
  std::vector<model::row_meta> rows = detail::prompt_rows(prompts, options.first_sequence);
  const auto bound = residual::schedule::try_make(host, plan);
  if (!bound) return bound.error();
  if (auto s = plan.check_marks(rows); !s) return s.error();
  const detail::borrowed_sequences<H> sequences(host, options.first_sequence, prompts.size());
  std::vector<std::size_t> active;
  for (std::size_t i = 0; i < prompts.size(); ++i) active.push_back(i);
  const std::uint64_t epoch = model::cache_epoch_under(host, bound->epoch());
  const auto weights = detail::try_hold(host, plan);
  if (!weights) return weights.error();
  residual::pass_memory memory;
  for (index_t step = 0; !active.empty(); ++step) {
    if (auto s = residual::detail::try_forward_held(host, bound->bound(), epoch, rows, {}, residual::detail::look_away,
                                                    memory);
        !s)
      return s.error();
    const matrix_view<const float> logits = host.logits();
    std::vector<std::size_t> going;
    rows.clear();
    for (std::size_t k = 0; k < active.size(); ++k) {
      const std::size_t i = active[k];
      const std::span<const float> row{logits.row(static_cast<index_t>(k)).data, static_cast<std::size_t>(logits.cols)};
      const std::int32_t id = detail::next_id(row, options, i, step);
      if (id < 0)
        return error{errc::not_finite, text("logits of prompt ", i, ", step ", step), "NaN or infinite values",
                     "finite logits"};
      if (algo::find(options.stop_ids.begin(), options.stop_ids.end(), id) != options.stop_ids.end()) {
        out[i].stopped = true;
        continue;
      }
      out[i].ids.push_back(id);
      if (static_cast<index_t>(out[i].ids.size()) == options.max_new) continue;
      const auto pos = static_cast<std::int32_t>(prompts[i].size() + out[i].ids.size()) - 1;
      rows.push_back({options.first_sequence + static_cast<std::int32_t>(i), pos, id,
                      model::row_meta::wants_logits | model::row_meta::decode});
      going.push_back(i);
    }
    active = std::move(going);
  }
  return out;
}

#if RESECT_EXCEPTIONS
template <model::editable_host H>
std::vector<generation> generate(H& host, const residual::plan& plan,
                                 std::span<const std::vector<std::int32_t>> prompts,
                                 const generation_options& options = {}) {
  return value_or_throw(try_generate(host, plan, prompts, options));
}
#endif

}  // namespace RESECT_NAMESPACE::study
