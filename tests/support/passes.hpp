// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/planted_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/residual/operators.hpp>

// Plans of every kind, and what passes show.
namespace support {

using resect::matrix_view;
using namespace resect::residual;

inline const site all_sites[] = {site::embed_out,  site::resid_pre, site::attn_delta, site::resid_mid, site::mlp_delta,
                                 site::resid_post, site::head_in,   site::head_norm,  site::logits};

inline site_set every_site() {
  site_set out;
  for (const site s : all_sites) out.insert(s);
  return out;
}

struct capture {
  floats values;
  std::vector<row_meta> rows;
};
using captures = std::map<std::pair<site, int>, capture>;

// What is seen at every site of one whole pass.
template <class H>
captures observed(H& host, const std::vector<row_meta>& batch) {
  captures out;
  forget_all(host, batch);
  value_or_throw(host.try_forward(batch, every_site(), [&](const tap& at, matrix_view<const float> h) {
    REQUIRE(static_cast<std::size_t>(h.rows) == at.rows.size());
    out[{at.where, at.layer}] = {copied(h), {at.rows.begin(), at.rows.end()}};
  }));
  return out;
}

// A plan of every kind that a cache can live with.
inline plan varied_plan(int n_layers, int d_model) {
  delta_means m{
      .n_layers = n_layers, .width = d_model, .mean = std::vector<float>(static_cast<std::size_t>(n_layers * d_model))};
  resect::random::fill_gaussian(m.mean, 4, 0, 0, 0.3);
  const auto student = [](const tap& at, matrix_view<const float> in, matrix_view<float> out) {
    for (resect::index_t r = 0; r < in.rows; ++r)
      for (resect::index_t c = 0; c < in.cols; ++c)
        out(r, c) = 0.75f * in(r, c) + 0.01f * static_cast<float>(at.rows[static_cast<std::size_t>(r)].pos);
  };
  return plan{} | scale_delta(layer(0), 0.5f) | affine_step(site::attn_delta, layer(0), 1.5f, 0.125f) |
         affine_step(site::resid_pre, layer(1), 1.0f, -0.25f) | mean_delta(layer(1), m) |
         replace_span(layer(2), student, 8) | scale_delta(layer(3), 0.5f, delta::mlp) |
         affine_step(site::resid_post, layer(3), 0.5f, 0.0f);
}

inline std::vector<plan> plans_of_one_step(int n_layers, int d_model) {
  std::vector<plan> out{plan{}};
  const plan all = varied_plan(n_layers, d_model);
  for (const step& s : all.steps()) out.push_back(plan{} | s);
  out.push_back(plan{} | skip(layers(1, 3)));
  out.push_back(plan{} | skip(layer(n_layers - 1)));
  out.push_back(plan{} | zero_stream(layer(0)) | affine_step(site::resid_pre, layer(1), 1.0f, 0.5f));
  out.push_back(all);
  return out;
}

inline std::string fingerprint_text(const plan& p) { return "plan " + std::to_string(p.fingerprint()); }

// The rows of one sequence, from one position on, as a batch.
inline std::vector<row_meta> rows_of(const std::vector<row_meta>& batch, int seq, int first, int last) {
  std::vector<row_meta> out;
  for (const auto& row : batch)
    if (row.seq == seq && row.pos >= first && row.pos < last) out.push_back(row);
  return out;
}

}  // namespace support
