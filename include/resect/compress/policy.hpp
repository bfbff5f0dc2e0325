// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <optional>
#include <string_view>

#include <resect/core/array.hpp>
#include <resect/core/result.hpp>
#include <resect/model/weight.hpp>

// Which matrices of a model are compressed, and how: by name, place and size.
namespace RESECT_NAMESPACE::compress {

// What becomes of one matrix.
struct matrix_choice {
  index_t rank = 0;     // of L·R; 0: none
  int factor_bits = 8;  // of L and R, 2 to 16
  int bits = 0;         // of Q, 2 to 16; 0: no Q, L·R alone
  index_t group = 64;   // of Q; 0: a whole row
  friend bool operator==(const matrix_choice&, const matrix_choice&) noexcept = default;
};

// The choice for the matrices that a pattern names.
struct policy_rule {
  // Of names "layers.3.attn.q": * stands for any characters, ? for one. The first layer is also "layers.first.…", the last
  // "layers.last.…".
  short_text<48> pattern = "*";
  double share = 0;  // rank as a share of the smaller extent, rounded, at least 1; 0: `then.rank` says it
  matrix_choice then{};
};

// Whether a name fits a pattern. Cost: the product of their lengths at most.
constexpr bool fits_pattern(std::string_view name, std::string_view pattern) noexcept {
  std::size_t n = 0, p = 0, star = std::string_view::npos, after = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++after;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// Rules in their order, and what is left alone.
struct policy {
  array<policy_rule> rules;      // the first that fits a name decides; none: the matrix stays
  array<short_text<48>> skip{};  // patterns of matrices that stay, whatever the rules say
  index_t least_extent = 0;      // matrices with a smaller extent stay

  // What becomes of a weight of a model of `n_layers` layers; nothing where it stays. Norm gains and biases stay.
  // Errors: invalid_argument (a rank above the smaller extent, a share outside [0, 1], bits outside 2 to 16, a
  // negative group).
  result<std::optional<matrix_choice>> try_choose(const model::weight_desc& w, int n_layers) const {
    if (w.role != model::weight_role::matrix) return std::optional<matrix_choice>{};
    const index_t smaller = w.rows < w.cols ? w.rows : w.cols;
    if (smaller < least_extent) return std::optional<matrix_choice>{};
    const auto fits = [&](std::string_view pattern) {
      return fits_pattern(text("layers.", w.layer, ".", w.name.view()).view(), pattern) ||
             (w.layer == 0 && fits_pattern(text("layers.first.", w.name.view()).view(), pattern)) ||
             (w.layer == n_layers - 1 && fits_pattern(text("layers.last.", w.name.view()).view(), pattern));
    };
    for (const auto& pattern : skip)
      if (fits(pattern.view())) return std::optional<matrix_choice>{};
    for (const policy_rule& rule : rules) {
      if (!fits(rule.pattern.view())) continue;
      matrix_choice out = rule.then;
      if (!(rule.share >= 0 && rule.share <= 1))
        return error{errc::invalid_argument, text("share of rule ", rule.pattern.view()), text(rule.share), "0 to 1"};
      if (rule.share > 0) {
        out.rank = static_cast<index_t>(rule.share * static_cast<double>(smaller) + 0.5);
        if (out.rank < 1) out.rank = 1;
      }
      if (out.rank < 0 || out.rank > smaller)
        return error{errc::invalid_argument, text("rank of rule ", rule.pattern.view()), text(out.rank),
                     text("0 to ", smaller, ", the smaller extent of ", w.name.view(), " in layer ", w.layer)};
      if (auto s = check_widths(rule); !s) return s.error();
      return std::optional(out);
    }
    return std::optional<matrix_choice>{};
  }

 private:
  static status check_widths(const policy_rule& rule) {
    const matrix_choice& c = rule.then;
    const auto refused = [&](std::string_view what, index_t got, std::string_view wanted) -> status {
      return error{errc::invalid_argument, text(what, " of rule ", rule.pattern.view()), text(got), wanted};
    };
    if (c.factor_bits < 2 || c.factor_bits > 16) return refused("factor bits", c.factor_bits, "2 to 16");
    if (c.bits != 0 && (c.bits < 2 || c.bits > 16)) return refused("bits", c.bits, "2 to 16, or 0 for no Q");
    if (c.group < 0) return refused("group", c.group, "at least 0");
    return {};
  }
};

// Every matrix at one share of its smaller extent; attention alone where `pattern` is "*.attn.*". Factors of 8 bits.
inline policy uniform_policy(double share, std::string_view pattern = "*") {
  return {{policy_rule{.pattern = pattern, .share = share}}};
}

// The ranks that study S002 recommends for matrices of 2048 × 2048 ("hybrid strategy"), as shares of the smaller extent:
// 3/16 in the first and the last layer, 1/8 for the output of attention, 3/32 for its other matrices; the MLP stays, and
// so do matrices with an extent below `least_extent` (there 1024). Names as the example runtime has them.
inline policy s002_policy(index_t least_extent = 0) {
  return {{policy_rule{.pattern = "layers.first.*", .share = 3.0 / 16},
           policy_rule{.pattern = "layers.last.*", .share = 3.0 / 16},
           policy_rule{.pattern = "*.attn.o", .share = 1.0 / 8}, policy_rule{.pattern = "*.attn.*", .share = 3.0 / 32}},
          {"*.mlp.*"},
          least_extent};
}

}  // namespace RESECT_NAMESPACE::compress
