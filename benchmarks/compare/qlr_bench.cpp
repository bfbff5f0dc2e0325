// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Q + L·R of matrices of a real model: what `./run compare qlr` runs beside CALDERA.
//   qlr_bench inputs MODEL IDS FOLDER THREADS LAYER:NAME…
//       of each matrix, with the residual stream rotated, W and H of its rows, between two seeded Hadamard-type transforms:
//       FOLDER/qlr_LAYER_NAME.w (floats, rows × columns) and .h (doubles). Prints a line of JSON each.
//   qlr_bench decompose W H ROWS COLS BITS ROUNDS THREADS OUT
//       E8 with one scale and factors of 4 bits with a scale a component, of the largest rank at which everything takes at
//       most BITS bits a weight. OUT: the values of Q + L·R, floats. Prints JSON.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <hosts/llama/host.hpp>
#include <hosts/llama/load.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/compress/decompose.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/formats/common.hpp>
#include <resect/quant/gather_hessians.hpp>
#include <resect/quant/rotated_host.hpp>

namespace {

using resect::index_t;
using resect::matrix;
using resect::value_or_throw;
namespace quant = resect::quant;
namespace compress = resect::compress;
using backend = resect::cpu<resect::threads>;

constexpr index_t window = 512;
constexpr double seed_bits = 64;  // of the two transforms of a matrix

template <class T>
void transfer(const std::string& path, const char* mode, T* data, index_t n) {
  std::FILE* file = std::fopen(path.c_str(), mode);
  const auto size = static_cast<std::size_t>(n);
  bool whole = file != nullptr;
  if (whole && mode[0] == 'r')
    whole = std::fread(const_cast<std::remove_const_t<T>*>(data), sizeof(T), size, file) == size;
  else if (whole) whole = std::fwrite(data, sizeof(T), size, file) == size;
  if (file == nullptr || std::fclose(file) != 0 || !whole) {
    std::fprintf(stderr, "qlr_bench: %s: not a file of %zu numbers\n", path.c_str(), size);
    std::exit(1);
  }
}

std::vector<resect::model::weight_desc> chosen(const hosts::llama_host& host, int count, char** names) {
  std::vector<resect::model::weight_desc> out;
  for (int i = 0; i < count; ++i) {
    const char* const colon = std::strchr(names[i], ':');
    const int layer = std::atoi(names[i]);
    if (colon != nullptr && layer >= 0 && layer < host.describe().n_layers)
      for (const auto& w : host.weights(layer))
        if (w.name == colon + 1) out.push_back(w);
  }
  return out;
}

int inputs(int argc, char** argv) {
  const std::string folder = argv[4];
  backend exec{resect::threads{std::atoi(argv[5])}};
  const auto model = value_or_throw(hosts::try_load_llama(argv[2]));
  const auto ids = value_or_throw(hosts::try_read_ids(argv[3], model.config.n_vocab));
  hosts::llama_host host(exec, model);
  auto rotated = quant::rotate_host(exec, host, 1);
  const auto matrices = chosen(host, argc - 6, argv + 6);
  if (static_cast<int>(matrices.size()) != argc - 6) {
    std::fputs("qlr_bench: a matrix that the model lacks\n", stderr);
    return 1;
  }
  std::vector<resect::model::row_meta> rows;
  for (std::size_t i = 0; i < ids.size() / window * window; ++i)
    rows.push_back({static_cast<int>(i / window % 4), static_cast<int>(i % window), ids[i], 0});
  std::vector<resect::model::batch_view> batches;
  for (std::size_t i = 0; i < rows.size(); i += 4 * window)
    batches.push_back(std::span(rows).subspan(i, std::min<std::size_t>(4 * window, rows.size() - i)));
  auto h = value_or_throw(quant::try_gather_hessians(exec, rotated, matrices, batches, {"ids", 1}));
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const auto& m = matrices[i];
    matrix<float> w(m.rows, m.cols);
    value_or_throw(rotated.try_read_weight(m, w.view()));
    matrix<double> moment(m.cols, m.cols);
    for (index_t r = 0; r < m.cols; ++r)
      for (index_t c = 0; c < m.cols; ++c) moment(r, c) = h[static_cast<index_t>(i)](r, c);
    const auto left = quant::make_rotation(m.rows, 2), right = quant::make_rotation(m.cols, 3);
    value_or_throw(left.try_rotate_columns(exec, w.view()));
    value_or_throw(right.try_rotate_rows(exec, w.view()));
    value_or_throw(right.try_rotate_rows(exec, moment.view()));
    value_or_throw(right.try_rotate_columns(exec, moment.view()));
    const std::string name = folder + "/qlr_" + std::to_string(m.layer) + "_" + std::string(m.name.view());
    transfer(name + ".w", "wb", std::as_const(w).data.data(), w.data.size());
    transfer(name + ".h", "wb", std::as_const(moment).data.data(), moment.data.size());
    std::printf("{\"name\": \"%d_%s\", \"rows\": %ld, \"cols\": %ld, \"h_rows\": %ld}\n", m.layer,
                std::string(m.name.view()).c_str(), static_cast<long>(m.rows), static_cast<long>(m.cols),
                static_cast<long>(h[static_cast<index_t>(i)].rows()));
  }
  return 0;
}

int decompose(char** argv) {
  const index_t rows = std::atol(argv[4]), cols = std::atol(argv[5]);
  const double bits = std::atof(argv[6]), weights = static_cast<double>(rows) * static_cast<double>(cols);
  matrix<float> w(rows, cols);
  matrix<double> h(cols, cols);
  transfer(argv[2], "rb", w.data.data(), w.data.size());
  transfer(argv[3], "rb", h.data.data(), h.data.size());
  backend exec{resect::threads{std::atoi(argv[8])}};
  const quant::e8 format{.group_rows = 0};
  const quant::affine_symmetric<4, quant::f16_store> factors{};
  const double left = bits * weights - seed_bits - quant::stored_bits(format, rows, cols);
  const index_t rank = static_cast<index_t>(left / (4.0 * static_cast<double>(rows + cols) + 32));
  compress::decompose_options options;
  options.rank = rank;
  options.rounds = std::atoi(argv[7]);
  const auto start = std::chrono::steady_clock::now();
  const auto d = compress::decompose(exec, w, h, format, factors, options);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const matrix<float> values = d.to_dense(exec);
  transfer(argv[9], "wb", values.data.data(), values.data.size());
  if (std::getenv("QLR_STEPS") != nullptr)
    for (const auto& s : d.steps)
      std::fprintf(stderr, "%s round %d %s loss %.6f best %.6f\n", std::string(compress::name(s.start)).c_str(),
                   s.round,
                   s.what == compress::decompose_step::kind::quantize   ? "Q "
                   : s.what == compress::decompose_step::kind::low_rank ? "LR"
                                                                        : "QD",
                   s.loss / d.weights, s.best / d.weights);
  std::printf(
      "{\"seconds\": %.3f, \"rank\": %ld, \"bits\": %.6f, \"loss\": %.9g, \"gaussian\": %.9g, \"start\": \"%s\"}\n",
      seconds, static_cast<long>(rank), d.bits_per_weight() + seed_bits / weights, d.relative_loss(), d.over_gaussian(),
      std::string(compress::name(d.start)).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc > 6 && std::strcmp(argv[1], "inputs") == 0) return inputs(argc, argv);
    if (argc == 10 && std::strcmp(argv[1], "decompose") == 0) return decompose(argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "qlr_bench: %s\n", e.what());
    return 1;
  }
  std::fputs(
      "usage: qlr_bench inputs MODEL IDS FOLDER THREADS LAYER:NAME...\n"
      "       qlr_bench decompose W H ROWS COLS BITS ROUNDS THREADS OUT\n",
      stderr);
  return 2;
}
