// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>

#include <hosts/llama/model.hpp>
#include <hosts/token_ids.hpp>
#include <resect/core/result.hpp>

namespace hosts {

// Loads a Llama model to fp32. Weights are decoded one at a time, so memory peaks at the fp32 model
// beside the mapped file.
// @param path  a GGUF file (rotary pairs are then interleaved), or a folder with config.json and
//              model.safetensors under Hugging Face's names (rotary pairs are then halves).
//              Whether a text begins with a BOS is decided by what lies there (begin_of_text.hpp):
//              tokenizer.ggml.add_bos_token, or the default of its tokenizer's kind; add_bos_token
//              of tokenizer_config.json, the post-processor of tokenizer.json, or the default of
//              its class. llama_config::bos_rule says which
// @return an error that names the key or tensor for anything that does not fit or that a plain Llama
//         decoder would not compute: other architectures, scaled rotary embedding, biases, experts,
//         shapes that contradict the config, tensors without a use, weights that are not finite
resect::result<llama_model> try_load_llama(const std::string& path);

}  // namespace hosts
