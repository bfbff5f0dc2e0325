// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A program that uses every kernel, compiled without -march by tools/disassembly.py, which reads its machine code.
// Arguments: nothing, or the name of an instruction set to force. Prints what the kernels found.
#include <cstdio>
#include <cstring>
#include <vector>

#include <resect/core/executor.hpp>
#include <resect/linalg/detail/eigen_kernels.hpp>
#include <resect/metrics/rows/sharded.hpp>
#include <resect/metrics/similarity/cosine.hpp>
#include <resect/quant/detail/group_kernels.hpp>
#include <resect/quant/grids/e8.hpp>

int main(int argc, char** argv) {
  auto set = resect::best_instruction_set();
  for (const auto forced :
       {resect::instruction_set::portable, resect::instruction_set::avx2, resect::instruction_set::avx512})
    if (argc > 1 && resect::name(forced) == std::string_view{argv[1]}) set = forced;
  std::vector<float> x(5000), y(5000);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i * 7919 % 1000) * 0.01f;
    y[i] = x[i] + static_cast<float>(i % 5) * 0.1f;
  }
  const auto c = resect::metrics::compare_logits(set, x, y, 17);
  resect::metrics::logit_shard shard{set, x, y, 0, 17};
  resect::inline_executor exec;
  resect::metrics::row_sums sums[2];
  if (!resect::metrics::try_row_products(set, exec, {x.data(), 2, 2500}, {y.data(), 2, 2500}, sums)) return 1;
  namespace kernels = resect::quant::detail;
  set = resect::runnable(set);
  std::vector<std::uint8_t> codes(4992);
  const auto range = kernels::range(set, x.data(), 5000);
  const float off = kernels::integer_codes(set, x.data(), 4992, 1.01f, 0, 10, codes.data());
  double quantized =
      range.low + 2 * range.high + static_cast<double>(kernels::largest_bits(set, y.data(), 5000)) + 8 * off;
  std::int32_t magnitudes[8];
  for (int i = 0; i < 8; ++i) magnitudes[i] = (i * 37 % 11) << 16;
  quantized += kernels::nearest_e8_pattern(set, kernels::e8_lane_table<>, magnitudes, 1);
  for (std::size_t i = 0; i < codes.size(); ++i) quantized += static_cast<double>(i % 7 * codes[i]);
  const auto eigen = resect::linalg::detail::eigen_kernels::of(set);
  std::vector<double> rows(4 * 48);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<double>(i * 37 % 11) - 5;
  const resect::linalg::detail::plane_rotation turns[] = {{2, 0.6, 0.8}, {1, 0.8, -0.6}, {2, 0.6, 0.8}};
  eigen.rotate(rows.data(), turns, 3);
  eigen.reflect(rows.data(), 48, 2, rows.data() + 96, 0.5, 0, 48);
  eigen.update_and_multiply(rows.data(), 48, 1, turns[0].row > 1 ? rows.data() + 1 : nullptr, rows.data() + 48,
                            rows.data() + 2, rows.data() + 96, rows.data() + 144, 0, 48, &quantized);
  quantized += eigen.dot(rows.data(), rows.data() + 96, 0, 40);
  std::printf("%s %.10f %.10f %lld %.10f %.10f %.6f\n", std::string_view{resect::name(resect::runnable(set))}.data(),
              c.kl, resect::metrics::log_sum_exp(set, x),
              static_cast<long long>(resect::metrics::row_argmax(set, y).id), shard.finish().kl,
              resect::metrics::cosine(sums[1]), quantized);
  return 0;
}
