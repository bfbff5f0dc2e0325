// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Draws on the device and on the host, compared bit by bit. Returns 77 where there is no device.
#include <cstdio>
#include <cstring>
#include <vector>

#include <resect/random/distributions.hpp>

namespace random_ = resect::random;
constexpr int count = 1 << 20;

__global__ void draw(double* gauss, std::uint64_t* integers, double* tails) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  gauss[i] = random_::gaussian(7, 3, i);
  integers[i] = random_::integer_below(random_::philox_stream{11, 4}, i, 3 * std::uint64_t{i} + 1);
  tails[i] = random_::gaussian((i + 0.5) * 0x1p-40);
}

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("skipped: no device");
    return 77;
  }
  double *gauss = nullptr, *tails = nullptr;
  std::uint64_t* integers = nullptr;
  cudaMallocManaged(&gauss, count * sizeof *gauss);
  cudaMallocManaged(&tails, count * sizeof *tails);
  cudaMallocManaged(&integers, count * sizeof *integers);
  draw<<<count / 256, 256>>>(gauss, integers, tails);
  if (cudaDeviceSynchronize() != cudaSuccess) {
    std::puts("the kernel failed");
    return 1;
  }
  long wrong = 0;
  for (unsigned i = 0; i < count; ++i) {
    const double g = random_::gaussian(7, 3, i), t = random_::gaussian((i + 0.5) * 0x1p-40);
    wrong += std::memcmp(&g, &gauss[i], sizeof g) != 0;
    wrong += std::memcmp(&t, &tails[i], sizeof t) != 0;
    wrong += integers[i] != random_::integer_below(random_::philox_stream{11, 4}, i, 3 * std::uint64_t{i} + 1);
  }
  std::printf("%d draws of three kinds: %ld differ between device and host\n", count, wrong);
  return wrong == 0 ? 0 : 1;
}
