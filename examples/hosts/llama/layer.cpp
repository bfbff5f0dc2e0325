// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <hosts/llama/layer.hpp>

#include <algorithm>
#include <cmath>

#include <Eigen/Core>
#include <hosts/cpu.hpp>
#include <resect/core/reduce.hpp>

namespace hosts {

namespace {

constexpr resect::index_t rows_per_task = 32;

// f(first, last) on blocks of rows.
template <class F>
void for_row_blocks(backend_ref backend, resect::index_t rows, F f) {
  backend.bulk((rows + rows_per_task - 1) / rows_per_task,
               [&](resect::index_t b) { f(b * rows_per_task, std::min(rows, (b + 1) * rows_per_task)); });
}

// Elementwise arithmetic goes in chunks of a fixed size, the last one filled up: an element's bits then do not depend
// on where its row happens to lie in memory, as they do when a vector loop is peeled up to an aligned address.
constexpr int chunk_size = 16;
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

// x ← softmax(x), the sum in double
void softmax(std::span<float> x) {
  const auto n = static_cast<resect::index_t>(x.size());
  const float largest = *std::max_element(x.begin(), x.end());
  for_chunks(n, [largest](const chunk& v) -> chunk { return (v - largest).exp(); }, x.data());
  const auto scale = static_cast<float>(1.0 / resect::sum(std::span<const float>(x)));
  for_chunks(n, [scale](const chunk& v) -> chunk { return v * scale; }, x.data());
}

// Whether there is no NaN and no infinity.
bool is_finite(resect::matrix_view<const float> x) {
  for (resect::index_t r = 0; r < x.rows; ++r)
    for (resect::index_t c = 0; c < x.cols; ++c)
      if (!std::isfinite(x(r, c))) return false;
  return true;
}

}  // namespace

void rms_norm(backend_ref backend, resect::matrix_view<const float> x, resect::matrix_view<const float> gain, float eps,
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

void add(backend_ref backend, resect::matrix_view<const float> x, resect::matrix_view<float> h) {
  for_row_blocks(backend, h.rows, [&](resect::index_t first, resect::index_t last) {
    for (resect::index_t r = first; r < last; ++r)
      for_chunks(h.cols, [](const chunk& a, const chunk& b) -> chunk { return a + b; }, h.row(r).data, x.row(r).data);
  });
}

void silu_times(backend_ref backend, resect::matrix_view<const float> up, resect::matrix_view<float> gate) {
  for_row_blocks(backend, gate.rows, [&](resect::index_t first, resect::index_t last) {
    for (resect::index_t r = first; r < last; ++r)
      for_chunks(
          gate.cols, [](const chunk& g, const chunk& u) -> chunk { return g / (1.0f + (-g).exp()) * u; },
          gate.row(r).data, up.row(r).data);
  });
}

void rotary_embedding::apply(backend_ref backend, resect::model::batch_view batch, resect::matrix_view<float> x,
                             int heads) const {
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

void attention(backend_ref backend, const llama_config& c, int layer, std::span<batch_sequence> sequences,
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
