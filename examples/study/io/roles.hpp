// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <resect/study/windows.hpp>
#include <study/io/input.hpp>

// Texts by the role that they have in a study, so that nothing is fitted, chosen or trained on what is evaluated.
namespace studies {

enum class role { calibration, selection, train };  // beside evaluation
inline constexpr std::array all_roles{role::calibration, role::selection, role::train};

constexpr std::string_view name(role r) {
  constexpr std::string_view names[] = {"calibration", "selection", "train"};
  return names[static_cast<int>(r)];
}

// In place of a file: what evaluation leaves of its own text.
inline constexpr std::string_view rest_of_text = "rest";

// What the command line says of one role; nothing where it says nothing.
struct role_source {
  std::optional<std::string> text;
  std::string ids;
};
using role_sources = std::map<role, role_source>;

// A text in a role, and the windows that are cut out of it.
struct role_set {
  tokens text;
  resect::study::token_windows windows;
};

namespace detail {

// All that the sets hold, as windows of no text in particular: what a further set must not share.
resect::study::token_windows joined(const std::vector<const resect::study::token_windows*>& sets);

// Pieces of a text that are dealt whole: its documents that evaluation does not touch, nor copies of them, the same words
// always to the same set; where it marks none, stretches of a window's length between the evaluated ones.
struct piece {
  std::size_t first = 0, last = 0;
};

// Windows of a set that share nothing with what is evaluated and with the sets before it.
resect::study::token_windows windows_of(role r, const tokens& t, const resect::study::token_windows& evaluation,
                                        const std::map<role, role_set>& others, const resect::study::window_options& o);

}  // namespace detail

// What the studied model brings for roles that the command line says nothing of: the small model has documents of its
// own for each of them, by path.
using role_defaults = std::map<role, std::string>;

role_defaults documents_of(const std::string& model_path);

// How many windows a role gets where it is to have another number than the others.
using role_counts = std::map<role, resect::index_t>;

// The sets of the roles that a study needs. A role's text is the file that was given; else the file that `defaults` has
// for it; else what evaluation leaves of its own text, dealt among all roles that take it (one role: all of it).
std::map<role, role_set> make_role_sets(const std::vector<role>& needed, const role_sources& given,
                                        const role_defaults& defaults, const tokens& text,
                                        const resect::study::token_windows& evaluation,
                                        const resect::study::window_options& o, const std::string& model_path,
                                        int n_vocab, const role_counts& more = {});

// What should be known of a set before its numbers are believed: nothing, or that it is small.
std::string small_set_warning(role r, const role_set& set, resect::index_t wanted);

}  // namespace studies
