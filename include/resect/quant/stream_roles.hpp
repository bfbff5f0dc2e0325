// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/model/weight.hpp>

// Which weights of a layer read and write the residual stream: what a rotation of the stream has to know of them.
namespace RESECT_NAMESPACE::quant {

// What a weight of a layer has to do with the residual stream.
enum class stream_use : std::uint8_t {
  none,    // it neither reads nor writes the stream (a matrix between two others, a norm of heads)
  reads,   // a matrix whose columns are the stream's, behind the norm whose gain is `norm`
  writes,  // a matrix whose rows are the stream's, or the bias of one
  gain,    // the gain of a norm of the stream
  other,   // not known: a host with such a weight is refused
};
// That of one weight.
struct stream_role {
  stream_use use = stream_use::other;
  std::string_view norm = {};  // the name of the gain, of weights that read
};

// The roles of the weights of hosts that name them as the example runtime does: attn.norm, attn.q, attn.k, attn.v, attn.o,
// mlp.norm, mlp.gate, mlp.up, mlp.down, and biases attn.q.bias and so on.
struct llama_stream {
  stream_role operator()(const model::weight_desc& w) const noexcept {
    const std::string_view name = w.name.view();
    if (name == "attn.q" || name == "attn.k" || name == "attn.v") return {stream_use::reads, "attn.norm"};
    if (name == "mlp.gate" || name == "mlp.up") return {stream_use::reads, "mlp.norm"};
    if (name == "attn.o" || name == "mlp.down") return {stream_use::writes};
    if (name == "attn.norm" || name == "mlp.norm") return {stream_use::gain};
    if (name == "attn.o.bias" || name == "mlp.down.bias") return {stream_use::writes};
    if (name.ends_with(".bias") && !name.ends_with("norm.bias")) return {stream_use::none};
    return {};
  }
};

}  // namespace RESECT_NAMESPACE::quant
