// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <resect/core/array.hpp>
#include <resect/residual/operation.hpp>

// An operator as bytes.
namespace RESECT_NAMESPACE::residual {

// The bytes of an operator: its id, then every field in its order, as kind (n, w, s, k or v), name and value. A text is a
// 64-bit length and its characters, a number a 64-bit double, values a 64-bit count and fp32; all little-endian. Equal
// bytes mean equal operators.
template <class = void>
array<std::byte> serialized(const operation& o) {
  class writer final : public field_visitor {
   public:
    using field_visitor::key, field_visitor::number, field_visitor::values;
    void number(std::string_view name, double x, double) override {
      word64('n', name, std::bit_cast<std::uint64_t>(x));
    }
    void word(std::string_view name, std::string_view x) override {
      begin('w', name);
      text(x);
    }
    void seed(std::uint64_t x) override { word64('s', "seed", x); }
    void key(std::string_view name, std::uint64_t x, listed_by) override { word64('k', name, x); }
    void values(std::string_view name, std::span<const float> x, listed_by) override {
      begin('v', name);
      put(static_cast<std::uint64_t>(x.size()), 8);
      for (const float f : x) put(std::bit_cast<std::uint32_t>(f), 4);
    }

    void text(std::string_view s) {
      put(static_cast<std::uint64_t>(s.size()), 8);
      for (const char c : s) out.push_back(static_cast<std::byte>(c));
    }
    array<std::byte> out;

   private:
    void begin(char kind, std::string_view name) {
      out.push_back(static_cast<std::byte>(kind));
      text(name);
    }
    void word64(char kind, std::string_view name, std::uint64_t x) {
      begin(kind, name);
      put(x, 8);
    }
    void put(std::uint64_t x, int bytes) {
      for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(x >> (8 * i) & 0xff));
    }
  } to;
  to.text(o.id());
  o.fields(to);
  return std::move(to.out);
}

}  // namespace RESECT_NAMESPACE::residual
