// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/array.hpp>
#include <resect/io/safetensors.hpp>

// Arrays of a training run as tensors of a safetensors file, and back. Needs nlohmann-json.
namespace RESECT_NAMESPACE::io {

// A tensor of elements that live as long as it.
template <class T>
safetensor tensor_of(std::string name, std::string_view dtype, std::vector<index_t> extents, std::span<const T> x) {
  return {std::move(name), dtype, std::move(extents), static_cast<index_t>(x.size()), std::as_bytes(x)};
}

namespace detail {
inline std::string shape_of(std::string_view dtype, const std::vector<index_t>& extents) {
  std::string out(dtype);
  for (std::size_t i = 0; i < extents.size(); ++i) out += (i == 0 ? " " : " x ") + std::to_string(extents[i]);
  return out;
}
}  // namespace detail

// Copies a tensor of this name, dtype and extents; `file` is what errors call its file. Errors: malformed.
template <class T>
status try_read_tensor(const safetensors_contents& contents, std::string_view file, const std::string& name,
                       std::string_view dtype, const std::vector<index_t>& extents, array<T>& out) {
  const safetensor* t = contents.find(name);
  if (t == nullptr) return error{errc::malformed, file, "no tensor of this name", std::string_view(name)};
  if (t->dtype != dtype || t->extents != extents)
    return error{errc::malformed, text("tensor ", std::string_view(name), " of ", file),
                 std::string_view(detail::shape_of(t->dtype, t->extents)),
                 std::string_view(detail::shape_of(dtype, extents))};
  out.resize(static_cast<index_t>(t->bytes.size() / sizeof(T)));
  if (!t->bytes.empty()) std::memcpy(out.data(), t->bytes.data(), t->bytes.size());
  return {};
}

}  // namespace RESECT_NAMESPACE::io
