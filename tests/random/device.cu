// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The same draws on host and device. Exit status 0: equal bits; 77: no device, nothing compared; 1: they differ.
#include <cstdio>
#include <cstring>
#include <vector>

#include <cuda_runtime.h>

#include <resect/random/distributions.hpp>

namespace {

constexpr int count = 1 << 20;

__global__ void draw(double* gaussian, float* uniform) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  const resect::random::philox_stream s{7, 3};
  gaussian[i] = resect::random::gaussian(s, static_cast<std::uint64_t>(i));
  uniform[i] = resect::random::uniform_f32(s.word32(static_cast<std::uint64_t>(i)));
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("skipped: no CUDA device");
    return 77;
  }
  double* gaussian = nullptr;
  float* uniform = nullptr;
  if (cudaMalloc(&gaussian, count * sizeof(double)) != cudaSuccess) return 1;
  if (cudaMalloc(&uniform, count * sizeof(float)) != cudaSuccess) return 1;
  draw<<<count / 256, 256>>>(gaussian, uniform);
  std::vector<double> g(count);
  std::vector<float> u(count);
  if (cudaMemcpy(g.data(), gaussian, count * sizeof(double), cudaMemcpyDeviceToHost) != cudaSuccess) return 1;
  if (cudaMemcpy(u.data(), uniform, count * sizeof(float), cudaMemcpyDeviceToHost) != cudaSuccess) return 1;

  const resect::random::philox_stream s{7, 3};
  int different = 0;
  for (int i = 0; i < count; ++i) {
    const double expected = resect::random::gaussian(s, static_cast<std::uint64_t>(i));
    const float flat = resect::random::uniform_f32(s.word32(static_cast<std::uint64_t>(i)));
    different += std::memcmp(&expected, &g[i], sizeof expected) != 0 || std::memcmp(&flat, &u[i], sizeof flat) != 0;
  }
  std::printf("%d of %d draws differ between host and device\n", different, count);
  return different == 0 ? 0 : 1;
}
