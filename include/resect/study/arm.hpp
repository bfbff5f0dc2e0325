// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/fields.hpp>
#include <resect/residual/plan.hpp>

// One altered model of a study, and its identity in reports.
namespace RESECT_NAMESPACE::study {

// One altered model of a study: its plan, and a label for tables on which nothing depends.
struct arm {
  residual::plan plan;
  std::string label = {};  // empty: the key of its identity
};

// A parameter of an operator, a number or a word.
struct parameter {
  std::string name;
  double number = 0;
  std::string word = {};  // replaces the number where it is not empty
  friend bool operator==(const parameter&, const parameter&) = default;
};

// The identity of an arm in reports and comparisons. It is made of the ids, layers, matrices, seeds and parameters of
// the plan's steps, never of a label.
//   key     "reinit.reset 2, seed 3": differs between arms that do different things
//   group   the key without the seed: arms of one group are runs of one arm
//   family  the key without layers and seed: the arms of one table
struct arm_identity {
  std::string key, group, family;
  std::string operation;              // "skip"; of several operators "skip + mean_delta"
  std::vector<int> layers;            // layers that a step changes, ascending
  std::string matrix;                 // the matrix that a step names, else empty
  std::optional<std::uint64_t> seed;  // of the steps that draw, where they share one
  std::vector<parameter> parameters;

  // Whether the layers are [first, first + n) without a gap.
  bool contiguous() const noexcept {
    return !layers.empty() && layers.back() - layers.front() + 1 == static_cast<int>(layers.size());
  }
};

namespace detail {

// "resect.skip/1" → "skip": the library's own operators under their plain names, in their first revision.
template <class = void>
std::string operator_name(std::string_view id) {
  constexpr std::string_view own = "resect.", first = "/1";
  if (id.substr(0, own.size()) != own) return id.empty() ? "custom" : std::string(id);
  id.remove_prefix(own.size());
  if (id.size() > first.size() && id.substr(id.size() - first.size()) == first) id.remove_suffix(first.size());
  return std::string(id);
}

// {0, 1, 2, 5} → "0-2,5".
template <class = void>
std::string layer_list(const std::vector<int>& layers) {
  std::string out;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t end = i + 1;
    while (end < layers.size() && layers[end] == layers[end - 1] + 1) ++end;
    out += (out.empty() ? "" : ",") + std::to_string(layers[i]);
    if (end - i > 1) out += "-" + std::to_string(layers[end - 1]);
    i = end;
  }
  return out;
}

template <class = void>
std::string number_text(double x) {
  return std::string(text<48>(x).view());
}

template <class = void>
std::string hash_text(std::uint64_t x) {
  return "#" + std::string(hexadecimal(x).view().substr(2));
}

// Steps that differ in their layers alone, as one part of a key.
struct key_part {
  std::string operation, matrix, parameters;
  std::optional<std::uint64_t> seed;
  std::vector<int> layers;
  std::vector<parameter> listed;
  std::string spans = {};  // of steps that replace spans: "0,1" are two spans and "0-1" is one

  std::string name() const { return matrix.empty() ? operation : operation + " of " + matrix; }
  std::string where() const { return spans.empty() ? layer_list(layers) : spans; }
};

// The visitor that lists the fields of an operator as reports show them.
class report_fields final : public field_visitor {
 public:
  using field_visitor::key, field_visitor::number, field_visitor::values;
  void number(std::string_view name, double value, double usual) override {
    if (value != usual) add(field_list::field{name, value});
  }
  void word(std::string_view name, std::string_view value) override { add(field_list::field{name, 0, value}); }
  void seed(std::uint64_t value) override { seed_ = value; }
  void key(std::string_view, std::uint64_t, listed_by how) override {
    complete_ = complete_ && how == listed_by::source;
  }
  void values(std::string_view, std::span<const float>, listed_by how) override {
    complete_ = complete_ && how == listed_by::source;
  }

  const field_list& list() const noexcept { return list_; }
  const std::optional<std::uint64_t>& drawn_with() const noexcept { return seed_; }
  // Whether id, seed and list tell the operator from every other, so that a report need not show its hash.
  bool complete() const noexcept { return complete_; }

 private:
  void add(const field_list::field& f) {
    const auto before = list_.end();
    if (f.word.empty()) list_.add(f.name, f.number);
    else list_.add(f.name, f.word);
    complete_ = complete_ && list_.end() != before;  // a full list drops fields
  }
  field_list list_;
  std::optional<std::uint64_t> seed_;
  bool complete_ = true;
};

// A step as reports list it: the fields of its operator, the site where the operator may act at several, and whether these
// with id, layers, matrix and seed are its whole identity.
struct listed_step {
  report_fields fields;
  std::string site;
  bool complete = false;

  explicit listed_step(const residual::step& s) {
    s.op.fields(fields);
    if (s.what == residual::form::rows && s.op.facts().sites.empty()) site = model::name(s.where);
    complete = fields.complete() && s.rows.every_row() && s.after.empty() && s.priority == 0;
  }
};

template <class = void>
std::vector<parameter> parameters_of(const listed_step& s) {
  std::vector<parameter> out;
  for (const auto& f : s.fields.list()) out.push_back({std::string(f.name), f.number, std::string(f.word)});
  if (!s.site.empty()) out.push_back({"site", 0, s.site});
  return out;
}

template <class = void>
std::string parameter_text(const std::vector<parameter>& parameters) {
  std::string out;
  for (const parameter& f : parameters) {
    out += out.empty() ? "" : ", ";
    out += f.name + " " + (f.word.empty() ? number_text(f.number) : f.word);
  }
  return out;
}

template <class = void>
array<key_part> key_parts(const residual::plan& plan) {
  array<key_part> parts;
  for (const residual::step& s : plan.steps()) {
    const listed_step listed(s);
    key_part part{operator_name(s.op.id()), std::string(s.weight.name.view()), {}, listed.fields.drawn_with(), {},
                  parameters_of(listed)};
    part.parameters = parameter_text(part.listed);
    if (!listed.complete) part.parameters += (part.parameters.empty() ? "" : ", ") + hash_text(s.identity());
    auto same = algo::find_if(parts.begin(), parts.end(), [&](const key_part& p) {
      return p.operation == part.operation && p.matrix == part.matrix && p.parameters == part.parameters &&
             p.seed == part.seed;
    });
    if (same == parts.end()) {
      parts.push_back(std::move(part));
      same = parts.end() - 1;
    }
    for (int l = s.range.first; l < s.range.last; ++l) same->layers.push_back(l);
    if (s.what == residual::form::replace) {
      std::vector<int> span;
      for (int l = s.range.first; l < s.range.last; ++l) span.push_back(l);
      same->spans += (same->spans.empty() ? "" : ",") + layer_list(span);
    }
  }
  for (key_part& p : parts) {
    algo::sort(p.layers.begin(), p.layers.end());
    p.layers.erase(algo::unique(p.layers.begin(), p.layers.end()), p.layers.end());
  }
  algo::stable_sort(parts.begin(), parts.end(),
                    [](const key_part& a, const key_part& b) { return a.layers < b.layers; });
  return parts;
}

// The seed that all steps which draw have in common; none where they differ.
template <class = void>
std::optional<std::uint64_t> shared_seed(const array<key_part>& parts) {
  std::optional<std::uint64_t> seed;
  for (const key_part& p : parts) {
    if (!p.seed) continue;
    if (seed && *seed != *p.seed) return std::nullopt;
    seed = p.seed;
  }
  return seed;
}

template <class Names>
void append_once(Names& names, const std::string& name, std::string& out) {
  if (name.empty() || algo::find(names.begin(), names.end(), name) != names.end()) return;
  names.push_back(name);
  out += (out.empty() ? "" : " + ") + name;
}

}  // namespace detail

// The identity of a plan; the empty plan is "intact". O(steps²).
template <class = void>
arm_identity identity_of(const residual::plan& plan) {
  arm_identity out;
  const auto parts = detail::key_parts(plan);
  out.seed = detail::shared_seed(parts);
  array<std::string> operations, matrices;
  for (const detail::key_part& p : parts) {
    detail::append_once(operations, p.operation, out.operation);
    detail::append_once(matrices, p.matrix, out.matrix);
    std::string own = p.parameters;
    if (p.seed && !out.seed) own += (own.empty() ? "" : ", ") + ("seed " + std::to_string(*p.seed));
    out.group += (out.group.empty() ? "" : " + ") + p.name() + " " + p.where();
    out.family += (out.family.empty() ? "" : " + ") + p.name();
    if (!own.empty()) {
      out.group += ": " + own;
      out.family += ": " + own;
    }
    for (const parameter& one : p.listed)
      if (algo::find(out.parameters.begin(), out.parameters.end(), one) == out.parameters.end())
        out.parameters.push_back(one);
    out.layers.insert(out.layers.end(), p.layers.begin(), p.layers.end());
  }
  algo::sort(out.layers.begin(), out.layers.end());
  out.layers.erase(algo::unique(out.layers.begin(), out.layers.end()), out.layers.end());
  if (parts.empty()) out.operation = out.group = out.family = "intact";
  out.key = out.seed ? out.group + ", seed " + std::to_string(*out.seed) : out.group;
  return out;
}

// The name of an arm in tables.
template <class = void>
std::string shown_name(const arm& a) {
  return a.label.empty() ? identity_of(a.plan).key : a.label;
}

}  // namespace RESECT_NAMESPACE::study
