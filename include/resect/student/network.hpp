// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <resect/core/hash.hpp>
#include <resect/student/block.hpp>

// A trained student as a value: blocks one after another.
namespace RESECT_NAMESPACE::student {

// A student of one or more blocks of one shape: ŷ = block_n(… block_1(x)). What a block adds is multiplied by `scale`, so
// that parameters and learning rates mean the same for spans that add little and for spans that add much; 1 for weights that
// came from a model.
template <class T>
struct network {
  block_shape shape;
  double scale = 1;
  array<block<T>> blocks;

  // Blocks that add nothing yet: ŷ = x, the span left out. Errors: invalid_argument (shape, no block, a scale that is not
  // above 0).
  static result<network> try_make(const block_shape& shape, index_t blocks, std::uint64_t seed, double scale = 1) {
    if (auto s = shape.check(); !s) return s.error();
    if (blocks < 1) return error{errc::invalid_argument, "blocks of a student", text(blocks), "1 or more"};
    if (!(scale > 0)) return error{errc::invalid_argument, "scale of a student", text(scale), "above 0"};
    network out{shape, scale, {}};
    for (index_t b = 0; b < blocks; ++b) out.blocks.push_back(new_block<T>(shape, seed, static_cast<std::uint64_t>(b)));
    return result<network>(std::move(out));
  }
  // All parameters 0: a gradient, or a moment of Adam.
  network zeros() const {
    network out{shape, scale, {}};
    for (index_t b = 0; b < blocks.size(); ++b) out.blocks.push_back(block<T>(shape));
    return out;
  }

  index_t width() const noexcept { return shape.width; }
  index_t parameters() const noexcept { return blocks.size() * shape.parameters(); }
  // Floating-point operations a row of the products with weights.
  double flop() const noexcept { return static_cast<double>(blocks.size()) * shape.flop(); }
  // Of all parameters and of what else decides the result.
  std::uint64_t hash() const {
    fingerprint f;
    f.add("resect.student.network/1").add(static_cast<std::uint64_t>(shape.kind));
    for (const index_t n : {shape.width, shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, blocks.size()})
      f.add(static_cast<std::uint64_t>(n));
    f.add(static_cast<std::uint64_t>(shape.rope)).add(shape.rope_theta).add(shape.epsilon).add(scale);
    for (const auto& b : blocks)
      visit_parts(b, [&](std::string_view, const array<T>& x, index_t, index_t, part_role) {
        f.add_bytes(x.data(), static_cast<std::size_t>(x.size()) * sizeof(T));
      });
    return f.value();
  }
  friend bool operator==(const network&, const network&) = default;
};

// Calls visit(block's number, name, elements, rows, cols, role) for every array of parameters, in the order of checkpoints.
// N is network<T> or const network<T>.
template <class N, class F>
void visit_parts_of(N& n, F&& visit) {
  for (index_t b = 0; b < n.blocks.size(); ++b)
    visit_parts(n.blocks[b], [&](std::string_view name, auto& x, index_t rows, index_t cols, part_role role) {
      visit(b, name, x, rows, cols, role);
    });
}

// The parameters in another precision. Values are rounded to nearest.
template <class To, class From>
network<To> converted(const network<From>& from) {
  network<To> out{from.shape, from.scale, {}};
  for (index_t b = 0; b < from.blocks.size(); ++b) out.blocks.push_back(block<To>(from.shape));
  array<const array<From>*> parts;
  visit_parts_of(
      from, [&](index_t, std::string_view, const array<From>& x, index_t, index_t, part_role) { parts.push_back(&x); });
  index_t at = 0;
  visit_parts_of(out, [&](index_t, std::string_view, array<To>& x, index_t, index_t, part_role) {
    const array<From>& in = *parts[at++];
    for (index_t i = 0; i < x.size(); ++i) x[i] = static_cast<To>(in[i]);
  });
  return out;
}

}  // namespace RESECT_NAMESPACE::student
