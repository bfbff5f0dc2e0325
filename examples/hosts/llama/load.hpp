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
//              model.safetensors under Hugging Face's names (rotary pairs are then halves); a
//              tokenizer_config.json there decides by add_bos_token whether a text begins with a BOS
// @return an error that names the key or tensor for anything that does not fit or that a plain Llama
//         decoder would not compute: other architectures, scaled rotary embedding, biases, experts,
//         shapes that contradict the config, tensors without a use, weights that are not finite
resect::result<llama_model> try_load_llama(const std::string& path);

}  // namespace hosts
