// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <resect/conformance/words.hpp>
#include <resect/core/text.hpp>
#include <resect/core/types.hpp>

// The result of the conformance suite.
namespace RESECT_NAMESPACE::conformance {

// The outcome of one check.
enum class verdict : std::uint8_t { pass, fail, not_applicable };
// The level of a host: `surgery` includes `edit`, `edit` includes `observe`.
enum class host_level : std::uint8_t { observe, edit, surgery };

// The word for a verdict in a certificate.
constexpr std::string_view name(verdict v) noexcept {
  return v == verdict::pass ? "pass" : v == verdict::fail ? "FAIL" : "n/a";
}
// The word for a level in a certificate.
constexpr std::string_view name(host_level l) noexcept {
  return l == host_level::observe ? "observe" : l == host_level::edit ? "edit" : "surgery";
}

// One check of a certificate: title, measured figure, tolerance, verdict, and the place of the worst deviation.
struct check {
  short_text<8> id;        // "T4.b"
  short_text<96> name;     // the title: a sentence that holds for a correct host
  short_text<64> measure;  // the quantity in `measured`
  verdict result = verdict::pass;
  double measured = 0.0;   // pass: measured <= tolerance
  double tolerance = 0.0;  // 0: bit for bit
  short_text<200> note;    // why it does not apply, the host's error, or more of what was seen
  int layer = -1;          // where the worst was seen; negative: it has no such place
  std::optional<site> where{};
  std::int32_t seq = -1;
  std::int32_t pos = -1;
  site_set covers{};  // sites at which something was compared: a pass says nothing of others
};

// All checks of one run of the suite, with host, model and batch. A plain value.
struct certificate {
  short_text<64> host;
  short_text<120> model;
  std::uint64_t model_fingerprint = 0;
  host_level level = host_level::observe;
  short_text<48> missing{};             // the first member that the host lacks for the next level; empty at the highest
  std::uint64_t batch_fingerprint = 0;  // of the rows that were run
  index_t rows = 0, longest = 0;        // of that batch: larger ones were not tested
  std::vector<check> checks;

  int count(verdict v) const noexcept {
    return static_cast<int>(std::count_if(checks.begin(), checks.end(), [v](const check& c) { return c.result == v; }));
  }
  // Whether no check failed and at least one ran.
  bool passed() const noexcept { return count(verdict::fail) == 0 && count(verdict::pass) > 0; }
  const check* find(std::string_view id) const noexcept {
    const auto at = std::find_if(checks.begin(), checks.end(), [id](const check& c) { return c.id == id; });
    return at == checks.end() ? nullptr : &*at;
  }
};

// A text of any length with a terminating zero.
class long_text {
 public:
  std::string_view view() const noexcept { return {chars_.data(), chars_.size() - 1}; }
  const char* c_str() const noexcept { return chars_.data(); }

  long_text& append(std::string_view s) {
    chars_.insert(chars_.end() - 1, s.begin(), s.end());
    return *this;
  }
  // `s`, then blanks up to `width` columns.
  long_text& append(std::string_view s, std::size_t width) {
    append(s);
    chars_.insert(chars_.end() - 1, s.size() < width ? width - s.size() : 0, ' ');
    return *this;
  }

 private:
  std::vector<char> chars_{'\0'};
};

namespace detail {

inline short_text<24> short_number(double x) noexcept {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::general, 3);
  return short_text<24>{std::string_view{buffer, static_cast<std::size_t>(end.ptr - buffer)}};
}

inline short_text<24> hexadecimal(std::uint64_t x) noexcept {
  char buffer[20];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, x, 16);
  return short_text<24>{std::string_view{buffer, static_cast<std::size_t>(end.ptr - buffer)}};
}

inline short_text<100> place_of(const check& c) noexcept {
  short_text<100> out;
  const auto part = [&](const auto&... x) {
    if (!out.empty()) out.append(", ");
    (out.append(x), ...);
  };
  if (c.where) part(model::name(*c.where));
  if (c.layer >= 0) part("layer ", c.layer);
  if (c.seq >= 0) part("sequence ", c.seq);
  if (c.pos >= 0) part("position ", c.pos);
  return out;
}

// "at resid_pre resid_post", or nothing for a check that looks at no site.
inline short_text<120> covered(site_set sites) noexcept {
  short_text<120> out;
  for (int s = 0; s < n_sites; ++s)
    if (sites.contains(static_cast<site>(s)))
      out.append(out.empty() ? "at " : " ").append(model::name(static_cast<site>(s)));
  return out;
}

}  // namespace detail

// Prints a certificate as a table: verdict, id, title, measured figure, tolerance and quantity of each check; below a
// check its sites, the place of the worst deviation of a failure, and its note. The last line counts the verdicts.
inline long_text to_text(const certificate& c) {
  long_text out;
  out.append("host ")
      .append(c.host.view())
      .append(", level ")
      .append(name(c.level))
      .append(c.missing.empty() ? "" : " (no higher one: ")
      .append(c.missing.view())
      .append(c.missing.empty() ? "" : " is missing)")
      .append("\nmodel ")
      .append(c.model.view());
  out.append(", fingerprint ").append(detail::hexadecimal(c.model_fingerprint).view()).append("; batch ");
  out.append(detail::hexadecimal(c.batch_fingerprint).view());
  out.append(text(" of ", c.rows, " rows, longest sequence ", c.longest).view()).append("\n\n");
  std::size_t width = 0;
  for (const check& k : c.checks) width = std::max(width, k.name.view().size());
  for (const check& k : c.checks) {
    out.append(name(k.result), 5).append(k.id.view(), 6).append(k.name.view(), width + 2);
    if (k.result == verdict::not_applicable) {
      out.append(k.note.view()).append("\n");
      continue;
    }
    out.append(detail::short_number(k.measured).view(), 10).append(k.tolerance == 0.0 ? "exact" : "<= ");
    if (k.tolerance != 0.0) out.append(detail::short_number(k.tolerance).view());
    out.append("  ").append(k.measure.view()).append("\n");
    if (const auto sites = detail::covered(k.covers); !sites.empty())
      out.append("           ").append(sites.view()).append("\n");
    const auto place = k.result == verdict::fail ? detail::place_of(k) : short_text<100>{};
    if (!place.empty()) out.append("           worst at ").append(place.view()).append("\n");
    if (!k.note.empty()) out.append("           ").append(k.note.view()).append("\n");
  }
  out.append("\n")
      .append(text(c.count(verdict::pass), " passed, ", c.count(verdict::fail), " failed, ",
                   c.count(verdict::not_applicable), " not applicable")
                  .view())
      .append("\n");
  return out;
}

}  // namespace RESECT_NAMESPACE::conformance
