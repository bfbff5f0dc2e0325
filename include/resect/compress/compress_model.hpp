// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <span>
#include <string>
#include <utility>

#include <resect/compress/artifact_file.hpp>
#include <resect/compress/packing_method.hpp>
#include <resect/core/algorithm.hpp>
#include <resect/io/durable_folder.hpp>
#include <resect/model/host.hpp>

// All matrices of a model, one after the other, into a folder that holds what is done: a run that was killed goes on from
// there, and ends with the same bytes. Needs nlohmann-json and POSIX.
namespace RESECT_NAMESPACE::compress {

// What weights are read from: a host of the surgery level, or a file of an engine's own.
template <class H>
concept weight_source = requires(const H& h, const model::weight_desc& w, matrix_view<float> out) {
  { h.describe() } -> std::convertible_to<const model::model_desc&>;
  { h.try_read_weight(w, out) } -> std::same_as<status>;
};

// What became of one matrix.
struct compressed_matrix {
  short_text<48> name;
  int layer = 0;
  index_t bytes = 0;  // of the parts
  double bits = 0;    // a weight
  artifact_quality quality;
};

// What try_compress_model did.
struct compressed_model {
  index_t made = 0;  // files
  index_t kept = 0;  // files of an earlier run, which were checked against their sources
  array<compressed_matrix> matrices;
};

// All matrices of a host that names the weights of its layers; norm gains and biases are left alone.
template <class H>
array<model::weight_desc> all_matrices(const H& host) {
  array<model::weight_desc> out;
  for (int l = 0; l < host.describe().n_layers; ++l)
    for (const model::weight_desc& w : host.weights(l))
      if (w.role == model::weight_role::matrix) out.push_back(w);
  return out;
}

namespace detail {

inline artifact_run run_of(std::uint64_t model, const packing_method& m) {
  artifact_run out;
  out.model = hexadecimal(model).view();
  out.method = m.id;
  // the hash first: an error shows the beginning of a long text
  out.options = m.options.empty() ? "" : std::string(hexadecimal(m.hash).view()) + "; " + m.options;
  out.corpus = m.corpus;
  out.seed = std::to_string(m.seed);
  out.version = RESECT_VERSION;
  out.revision = artifact_revision;
  return out;
}

// "layer-003.attn.q.safetensors": in the order of the layers.
inline std::string file_name(const model::weight_desc& w) {
  std::string layer = std::to_string(w.layer);
  if (layer.size() < 3) layer.insert(0, 3 - layer.size(), '0');
  return "layer-" + layer + '.' + std::string(w.name.view()) + ".safetensors";
}

inline result<std::string> try_hessian_text(const packing_method& m, const model::weight_desc& w) {
  if (!m.hessian) return result<std::string>("none");
  const auto hash = m.hessian(w);
  if (!hash) return hash.error();
  return result<std::string>(std::string(hexadecimal(*hash).view()));
}

// "seed 9, 64 buckets".
inline short_text<64> sketch_text(std::uint64_t seed, index_t buckets) {
  return text<64>("seed ", seed, ", ", buckets, " buckets");
}

// One run into one folder.
template <class List, class B, class H, class System>
class model_compression {
 public:
  model_compression(B& exec, const H& host, const packing_method& method, io::durable_folder<System>& folder,
                    random::sketch_options sketch)
      : exec_(exec),
        host_(host),
        method_(method),
        folder_(folder),
        sketch_(sketch),
        list_{run_of(host.describe().fingerprint, method), {}} {}

  // Everything that can be refused without making anything; nothing is written.
  status try_plan(std::span<const model::weight_desc> matrices) {
    if (auto s = check_fields(list_.run); !s) return s;
    if (matrices.empty()) return error{errc::invalid_argument, "matrices", "none", "at least one"};
    for (const model::weight_desc& w : matrices) {
      item next{&w, file_name(w)};
      for (const item& i : items_)
        if (i.name == next.name)
          return error{errc::invalid_argument, text("layer ", w.layer, ", ", w.name.view()), "twice among the matrices",
                       "each matrix once"};
      items_.push_back(std::move(next));
    }
    if (auto s = try_read_list(); !s) return s;
    if (method_.check_model)
      if (auto s = method_.check_model(host_.describe().fingerprint); !s) return s;
    for (item& i : items_)
      if (auto s = try_prepare(i); !s) return s;
    return {};
  }

  // Makes what is not there. A list of fewer matrices goes first, so that no folder with a list lacks a file.
  status try_make_all(compressed_model& to) {
    bool complete = true;
    for (const item& i : items_) complete = complete && i.there;
    if (!complete || static_cast<index_t>(before_.size()) != items_.size())
      if (auto s = folder_.try_remove(artifact_list_name); !s) return s;
    for (const item& i : items_)
      if (auto s = try_add(i, to); !s) return s;
    return {};
  }

  // Writes the list, last of all, by the names of the files.
  status try_finish() {
    algo::sort(list_.files.begin(), list_.files.end());
    const auto bytes = try_write_artifact_list(list_);
    if (!bytes) return bytes.error();
    if (folder_.has(artifact_list_name)) {
      const auto there = folder_.try_read(artifact_list_name);
      if (!there) return there.error();
      if (*there == *bytes) return {};
    }
    return folder_.try_write(artifact_list_name, bytes->span());
  }

 private:
  // A matrix with what is known of it before anything is made.
  struct item {
    const model::weight_desc* weight = nullptr;
    std::string name{};
    std::string hessian{};
    bool there = false;  // its file is that of an earlier run, and checked
  };

  // The list of an earlier run: of this kind, and of no matrix that is not wanted now.
  status try_read_list() {
    if (!folder_.has(artifact_list_name)) return {};
    const auto bytes = folder_.try_read(artifact_list_name);
    if (!bytes) return bytes.error();
    auto there = try_read_artifact_list(bytes->span());
    if (!there) return there.error().within(artifact_list_name);
    if (auto s = check_same(there->run, list_.run, artifact_list_name); !s) return s;
    for (const auto& [name, checksum] : there->files) {
      bool wanted = false;
      for (const item& i : items_) wanted = wanted || i.name == name;
      if (!wanted)
        return error{errc::conflict, artifact_list_name,
                     text("a list of ", there->files.size(), " files with ", name, ", which is not wanted now"),
                     text("all matrices of the list beside further ones, or another folder")};
    }
    before_ = std::move(there->files);
    return {};
  }

  // Reads W and finds H; checks the file of an earlier run.
  status try_prepare(item& i) {
    const model::weight_desc& w = *i.weight;
    const auto operand = text("layer ", w.layer, ", ", w.name.view());
    matrix<float> values(w.rows, w.cols);
    if (auto s = host_.try_read_weight(w, values.view()); !s) return s;
    const matrix_view<const float> source = std::as_const(values).view();
    if (auto s = check_finite(source, operand.view()); !s) return s;
    auto hessian = try_hessian_text(method_, w);
    if (!hessian) return hessian.error();
    i.hessian = std::move(*hessian);
    i.there = folder_.has(i.name);
    return i.there ? try_check_kept(i, source) : status{};
  }

  status try_check_kept(const item& i, matrix_view<const float> source) {
    const auto bytes = folder_.try_read(i.name);
    if (!bytes) return bytes.error();
    const auto a = try_read_artifact(bytes->span());
    if (!a) return a.error().within(i.name);
    const auto differs = [&](std::string_view what, std::string_view got, std::string_view wanted) -> status {
      return error{errc::conflict, text(i.name, ": ", what), got, wanted};
    };
    if (auto s = check_same(a->id.run, list_.run, i.name); !s) return s;
    if (a->id.hessian != i.hessian) return differs("hessian", a->id.hessian, i.hessian);
    if (a->sketch.seed != sketch_.seed || a->sketch.buckets.size() != sketch_.buckets)
      return differs("sketch", sketch_text(a->sketch.seed, a->sketch.buckets.size()).view(),
                     sketch_text(sketch_.seed, sketch_.buckets).view());
    matrix<float> made(source.rows, source.cols);
    if (auto s = try_check_artifact<List>(exec_, *a, *i.weight, source, made.view()); !s)
      return s.error().within(i.name);
    const auto checksum = try_checksum(bytes->span());
    if (!checksum) return checksum.error().within(i.name);
    for (const auto& [name, listed] : before_)
      if (name == i.name && listed != *checksum)
        return differs("checksum", *checksum, text(listed, ", as ", artifact_list_name, " has it").view());
    return {};
  }

  // Makes and writes one file, or reads the one there; adds it to the list.
  status try_add(const item& i, compressed_model& to) {
    auto bytes = i.there ? folder_.try_read(i.name) : try_make(i);
    if (!bytes) return bytes.error();
    const auto checksum = try_checksum(std::as_const(*bytes).span());
    if (!checksum) return checksum.error().within(i.name);
    const auto a = try_read_artifact(std::as_const(*bytes).span());
    if (!a) return a.error().within(i.name);
    if (!i.there)
      if (auto s = folder_.try_write(i.name, std::as_const(*bytes).span()); !s) return s;
    list_.files.emplace_back(i.name, *checksum);
    ++(i.there ? to.kept : to.made);
    const model::weight_desc& w = *i.weight;
    const double weights = static_cast<double>(w.rows) * static_cast<double>(w.cols);
    to.matrices.push_back({w.name.view(), w.layer, a->stored.bytes(),
                           8.0 * static_cast<double>(a->stored.bytes()) / weights, a->quality});
    return {};
  }

  result<array<std::byte>> try_make(const item& i) {
    const model::weight_desc& w = *i.weight;
    matrix<float> values(w.rows, w.cols);
    if (auto s = host_.try_read_weight(w, values.view()); !s) return s.error();
    const matrix_view<const float> source = std::as_const(values).view();
    const auto operand = text("layer ", w.layer, ", ", w.name.view());
    auto stored = method_.make(w, source, exec_);
    if (!stored) return stored.error().within(operand.view());
    auto a = try_make_artifact<List>(exec_, list_.run, w, source, i.hessian, std::move(*stored), sketch_);
    if (!a) return a.error().within(operand.view());
    return try_write_artifact(*a);
  }

  B& exec_;
  const H& host_;
  const packing_method& method_;
  io::durable_folder<System>& folder_;
  random::sketch_options sketch_;
  artifact_list list_;
  decltype(artifact_list::files) before_;  // of the list that was there
  array<item> items_;
};

}  // namespace detail

// Makes one file for each matrix, and the list of all (artifact_list_name) last. What an earlier run of the same kind left in
// the folder is checked against its source and kept; a run that was killed at any time, or met a full disk, ends with the
// bytes of one that was not. A folder of some of these matrices is completed: its list goes before the first further file.
//   Gates resuming: model, method, options, corpus, seed, version, revision, sketch, and H and source of each matrix: a
//   folder of another run is refused with both identities named.
//   Before anything is written all matrices are read and their H is found: a weight that is not finite, an H that is missing
//   or of another width, a matrix that comes twice is one error, and the folder stays as it was.
//   One run at a time in a folder. `matrices` in any order: the same bytes. Cost: that of the method, and two passes over
//   each matrix.
//   Errors: invalid_argument (no matrix, one that comes twice, no H), conflict (another run's folder, a folder with matrices
//   that are not among these, an H of another model), malformed (a file that was changed or cut short), io, not_finite (a
//   weight), what the method reports, with the matrix named. Files that are done stay.
template <class List = quant::all_formats, dense_backend<double> B, weight_source H, class System>
result<compressed_model> try_compress_model(B& exec, const H& host, std::span<const model::weight_desc> matrices,
                                            const packing_method& method, io::durable_folder<System>& folder,
                                            random::sketch_options sketch = {}) {
  if (!method.make) return error{errc::null_pointer, "method", "no function", "a function"};
  detail::model_compression<List, B, H, System> run(exec, host, method, folder, sketch);
  if (auto s = run.try_plan(matrices); !s) return s.error();
  compressed_model out;
  if (auto s = run.try_make_all(out); !s) return s.error();
  if (auto s = run.try_finish(); !s) return s.error();
  return result<compressed_model>(std::move(out));
}

#if RESECT_EXCEPTIONS
template <class List = quant::all_formats, dense_backend<double> B, weight_source H, class System>
compressed_model compress_model(B& exec, const H& host, std::span<const model::weight_desc> matrices,
                                const packing_method& method, io::durable_folder<System>& folder,
                                random::sketch_options sketch = {}) {
  return value_or_throw(try_compress_model<List>(exec, host, matrices, method, folder, sketch));
}
#endif

}  // namespace RESECT_NAMESPACE::compress
