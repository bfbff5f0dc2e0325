// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Signs, test matrices and the positions and exact sums of sketches on the device and on the host, compared bit by bit.
// Returns 77 where there is no device.
//   nvcc -std=c++20 -arch=sm_80 -Iinclude tests/random/sketch_device.cu
#include <cstdio>
#include <vector>

#include <resect/core/exact_sum.hpp>
#include <resect/random/sketch.hpp>

namespace random_ = resect::random;
constexpr int rows = 512, cols = 512, count = rows * cols;

struct element {
  int sign;
  double normal, rademacher;
  std::uint32_t bucket;
  bool negative;
};

__host__ __device__ element at(int i) {
  const int r = i / cols, c = i % cols;
  const auto column = static_cast<std::uint64_t>(c);
  const auto block = random_::sketch_stream(5).block(static_cast<std::uint64_t>(r), column / 8);
  const auto position = random_::sketch_position_of(block, column, 64);
  return {random_::rademacher(random_::philox_stream{5, 6}, static_cast<std::uint64_t>(i)),
          random_::gaussian_matrix{7, 8}(r, c), random_::rademacher_matrix{7, 8}(r, c), position.bucket,
          position.negative};
}

__host__ __device__ float number(int i) {
  const std::uint32_t bits = random_::philox_stream{9}.word32(static_cast<std::uint64_t>(i));
  return resect::float_of((bits & 0x7f800000u) == 0x7f800000u ? bits & 0xbfffffffu : bits);
}

constexpr int parts = 256;
__global__ void compute(element* out, resect::exact_sum* sums, resect::exact_square_sum* squares) {
  const int first = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  for (int i = first; i < count; i += static_cast<int>(gridDim.x * blockDim.x)) out[i] = at(i);
  if (first >= parts) return;
  for (int i = first; i < count; i += parts) {
    sums[first].add(number(i));
    squares[first].add(number(i));
  }
}

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("skipped: no device");
    return 77;
  }
  element* on_device = nullptr;
  resect::exact_sum* sums = nullptr;
  resect::exact_square_sum* squares = nullptr;
  cudaMallocManaged(&on_device, count * sizeof *on_device);
  cudaMallocManaged(&sums, parts * sizeof *sums);
  cudaMallocManaged(&squares, parts * sizeof *squares);
  for (int p = 0; p < parts; ++p) {
    sums[p] = {};
    squares[p] = {};
  }
  compute<<<256, 256>>>(on_device, sums, squares);
  if (cudaDeviceSynchronize() != cudaSuccess) {
    std::puts("the kernel failed");
    return 1;
  }
  long wrong = 0;
  resect::exact_sum sum, device_sum;
  resect::exact_square_sum square, device_square;
  for (int i = 0; i < count; ++i) {
    const element a = at(i), b = on_device[i];
    wrong += a.sign != b.sign || resect::bits_of(a.normal) != resect::bits_of(b.normal);
    wrong += a.rademacher != b.rademacher || a.bucket != b.bucket || a.negative != b.negative;
    sum.add(number(i));
    square.add(number(i));
  }
  for (int p = 0; p < parts; ++p) {
    device_sum.merge(sums[p]);
    device_square.merge(squares[p]);
  }
  wrong += resect::bits_of(sum.value()) != resect::bits_of(device_sum.value());
  wrong += resect::bits_of(square.value()) != resect::bits_of(device_square.value());
  std::printf("%d elements of five kinds and two sums: %ld differ between device and host\n", count, wrong);
  return wrong == 0 ? 0 : 1;
}
