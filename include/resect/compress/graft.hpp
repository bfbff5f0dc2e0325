// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <utility>

#include <resect/compress/artifact_file.hpp>
#include <resect/io/durable_folder.hpp>
#include <resect/model/held_weights.hpp>

// Artifacts on a model. Needs nlohmann-json and POSIX.
namespace RESECT_NAMESPACE::compress {

namespace detail {

// The file of one matrix, as the list has it. Errors: malformed, conflict, io.
template <class System>
result<artifact> try_listed_artifact(const io::durable_folder<System>& folder, const artifact_list& list,
                                     const std::string& name, const std::string& checksum) {
  const auto bytes = folder.try_read(name);
  if (!bytes) return bytes.error();
  const auto is = try_checksum(bytes->span());
  if (!is) return is.error().within(name);
  if (*is != checksum)
    return error{errc::conflict, text("checksum of ", name), std::string_view(*is),
                 text(checksum, ", as ", artifact_list_name, " has it")};
  auto a = try_read_artifact(bytes->span());
  if (!a) return a.error().within(name);
  if (auto s = check_same(a->id.run, list.run, name); !s) return s.error();
  return a;
}

}  // namespace detail

// Puts all artifacts of a folder on a host, until the returned object is destroyed: every matrix of the list has the values
// Q + L·R then. Each file is checked first: its bytes, that the list knows it, and by try_check_artifact that it was made
// from the weights that the host has now.
//   Wholly or not at all: after an error every weight is what it was. Cost: a pass over each matrix.
//   Open the folder by try_open_existing, which makes none where a path is mistyped. The result's size() is how many matrices
//   the list has; others of the host stay.
//   Errors: io (no list: a run that did not end), invalid_argument (a list of no file), malformed (bytes changed or cut short), conflict (another model, matrix,
//   revision, method's revision or format; both identities named), those of the host.
template <class List = quant::all_formats, dense_backend<double> B, model::surgical_host H, class System>
result<model::held_weights<H>> try_graft(B& exec, H& host, const io::durable_folder<System>& folder) {
  const auto bytes = folder.try_read(artifact_list_name);
  if (!bytes) return bytes.error();
  const auto list = try_read_artifact_list(bytes->span());
  if (!list) return list.error().within(artifact_list_name);
  if (list->files.empty())
    return error{errc::invalid_argument, artifact_list_name, "a list of no file", "at least one"};
  array<model::weight_desc> all;
  for (int l = 0; l < host.describe().n_layers; ++l)
    for (const model::weight_desc& w : host.weights(l)) all.push_back(w);
  model::held_weights<H> out;
  for (const auto& [name, checksum] : list->files) {
    const auto a = detail::try_listed_artifact(folder, *list, name, checksum);
    if (!a) return a.error();
    const model::weight_desc* w = nullptr;
    for (const model::weight_desc& x : all)
      if (matrix_text(x) == a->id.matrix) w = &x;
    if (w == nullptr)
      return error{errc::conflict, text("artifact of ", a->id.matrix), text("made for model ", a->id.run.model),
                   text("a matrix that model ", hexadecimal(host.describe().fingerprint).view(), " has")};
    matrix<float> values(w->rows, w->cols), made(w->rows, w->cols);
    if (auto s = host.try_read_weight(*w, values.view()); !s) return s.error();
    if (auto s = try_check_artifact<List>(exec, *a, *w, std::as_const(values).view(), made.view()); !s)
      return s.error();
    auto guard = host.try_override_weight(*w, std::as_const(made).view());
    if (!guard) return guard.error();
    out.hold(std::move(*guard));
  }
  return result<model::held_weights<H>>(std::move(out));
}

#if RESECT_EXCEPTIONS
template <class List = quant::all_formats, dense_backend<double> B, model::surgical_host H, class System>
model::held_weights<H> graft(B& exec, H& host, const io::durable_folder<System>& folder) {
  return value_or_throw(try_graft<List>(exec, host, folder));
}
#endif

}  // namespace RESECT_NAMESPACE::compress
