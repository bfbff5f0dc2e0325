// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
// Sparse autoencoders: architectures, the trainer, rows of a running host, sets of trainers, codecs, metrics, planted
// dictionaries. Checkpoints (sae/checkpoint.hpp, sae/set_checkpoint.hpp), which need nlohmann-json, are included by name.

#include <resect/sae/architectures/batch_topk.hpp>
#include <resect/sae/architectures/jump_relu.hpp>
#include <resect/sae/architectures/topk.hpp>
#include <resect/sae/codec.hpp>
#include <resect/sae/coder.hpp>
#include <resect/sae/host_rows.hpp>
#include <resect/sae/metrics.hpp>
#include <resect/sae/planted.hpp>
#include <resect/sae/row_source.hpp>
#include <resect/sae/shuffle_buffer.hpp>
#include <resect/sae/similarity.hpp>
#include <resect/sae/trainer.hpp>
#include <resect/sae/training_set.hpp>
