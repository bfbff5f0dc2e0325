// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/io/safetensors.hpp>

// Arrays of a training run as tensors of a safetensors file, and back. Needs nlohmann-json.
namespace RESECT_NAMESPACE::io {

// A tensor of elements that live as long as it.
template <class T>
safetensor tensor_of(std::string name, std::string_view dtype, std::vector<index_t> extents, std::span<const T> x) {
  return {std::move(name), dtype, std::move(extents), static_cast<index_t>(x.size()), std::as_bytes(x)};
}

// Copies a tensor of this name, dtype and extents. Errors: malformed.
template <class T>
status try_read_tensor(const safetensors_contents& file, const std::string& name, std::string_view dtype,
                       const std::vector<index_t>& extents, array<T>& out) {
  const safetensor* t = file.find(name);
  if (t == nullptr) return error{errc::malformed, "checkpoint", text("no tensor ", name), "the tensors of a trainer"};
  if (t->dtype != dtype || t->extents != extents)
    return error{errc::malformed, text("tensor ", name, " of a checkpoint"),
                 text(t->dtype, ", ", t->extents.empty() ? index_t{0} : t->extents[0], " rows"),
                 text(dtype, ", ", extents.empty() ? index_t{0} : extents[0], " rows")};
  out.resize(static_cast<index_t>(t->bytes.size() / sizeof(T)));
  if (!t->bytes.empty()) std::memcpy(out.data(), t->bytes.data(), t->bytes.size());
  return {};
}

}  // namespace RESECT_NAMESPACE::io
