// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <utility>

#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/student/detail/block_pass.hpp>
#include <resect/student/network.hpp>

namespace RESECT_NAMESPACE::student {

// The forward pass of a student and its gradient: memory that grows once and serves batch after batch.
//   Same bits for any number of workers, if the backend's products have that.
//   Memory: for each block rows·(6·width + 3·hidden + 3·(queries + keys)) elements, and 2·heads·Σ length² of the sequences.
template <class T>
class network_pass {
 public:
  // The student's rows ŷ of rows x, both (rows, width) in host memory; `rows` says what each is. ŷ lives until the next call.
  //   Cost: n.flop() a row and 4·heads·head_dim·length operations of attention.
  //   Errors: shape_mismatch, null_pointer, bad_stride (x); invalid_argument (a student that attends gets no whole texts).
  template <dense_backend<T> B>
    requires std::same_as<typename B::space, host_space>
  result<matrix_view<const T>> try_forward(B& exec, const network<T>& n, model::batch_view rows,
                                           matrix_view<const float> x) {
    const auto count = static_cast<index_t>(rows.size());
    if (auto s = check_view(x, count, n.width(), "rows of a student"); !s) return s.error();
    shared_.sequences = detail::sequences_of(rows);
    shared_.loops = {instructions_of(exec)};
    if (n.shape.attends()) {
      if (auto s = detail::check_whole(rows, std::as_const(shared_.sequences).span()); !s) return s.error();
      index_t longest = 0;
      for (const auto& seq : shared_.sequences) longest = algo::max(longest, seq.count);
      shared_.rope.reserve(n.shape, longest);
    }
    blocks_.resize(n.blocks.size());
    streams_.resize(n.blocks.size() + 1);
    for (auto& h : streams_) h.resize(count, n.width());
    copy(exec, x, streams_.front().view());
    for (index_t b = 0; b < n.blocks.size(); ++b)
      if (auto s = blocks_[b].forward(exec, shared_, n.shape, n.blocks[b], static_cast<T>(n.scale),
                                      std::as_const(streams_[b]).view(), streams_[b + 1].view());
          !s)
        return s.error();
    return std::as_const(streams_.back()).view();
  }

  // After try_forward of the same student: gradient ← ∂/∂parameters, where dy (rows, width) holds ∂/∂ŷ and becomes ∂/∂x.
  // Cost: twice that of try_forward. Errors: those of try_gemm; shape_mismatch (dy).
  template <dense_backend<T> B>
    requires std::same_as<typename B::space, host_space>
  status try_backward(B& exec, const network<T>& n, matrix_view<T> dy, network<T>& gradient) {
    if (auto s = check_view(dy, streams_.back().rows, n.width(), "gradient of a student's rows"); !s) return s;
    if (!(gradient.shape == n.shape) || gradient.blocks.size() != n.blocks.size()) gradient = n.zeros();
    for (index_t b = n.blocks.size(); b-- > 0;)
      if (auto s =
              blocks_[b].backward(exec, shared_, n.shape, n.blocks[b], static_cast<T>(n.scale), dy, gradient.blocks[b]);
          !s)
        return s;
    return {};
  }

 private:
  detail::pass_rows<T> shared_;
  array<detail::block_pass<T>> blocks_;
  array<matrix<T>> streams_;
};

}  // namespace RESECT_NAMESPACE::student
