// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <hosts/backend_ref.hpp>
#include <hosts/llama/model.hpp>
#include <resect/model/row.hpp>

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

// out_t = gain · x_t / √(mean x_t² + eps), the mean in double
void rms_norm(backend_ref backend, resect::matrix_view<const float> x, resect::matrix_view<const float> gain, float eps,
              resect::matrix_view<float> out);

// h += x
void add(backend_ref backend, resect::matrix_view<const float> x, resect::matrix_view<float> h);

// gate ← silu(gate) · up
void silu_times(backend_ref backend, resect::matrix_view<const float> up, resect::matrix_view<float> gate);

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

  void apply(backend_ref backend, resect::model::batch_view batch, resect::matrix_view<float> x, int heads) const;

 private:
  rope_layout layout_;
  resect::index_t half_;
  std::vector<double> frequency_;
  std::vector<float> table_;
};

// Causal grouped-query attention of every sequence over its cache and its own rows. The new keys and
// values are appended to the caches first.
void attention(backend_ref backend, const llama_config& c, int layer, std::span<batch_sequence> sequences,
               resect::matrix_view<const float> q, resect::matrix_view<const float> key,
               resect::matrix_view<const float> value, resect::matrix_view<float> out);

}  // namespace hosts
