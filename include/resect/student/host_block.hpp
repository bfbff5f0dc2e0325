// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>
#include <utility>

#include <resect/model/host.hpp>
#include <resect/residual/reinit.hpp>
#include <resect/student/network.hpp>

// A layer of a host as a student of one block: what retraining begins with.
namespace RESECT_NAMESPACE::student {

// The weights of a layer as a block of this shape, with what its parts are named in visit_parts (attn.norm, attn.q, …): the
// student does what the layer does, to rounding, where the host's layers are those of block_shape.
// Errors: unsupported (the layer has no weight of such a name, or another weight besides); shape_mismatch (with the weight's
// name); what the host says.
template <model::surgical_host H>
result<network<float>> try_layer_student(const H& host, int layer, const block_shape& shape) {
  if (auto s = shape.check(); !s) return s.error();
  network<float> out{shape, 1, {}};
  out.blocks.push_back(block<float>(shape));
  const auto weights = host.weights(layer);
  std::size_t found = 0;
  status done;
  visit_parts(out.blocks.front(), [&](std::string_view name, array<float>& x, index_t rows, index_t cols, part_role) {
    if (!done) return;
    for (const model::weight_desc& w : weights) {
      if (w.name.view() != name) continue;
      ++found;
      if (w.rows != rows || w.cols != cols)
        done = error{errc::shape_mismatch, text("weight ", name, " of layer ", layer), text(w.rows, " x ", w.cols),
                     text(rows, " x ", cols)};
      else done = host.try_read_weight(w, matrix_view<float>{x.data(), rows, cols});
      return;
    }
    done =
        error{errc::unsupported, text("layer ", layer), text("no weight ", name), "a layer like the student's block"};
  });
  if (done && found != weights.size())
    done = error{errc::unsupported, text("layer ", layer), text(weights.size(), " weights"),
                 text(found, ", those of the student's block")};
  if (!done) return done.error();
  return result<network<float>>(std::move(out));
}

// The same with weights drawn anew as residual::reinit draws them: what the step `reinit(layer, seed, policy)` leaves.
template <model::surgical_host H>
result<network<float>> try_random_layer_student(const H& host, int layer, const block_shape& shape, std::uint64_t seed,
                                                residual::reinit_policy policy) {
  auto out = try_layer_student(host, layer, shape);
  if (!out) return out;
  const residual::step draw = residual::reinit(residual::layer(layer), seed, policy);
  inline_executor here;
  status done;
  visit_parts(out->blocks.front(), [&](std::string_view name, array<float>& x, index_t rows, index_t cols, part_role) {
    for (const model::weight_desc& w : host.weights(layer))
      if (done && w.name.view() == name)
        done = draw.op.change(w, matrix_view<float>{x.data(), rows, cols}, here).outcome();
  });
  if (!done) return done.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::student
