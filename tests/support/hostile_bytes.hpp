// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include <support/catch.hpp>

namespace support {

// A copy on the heap of exactly the bytes' size, so that a sanitizer sees every step outside.
struct exact_copy {
  explicit exact_copy(std::span<const std::byte> bytes) : data(new std::byte[bytes.size()]), size(bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), data.get());
  }
  std::span<const std::byte> bytes() const noexcept { return {data.get(), size}; }
  std::unique_ptr<std::byte[]> data;
  std::size_t size;
};

// Calls `parse` on every proper prefix; none may succeed.
template <class Parse>
void expect_no_prefix_parses(const std::vector<std::byte>& file, Parse parse) {
  std::vector<std::size_t> accepted;
  for (std::size_t n = 0; n < file.size(); ++n)
    if (parse(exact_copy{std::span{file}.first(n)}.bytes())) accepted.push_back(n);
  CHECK(accepted.empty());
}

// Calls `parse` on many copies with a few bytes changed at random places; it must only return.
// @return how many of them it accepted
template <class Parse>
std::size_t parse_mutations(const std::vector<std::byte>& file, int n, std::uint32_t seed, Parse parse) {
  std::mt19937 random{seed};
  std::size_t accepted = 0;
  for (int i = 0; i < n; ++i) {
    exact_copy copy{file};
    const auto changes = 1 + (i % 8 == 0 ? random() % 4 : 0);
    for (std::uint32_t c = 0; c < changes; ++c)
      copy.data[random() % copy.size] = static_cast<std::byte>(random() & 0xff);
    if (parse(copy.bytes())) ++accepted;
  }
  return accepted;
}

}  // namespace support
