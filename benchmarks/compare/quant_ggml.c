// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What ggml makes of a matrix: reads rows x cols floats, writes ggml's bytes of them. The weights of its search are ggml's
// own: without an importance matrix (none), or with one of ones (ones).
//
//     quant_ggml MATRIX.f32 ROWS COLS none|ones OUT.q4_k
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml.h"

int main(int argc, char** argv) {
  if (argc != 6) return fprintf(stderr, "usage: quant_ggml MATRIX.f32 ROWS COLS none|ones OUT\n"), 2;
  const int64_t rows = atoll(argv[2]), cols = atoll(argv[3]);
  const size_t n = (size_t)rows * (size_t)cols, bytes = ggml_row_size(GGML_TYPE_Q4_K, cols) * (size_t)rows;
  float *weights = malloc(n * sizeof *weights), *ones = malloc((size_t)cols * sizeof *ones);
  void* out = malloc(bytes);
  FILE *in = fopen(argv[1], "rb"), *to = fopen(argv[5], "wb");
  if (!weights || !ones || !out || !in || !to || fread(weights, sizeof *weights, n, in) != n)
    return fprintf(stderr, "quant_ggml: cannot read %s or write %s\n", argv[1], argv[5]), 1;
  for (int64_t j = 0; j < cols; ++j) ones[j] = 1.0f;
  ggml_quantize_init(GGML_TYPE_Q4_K);
  const size_t made =
      ggml_quantize_chunk(GGML_TYPE_Q4_K, weights, out, 0, rows, cols, strcmp(argv[4], "ones") == 0 ? ones : NULL);
  if (made != bytes || fwrite(out, 1, bytes, to) != bytes || fclose(to) != 0)
    return fprintf(stderr, "quant_ggml: got %zu bytes, wanted %zu\n", made, bytes), 1;
  return 0;
}
