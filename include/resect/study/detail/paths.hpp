// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/hash.hpp>
#include <resect/residual/plan.hpp>

// Arms as paths through the layers, and the walk that runs what several of them share once.
namespace RESECT_NAMESPACE::study::detail {

// What a plan does in every layer, as numbers: equal where two plans do the same in a layer, 0 where a plan does
// nothing. The layers of a replaced span share one number, so paths never part inside a span.
struct path {
  std::size_t arm = 0;
  const residual::plan* plan = nullptr;
  std::vector<std::uint64_t> at;      // one a layer
  std::vector<std::uint64_t> prefix;  // of layers [0, l), l = 0 … n
  std::vector<std::uint64_t> suffix;  // of layers [l, n)

  std::vector<char> runs;  // whether layer l runs: no step replaces it or leaves it out
  std::vector<int> unit;   // one past the layers that run as one from layer l on: the end of a replaced span, or l + 1

  bool runs_layer(int l) const noexcept { return runs[static_cast<std::size_t>(l)] != 0; }
  int end_of_unit(int l) const noexcept { return unit[static_cast<std::size_t>(l)]; }
  int layers() const noexcept { return static_cast<int>(at.size()); }
  std::uint64_t of(int l) const noexcept { return at[static_cast<std::size_t>(l)]; }
  std::uint64_t prefix_of(int l) const noexcept { return prefix[static_cast<std::size_t>(l)]; }
  std::uint64_t suffix_of(int l) const noexcept { return suffix[static_cast<std::size_t>(l)]; }
  // One past the last layer that the plan touches.
  int last_touched() const noexcept {
    int l = layers();
    while (l > 0 && of(l - 1) == 0) --l;
    return l;
  }
};

template <class = void>
path path_of(const residual::plan& plan, std::size_t arm, int n_layers) {
  path out{arm, &plan, std::vector<std::uint64_t>(static_cast<std::size_t>(n_layers), 0), {}, {}, {}, {}};
  out.runs.assign(static_cast<std::size_t>(n_layers), 1);
  for (int l = 0; l < n_layers; ++l) out.unit.push_back(l + 1);
  std::vector<fingerprint> of_layer(static_cast<std::size_t>(n_layers));
  for (const residual::step& s : plan.steps()) {
    const std::uint64_t identity = s.identity();
    const bool span = s.what == residual::form::replace;
    for (int l = s.range.first; l < algo::min(s.range.last, n_layers); ++l) {
      const auto i = static_cast<std::size_t>(l);
      out.at[i] = algo::max<std::uint64_t>(of_layer[i].add(identity).value(), 1);
      if (span) out.unit[i] = s.range.last;
      if (span || (s.what == residual::form::block && !s.reads_output())) out.runs[i] = 0;
    }
  }
  for (const residual::step& s : plan.steps()) {
    if (s.what != residual::form::replace) continue;
    fingerprint f;
    for (int l = s.range.first; l < algo::min(s.range.last, n_layers); ++l) f.add(out.of(l));
    for (int l = s.range.first; l < algo::min(s.range.last, n_layers); ++l)
      out.at[static_cast<std::size_t>(l)] = f.value();
  }
  fingerprint forward;
  out.prefix.push_back(forward.value());
  for (int l = 0; l < n_layers; ++l) out.prefix.push_back(forward.add(out.of(l)).value());
  out.suffix.assign(static_cast<std::size_t>(n_layers) + 1, 0);
  for (int l = n_layers - 1; l >= 0; --l)
    out.suffix[static_cast<std::size_t>(l)] = fingerprint{}.add(out.suffix_of(l + 1)).add(out.of(l)).value();
  return out;
}

template <class = void>
std::vector<path> paths_of(std::span<const residual::plan* const> plans, int n_layers) {
  std::vector<path> out;
  for (std::size_t i = 0; i < plans.size(); ++i) out.push_back(path_of(*plans[i], i, n_layers));
  return out;
}

// Walks all paths from layer 0, each stretch that several share once. A driver brings
//   state                                       copied by branch(state), moved otherwise
//   status try_advance(state&, path, from, to)  runs layers [from, to) of the path
//   state branch(state)
//   status try_visit(state, path, l, twin)      the path alone from layer l on; twin: an earlier path of the same plan, or null
// Where paths part, smaller groups come first and the largest goes on with the state itself, so a list of arms that
// alter one layer each holds two states. Order: fixed by the paths alone.
template <class Driver>
class walk {
 public:
  using state = typename Driver::state;

  explicit walk(Driver& driver) noexcept : driver_(driver) {}

  status try_run(std::span<const path> paths, state start) {
    std::vector<const path*> all;
    for (const path& p : paths) all.push_back(&p);
    return all.empty() ? status{} : try_descend(std::move(start), 0, std::move(all));
  }

 private:
  using group = std::vector<const path*>;

  status try_descend(state s, int l, group g) {
    const int n = g.front()->layers();
    int next = l;
    while (g.size() > 1 && next < n && all_same(g, next)) ++next;
    if (g.size() == 1 || next == n) return try_visit_all(std::move(s), l, g);
    if (next > l)
      if (auto done = driver_.try_advance(s, *g.front(), l, next); !done) return done;
    std::vector<group> parts = split(g, next);
    for (std::size_t i = 0; i + 1 < parts.size(); ++i)
      if (auto done = try_descend(driver_.branch(s), next, std::move(parts[i])); !done) return done;
    return try_descend(std::move(s), next, std::move(parts.back()));
  }

  // Paths of one plan: the first one is measured, the others are its twins.
  status try_visit_all(state s, int l, const group& g) {
    for (std::size_t i = 0; i + 1 < g.size(); ++i)
      if (auto done = driver_.try_visit(driver_.branch(s), *g[i], l, i == 0 ? nullptr : g.front()); !done) return done;
    return driver_.try_visit(std::move(s), *g.back(), l, g.size() == 1 ? nullptr : g.front());
  }

  static bool all_same(const group& g, int l) noexcept {
    for (const path* p : g)
      if (p->of(l) != g.front()->of(l)) return false;
    return true;
  }

  static std::vector<group> split(const group& g, int l) {
    std::vector<group> parts;
    for (const path* p : g) {
      auto to =
          algo::find_if(parts.begin(), parts.end(), [&](const group& part) { return part.front()->of(l) == p->of(l); });
      if (to == parts.end()) to = parts.insert(parts.end(), group{});
      to->push_back(p);
    }
    algo::stable_sort(parts.begin(), parts.end(), [](const group& a, const group& b) { return a.size() < b.size(); });
    return parts;
  }

  Driver& driver_;
};

}  // namespace RESECT_NAMESPACE::study::detail
