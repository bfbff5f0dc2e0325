// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <resect/io/checkpoint_tensors.hpp>
#include <resect/io/safetensors_writer.hpp>
#include <resect/sae/shuffle_buffer.hpp>
#include <resect/sae/trainer.hpp>

// A run as bytes: a safetensors file from which training goes on bit by bit. Needs nlohmann-json.
namespace RESECT_NAMESPACE::sae {

// What stands in a checkpoint beside the trainer: the rows that wait, and where their source stands.
struct stream_state {
  shuffle_buffer buffer;
  std::uint64_t cursor = 0;  // the source's own number
};

namespace detail {

// All of the options and of the architecture that change a run, as a checkpoint names them.
template <class A>
std::string identity_of(const A& how, const trainer_options& o) {
  fingerprint f;
  f.add(std::string_view(A::name)).add("resect.sae.trainer/1");
  for (const double x : {o.learning_rate, o.beta1, o.beta2, o.epsilon, o.decay_from, o.clip, o.aux_coefficient})
    f.add(x);
  for (const index_t x : {o.latents, o.steps, o.warm_up, o.aux_latents}) f.add(static_cast<std::uint64_t>(x));
  f.add(static_cast<std::uint64_t>(o.dead_after)).add(static_cast<std::uint64_t>(o.norm)).add(o.seed);
  if constexpr (A::has_threshold) {
    for (const double x : {how.latents, how.bandwidth, how.penalty, how.gain}) f.add(x);
  } else {
    for (const index_t x : {how.count.latents, how.count.anneal_from, how.count.anneal_steps})
      f.add(static_cast<std::uint64_t>(x));
  }
  return std::to_string(f.value());
}

inline std::string bits_of(double x) { return std::to_string(std::bit_cast<std::uint64_t>(x)); }

inline result<std::uint64_t> read_number(const io::safetensors_contents& file, const std::string& key) {
  for (const auto& [name, value] : file.metadata())
    if (name == key) {
      std::uint64_t n = 0;
      bool digits = !value.empty() && value.size() <= 20;
      for (const char c : value) {
        digits = digits && c >= '0' && c <= '9';
        n = n * 10 + static_cast<std::uint64_t>(c - '0');
      }
      if (digits) return n;
      return error{errc::malformed, text(key, " of a checkpoint"), text(value), "a number"};
    }
  return error{errc::malformed, "checkpoint", text("no ", key), "the numbers of a trainer"};
}

}  // namespace detail

// The bytes of a checkpoint: parameters, both moments, counters, step, scale, penalty, the rows that wait and where their
// source stands. The same state, the same bytes. Write them to a temporary name and rename.
template <architecture<float> A>
result<array<std::byte>> try_write_checkpoint(const trainer<float, A>& t, const stream_state& stream) {
  const trainer_state<float>& s = t.state();
  const index_t f = t.latents(), d = t.width();
  std::vector<io::safetensor> tensors;
  tensors.push_back(io::tensor_of<std::int64_t>("since_fired", "I64", {f}, s.since_fired.span()));
  const auto add = [&](const std::string& part, const dictionary<float>& w) {
    tensors.push_back(io::tensor_of<float>(part + ".encoder", "F32", {f, d}, w.encoder.data.span()));
    tensors.push_back(io::tensor_of<float>(part + ".encoder_bias", "F32", {f}, w.encoder_bias.span()));
    tensors.push_back(io::tensor_of<float>(part + ".decoder", "F32", {f, d}, w.decoder.data.span()));
    tensors.push_back(io::tensor_of<float>(part + ".bias", "F32", {d}, w.bias.span()));
    if (A::has_threshold) tensors.push_back(io::tensor_of<float>(part + ".threshold", "F32", {f}, w.threshold.span()));
  };
  add("weights", s.weights);
  add("mean", s.mean);
  add("square", s.square);
  const auto waiting = stream.buffer.rows();
  tensors.push_back(io::tensor_of<float>(
      "buffer", "F32", {waiting.rows, waiting.cols},
      std::span<const float>(waiting.data, static_cast<std::size_t>(waiting.rows * waiting.cols))));
  const std::vector<std::pair<std::string, std::string>> metadata = {
      {"format", "resect.sae.checkpoint/1"},
      {"architecture", std::string(A::name)},
      {"identity", detail::identity_of(t.how(), t.options())},
      {"step", std::to_string(s.step)},
      {"rows", std::to_string(s.rows)},
      {"scale", detail::bits_of(s.scale)},
      {"penalty", detail::bits_of(s.penalty)},
      {"room", std::to_string(waiting.rows + stream.buffer.room())},
      {"buffer_seed", std::to_string(stream.buffer.seed())},
      {"drawn", std::to_string(stream.buffer.drawn())},
      {"cursor", std::to_string(stream.cursor)}};
  return io::try_write_safetensors(tensors, metadata);
}

// A run that goes on from such bytes.
template <class A>
struct resumed_run {
  trainer<float, A> run;
  stream_state stream;
};

// Errors: malformed (no checkpoint, cut short, other extents), mismatch (another architecture, other options): nothing of
// a run goes on under other options.
template <architecture<float> A>
result<resumed_run<A>> try_read_checkpoint(std::span<const std::byte> bytes, const A& how,
                                           const trainer_options& options, index_t width) {
  const auto read = io::try_read_safetensors(bytes);
  if (!read) return read.error();
  std::string format, identity;
  for (const auto& [key, value] : read->metadata()) {
    if (key == "format") format = value;
    if (key == "identity") identity = value;
  }
  if (format != "resect.sae.checkpoint/1")
    return error{errc::malformed, "checkpoint", text(format.empty() ? "no format" : format), "resect.sae.checkpoint/1"};
  if (const std::string own = detail::identity_of(how, options); identity != own)
    return error{errc::invalid_argument, "options of the run that goes on",
                 text("a checkpoint of other options, fingerprint ", identity), text("fingerprint ", own)};
  const index_t f = options.latents;
  trainer_state<float> s;
  for (dictionary<float>* part : {&s.weights, &s.mean, &s.square})
    *part = dictionary<float>(f, width, A::has_threshold);
  s.since_fired = array<std::int64_t>(f);
  status failed{};
  const auto tensor = [&](const std::string& name, std::string_view dtype, const std::vector<index_t>& extents,
                          auto& to) {
    if (failed) failed = io::try_read_tensor(*read, "a checkpoint", name, dtype, extents, to);
  };
  const auto part = [&](const std::string& name, dictionary<float>& w) {
    tensor(name + ".encoder", "F32", {f, width}, w.encoder.data);
    tensor(name + ".encoder_bias", "F32", {f}, w.encoder_bias);
    tensor(name + ".decoder", "F32", {f, width}, w.decoder.data);
    tensor(name + ".bias", "F32", {width}, w.bias);
    if (A::has_threshold) tensor(name + ".threshold", "F32", {f}, w.threshold);
  };
  tensor("since_fired", "I64", {f}, s.since_fired);
  part("weights", s.weights);
  part("mean", s.mean);
  part("square", s.square);
  if (!failed) return failed.error();
  std::uint64_t numbers[8] = {};
  const char* const keys[] = {"step", "rows", "scale", "penalty", "room", "buffer_seed", "drawn", "cursor"};
  for (int i = 0; i < 8; ++i) {
    const auto n = detail::read_number(*read, keys[i]);
    if (!n) return n.error();
    numbers[i] = *n;
  }
  s.step = static_cast<index_t>(numbers[0]);
  s.rows = static_cast<std::int64_t>(numbers[1]);
  s.scale = std::bit_cast<double>(numbers[2]);
  s.penalty = std::bit_cast<double>(numbers[3]);
  if (!(s.scale > 0) || !(s.penalty >= 0) || numbers[4] > (std::uint64_t{1} << 40))
    return error{errc::malformed, "numbers of a checkpoint", text("scale ", s.scale, ", penalty ", s.penalty),
                 "finite numbers of a run"};
  const io::safetensor* rows = read->find("buffer");
  if (rows == nullptr || rows->dtype != "F32" || rows->extents.size() != 2 || rows->extents[1] != width ||
      rows->extents[0] > static_cast<index_t>(numbers[4]))
    return error{errc::malformed, "buffer of a checkpoint", "other extents", text("rows of ", width)};
  array<float> waiting;
  if (auto e = io::try_read_tensor(*read, "a checkpoint", "buffer", "F32", rows->extents, waiting); !e)
    return e.error();
  auto run = trainer<float, A>::try_resume(how, options, std::move(s));
  if (!run) return run.error();
  const matrix_view<const float> view{waiting.data(), rows->extents[0], width};
  return resumed_run<A>{*std::move(run),
                        {shuffle_buffer(static_cast<index_t>(numbers[4]), numbers[5], view, numbers[6]), numbers[7]}};
}

}  // namespace RESECT_NAMESPACE::sae
