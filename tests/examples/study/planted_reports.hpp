// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>

#include <resect/random/distributions.hpp>
#include <study/report/diff_record.hpp>
#include <study/report/read_report.hpp>

#include "stored_study.hpp"

// Planted studies in folders of their own, for tests of what reads and compares them.
namespace support {

namespace fs = std::filesystem;
using resect::study::alteration;

struct folders {
  fs::path root = fs::temp_directory_path() / ("resect_diff_test_" + std::to_string(::getpid()));
  folders() { fs::remove_all(root); }
  ~folders() { fs::remove_all(root); }

  studies::stored_report write(const planted_study& p, const std::string& name) const {
    write_study(p, root / name);
    return studies::read_report((root / name).string());
  }
};

inline double noise(std::uint64_t stream, int layer, resect::index_t cluster, int t) {
  return resect::random::gaussian(7, stream, static_cast<std::uint64_t>((layer * 1000 + cluster) * 100 + t));
}

// A study whose tokens vary a lot, alike in every study.
inline planted_study noisy() {
  planted_study p;
  p.windows = 20;
  p.alterations = {alteration::skip, alteration::reinit};
  p.nll = [](resect::index_t c, int t) { return 2 + noise(0, 99, c, t); };
  p.token = [](alteration, int l, std::uint64_t seed, resect::index_t c, int t) {
    const double x = noise(seed, l, c, t);
    return token_values{2.0 - 0.5 * l + 0.1 * x * x, x > 0 ? 1.0 : 0.0, 0.5 + x, std::tanh(x)};
  };
  return p;
}

// The same with something added to each measure of a layer.
inline planted_study shifted(const planted_study& from, std::function<token_values(int layer, resect::index_t c)> by) {
  planted_study p = from;
  p.token = [token = from.token, by](alteration a, int l, std::uint64_t seed, resect::index_t c, int t) {
    auto v = token(a, l, seed, c, t);
    const auto d = by(l, c);
    return token_values{v.kl + d.kl, v.top1, v.dlnppl + d.dlnppl, v.cosine + d.cosine};
  };
  return p;
}

inline std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const resect::exception& e) {
    return e.what();
  }
  return "";
}

inline const studies::row_difference& row_of(const studies::report_difference& d, const std::string& name, int layer) {
  for (const auto& t : d.tables)
    for (const auto& row : t.rows)
      if (t.name == name && row.a.layers == std::vector{layer}) return row;
  throw std::out_of_range(name);
}

inline std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace support
