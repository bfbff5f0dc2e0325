// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <study/report/record.hpp>

// A small study that was never run.
namespace support {

inline studies::estimate around(double value, double half, resect::index_t clusters = 32) {
  studies::estimate e;
  e.value = value;
  e.n = 2048;
  e.n_clusters = clusters;
  if (clusters >= 6) {
    e.se = half / 2;
    e.lo = value - half;
    e.hi = value + half;
  }
  return e;
}

inline studies::row_record row(const char* alteration, int layer, double kl, double dlnppl, const char* mark, int rank,
                           resect::index_t clusters = 32) {
  studies::row_record out;
  out.alteration = alteration;
  out.layer = layer;
  out.mean = {around(kl, kl / 10, clusters), around(0.75, 0.02, clusters), around(dlnppl, 0.004, clusters),
              around(0.9, 0.01, clusters)};
  out.mark = mark;
  out.rank = {rank, rank, rank};
  return out;
}

inline studies::study_record small_study(resect::index_t clusters = 32) {
  studies::study_record r;
  r.command = "study --model tiny";
  r.model = {"tiny", "0x0123456789abcdef", 3, 256, 192, 2e6};
  r.text = {"heldout.txt", "aa", "bb", 39090, false};
  r.evaluation = {"cc", 32, 64, clusters};
  r.calibration = {"dd", 32, 64, 32};
  r.options = {32, 64, 2, 1000, 1, {"skip", "reinit", "zero_stream"}, "reset", 0.02};
  r.layers = {0, 1, 2};
  r.baseline = {around(1.5, 0.1, clusters), around(4.5, 0.4, clusters), around(4.5, 0.2, 2048),
                around(4.5, 0.1, clusters)};
  for (int l = 0; l < 4; ++l) {
    studies::layer_record profile;
    profile.layer = l;
    profile.norm = {1.0 + l, 2.0 + l, 3.0 + l, 4.0 + l, 2016};
    profile.first_norm = {10, 20, 30, 40, 32};
    profile.relative_delta = around(0.5, 0.05, clusters);
    profile.delta_cosine = around(0.1, 0.02, clusters);
    profile.influence = around(0.2, 0.01, clusters);
    r.profile.push_back(profile);
  }
  r.rows = {row("skip", 0, 2.0, 1.9, "critical", 1, clusters), row("skip", 1, 0.001, 0.001, "negligible", 3, clusters),
            row("skip", 2, 0.02, -0.02, "better than intact", 2, clusters)};
  for (int l = 0; l < 3; ++l) {
    auto seeded = row("reinit", l, 3.0 - l, 2.5 - l, "critical", l + 1, clusters);
    seeded.seeds = {1, 2};
    seeded.per_seed = {seeded.mean, seeded.mean};
    seeded.kl_seed_sd = 0.25;
    seeded.dlnppl_seed_sd = 0.125;
    r.rows.push_back(seeded);
  }
  for (int l = 0; l < 3; ++l) r.rows.push_back(row("zero_stream", l, 5.0 + l, 4.0, "critical", 3 - l, clusters));
  if (clusters < 6)
    for (auto& x : r.rows) {
      x.mark.clear();
      x.rank.lo = x.rank.hi = 0;
    }
  return r;
}

}  // namespace support
