// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/text.hpp>
#include <resect/io/durable_folder.hpp>
#include <resect/sae/checkpoint.hpp>
#include <resect/sae/training_set.hpp>

// A training set in a folder, from which it goes on to the same bytes whenever it was killed. Needs nlohmann-json and POSIX.
namespace RESECT_NAMESPACE::sae {

// What the folder of a set is for: written last of all, so that a checkpoint is whole or not there.
inline constexpr std::string_view set_file_name = "run.safetensors";

// The file of one trainer of a finished set: "site-002.seed-1.safetensors"; `generation` is "" then, "a" or "b" before.
template <class = void>
std::string set_member_name(index_t site, std::uint64_t seed, std::string_view generation = {}) {
  std::string number = std::to_string(site);
  if (number.size() < 3) number.insert(0, 3 - number.size(), '0');
  std::string out = "site-" + number + ".seed-" + std::to_string(seed);
  if (!generation.empty()) out += "." + std::string(generation);
  return out + ".safetensors";
}

namespace detail {

// What a set was made with, in the order in which a difference is named.
template <class A, class S>
std::vector<std::pair<std::string, std::string>> set_identity(const S& source, const A& how,
                                                              const trainer_options& options, const set_options& set) {
  std::string seeds;
  for (const std::uint64_t s : set.seeds) seeds += (seeds.empty() ? "" : " ") + std::to_string(s);
  if (seeds.empty()) seeds = std::to_string(options.seed);
  const auto hex = [](std::uint64_t x) { return std::string(hexadecimal(x).view()); };
  return {{"format", "resect.sae.set/1"},
          {"architecture", std::string(A::name)},
          {"latents", std::to_string(options.latents)},
          {"steps", std::to_string(options.steps)},
          {"options", identity_of(how, options)},
          {"batch", std::to_string(set.batch)},
          {"buffer", std::to_string(set.waiting())},
          {"seeds", seeds},
          {"sites", std::to_string(source.sites())},
          {"rows", hex(source.identity())}};
}

template <class = void>
std::string find_key(const io::safetensors_contents& file, std::string_view key) {
  for (const auto& [name, value] : file.metadata())
    if (name == key) return value;
  return {};
}

template <class A, class System>
result<resumed_run<A>> try_read_member(const io::durable_folder<System>& folder, const std::string& name, const A& how,
                                       const trainer_options& options, index_t width) {
  const auto bytes = folder.try_read(name);
  if (!bytes) return bytes.error();
  auto read = try_read_checkpoint(bytes->span(), how, options, width);
  if (!read) return read.error().within(name);
  return read;
}

}  // namespace detail

// Writes the set into the folder: a file for each trainer (checkpoint.hpp), then the name of these files' generation. Files
// of the generation before stay until then, so a killed writer leaves the older checkpoint. The last step's files have no
// generation in their names, and the others go.
//   The same set, the same bytes of the last step's files. Memory: one trainer's file at a time. Errors: io.
template <architecture<float> A, row_source S, class System>
status try_save(const training_set<A>& set, const S& source, io::durable_folder<System>& folder) {
  array<std::uint64_t> seeds;
  for (index_t k = 0; k < set.seeds(); ++k) seeds.push_back(set.seed(k));
  trainer_options options = set.at(0).options();
  set_options of_set = set.options();
  of_set.seeds = std::as_const(seeds).span();
  options.seed = set.buffer(0).seed();
  auto metadata = detail::set_identity(source, set.at(0).how(), options, of_set);
  const bool done = set.step() >= options.steps;
  std::string before;
  if (folder.has(set_file_name)) {
    const auto bytes = folder.try_read(set_file_name);
    if (!bytes) return bytes.error();
    if (const auto read = io::try_read_safetensors(bytes->span())) before = detail::find_key(*read, "generation");
  }
  const std::string generation = done ? "" : before == "a" ? "b" : "a";
  for (index_t site = 0; site < set.sites(); ++site)
    for (index_t k = 0; k < set.seeds(); ++k) {
      const auto bytes = try_write_checkpoint(set.at(site, k), {set.buffer(site), set.cursor()});
      if (!bytes) return bytes.error();
      if (auto s = folder.try_write(set_member_name(site, set.seed(k), generation), bytes->span()); !s) return s;
    }
  metadata.emplace_back("generation", generation);
  metadata.emplace_back("step", std::to_string(set.step()));
  const auto bytes = io::try_write_safetensors({}, metadata);
  if (!bytes) return bytes.error();
  if (auto s = folder.try_write(set_file_name, bytes->span()); !s) return s;
  for (const std::string_view old : {"a", "b"})
    for (index_t site = 0; site < set.sites() && done; ++site)
      for (index_t k = 0; k < set.seeds(); ++k)
        if (auto s = folder.try_remove(set_member_name(site, set.seed(k), old)); !s) return s;
  return {};
}

// The set that the folder holds, to go on with; none where there is no checkpoint yet.
//   Errors: conflict (a checkpoint of another run: architecture, latents, steps, options, batch, buffer, seeds, sites or
//   rows, the first that differs, with both values), malformed (a file that is cut short or changed), io.
template <architecture<float> A, row_source S, class System>
result<std::optional<training_set<A>>> try_resume(const io::durable_folder<System>& folder, const S& source,
                                                  const A& how, const trainer_options& options,
                                                  const set_options& set) {
  using found = std::optional<training_set<A>>;
  if (!folder.has(set_file_name)) return found{};
  const auto bytes = folder.try_read(set_file_name);
  if (!bytes) return bytes.error();
  const auto file = io::try_read_safetensors(bytes->span());
  if (!file) return file.error().within(set_file_name);
  for (const auto& [key, value] : detail::set_identity(source, how, options, set))
    if (const std::string there = detail::find_key(*file, key); there != value)
      return error{errc::conflict, text(key, " of the checkpoint in ", io::shown(folder.path()).view()), text(there),
                   text(value, ", as this run")};
  const std::string generation = detail::find_key(*file, "generation");
  array<trainer<float, A>> trainers;
  array<shuffle_buffer> buffers;
  std::uint64_t cursor = 0;
  array<std::uint64_t> seeds;
  for (const std::uint64_t s : set.seeds) seeds.push_back(s);
  if (seeds.empty()) seeds.push_back(options.seed);
  for (index_t site = 0; site < source.sites(); ++site)
    for (const std::uint64_t seed : seeds) {
      trainer_options own = options;
      own.seed = seed;
      const std::string name = set_member_name(site, seed, generation);
      auto read = detail::try_read_member(folder, name, how, own, source.width(site));
      if (!read) return read.error();
      if (!trainers.empty() && read->stream.cursor != cursor)
        return error{errc::conflict, text("cursor of ", name), text(read->stream.cursor), text(cursor)};
      cursor = read->stream.cursor;
      trainers.push_back(std::move(read->run));
      if (buffers.size() == site) buffers.push_back(std::move(read->stream.buffer));
    }
  auto out = training_set<A>::try_resume(source, options, set, std::move(trainers), std::move(buffers), cursor);
  if (!out) return out.error();
  return found{std::move(*out)};
}

}  // namespace RESECT_NAMESPACE::sae
