// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::study {

// A set of the layers 0 … n−1 of a model: the protected ones, whose matrices stay intact.
class layer_set {
 public:
  layer_set() = default;
  // No layer of `layers`.
  explicit layer_set(index_t layers) : in_(static_cast<std::size_t>(layers < 0 ? 0 : layers)) {}
  // All of `layers`.
  static layer_set all(index_t layers) {
    layer_set out(layers);
    for (auto& x : out.in_) x = 1;
    return out;
  }
  // The last `size` of `layers`.
  static layer_set suffix(index_t layers, index_t size) {
    layer_set out(layers);
    for (index_t l = layers - size < 0 ? 0 : layers - size; l < layers; ++l) out.insert(l);
    return out;
  }
  // Makes a set of these layers. Error: invalid_argument names a layer that does not exist, conflict one given twice.
  static result<layer_set> try_make(index_t layers, std::span<const index_t> members) {
    layer_set out(layers);
    for (const index_t l : members) {
      if (l < 0 || l >= layers)
        return error{errc::invalid_argument, "protected layer", text(l), text("0 to ", layers - 1)};
      if (out.contains(l)) return error{errc::conflict, text("protected layer ", l), "twice", "once"};
      out.insert(l);
    }
    return out;
  }

  index_t layers() const noexcept { return static_cast<index_t>(in_.size()); }
  index_t size() const noexcept {
    index_t n = 0;
    for (const auto x : in_) n += x;
    return n;
  }
  // Whether layer l exists and is in the set.
  bool contains(index_t l) const noexcept { return l >= 0 && l < layers() && in_[static_cast<std::size_t>(l)] != 0; }
  // Puts layer l in, or takes it out; a layer that does not exist changes nothing.
  void insert(index_t l) noexcept {
    if (l >= 0 && l < layers()) in_[static_cast<std::size_t>(l)] = 1;
  }
  void erase(index_t l) noexcept {
    if (l >= 0 && l < layers()) in_[static_cast<std::size_t>(l)] = 0;
  }
  std::vector<index_t> members() const {
    std::vector<index_t> out;
    for (index_t l = 0; l < layers(); ++l)
      if (contains(l)) out.push_back(l);
    return out;
  }
  // "none", "all 80", or the layers with ranges: "3, 7, 70-79".
  std::string words() const {
    if (size() == 0) return "none";
    if (size() == layers()) return "all " + std::to_string(layers());
    std::string out;
    for (index_t l = 0; l < layers(); ++l) {
      if (!contains(l)) continue;
      const index_t first = l;
      while (contains(l + 1)) ++l;
      if (!out.empty()) out += ", ";
      out += std::to_string(first);
      if (l > first) out += "-" + std::to_string(l);
    }
    return out;
  }

  friend bool operator==(const layer_set&, const layer_set&) = default;

 private:
  std::vector<std::uint8_t> in_;
};

}  // namespace RESECT_NAMESPACE::study
