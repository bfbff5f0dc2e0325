// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <Eigen/Core>
#include <hosts/llama/model.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/core/reduce.hpp>
#include <resect/model/row.hpp>

// Compiled once, in products.cpp: Eigen's products are most of what a file that runs a model costs to compile.
extern template void resect::detail::gemm_panel<float>(float, resect::matrix_view<const float>,
                                                       resect::matrix_view<const float>, resect::matrix_view<float>);

// What a Llama layer is made of, apart from its matrix products.
namespace hosts {

struct layer_weight {
  enum : int { attn_norm, q, k, v, o, mlp_norm, gate, up, down };
};
inline constexpr int n_layer_weights = 9;
inline constexpr const char* layer_weight_names[n_layer_weights] = {
    "attn.norm", "attn.q", "attn.k", "attn.v", "attn.o", "mlp.norm", "mlp.gate", "mlp.up", "mlp.down"};
constexpr bool is_norm_gain(int id) noexcept { return id == layer_weight::attn_norm || id == layer_weight::mlp_norm; }

inline const matrix& weight_of(const llama_layer& l, int id) noexcept {
  const matrix* all[n_layer_weights] = {&l.attn_norm, &l.q, &l.k, &l.v, &l.o, &l.mlp_norm, &l.gate, &l.up, &l.down};
  return *all[id];
}

// Keys and values of one sequence, a growing matrix a layer.
struct sequence_cache {
  struct layer {
    std::vector<float> keys, values;
  };
  std::vector<layer> layers;
  resect::index_t length = 0;
  std::uint64_t epoch = 0;
};

// Rows [first_row, first_row + rows) of a batch belong to one sequence, at positions from first_pos on.
struct batch_sequence {
  std::int32_t seq;
  resect::index_t first_row;
  resect::index_t rows;
  resect::index_t first_pos;
  sequence_cache* cache;  // null: the sequence begins in this batch and nothing is kept
};

inline constexpr resect::index_t rows_per_task = 32;

// f(first, last) on blocks of rows.
template <class Backend, class F>
void for_row_blocks(Backend& backend, resect::index_t rows, F f) {
  backend.bulk((rows + rows_per_task - 1) / rows_per_task,
               [&](resect::index_t b) { f(b * rows_per_task, std::min(rows, (b + 1) * rows_per_task)); });
}

// Elementwise arithmetic goes in chunks of a fixed size, the last one filled up: an element's bits then do not depend
// on where its row happens to lie in memory, as they do when a vector loop is peeled up to an aligned address.
inline constexpr int chunk_size = 16;
using chunk = Eigen::Array<float, chunk_size, 1>;

// x_i ← f(x_i, other_i …) for n elements; f takes and returns chunks.
template <class F, class... Others>
void for_chunks(resect::index_t n, F f, float* x, const Others*... others) {
  resect::index_t i = 0;
  for (; i + chunk_size <= n; i += chunk_size)
    Eigen::Map<chunk>(x + i) = f(chunk(Eigen::Map<const chunk>(x + i)), chunk(Eigen::Map<const chunk>(others + i))...);
  if (i == n) return;
  const auto filled = [rest = n - i](const float* from) {
    chunk c = chunk::Zero();
    std::copy_n(from, rest, c.data());
    return c;
  };
  const chunk last = f(filled(x + i), filled(others + i)...);
  std::copy_n(last.data(), n - i, x + i);
}

// out_t = gain · x_t / √(mean x_t² + eps), the mean in double
template <class Backend>
void rms_norm(Backend& backend, resect::matrix_view<const float> x, resect::matrix_view<const float> gain, float eps,
              resect::matrix_view<float> out) {
  for_row_blocks(backend, x.rows, [&](resect::index_t first, resect::index_t last) {
    for (resect::index_t r = first; r < last; ++r) {
      const std::span<const float> row{x.row(r).data, static_cast<std::size_t>(x.cols)};
      const double mean = resect::dot(row, row) / static_cast<double>(x.cols);
      const auto scale = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
      for_chunks(
          x.cols, [scale](const chunk&, const chunk& v, const chunk& g) -> chunk { return v * scale * g; },
          out.row(r).data, x.row(r).data, gain.data);
    }
  });
}

// h += x
template <class Backend>
void add(Backend& backend, resect::matrix_view<const float> x, resect::matrix_view<float> h) {
  for_row_blocks(backend, h.rows, [&](resect::index_t first, resect::index_t last) {
    for (resect::index_t r = first; r < last; ++r)
      for_chunks(
          h.cols, [](const chunk& a, const chunk& b) -> chunk { return a + b; }, h.row(r).data, x.row(r).data);
  });
}

// gate ← silu(gate) · up
template <class Backend>
void silu_times(Backend& backend, resect::matrix_view<const float> up, resect::matrix_view<float> gate) {
  for_row_blocks(backend, gate.rows, [&](resect::index_t first, resect::index_t last) {
    for (resect::index_t r = first; r < last; ++r)
      for_chunks(
          gate.cols, [](const chunk& g, const chunk& u) -> chunk { return g / (1.0f + (-g).exp()) * u; },
          gate.row(r).data, up.row(r).data);
  });
}

// x ← softmax(x), the sum in double
inline void softmax(std::span<float> x) {
  const auto n = static_cast<resect::index_t>(x.size());
  const float largest = *std::max_element(x.begin(), x.end());
  for_chunks(
      n, [largest](const chunk& v) -> chunk { return (v - largest).exp(); }, x.data());
  const auto scale = static_cast<float>(1.0 / resect::sum(std::span<const float>(x)));
  for_chunks(
      n, [scale](const chunk& v) -> chunk { return v * scale; }, x.data());
}

// Rotary position embedding; angles are computed in double, once for each position.
class rotary_embedding {
 public:
  explicit rotary_embedding(const llama_config& c) : layout_(c.rope), half_(c.head_dim / 2) {
    for (int i = 0; i < half_; ++i)
      frequency_.push_back(std::pow(static_cast<double>(c.rope_theta), -2.0 * i / static_cast<double>(c.head_dim)));
  }

  void reserve(std::span<const batch_sequence> sequences) {
    resect::index_t end = 0;
    for (const auto& s : sequences) end = std::max(end, s.first_pos + s.rows);
    for (auto pos = static_cast<resect::index_t>(table_.size()) / (2 * half_); pos < end; ++pos)
      for (const double f : frequency_) {
        const double angle = static_cast<double>(pos) * f;
        table_.push_back(static_cast<float>(std::cos(angle)));
        table_.push_back(static_cast<float>(std::sin(angle)));
      }
  }

  template <class Backend>
  void apply(Backend& backend, resect::model::batch_view batch, resect::matrix_view<float> x, int heads) const {
    const resect::index_t near = layout_ == rope_layout::interleaved ? 2 : 1;
    const resect::index_t far = layout_ == rope_layout::interleaved ? 1 : half_;
    for_row_blocks(backend, x.rows, [&](resect::index_t first, resect::index_t last) {
      for (resect::index_t r = first; r < last; ++r) {
        const float* turn =
            table_.data() + static_cast<resect::index_t>(batch[static_cast<std::size_t>(r)].pos) * 2 * half_;
        for (int head = 0; head < heads; ++head) {
          float* v = x.data + r * x.row_stride + static_cast<resect::index_t>(head) * 2 * half_;
          for (resect::index_t i = 0; i < half_; ++i) {
            float& a = v[i * near];
            float& b = v[i * near + far];
            const float cos = turn[2 * i], sin = turn[2 * i + 1];
            const float rotated = a * cos - b * sin;
            b = a * sin + b * cos;
            a = rotated;
          }
        }
      }
    });
  }

 private:
  rope_layout layout_;
  resect::index_t half_;
  std::vector<double> frequency_;
  std::vector<float> table_;
};

// Whether there is no NaN and no infinity.
inline bool is_finite(resect::matrix_view<const float> x) {
  for (resect::index_t r = 0; r < x.rows; ++r)
    for (resect::index_t c = 0; c < x.cols; ++c)
      if (!std::isfinite(x(r, c))) return false;
  return true;
}

// Causal grouped-query attention of every sequence over its cache and its own rows. The new keys and
// values are appended to the caches first.
template <class Backend>
void attention(Backend& backend, const llama_config& c, int layer, std::span<batch_sequence> sequences,
               resect::matrix_view<const float> q, resect::matrix_view<const float> key,
               resect::matrix_view<const float> value, resect::matrix_view<float> out) {
  constexpr resect::index_t queries_per_task = 64;
  struct task {
    const batch_sequence* s;
    resect::matrix_view<const float> keys, values;  // positions 0 …
    int head;
    resect::index_t first, last;  // queries, as rows of the sequence
  };
  std::vector<task> tasks;
  for (auto& s : sequences) {
    resect::matrix_view<const float> keys = key.middle_rows(s.first_row, s.rows),
                                     values = value.middle_rows(s.first_row, s.rows);
    if (s.cache) {
      auto& kept = s.cache->layers[static_cast<std::size_t>(layer)];
      kept.keys.insert(kept.keys.end(), keys.data, keys.data + keys.rows * keys.cols);
      kept.values.insert(kept.values.end(), values.data, values.data + values.rows * values.cols);
      keys = {kept.keys.data(), s.first_pos + s.rows, key.cols};
      values = {kept.values.data(), s.first_pos + s.rows, value.cols};
    }
    for (int head = 0; head < c.n_heads; ++head)
      for (resect::index_t first = 0; first < s.rows; first += queries_per_task)
        tasks.push_back({&s, keys, values, head, first, std::min(s.rows, first + queries_per_task)});
  }

  const auto scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  const int group = c.n_heads / c.n_kv_heads;
  backend.bulk(static_cast<resect::index_t>(tasks.size()), [&](resect::index_t i) {
    const task& t = tasks[static_cast<std::size_t>(i)];
    const resect::index_t d = c.head_dim;
    const resect::index_t seen = t.s->first_pos + t.last;  // keys that the last query of this task sees
    const auto queries = q.block(t.s->first_row + t.first, t.head * d, t.last - t.first, d);
    const auto keys = t.keys.block(0, t.head / group * d, seen, d);
    const auto values = t.values.block(0, t.head / group * d, seen, d);
    resect::cpu<> here;
    matrix scores(queries.rows, seen);
    (void)here.try_gemm(scale, queries, keys.transposed(), 0.0f, scores.view());
    for (resect::index_t r = 0; r < queries.rows; ++r) {
      const resect::index_t visible = t.s->first_pos + t.first + r + 1;
      float* row = scores.view().row(r).data;
      softmax({row, static_cast<std::size_t>(visible)});
      std::fill(row + visible, row + seen, 0.0f);
    }
    const auto mixed = out.block(t.s->first_row + t.first, t.head * d, queries.rows, d);
    const resect::index_t all_see = t.s->first_pos + t.first + 1;
    if (is_finite(values.middle_rows(all_see, seen - all_see))) {
      (void)here.try_gemm(1.0f, scores.view(), values, 0.0f, mixed);
      return;
    }
    // 0·NaN is NaN: a value that a query does not see must not be in its product
    for (resect::index_t r = 0; r < queries.rows; ++r)
      (void)here.try_gemm(1.0f, scores.view().block(r, 0, 1, all_see + r), values.middle_rows(0, all_see + r), 0.0f,
                          mixed.middle_rows(r, 1));
  });
}

}  // namespace hosts
