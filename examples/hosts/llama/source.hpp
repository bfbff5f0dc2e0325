// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hosts/bytes.hpp>
#include <hosts/llama/model.hpp>
#include <resect/core/result.hpp>
#include <resect/io/ggml_type.hpp>

namespace hosts {

// A tensor as a file holds it; extents are outermost first.
struct stored_tensor {
  std::string_view name;
  std::string_view type_name;
  std::optional<resect::io::ggml_type> type;  // absent where it cannot be decoded
  std::vector<resect::index_t> extents;
  std::span<const std::byte> bytes;
};

// How a file format calls the tensors of a Llama model. A layer's are layer_prefix, number, ".", suffix.
struct llama_names {
  std::string_view embed, norm, head, layer_prefix;
  std::string_view attn_norm, q, k, v, o, mlp_norm, gate, up, down;
};

// What a file says about a Llama model, before any weight is decoded. Views point into the file.
struct llama_source {
  std::string name;
  llama_config config;
  llama_names names;
  bool tied = false;  // the head is the embedding, whatever the file holds
  std::vector<stored_tensor> tensors;
};

namespace detail {

// Bounds on what a config may say: far above any real model, far below what overflows.
inline constexpr int most_layers = 1 << 12;
inline constexpr int most_heads = 1 << 12;
inline constexpr int most_width = 1 << 20;
inline constexpr int most_context = 1 << 30;
inline constexpr int most_tokens = 1 << 24;

// Reads numbers one after the other and remembers the first that is wrong, so that a list of fields
// reads as a list; the values mean something only where `failure()` is empty.
class number_checks {
 public:
  const std::optional<resect::error>& failure() const noexcept { return failure_; }

  void fail(const resect::error& e) {
    if (!failure_) failure_ = e;
  }
  int bounded(std::string_view operand, std::uint64_t value, int least, int most) {
    if (value >= static_cast<std::uint64_t>(least) && value <= static_cast<std::uint64_t>(most))
      return static_cast<int>(value);
    fail({resect::errc::invalid_argument, operand, resect::text(value), resect::text(least, " to ", most)});
    return least;
  }
  float positive(std::string_view operand, double value, double most) {
    const auto rounded = static_cast<float>(value);
    if (rounded > 0 && value <= most) return rounded;
    fail({resect::errc::invalid_argument, operand, resect::text(value), resect::text("more than 0, at most ", most)});
    return 1;
  }

 private:
  std::optional<resect::error> failure_;
};

// How the numbers of a config have to fit each other.
inline resect::status check_fit(const llama_config& c) {
  const auto mismatch = [](std::string_view operand, resect::short_text<120> got, std::string_view wanted) {
    return resect::error{resect::errc::invalid_argument, operand, got, wanted};
  };
  if (c.n_heads % c.n_kv_heads != 0)
    return mismatch("attention heads", resect::text(c.n_heads, " heads, ", c.n_kv_heads, " key-value heads"),
                    "as many heads for every key-value head");
  if (c.head_dim % 2 != 0)
    return mismatch("head size", resect::text(c.head_dim), "an even one, as rotary embedding needs");
  if (c.head_dim > most_width / c.n_heads)
    return mismatch("attention width", resect::text(c.n_heads, " heads of ", c.head_dim), "a smaller product");
  if (c.bos >= c.n_vocab)
    return mismatch("begin-of-text token", resect::text(c.bos), resect::text("less than ", c.n_vocab).view());
  return {};
}

// d_model / n_heads, where a config does not give the head size itself.
inline int even_share(number_checks& checks, int d_model, int n_heads) {
  if (d_model % n_heads == 0) return d_model / n_heads;
  checks.fail({resect::errc::invalid_argument, "embedding width",
               resect::text(d_model, " for ", n_heads, " attention heads"), "a multiple of the heads"});
  return 1;
}

}  // namespace detail
}  // namespace hosts
