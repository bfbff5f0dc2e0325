// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Files as bytes, extents and type ids: npy, safetensors, GGUF. What writes or reads JSON (io/json.hpp, io/report.hpp) needs
// nlohmann-json and comes by name.
#include <resect/io/bytes.hpp>
#include <resect/io/ggml_type.hpp>
#include <resect/io/npy.hpp>
#include <resect/io/npy_reader.hpp>
