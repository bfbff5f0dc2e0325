// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <resect/core/types.hpp>

// What a safetensors file holds; safetensors.hpp reads it.
namespace RESECT_NAMESPACE::io {

// One tensor. `dtype` is the format's name of the element type, such as "BF16"; extents are outermost first, none: a
// single number. `bytes` point into the file, little-endian, the last index runs fastest.
struct safetensor {
  std::string name;
  std::string_view dtype;
  std::vector<index_t> extents;
  index_t values = 0;
  std::span<const std::byte> bytes;
};

namespace detail {
class safetensors_header_handler;
}

// All that a safetensors file says. Tensors' bytes point into the file's bytes, which the caller keeps alive and in
// their place; names and metadata are this object's.
class safetensors_contents {
 public:
  // All tensors, in the order of the header.
  std::span<const safetensor> tensors() const noexcept { return tensors_; }

  // The pairs of `__metadata__`, in the order of the header.
  std::span<const std::pair<std::string, std::string>> metadata() const noexcept { return metadata_; }

  // The tensor of this name, null where there is none.
  const safetensor* find(std::string_view name) const {
    const auto found = index_.find(std::string{name});
    return found == index_.end() ? nullptr : &tensors_[found->second];
  }

 private:
  friend class detail::safetensors_header_handler;

  std::vector<safetensor> tensors_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::unordered_map<std::string, std::size_t> index_;
};

}  // namespace RESECT_NAMESPACE::io
