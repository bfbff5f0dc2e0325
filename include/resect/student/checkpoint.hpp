// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/io/checkpoint_tensors.hpp>
#include <resect/io/durable_folder.hpp>
#include <resect/io/json.hpp>
#include <resect/io/safetensors_writer.hpp>
#include <resect/student/trainer.hpp>

// Training runs in a folder: student.json says what was trained and how far, and names the safetensors file of the
// parameters. A run goes on from it bit by bit; whenever the program is killed, the last checkpoint is whole. POSIX; needs
// nlohmann-json.
namespace RESECT_NAMESPACE::student {

namespace detail {

inline constexpr const char* checkpoint_name = "student.json";
inline constexpr std::string_view checkpoint_format = "resect.student.checkpoint/1";

inline std::string hex_of(std::uint64_t x) { return std::string(hexadecimal(x).view()); }
inline std::string hash_of(std::span<const std::byte> bytes) {
  return hex_of(fingerprint{}.add_bytes(bytes.data(), bytes.size()).value());
}
// JSON has no infinity: null stands for it.
inline nlohmann::ordered_json limit_of(double x) {
  return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json(nullptr);
}

inline nlohmann::ordered_json to_json(const block_shape& s) {
  return {{"kind", s.attends() ? "transformer" : "mlp"},
          {"width", s.width},
          {"hidden", s.hidden},
          {"heads", s.heads},
          {"kv_heads", s.kv_heads},
          {"head_dim", s.head_dim},
          {"rope", s.rope == rope_layout::half ? "half" : "interleaved"},
          {"rope_theta", s.rope_theta},
          {"epsilon", s.epsilon}};
}
inline nlohmann::ordered_json to_json(const training_options& o) {
  return {{"target", o.loss.target == loss_target::delta ? "delta" : "output"},
          {"unit", o.loss.unit == error_unit::row ? "row" : "mean"},
          {"error", o.loss.error},
          {"cosine", o.loss.cosine},
          {"log_norm", o.loss.log_norm},
          {"floor", o.loss.floor},
          {"cap", o.loss.cap},
          {"steps", o.steps},
          {"learning_rate", o.learning_rate},
          {"beta1", o.beta1},
          {"beta2", o.beta2},
          {"epsilon", o.epsilon},
          {"weight_decay", o.weight_decay},
          {"warm_up", o.warm_up},
          {"last_share", o.last_share},
          {"clip", o.clip},
          {"patience", o.patience}};
}
inline nlohmann::ordered_json to_json(const training_task& t) {
  return {{"span", {t.span.first, t.span.last}},
          {"teacher", hex_of(t.teacher)},
          {"apart_x", limit_of(t.apart.limit_x)},
          {"apart_y", limit_of(t.apart.limit_y)}};
}

// Where the JSON of a checkpoint says something else than what goes on. Error: conflict (what differs).
inline status check_same(const nlohmann::json& found, const nlohmann::ordered_json& wanted, std::string_view what) {
  if (!found.is_object()) return error{errc::malformed, what, found.type_name(), "an object"};
  for (const auto& [key, value] : wanted.items()) {
    const auto at = found.find(key);
    const std::string got = at == found.end() ? "nothing" : at->dump();
    if (got != value.dump()) return error{errc::conflict, text(what, ", ", key), text(got), text(value.dump())};
  }
  return {};
}

template <class N>
void add_tensors(std::vector<io::safetensor>& to, const std::string& name, const N& n) {
  visit_parts_of(n,
                 [&](index_t b, std::string_view part, const array<float>& x, index_t rows, index_t cols, part_role) {
                   to.push_back(io::tensor_of<float>(name + "." + std::to_string(b) + "." + std::string(part), "F32",
                                                     {rows, cols}, x.span()));
                 });
}
inline status read_tensors(const io::safetensors_contents& file, const std::string& name, network<float>& n) {
  status done;
  visit_parts_of(n, [&](index_t b, std::string_view part, array<float>& x, index_t rows, index_t cols, part_role) {
    if (done)
      done = io::try_read_tensor(file, "a checkpoint", name + "." + std::to_string(b) + "." + std::string(part), "F32",
                                 {rows, cols}, x);
  });
  return done;
}

inline result<nlohmann::json> read_description(std::span<const std::byte> bytes) {
  auto found = io::try_parse_json(io::as_text(bytes), checkpoint_name);
  if (!found) return found;
  const auto format = found->find("format");
  if (format == found->end() || *format != checkpoint_format)
    return error{errc::malformed, text("format of ", checkpoint_name),
                 text(format == found->end() ? std::string("none") : format->dump()), checkpoint_format};
  return found;
}
// A number of student.json. Errors: malformed.
inline result<double> number_of(const nlohmann::json& in, const char* key, double if_null) {
  const auto at = in.find(key);
  if (at != in.end() && at->is_number()) return at->get<double>();
  if (at != in.end() && at->is_null()) return if_null;
  return error{errc::malformed, text(key, " of ", checkpoint_name), at == in.end() ? "nothing" : at->type_name(),
               "a number"};
}

}  // namespace detail

// Writes a checkpoint: parameters, both moments of Adam, the best parameters, and how far the run is. The file of parameters
// that the last checkpoint named stays until student.json names the new one. The same state after the same number of
// checkpoints, the same bytes. Errors: those of durable_folder; then the last checkpoint is what it was.
template <class System>
status try_save(io::durable_folder<System>& folder, const trainer<float>& run) {
  const training_state<float>& s = run.state();
  std::string name = "parameters-0.safetensors";
  if (folder.has(detail::checkpoint_name)) {
    auto bytes = folder.try_read(detail::checkpoint_name);
    if (!bytes) return bytes.error();
    const auto last = detail::read_description(std::as_const(*bytes).span());
    if (last && last->value("parameters", std::string()) == name) name = "parameters-1.safetensors";
  }
  std::vector<io::safetensor> tensors;
  detail::add_tensors(tensors, "weights", s.weights);
  detail::add_tensors(tensors, "mean", s.mean);
  detail::add_tensors(tensors, "square", s.square);
  detail::add_tensors(tensors, "best", s.best);
  const std::vector<std::pair<std::string, std::string>> metadata = {
      {"format", std::string(detail::checkpoint_format)}};
  auto bytes = io::try_write_safetensors(tensors, metadata);
  if (!bytes) return bytes.error();
  if (auto w = folder.try_write(name, std::as_const(*bytes).span()); !w) return w;
  const nlohmann::ordered_json about = {{"format", detail::checkpoint_format},
                                        {"task", detail::to_json(run.task())},
                                        {"shape", detail::to_json(s.weights.shape)},
                                        {"blocks", s.weights.blocks.size()},
                                        {"scale", s.weights.scale},
                                        {"options", detail::to_json(run.options())},
                                        {"step", s.step},
                                        {"rows", s.rows},
                                        {"mean_square", s.mean_square},
                                        {"best_step", s.best_step},
                                        {"best_loss", detail::limit_of(s.best_loss)},
                                        {"since_best", s.since_best},
                                        {"parameters", name},
                                        {"hash", detail::hash_of(std::as_const(*bytes).span())}};
  const std::string written = about.dump(2) + "\n";
  return folder.try_write(detail::checkpoint_name,
                          std::as_bytes(std::span<const char>(written.data(), written.size())));
}

// A run that goes on from the folder's checkpoint, of a student like `student` (its shape, its number of blocks).
// Errors: those of durable_folder (no checkpoint: io); malformed (no checkpoint, a changed or cut file, other extents);
// conflict (another span, teacher, shape or option: what differs is named). Nothing of a run goes on under other options.
template <class System>
result<trainer<float>> try_load(const io::durable_folder<System>& folder, const network<float>& student,
                                const training_options& options, const training_task& task) {
  auto bytes = folder.try_read(detail::checkpoint_name);
  if (!bytes) return bytes.error();
  const auto found = detail::read_description(std::as_const(*bytes).span());
  if (!found) return found.error();
  const auto part = [&](const char* key) { return found->contains(key) ? (*found)[key] : nlohmann::json(); };
  if (auto s = detail::check_same(part("task"), detail::to_json(task), "task of the checkpoint"); !s) return s.error();
  if (auto s = detail::check_same(part("shape"), detail::to_json(student.shape), "shape of the checkpoint"); !s)
    return s.error();
  if (auto s = detail::check_same(*found, {{"blocks", student.blocks.size()}}, "student of the checkpoint"); !s)
    return s.error();
  if (auto s = detail::check_same(part("options"), detail::to_json(options), "options of the checkpoint"); !s)
    return s.error();
  double numbers[7] = {};
  const char* const keys[] = {"scale", "step", "rows", "mean_square", "best_step", "best_loss", "since_best"};
  for (int i = 0; i < 7; ++i) {
    auto n = detail::number_of(*found, keys[i], std::numeric_limits<double>::infinity());
    if (!n) return n.error();
    numbers[i] = *n;
  }
  if (!(numbers[0] > 0) || !(numbers[3] > 0) || !(numbers[1] >= 0))
    return error{errc::malformed, "numbers of student.json",
                 text("scale ", numbers[0], ", mean_square ", numbers[3], ", step ", numbers[1]), "numbers of a run"};
  const nlohmann::json name = part("parameters");
  auto file = folder.try_read(name.is_string() ? name.get<std::string>() : std::string());
  if (!file) return file.error();
  if (const std::string is = detail::hash_of(std::as_const(*file).span()); part("hash") != is)
    return error{errc::malformed, text("hash of ", name.get<std::string>()), text(is), text(part("hash").dump())};
  auto tensors = io::try_read_safetensors(std::as_const(*file).span());
  if (!tensors) return tensors.error();
  training_state<float> s;
  s.weights = student.zeros();
  s.weights.scale = numbers[0];
  s.mean = s.square = s.weights;
  for (auto* n : {&s.weights, &s.mean, &s.square})
    if (auto r = detail::read_tensors(*tensors, n == &s.weights ? "weights" : n == &s.mean ? "mean" : "square", *n); !r)
      return r.error();
  if (numbers[4] >= 0) {
    s.best = s.weights;
    if (auto r = detail::read_tensors(*tensors, "best", s.best); !r) return r.error();
  }
  s.step = static_cast<index_t>(numbers[1]);
  s.rows = static_cast<std::int64_t>(numbers[2]);
  s.mean_square = numbers[3];
  s.best_step = static_cast<index_t>(numbers[4]);
  s.best_loss = numbers[5];
  s.since_best = static_cast<index_t>(numbers[6]);
  return trainer<float>::try_resume(options, task, std::move(s));
}

}  // namespace RESECT_NAMESPACE::student
