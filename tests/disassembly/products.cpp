// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernels of products, for tools/disassembly.py as kernels.cpp: one product with every kind of edge, its sum and
// three of its elements.
#include <cstdio>
#include <string_view>
#include <vector>

#include <resect/backend/detail/packed_product.hpp>

namespace {

template <class T>
void product(resect::instruction_set set, resect::index_t n) {
  const resect::index_t m = 137, k = 700;
  std::vector<T> a(static_cast<std::size_t>(m * k)), b(static_cast<std::size_t>(k * n)),
      c(static_cast<std::size_t>(m * n));
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<T>(i * 7919 % 17) - 8;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<T>(i * 104729 % 13) - 6;
  const resect::matrix_view<const T> left{a.data(), m, k}, right{b.data(), k, n};
  const resect::matrix_view<T> out{c.data(), m, n};
  resect::inline_executor exec;
  if (const auto kernels = resect::detail::product_kernels_of<T>(set)) {
    resect::detail::packed_product(exec, kernels, T{1}, left, right, T{0}, out);
  } else {
    for (resect::index_t i = 0; i < m; ++i)
      for (resect::index_t j = 0; j < n; ++j)
        for (resect::index_t p = 0; p < k; ++p) out(i, j) += left(i, p) * right(p, j);
  }
  double sum = 0;
  for (const T x : c) sum += static_cast<double>(x);
  std::printf(" %.3f %.3f %.3f %.3f", sum, static_cast<double>(out(0, 0)), static_cast<double>(out(136, n - 1)),
              static_cast<double>(out(70, 40)));
}

}  // namespace

int main(int argc, char** argv) {
  auto set = resect::best_instruction_set();
  for (const auto forced :
       {resect::instruction_set::portable, resect::instruction_set::avx2, resect::instruction_set::avx512})
    if (argc > 1 && resect::name(forced) == std::string_view{argv[1]}) set = resect::runnable(forced);
  std::printf("%s", std::string_view{resect::name(set)}.data());
  for (const resect::index_t n : {91, 48}) {  // a narrow one leaves its left operand as it lies
    product<float>(set, n);
    product<double>(set, n);
  }
  std::printf("\n");
  return 0;
}
