// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/copy.hpp>
#include <resect/core/finite.hpp>
#include <resect/io/checkpoint_tensors.hpp>
#include <resect/io/json.hpp>
#include <resect/io/json_place.hpp>
#include <resect/io/safetensors.hpp>
#include <resect/io/safetensors_writer.hpp>
#include <resect/sae/codec.hpp>

// Codecs in the layout of SAELens, from version 6.0 on: a folder of a configuration and a safetensors file. Needs
// nlohmann-json.
namespace RESECT_NAMESPACE::sae {

// The files of a folder that SAE.load_from_disk of SAELens takes.
struct saelens_files {
  static constexpr std::string_view cfg_name = "cfg.json", weights_name = "sae_weights.safetensors";
  std::string cfg;
  array<std::byte> weights;
};

// What SAELens is told of the rows; what is empty or 0 is left out.
struct saelens_metadata {
  std::string model_name{}, hook_name{}, dataset_path{};
  index_t context_size = 0;
};

// The files of a codec in the units of rows (trainer::weights). keep > 0: architecture "topk" with k = keep; keep = 0:
// "jumprelu" with its thresholds, which is how SAELens keeps BatchTopK, too (one calibrated threshold for all latents).
//   W_enc (d_in, d_sae) = W_eᵀ, W_dec (d_sae, d_in) = W_d, b_enc, b_dec, threshold (d_sae) of jumprelu; all F32. b_d is taken
//   from inputs (apply_b_dec_to_input), and activations are not normalized. The same codec, the same bytes.
//   Errors: those of codec::check; not_finite.
inline result<saelens_files> try_write_saelens(const codec& c, const saelens_metadata& about = {}) {
  if (auto s = c.check(); !s) return s.error();
  const index_t f = c.weights.latents(), d = c.weights.width();
  status finite{};
  visit_parts(c.weights, [&](std::string_view name, const array<float>& part) {
    for (index_t i = 0; i < part.size() && finite; ++i)
      if (!is_finite(part[i]))
        finite = error{errc::not_finite, text(name, " of a codec, element ", i), text(part[i]), "finite elements"};
  });
  if (!finite) return finite.error();

  nlohmann::json metadata = {{"sae_lens_version", "6.0.0"}, {"sae_lens_training_version", nullptr}};
  const auto tell = [&](const char* key, const std::string& value) {
    if (!value.empty()) metadata[key] = value;
  };
  tell("model_name", about.model_name);
  tell("hook_name", about.hook_name);
  tell("dataset_path", about.dataset_path);
  if (about.context_size > 0) metadata["context_size"] = about.context_size;
  nlohmann::json cfg = {{"architecture", c.keep > 0 ? "topk" : "jumprelu"},
                        {"d_in", d},
                        {"d_sae", f},
                        {"dtype", "float32"},
                        {"device", "cpu"},
                        {"apply_b_dec_to_input", true},
                        {"normalize_activations", "none"},
                        {"reshape_activations", "none"},
                        {"metadata", std::move(metadata)}};
  if (c.keep > 0) {
    cfg["k"] = c.keep;
    cfg["rescale_acts_by_decoder_norm"] = false;
  }

  matrix<float> encoder(d, f);
  copy(c.weights.encoder.view().transposed(), encoder.view());
  const auto tensor = [](const char* name, std::vector<index_t> extents, const array<float>& x) {
    return io::tensor_of<float>(name, "F32", std::move(extents), x.span());
  };
  std::vector<io::safetensor> tensors = {
      tensor("W_enc", {d, f}, encoder.data), tensor("W_dec", {f, d}, c.weights.decoder.data),
      tensor("b_enc", {f}, c.weights.encoder_bias), tensor("b_dec", {d}, c.weights.bias)};
  if (c.keep == 0) tensors.push_back(tensor("threshold", {f}, c.weights.threshold));
  auto weights = io::try_write_safetensors(tensors, {});
  if (!weights) return weights.error();
  return saelens_files{cfg.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n", std::move(*weights)};
}

namespace detail {

// What a cfg.json says that changes what a codec computes.
struct saelens_cfg {
  index_t width = 0, latents = 0, keep = 0;
  bool thresholds = false, bias_from_input = true, norms_in_scores = false;
};
inline result<saelens_cfg> try_saelens_cfg(std::string_view cfg) {
  const auto json = io::try_parse_json(cfg, "cfg.json");
  if (!json) return json.error();
  error failure;
  const io::json_place root{&*json, "cfg.json", failure};
  saelens_cfg out;
  const auto is = [&](const char* key, std::string_view wanted) {
    if (root.has(key) && root[key].text() != wanted) root[key].refuse(root[key].shown_value(), wanted);
  };
  const std::string architecture = root["architecture"].text();
  if (architecture != "topk" && architecture != "jumprelu" && architecture != "standard")
    root["architecture"].refuse(root["architecture"].shown_value(), "topk, jumprelu or standard");
  constexpr std::int64_t most = std::int64_t{1} << 31;
  out.width = root["d_in"].integer(1, most);
  out.latents = root["d_sae"].integer(1, most);
  if (architecture == "topk") out.keep = root["k"].integer(1, out.latents);
  out.thresholds = architecture == "jumprelu";
  is("dtype", "float32");
  is("normalize_activations", "none");
  is("reshape_activations", "none");
  if (root.has("apply_b_dec_to_input")) out.bias_from_input = root["apply_b_dec_to_input"].boolean();
  if (root.has("rescale_acts_by_decoder_norm")) out.norms_in_scores = root["rescale_acts_by_decoder_norm"].boolean();
  if (root.failed()) return failure;
  return out;
}

}  // namespace detail

// The codec that such files hold: "topk", "jumprelu", and "standard" (thresholds 0), F32, not normalized. Where b_dec is not
// taken from inputs, b_e becomes b_enc + W_e·b_dec, and where scores count ‖w_j‖, norms go to the encoder: what the codec
// computes stays the same, to float's rounding.
//   Errors: malformed (no JSON, another architecture or normalization, a tensor that is missing or has another shape,
//   other tensors), not_finite.
inline result<codec> try_read_saelens(std::string_view cfg, std::span<const std::byte> weights) {
  const auto said = detail::try_saelens_cfg(cfg);
  if (!said) return said.error();
  const auto contents = io::try_read_safetensors(weights);
  if (!contents) return contents.error();
  const index_t f = said->latents, d = said->width;
  codec out{{}, said->keep};
  dictionary<float>& w = out.weights;
  array<float> encoder;
  status failed{};
  const auto tensor = [&](const char* name, const std::vector<index_t>& extents, array<float>& to) {
    if (failed) failed = io::try_read_tensor(*contents, saelens_files::weights_name, name, "F32", extents, to);
    for (index_t i = 0; failed && i < to.size(); ++i)
      if (!is_finite(to[i]))
        failed = error{errc::not_finite, text(name, " of ", saelens_files::weights_name, ", element ", i), text(to[i]),
                       "finite elements"};
  };
  w.decoder.rows = f;
  w.decoder.cols = d;
  tensor("W_enc", {d, f}, encoder);
  tensor("W_dec", {f, d}, w.decoder.data);
  tensor("b_enc", {f}, w.encoder_bias);
  tensor("b_dec", {d}, w.bias);
  if (said->thresholds) tensor("threshold", {f}, w.threshold);
  if (!failed) return failed.error();
  const std::size_t known = said->thresholds ? 5 : 4;
  if (contents->tensors().size() != known)
    return error{errc::malformed, saelens_files::weights_name, text(contents->tensors().size(), " tensors"),
                 text(known)};
  if (said->keep == 0 && !said->thresholds) w.threshold = array<float>(f);
  w.encoder.resize(f, d);
  copy(matrix_view<const float>(encoder.data(), d, f).transposed(), w.encoder.view());
  for (index_t j = 0; j < f; ++j) {
    double product = 0, squares = 0;
    for (index_t c = 0; c < d; ++c) {
      product += static_cast<double>(w.encoder(j, c)) * static_cast<double>(w.bias[c]);
      squares += static_cast<double>(w.decoder(j, c)) * static_cast<double>(w.decoder(j, c));
    }
    if (!said->bias_from_input)
      w.encoder_bias[j] = static_cast<float>(static_cast<double>(w.encoder_bias[j]) + product);
    if (!said->norms_in_scores || !(squares > 0)) continue;
    const double norm = std::sqrt(squares);
    w.encoder_bias[j] = static_cast<float>(static_cast<double>(w.encoder_bias[j]) * norm);
    for (index_t c = 0; c < d; ++c) {
      w.encoder(j, c) = static_cast<float>(static_cast<double>(w.encoder(j, c)) * norm);
      w.decoder(j, c) = static_cast<float>(static_cast<double>(w.decoder(j, c)) / norm);
    }
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::sae
