// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include <support/operator_checks.hpp>

#include <resect/residual/capture.hpp>
#include <resect/residual/codec.hpp>
#include <resect/residual/noise.hpp>
#include <resect/residual/norm_matching.hpp>
#include <resect/residual/patch.hpp>
#include <resect/residual/resample.hpp>
#include <resect/residual/select.hpp>
#include <resect/residual/steer.hpp>
#include <resect/residual/stored_means.hpp>

// A step of every operator, for what must hold of all of them.
namespace support {

// A coder of rows: a few directions, thresholded.
struct few_directions {
  static constexpr std::string_view id = "tests.few_directions/1";
  resect::index_t d, n;
  floats directions;  // (n, d)

  few_directions(resect::index_t width, resect::index_t features)
      : d(width), n(features), directions(static_cast<std::size_t>(width * features)) {
    resect::random::fill_gaussian(directions, 31, 0);
  }
  void fields(resect::field_visitor& v) const { v.values("directions", directions); }
  resect::index_t width() const noexcept { return d; }
  resect::index_t features() const noexcept { return n; }
  void encode(std::span<const float> h, std::span<float> f) const noexcept {
    for (std::size_t k = 0; k < f.size(); ++k) {
      float x = 0;
      for (std::size_t c = 0; c < h.size(); ++c) x += directions[k * h.size() + c] * h[c];
      f[k] = std::max(0.0f, x - 0.5f);
    }
  }
  void decode(std::span<const float> f, std::span<float> h) const noexcept {
    for (float& x : h) x = 0;
    for (std::size_t k = 0; k < f.size(); ++k)
      for (std::size_t c = 0; c < h.size(); ++c) h[c] += 0.1f * f[k] * directions[k * h.size() + c];
  }
};

inline row_store captured_at(host_ref host, site where, const std::vector<row_meta>& batch) {
  const auto& m = host.describe();
  row_store store(where, layers(0, m.n_layers), m.d_model, static_cast<resect::index_t>(batch.size()));
  forget_all(host, batch);
  REQUIRE(try_capture(host, plan{}, batch, store));
  forget_all(host, batch);
  return store;
}
inline row_store captured_deltas(host_ref host, const std::vector<row_meta>& batch) {
  const auto& m = host.describe();
  auto store = row_store::of_block_deltas(layers(0, m.n_layers), m.d_model, static_cast<resect::index_t>(batch.size()));
  forget_all(host, batch);
  REQUIRE(try_capture(host, plan{}, batch, store));
  forget_all(host, batch);
  return store;
}

// Two orthonormal columns (d, 2).
inline floats two_directions(resect::index_t d) {
  floats q(static_cast<std::size_t>(2 * d), 0.0f);
  q[0] = 0.6f, q[2] = 0.8f;  // column 0: (0.6, 0.8, 0, …)
  q[5] = 1.0f;               // column 1: (0, 0, 1, 0, …)
  return q;
}

// Steps of every operator in layers 1 and 2, on a batch whose rows are the source of those that read one.
inline std::vector<step> every_operator(host_ref host, const std::vector<row_meta>& batch) {
  const auto& m = host.describe();
  const resect::index_t d = m.d_model;
  using resect::shared_value;
  const shared_value<row_store> post = captured_at(host, site::resid_post, batch),
                                deltas = captured_deltas(host, batch),
                                attention = captured_at(host, site::attn_delta, batch);
  const floats v(static_cast<std::size_t>(d), 0.25f), q = two_directions(d);
  std::vector<token_place> to, from;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    to.push_back(batch[i].place());
    from.push_back(batch[batch.size() - 1 - i].place());
  }
  const auto reversed = place_map::listed(to, from);
  const auto student = [](const tap& at, matrix_view<const float> in, matrix_view<float> out) {
    for (resect::index_t r = 0; r < in.rows; ++r)
      for (resect::index_t c = 0; c < in.cols; ++c)
        out(r, c) = 0.75f * in(r, c) + 0.01f * static_cast<float>(at.rows[static_cast<std::size_t>(r)].pos);
  };
  const auto means = [&](const row_store& s, mean_over over) {
    return resect::value_or_throw(try_means(s, m.fingerprint, over));
  };
  const few_directions code(d, 11);
  return {scale_delta(layer(1), 0.5f),
          scale_delta(layer(1), 0.25f, delta::attention),
          scale_delta(layer(1), -1.0f, delta::mlp),
          skip(layer(1)),
          zero_stream(layer(1)),
          mean_delta(layers(1, 3), means(*deltas, mean_over::all_rows)),
          mean_delta(layer(1), means(*deltas, mean_over::position)),
          mean_delta(layer(1), means(*attention, mean_over::position)),
          resample_delta(layers(1, 3), deltas, 3, resample_from::any_row),
          resample_delta(layer(1), attention, 4, resample_from::any_row),
          noise(layer(1), site::resid_post, 0.1f, 5),
          reinit(layer(1), 5, norm_gains::keep),
          reinit(layer(1), 5, {norm_gains::reset, biases::keep}),
          inject(2, student, 7),
          replace_span(layers(1, 3), student, 8),
          patch(patch_direction::denoise, layer(1), site::resid_post, post, reversed),
          at(range(2, 5), patch(patch_direction::noise, layer(1), site::resid_post, post, reversed)),
          subspace_swap(layer(1), site::resid_post, {q.data(), d, 2}, post, reversed),
          steer(steering::add{}, layer(1), site::resid_post, v, 0.5f),
          steer(steering::relative{}, layer(1), site::resid_mid, v, 0.2f),
          steer(steering::keep_norm{}, layer(1), site::resid_post, v, 0.5f),
          steer(steering::clamp{}, layer(1), site::resid_pre, v, 0.5f),
          steer(steering::project_out{}, layer(1), site::mlp_delta, v),
          splice(codec_error::keep, layer(1), site::resid_post, code, edit_feature{3, 0, 1}),
          splice(codec_error::drop, layer(1), site::mlp_delta, code),
          at(!range(0, 2), match_norm(scale_delta(layer(1), 0.5f)))};
}

}  // namespace support
