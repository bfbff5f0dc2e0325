// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <span>
#include <string>
#include <utility>

#include <resect/compress/artifact_file.hpp>
#include <resect/compress/packing_method.hpp>
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
  out.options = m.options.empty() ? "" : m.options + "; " + std::string(hexadecimal(m.hash).view());
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

  // Whether a run of this kind may go on in the folder; nothing is written.
  status try_check_folder() {
    if (auto s = check_fields(list_.run); !s) return s;
    if (!folder_.has(artifact_list_name)) return {};
    const auto bytes = folder_.try_read(artifact_list_name);
    if (!bytes) return bytes.error();
    const auto there = try_read_artifact_list(bytes->span());
    if (!there) return there.error().within(artifact_list_name);
    return check_same(there->run, list_.run, artifact_list_name);
  }

  // The file of an earlier run, checked; whether there is one.
  result<bool> try_keep(const model::weight_desc& w) {
    const std::string name = file_name(w);
    if (!folder_.has(name)) return false;
    const auto bytes = folder_.try_read(name);
    if (!bytes) return bytes.error();
    const auto a = try_read_artifact(bytes->span());
    if (!a) return a.error().within(name);
    if (auto s = check_same(a->id.run, list_.run, name); !s) return s.error();
    const auto hessian = try_hessian_text(method_, w);
    if (!hessian) return hessian.error();
    if (a->id.hessian != *hessian)
      return error{errc::conflict, text(name, ": hessian"), std::string_view(a->id.hessian),
                   std::string_view(*hessian)};
    matrix<float> values(w.rows, w.cols), made(w.rows, w.cols);
    if (auto s = host_.try_read_weight(w, values.view()); !s) return s.error();
    if (auto s = try_check_artifact<List>(exec_, *a, w, std::as_const(values).view(), made.view()); !s)
      return s.error().within(name);
    return true;
  }

  // Makes and writes one file, or reads the one there; adds it to the list.
  status try_add(const model::weight_desc& w, bool there, compressed_model& to) {
    const std::string name = file_name(w);
    auto bytes = there ? folder_.try_read(name) : try_make(w);
    if (!bytes) return bytes.error();
    const auto checksum = try_checksum(std::as_const(*bytes).span());
    if (!checksum) return checksum.error().within(name);
    const auto a = try_read_artifact(std::as_const(*bytes).span());
    if (!a) return a.error().within(name);
    if (!there)
      if (auto s = folder_.try_write(name, std::as_const(*bytes).span()); !s) return s;
    list_.files.emplace_back(name, *checksum);
    ++(there ? to.kept : to.made);
    const double weights = static_cast<double>(w.rows) * static_cast<double>(w.cols);
    to.matrices.push_back({w.name.view(), w.layer, a->stored.bytes(),
                           8.0 * static_cast<double>(a->stored.bytes()) / weights, a->quality});
    return {};
  }

  // Writes the list, last of all.
  status try_finish() {
    const auto bytes = try_write_artifact_list(list_);
    if (!bytes) return bytes.error();
    if (!folder_.has(artifact_list_name)) return folder_.try_write(artifact_list_name, bytes->span());
    const auto there = folder_.try_read(artifact_list_name);
    if (!there) return there.error();
    if (*there == *bytes) return {};
    return error{errc::conflict, artifact_list_name, "another list of files", "one of the matrices of this run"};
  }

 private:
  result<array<std::byte>> try_make(const model::weight_desc& w) {
    matrix<float> values(w.rows, w.cols);
    if (auto s = host_.try_read_weight(w, values.view()); !s) return s.error();
    const matrix_view<const float> source = std::as_const(values).view();
    const auto operand = text("layer ", w.layer, ", ", w.name.view());
    if (auto s = check_finite(source, operand.view()); !s) return s.error();
    auto hessian = try_hessian_text(method_, w);
    if (!hessian) return hessian.error();
    auto stored = method_.make(w, source, exec_);
    if (!stored) return stored.error().within(operand.view());
    auto a = try_make_artifact<List>(exec_, list_.run, w, source, std::move(*hessian), std::move(*stored), sketch_);
    if (!a) return a.error().within(operand.view());
    return try_write_artifact(*a);
  }

  B& exec_;
  const H& host_;
  const packing_method& method_;
  io::durable_folder<System>& folder_;
  random::sketch_options sketch_;
  artifact_list list_;
};

}  // namespace detail

// Makes one file for each matrix, and the list of all (artifact_list_name) last. What an earlier run of the same kind left in
// the folder is checked against its source and kept; a run that was killed at any time, or met a full disk, ends with the
// bytes of one that was not.
//   Gates resuming: model, method, options, corpus, seed, version, revision, and H and source of each matrix: a folder of
//   another run is refused with both identities named, before anything is written.
//   One run at a time in a folder. `matrices` in any order. Cost: that of the method, and a pass over each matrix.
//   Errors: conflict (another run's folder, an H of another model), malformed (a file that was changed or cut short), io, not_finite (a weight),
//   what the method reports, with the matrix named. Files that are done stay.
template <class List = quant::all_formats, dense_backend<float> B, weight_source H, class System>
result<compressed_model> try_compress_model(B& exec, const H& host, std::span<const model::weight_desc> matrices,
                                            const packing_method& method, io::durable_folder<System>& folder,
                                            random::sketch_options sketch = {}) {
  if (!method.make) return error{errc::null_pointer, "method", "no function", "a function"};
  detail::model_compression<List, B, H, System> run(exec, host, method, folder, sketch);
  if (auto s = run.try_check_folder(); !s) return s.error();
  if (method.check_model)
    if (auto s = method.check_model(host.describe().fingerprint); !s) return s.error();
  array<char> there;
  for (const model::weight_desc& w : matrices) {
    const auto kept = run.try_keep(w);
    if (!kept) return kept.error();
    there.push_back(*kept);
  }
  compressed_model out;
  index_t i = 0;
  for (const model::weight_desc& w : matrices)
    if (auto s = run.try_add(w, there[i++] != 0, out); !s) return s.error();
  if (auto s = run.try_finish(); !s) return s.error();
  return result<compressed_model>(std::move(out));
}

#if RESECT_EXCEPTIONS
template <class List = quant::all_formats, dense_backend<float> B, weight_source H, class System>
compressed_model compress_model(B& exec, const H& host, std::span<const model::weight_desc> matrices,
                                const packing_method& method, io::durable_folder<System>& folder,
                                random::sketch_options sketch = {}) {
  return value_or_throw(try_compress_model<List>(exec, host, matrices, method, folder, sketch));
}
#endif

}  // namespace RESECT_NAMESPACE::compress
