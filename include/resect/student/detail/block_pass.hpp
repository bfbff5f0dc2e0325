// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/core/backend.hpp>
#include <resect/student/detail/attention_pass.hpp>

namespace RESECT_NAMESPACE::student::detail {

// What all blocks of a pass share.
template <class T>
struct pass_rows {
  array<sequence_rows> sequences;
  rope_table<T> rope;
  row_loops loops;
};

inline constexpr index_t rows_a_task = 16;

// f(first row, row after the last) on blocks of rows.
template <class B, class F>
void for_rows(B& exec, index_t rows, F f) {
  exec.bulk((rows + rows_a_task - 1) / rows_a_task,
            [&](index_t task) { f(task * rows_a_task, algo::min(rows, (task + 1) * rows_a_task)); });
}

// RMSNorm of rows: n = g ∘ x·s, s = 1/√(mean x² + ε), and its gradient.
template <class T>
struct norm_pass {
  matrix<T> out;
  array<T> inverse;  // s a row

  template <class B>
  void forward(B& exec, row_loops loops, double epsilon, const array<T>& gain, matrix_view<const T> x) {
    out.resize(x.rows, x.cols);
    inverse.resize(x.rows);
    for_rows(exec, x.rows, [&](index_t first, index_t last) {
      for (index_t r = first; r < last; ++r) {
        const double mean = static_cast<double>(loops.dot(&x(r, 0), &x(r, 0), x.cols)) / static_cast<double>(x.cols);
        inverse[r] = static_cast<T>(1 / std::sqrt(mean + epsilon));
        loops.scaled_product(inverse[r], &x(r, 0), gain.data(), &out(r, 0), x.cols);
      }
    });
  }
  // dx += ∂/∂x and dgain ← ∂/∂g, where dn is ∂/∂n:  ∂/∂x = s·(g ∘ dn) − x·s³/d·⟨g ∘ dn, x⟩.
  // The rows of a task sum into parts of dgain of their own, which are added in order.
  template <class B>
  void backward(B& exec, row_loops loops, const array<T>& gain, matrix_view<const T> x, matrix_view<const T> dn,
                matrix_view<T> dx, array<T>& dgain) {
    const index_t d = x.cols, tasks = (x.rows + rows_a_task - 1) / rows_a_task;
    parts.resize(tasks * 2 * d);
    for_rows(exec, x.rows, [&](index_t first, index_t last) {
      T* const part = parts.data() + first / rows_a_task * 2 * d;
      T* const turned = part + d;  // g ∘ dn
      for (index_t c = 0; c < d; ++c) part[c] = 0;
      for (index_t r = first; r < last; ++r) {
        loops.add_scaled_product(inverse[r], &x(r, 0), &dn(r, 0), part, d);
        loops.scaled_product(T{1}, &dn(r, 0), gain.data(), turned, d);
        const T along = loops.dot(turned, &x(r, 0), d), s = inverse[r];
        loops.add_scaled(s, turned, &dx(r, 0), d);
        loops.add_scaled(-along * s * s * s / static_cast<T>(d), &x(r, 0), &dx(r, 0), d);
      }
    });
    dgain.assign(d, T{0});
    for (index_t task = 0; task < tasks; ++task) loops.add(parts.data() + task * 2 * d, dgain.data(), d);
  }

  array<T> parts;
};

// One block's forward pass and gradient. Keeps its memory from batch to batch; products are the backend's.
template <class T>
class block_pass {
 public:
  // y ← block(x). x must stay where it is until `backward`. Errors: those of try_gemm.
  template <class B>
  status forward(B& exec, const pass_rows<T>& rows, const block_shape& s, const block<T>& w, T scale,
                 matrix_view<const T> x, matrix_view<T> y) {
    x_ = x;
    matrix_view<const T> middle = x;
    if (s.attends()) {
      middle_.resize(x.rows, s.width);
      if (auto done = attend(exec, rows, s, w, scale, x, middle_.view()); !done) return done;
      middle = middle_.view();
    }
    mlp_norm_.forward(exec, rows.loops, s.epsilon, w.mlp_norm, middle);
    const matrix_view<const T> n = std::as_const(mlp_norm_.out).view();
    for (auto* part : {&gate_, &up_, &hidden_}) part->resize(x.rows, s.hidden);
    if (auto done = product(exec, n, w.gate, gate_); !done) return done;
    if (auto done = product(exec, n, w.up, up_); !done) return done;
    for_rows(exec, x.rows, [&](index_t first, index_t last) {
      rows.loops.swiglu(&gate_(first, 0), &up_(first, 0), &hidden_(first, 0), (last - first) * s.hidden);
    });
    copy_rows(exec, middle, y);
    return exec.try_gemm(scale, std::as_const(hidden_).view(), w.down.view().transposed(), T{1}, y);
  }

  // dy holds ∂/∂y and becomes ∂/∂x; g ← ∂/∂parameters. After `forward` of the same weights; overwrites what that kept.
  template <class B>
  status backward(B& exec, const pass_rows<T>& rows, const block_shape& s, const block<T>& w, T scale,
                  matrix_view<T> dy, block<T>& g) {
    const matrix_view<const T> dout = dy, middle = s.attends() ? std::as_const(middle_).view() : x_;
    if (auto done = gradient(exec, scale, dout, hidden_, g.down); !done) return done;
    if (auto done = exec.try_gemm(scale, dout, w.down.view(), T{0}, hidden_.view()); !done)
      return done;  // now ∂/∂hidden
    for_rows(exec, dy.rows, [&](index_t first, index_t last) {
      rows.loops.swiglu_back(&hidden_(first, 0), &gate_(first, 0), &up_(first, 0), (last - first) * s.hidden);
    });
    if (auto done = gradient(exec, T{1}, std::as_const(gate_).view(), mlp_norm_.out, g.gate); !done) return done;
    if (auto done = gradient(exec, T{1}, std::as_const(up_).view(), mlp_norm_.out, g.up); !done) return done;
    matrix<T>& dn = mlp_norm_.out;  // read for the last time above
    if (auto done = exec.try_gemm(T{1}, std::as_const(gate_).view(), w.gate.view(), T{0}, dn.view()); !done)
      return done;
    if (auto done = exec.try_gemm(T{1}, std::as_const(up_).view(), w.up.view(), T{1}, dn.view()); !done) return done;
    mlp_norm_.backward(exec, rows.loops, w.mlp_norm, middle, std::as_const(dn).view(), dy, g.mlp_norm);
    return s.attends() ? attend_back(exec, rows, s, w, scale, dy, g) : status{};
  }

 private:
  // out ← x·Wᵀ
  template <class B>
  static status product(B& exec, matrix_view<const T> x, const matrix<T>& w, matrix<T>& out) {
    return exec.try_gemm(T{1}, x, w.view().transposed(), T{0}, out.view());
  }
  // g ← scale·dyᵀ·x, the gradient of W in y = scale·x·Wᵀ
  template <class B>
  static status gradient(B& exec, T scale, matrix_view<const T> dy, const matrix<T>& x, matrix<T>& g) {
    return exec.try_gemm(scale, dy.transposed(), x.view(), T{0}, g.view());
  }
  template <class B>
  static void copy_rows(B& exec, matrix_view<const T> from, matrix_view<T> to) {
    for_rows(exec, from.rows, [&](index_t first, index_t last) {
      for (index_t r = first; r < last; ++r)
        for (index_t c = 0; c < from.cols; ++c) to(r, c) = from(r, c);
    });
  }
  template <class B>
  void turn(B& exec, const pass_rows<T>& rows, const block_shape& s, matrix<T>& x, index_t heads, T direction) {
    exec.bulk(rows.sequences.size(), [&](index_t i) {
      const sequence_rows seq = rows.sequences[i];
      for (index_t pos = 0; pos < seq.count; ++pos) rows.rope.turn(s, &x(seq.first + pos, 0), heads, pos, direction);
    });
  }

  template <class B>
  status attend(B& exec, const pass_rows<T>& rows, const block_shape& s, const block<T>& w, T scale,
                matrix_view<const T> x, matrix_view<T> out) {
    attn_norm_.forward(exec, rows.loops, s.epsilon, w.attn_norm, x);
    const matrix_view<const T> n = std::as_const(attn_norm_.out).view();
    q_.resize(x.rows, s.queries());
    mixed_.resize(x.rows, s.queries());
    k_.resize(x.rows, s.keys());
    v_.resize(x.rows, s.keys());
    if (auto done = product(exec, n, w.q, q_); !done) return done;
    if (auto done = product(exec, n, w.k, k_); !done) return done;
    if (auto done = product(exec, n, w.v, v_); !done) return done;
    turn(exec, rows, s, q_, s.heads, T{1});
    turn(exec, rows, s, k_, s.kv_heads, T{1});
    attention_.forward(exec, s, rows.sequences.span(), rows.loops, std::as_const(q_).view(), std::as_const(k_).view(),
                       std::as_const(v_).view(), mixed_.view());
    copy_rows(exec, x, out);
    return exec.try_gemm(scale, std::as_const(mixed_).view(), w.o.view().transposed(), T{1}, out);
  }
  template <class B>
  status attend_back(B& exec, const pass_rows<T>& rows, const block_shape& s, const block<T>& w, T scale,
                     matrix_view<T> dy, block<T>& g) {
    const matrix_view<const T> dout = dy;
    if (auto done = gradient(exec, scale, dout, mixed_, g.o); !done) return done;
    if (auto done = exec.try_gemm(scale, dout, w.o.view(), T{0}, mixed_.view()); !done) return done;  // now ∂/∂mixed
    dq_.resize(q_.rows, q_.cols);
    dk_.resize(k_.rows, k_.cols);
    dv_.resize(v_.rows, v_.cols);
    attention_.backward(exec, s, rows.sequences.span(), rows.loops, std::as_const(q_).view(), std::as_const(k_).view(),
                        std::as_const(v_).view(), std::as_const(mixed_).view(), dq_.view(), dk_.view(), dv_.view());
    turn(exec, rows, s, dq_, s.heads, T{-1});
    turn(exec, rows, s, dk_, s.kv_heads, T{-1});
    if (auto done = gradient(exec, T{1}, std::as_const(dq_).view(), attn_norm_.out, g.q); !done) return done;
    if (auto done = gradient(exec, T{1}, std::as_const(dk_).view(), attn_norm_.out, g.k); !done) return done;
    if (auto done = gradient(exec, T{1}, std::as_const(dv_).view(), attn_norm_.out, g.v); !done) return done;
    matrix<T>& dn = attn_norm_.out;
    if (auto done = exec.try_gemm(T{1}, std::as_const(dq_).view(), w.q.view(), T{0}, dn.view()); !done) return done;
    if (auto done = exec.try_gemm(T{1}, std::as_const(dk_).view(), w.k.view(), T{1}, dn.view()); !done) return done;
    if (auto done = exec.try_gemm(T{1}, std::as_const(dv_).view(), w.v.view(), T{1}, dn.view()); !done) return done;
    attn_norm_.backward(exec, rows.loops, w.attn_norm, x_, std::as_const(dn).view(), dy, g.attn_norm);
    return {};
  }

  matrix_view<const T> x_;
  norm_pass<T> attn_norm_, mlp_norm_;
  matrix<T> q_, k_, v_, mixed_, middle_;
  matrix<T> dq_, dk_, dv_;
  matrix<T> gate_, up_, hidden_;
  attention_pass<T> attention_;
};

}  // namespace RESECT_NAMESPACE::student::detail
