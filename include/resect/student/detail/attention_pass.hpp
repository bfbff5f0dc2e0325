// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/matrix.hpp>
#include <resect/student/block.hpp>
#include <resect/student/detail/row_kernels.hpp>
#include <resect/student/detail/sequence_rows.hpp>

namespace RESECT_NAMESPACE::student::detail {

// The turns of rotary embedding: cos and sin of pos·theta^(−2i/D), computed in double.
template <class T>
class rope_table {
 public:
  void reserve(const block_shape& s, index_t positions) {
    const index_t half = s.head_dim / 2;
    for (index_t pos = half > 0 ? turns_.size() / (2 * half) : positions; pos < positions; ++pos)
      for (index_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(pos) *
                             std::pow(s.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(s.head_dim));
        turns_.push_back(static_cast<T>(std::cos(angle)));
        turns_.push_back(static_cast<T>(std::sin(angle)));
      }
  }
  // Turns the heads of a row at a position, `direction` 1; back by −1.
  void turn(const block_shape& s, T* row, index_t heads, index_t pos, T direction) const noexcept {
    const index_t half = s.head_dim / 2;
    const index_t near = s.rope == rope_layout::interleaved ? 2 : 1,
                  far = s.rope == rope_layout::interleaved ? 1 : half;
    const T* const turns = turns_.data() + pos * 2 * half;
    for (index_t h = 0; h < heads; ++h)
      for (index_t i = 0; i < half; ++i) {
        T& a = row[h * s.head_dim + i * near];
        T& b = row[h * s.head_dim + i * near + far];
        const T cos = turns[2 * i], sin = direction * turns[2 * i + 1], turned = a * cos - b * sin;
        b = a * sin + b * cos;
        a = turned;
      }
  }

 private:
  array<T> turns_;
};

// Causal grouped-query attention over rows of whole sequences, q and k turned already: the probabilities, what it mixes, and
// the gradient. A task is one head of keys in one sequence, which owns what it writes, so no bit depends on workers.
template <class T>
class attention_pass {
 public:
  // mixed (N, heads·D) ← Σ softmax(q·k/√D)·v. Keeps the probabilities for `backward`.
  template <class B>
  void forward(B& exec, const block_shape& s, std::span<const sequence_rows> sequences, row_loops loops,
               matrix_view<const T> q, matrix_view<const T> k, matrix_view<const T> v, matrix_view<T> mixed) {
    place(s, sequences);
    each_task(exec, s, sequences, [&](const sequence_rows& seq, index_t head, index_t key_head, T* p, T*) {
      for (index_t i = 0; i < seq.count; ++i, p += seq.count) {
        const T* const query = &q(seq.first + i, head * s.head_dim);
        loops.dots(scale(s), query, &k(seq.first, key_head * s.head_dim), k.cols, i + 1, s.head_dim, p);
        T top = p[0];
        for (index_t j = 1; j <= i; ++j) top = algo::max(top, p[j]);
        const T sum = loops.exp_below(p, top, i + 1);
        loops.scale(T{1} / sum, p, p, i + 1);
        T* const out = &mixed(seq.first + i, head * s.head_dim);
        for (index_t c = 0; c < s.head_dim; ++c) out[c] = 0;
        loops.add_rows(p, 1, &v(seq.first, key_head * s.head_dim), v.cols, i + 1, s.head_dim, out);
      }
    });
  }

  // Where dmixed is ∂/∂mixed: dq, dk, dv ← ∂/∂q, ∂/∂k, ∂/∂v.
  template <class B>
  void backward(B& exec, const block_shape& s, std::span<const sequence_rows> sequences, row_loops loops,
                matrix_view<const T> q, matrix_view<const T> k, matrix_view<const T> v, matrix_view<const T> dmixed,
                matrix_view<T> dq, matrix_view<T> dk, matrix_view<T> dv) {
    exec.bulk(dk.rows, [&](index_t r) {
      for (index_t c = 0; c < dk.cols; ++c) dk(r, c) = dv(r, c) = 0;
    });
    each_task(exec, s, sequences, [&](const sequence_rows& seq, index_t head, index_t key_head, T* p, T* ds) {
      const index_t n = seq.count, at = head * s.head_dim, key_at = key_head * s.head_dim;
      for (index_t i = 0; i < n; ++i) {  // ds ← ∂/∂scores
        T* const row = ds + i * n;
        const T* const prob = p + i * n;
        loops.dots(T{1}, &dmixed(seq.first + i, at), &v(seq.first, key_at), v.cols, i + 1, s.head_dim, row);
        const T mean = loops.dot(row, prob, i + 1);
        for (index_t j = 0; j <= i; ++j) row[j] = (row[j] - mean) * prob[j] * scale(s);
        T* const out = &dq(seq.first + i, at);
        for (index_t c = 0; c < s.head_dim; ++c) out[c] = 0;
        loops.add_rows(row, 1, &k(seq.first, key_at), k.cols, i + 1, s.head_dim, out);
      }
      for (index_t j = 0; j < n; ++j) {  // queries from j on see key j
        loops.add_rows(ds + j * n + j, n, &q(seq.first + j, at), q.cols, n - j, s.head_dim, &dk(seq.first + j, key_at));
        loops.add_rows(p + j * n + j, n, &dmixed(seq.first + j, at), dmixed.cols, n - j, s.head_dim,
                       &dv(seq.first + j, key_at));
      }
    });
  }

 private:
  static T scale(const block_shape& s) noexcept {
    return static_cast<T>(1 / std::sqrt(static_cast<double>(s.head_dim)));
  }
  // Room for (count, count) of every head of every sequence.
  void place(const block_shape& s, std::span<const sequence_rows> sequences) {
    begins_.clear();
    index_t size = 0;
    for (const auto& seq : sequences) {
      begins_.push_back(size);
      size += s.heads * seq.count * seq.count;
    }
    if (probabilities_.size() < size) probabilities_.resize(size);
    if (scores_.size() < size) scores_.resize(size);
  }
  // f(sequence, head, key head, its probabilities, room of the same size), the heads of one key head one after another.
  template <class B, class F>
  void each_task(B& exec, const block_shape& s, std::span<const sequence_rows> sequences, F f) {
    const index_t group = s.heads / s.kv_heads;
    exec.bulk(static_cast<index_t>(sequences.size()) * s.kv_heads, [&](index_t task) {
      const index_t number = task / s.kv_heads, key_head = task % s.kv_heads;
      const sequence_rows seq = sequences[static_cast<std::size_t>(number)];
      for (index_t head = key_head * group; head < (key_head + 1) * group; ++head) {
        const index_t at = begins_[number] + head * seq.count * seq.count;
        f(seq, head, key_head, probabilities_.data() + at, scores_.data() + at);
      }
    });
  }

  array<index_t> begins_;
  array<T> probabilities_, scores_;
};

}  // namespace RESECT_NAMESPACE::student::detail
