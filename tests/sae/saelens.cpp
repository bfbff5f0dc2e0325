// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <resect/random/distributions.hpp>
#include <resect/sae/saelens.hpp>

using namespace resect;
using namespace resect::sae;
using support::expect_error;

namespace {

using resect::index_t;

// F = 6 latents on rows of 4 elements; all numbers differ.
codec drawn(index_t keep) {
  codec out{dictionary<float>(6, 4, keep == 0), keep};
  std::uint64_t part = 0;
  visit_parts(out.weights, [&](std::string_view, array<float>& x) {
    for (index_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(random::gaussian(7, part, static_cast<std::uint64_t>(i)));
    ++part;
  });
  return out;
}
nlohmann::json cfg_of(const saelens_files& files) { return nlohmann::json::parse(files.cfg); }

// h_j of a row as SAELens computes it, in double, from the file's tensors.
double pre_activation(const io::safetensors_contents& file, const float* x, bool subtract, index_t j) {
  const auto number = [&](const char* name, index_t at) {
    float out;
    std::memcpy(&out, file.find(name)->bytes.data() + static_cast<std::size_t>(at) * sizeof out, sizeof out);
    return static_cast<double>(out);
  };
  double h = number("b_enc", j);
  for (index_t c = 0; c < 4; ++c)
    h += (static_cast<double>(x[c]) - (subtract ? number("b_dec", c) : 0.0)) * number("W_enc", c * 6 + j);
  return h;
}
double pre_activation(const codec& c, const float* x, index_t j) {
  double h = static_cast<double>(c.weights.encoder_bias[j]);
  for (index_t k = 0; k < 4; ++k)
    h += static_cast<double>(c.weights.encoder(j, k)) *
         (static_cast<double>(x[k]) - static_cast<double>(c.weights.bias[k]));
  return h;
}

}  // namespace

TEST_CASE("sae: files for SAELens have its tensors, shapes and configuration, and are read back as the same codec") {
  for (const index_t keep : {3, 0}) {
    const codec c = drawn(keep);
    const auto files = try_write_saelens(c, {.model_name = "small", .hook_name = "blocks.2.hook_resid_post"});
    REQUIRE(files);
    const auto cfg = cfg_of(*files);
    CHECK(cfg["architecture"] == (keep > 0 ? "topk" : "jumprelu"));
    CHECK(cfg["d_in"] == 4);
    CHECK(cfg["d_sae"] == 6);
    CHECK(cfg.contains("k") == (keep > 0));
    CHECK(cfg["apply_b_dec_to_input"] == true);
    CHECK(cfg["normalize_activations"] == "none");
    CHECK(cfg["metadata"]["sae_lens_version"] == "6.0.0");
    CHECK(cfg["metadata"]["hook_name"] == "blocks.2.hook_resid_post");
    CHECK_FALSE(cfg["metadata"].contains("dataset_path"));

    const auto weights = std::as_const(files->weights).span();
    const auto file = io::try_read_safetensors(weights);
    REQUIRE(file);
    std::vector<std::pair<std::string, std::vector<index_t>>> want = {
        {"W_enc", {4, 6}}, {"W_dec", {6, 4}}, {"b_enc", {6}}, {"b_dec", {4}}};
    if (keep == 0) want.push_back({"threshold", {6}});
    REQUIRE(file->tensors().size() == want.size());
    for (const auto& [name, extents] : want) {
      INFO(name);
      REQUIRE(file->find(name) != nullptr);
      CHECK(file->find(name)->dtype == "F32");
      CHECK(file->find(name)->extents == extents);
    }
    const float x[4] = {0.5f, -1, 2, 0.25f};
    for (index_t j = 0; j < 6; ++j)
      CHECK(std::fabs(pre_activation(*file, x, true, j) - pre_activation(c, x, j)) < 1e-12);

    const auto back = try_read_saelens(files->cfg, weights);
    REQUIRE(back);
    CHECK(back->weights == c.weights);
    CHECK(back->keep == keep);
  }
}

TEST_CASE(
    "sae: files of SAELens that do not subtract b_dec, or count decoder norms in scores, become the same function") {
  const codec c = drawn(3);
  const auto files = value_or_throw(try_write_saelens(c));
  const auto weights = std::as_const(files.weights).span();
  const auto file = value_or_throw(io::try_read_safetensors(weights));
  const float x[4] = {0.5f, -1, 2, 0.25f};
  auto cfg = cfg_of(files);
  cfg["apply_b_dec_to_input"] = false;
  const codec plain = value_or_throw(try_read_saelens(cfg.dump(), weights));
  cfg["rescale_acts_by_decoder_norm"] = true;
  const codec scaled = value_or_throw(try_read_saelens(cfg.dump(), weights));
  for (index_t j = 0; j < 6; ++j) {
    INFO("latent " << j);
    double norm = 0;
    for (index_t k = 0; k < 4; ++k) norm += std::pow(static_cast<double>(c.weights.decoder(j, k)), 2);
    norm = std::sqrt(norm);
    const double h = pre_activation(file, x, false, j);
    CHECK(std::fabs(pre_activation(plain, x, j) - h) < 1e-6);
    CHECK(std::fabs(pre_activation(scaled, x, j) - h * norm) < 1e-5);
    for (index_t k = 0; k < 4; ++k)  // f·w stays: the score's norm is taken from w
      CHECK(std::fabs(static_cast<double>(scaled.weights.decoder(j, k)) * norm -
                      static_cast<double>(c.weights.decoder(j, k))) < 1e-6);
  }
}

TEST_CASE("sae: what is no codec, and files that hold something else, are refused by name") {
  codec broken = drawn(0);
  broken.weights.encoder(2, 1) = std::numeric_limits<float>::infinity();
  expect_error(try_write_saelens(broken), errc::not_finite, {"encoder of a codec, element 9"});
  broken = drawn(0);
  broken.weights.threshold.resize(5);
  expect_error(try_write_saelens(broken), errc::shape_mismatch, {"thresholds of a codec", "5", "6"});

  const auto files = value_or_throw(try_write_saelens(drawn(0)));
  const auto weights = std::as_const(files.weights).span();
  const auto refused = [&](const char* key, const nlohmann::json& value,
                           std::initializer_list<std::string_view> texts) {
    auto cfg = cfg_of(files);
    cfg[key] = value;
    expect_error(try_read_saelens(cfg.dump(), weights), errc::malformed, texts);
  };
  refused("architecture", "gated", {"cfg.json.architecture", "gated", "topk, jumprelu or standard"});
  refused("normalize_activations", "layer_norm", {"normalize_activations", "layer_norm", "none"});
  refused("d_sae", 7, {"W_enc", "F32 4 x 6", "F32 4 x 7"});
  refused("d_sae", -1, {"d_sae", "-1"});
  refused("architecture", "standard", {"sae_weights.safetensors", "5 tensors", "4"});
  expect_error(try_read_saelens(files.cfg, weights.first(weights.size() - 4)), errc::malformed, {});
  expect_error(try_read_saelens("{", weights), errc::malformed, {"cfg.json"});
  const auto topk = value_or_throw(try_write_saelens(drawn(2)));
  expect_error(try_read_saelens(files.cfg, std::as_const(topk.weights).span()), errc::malformed,
               {"sae_weights.safetensors", "threshold"});
}
