// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include <resect/core/array.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/result.hpp>
#include <resect/random/distributions.hpp>

// The blocks that trained students are made of: their extents and their parameters.
namespace RESECT_NAMESPACE::student {

// What a block is.
enum class block_kind : std::uint8_t {
  mlp,          // y = x + c·MLP(x): a row depends on itself alone
  transformer,  // m = x + c·attention(x), y = m + c·MLP(m): a row depends on the rows of its sequence up to itself
};

// Which pairs of a head's components rotary embedding turns together.
enum class rope_layout : std::uint8_t {
  half,         // (0, D/2), (1, D/2 + 1), …
  interleaved,  // (0, 1), (2, 3), …
};

// Extents of a block.
//   MLP(x) = W_down·(silu(W_gate·n) ∘ W_up·n), n = RMSNorm(x) = g ∘ x/√(mean x² + ε); no biases.
//   attention(x): of n = RMSNorm(x), q = W_q·n in `heads` heads of D components, k = W_k·n and v = W_v·n in `kv_heads`;
//   q and k are turned by angles pos·theta^(−2i/D); query head h reads key head ⌊h·kv_heads/heads⌋; W_o·Σ softmax(q·k/√D)·v
//   over positions up to its own.
struct block_shape {
  block_kind kind = block_kind::transformer;
  index_t width = 0;                              // d, of the residual stream
  index_t hidden = 0;                             // of the MLP
  index_t heads = 0, kv_heads = 0, head_dim = 0;  // of attention; unused by block_kind::mlp
  rope_layout rope = rope_layout::half;
  double rope_theta = 10000;
  double epsilon = 1e-5;  // of RMSNorm

  bool attends() const noexcept { return kind == block_kind::transformer; }
  index_t queries() const noexcept { return attends() ? heads * head_dim : 0; }
  index_t keys() const noexcept { return attends() ? kv_heads * head_dim : 0; }
  // Numbers of a block.
  index_t parameters() const noexcept {
    const index_t mlp = width + 3 * hidden * width;
    return attends() ? mlp + width + 2 * (queries() + keys()) * width : mlp;
  }
  // Floating-point operations a row of the products with weights.
  double flop() const noexcept {
    return 2.0 * static_cast<double>(width) * static_cast<double>(3 * hidden + 2 * (queries() + keys()));
  }

  // Errors: invalid_argument (an extent below 1, an odd head_dim, heads that kv_heads do not divide, constants of no norm).
  status check() const {
    const auto refused = [](std::string_view what, auto got, std::string_view wanted) {
      return error{errc::invalid_argument, text(what, " of a student's block"), text(got), wanted};
    };
    if (width < 1) return refused("width", width, "1 or more");
    if (hidden < 1) return refused("hidden", hidden, "1 or more");
    if (!(epsilon > 0)) return refused("epsilon", epsilon, "above 0");
    if (!attends()) return {};
    if (heads < 1) return refused("heads", heads, "1 or more");
    if (kv_heads < 1 || heads % kv_heads != 0)
      return refused("kv_heads", kv_heads, text("a divisor of ", heads).view());
    if (head_dim < 2 || head_dim % 2 != 0) return refused("head_dim", head_dim, "an even number");
    if (!(rope_theta > 1)) return refused("rope_theta", rope_theta, "above 1");
    return {};
  }
  friend bool operator==(const block_shape&, const block_shape&) = default;
};

// The parameters of a block; matrices are (out, in). Those of attention are empty in an MLP block.
template <class T>
struct block {
  array<T> attn_norm;  // gain (width)
  matrix<T> q, k, v;   // (heads·D, width), (kv_heads·D, width) twice
  matrix<T> o;         // (width, heads·D)
  array<T> mlp_norm;   // gain (width)
  matrix<T> gate, up;  // (hidden, width)
  matrix<T> down;      // (width, hidden)

  block() = default;
  // All zeros.
  explicit block(const block_shape& s)
      : attn_norm(s.attends() ? s.width : 0),
        q(s.queries(), s.attends() ? s.width : 0),
        k(s.keys(), s.attends() ? s.width : 0),
        v(s.keys(), s.attends() ? s.width : 0),
        o(s.attends() ? s.width : 0, s.queries()),
        mlp_norm(s.width),
        gate(s.hidden, s.width),
        up(s.hidden, s.width),
        down(s.width, s.hidden) {}

  friend bool operator==(const block&, const block&) = default;
};

// What a parameter is, for weight decay: matrices shrink, gains do not.
enum class part_role : std::uint8_t { gain, matrix };

// Calls visit(name, elements, rows, cols, role) for every array of parameters in the order of checkpoints; names are those
// that hosts of Llama models give their weights. B is block<T> or const block<T>.
template <class B, class F>
void visit_parts(B& b, F&& visit) {
  const auto gain = [&](std::string_view name, auto& g) { visit(name, g, index_t{1}, g.size(), part_role::gain); };
  const auto weight = [&](std::string_view name, auto& w) { visit(name, w.data, w.rows, w.cols, part_role::matrix); };
  if (!b.attn_norm.empty()) {
    gain("attn.norm", b.attn_norm);
    weight("attn.q", b.q);
    weight("attn.k", b.k);
    weight("attn.v", b.v);
    weight("attn.o", b.o);
  }
  gain("mlp.norm", b.mlp_norm);
  weight("mlp.gate", b.gate);
  weight("mlp.up", b.up);
  weight("mlp.down", b.down);
}

// A block that adds nothing yet: gains 1, W_o and W_down 0, other matrices N(0, 1/in) by Philox at (seed, number, element).
template <class T>
block<T> new_block(const block_shape& shape, std::uint64_t seed, std::uint64_t number) {
  block<T> out(shape);
  std::uint64_t part = 0;
  visit_parts(out, [&](std::string_view name, array<T>& x, index_t, index_t cols, part_role role) {
    ++part;
    if (role == part_role::gain) {
      x.assign(x.size(), T{1});
    } else if (name != "attn.o" && name != "mlp.down") {
      const double sd = 1 / std::sqrt(static_cast<double>(cols));
      const random::philox_stream draws{seed, 0x73747564u + (number << 40 | part << 32)};
      for (index_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<T>(sd * random::gaussian(draws, static_cast<std::uint64_t>(i)));
    }
  });
  return out;
}

}  // namespace RESECT_NAMESPACE::student
