// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The storage types against CUDA's own conversions, on the host (needs the toolkit, no device) and, where there is a
// device, on the device too. Exit status 0 where all agree, 1 where not; without a device the host half decides.
//   nvcc -std=c++20 -arch=sm_80 -Iinclude tests/core/float_device.cu
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include <resect/core/float16.hpp>
#include <resect/core/float8.hpp>
#include <resect/random/philox.hpp>

using resect::overflow;

// What CUDA does, by the same names for every type. Compared bit by bit, NaN included; only what the hardware makes of
// a NaN that it widens counts as NaN whatever its bits.
struct half_type {
  using type = resect::f16;
  static constexpr const char* name = "f16";
  static constexpr bool saturates = false;
  __host__ __device__ static unsigned narrow(float x, overflow) { return __half_as_ushort(__float2half_rn(x)); }
  __host__ __device__ static unsigned narrow(double x, overflow) { return __half_as_ushort(__double2half(x)); }
  __host__ __device__ static float widen(unsigned code) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(code)));
  }
};
struct bfloat_type {
  using type = resect::bf16;
  static constexpr const char* name = "bf16";
  static constexpr bool saturates = false;
  __host__ __device__ static unsigned narrow(float x, overflow) { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); }
  __host__ __device__ static unsigned narrow(double x, overflow) { return __bfloat16_as_ushort(__double2bfloat16(x)); }
  __host__ __device__ static float widen(unsigned code) {
    return __bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(code)));
  }
};
template <class T, __nv_fp8_interpretation_t Kind>
struct fp8_type {
  using type = T;
  static constexpr bool saturates = true;
  __host__ __device__ static __nv_saturation_t policy(overflow o) {
    return o == overflow::saturate ? __NV_SATFINITE : __NV_NOSAT;
  }
  __host__ __device__ static unsigned narrow(float x, overflow o) { return __nv_cvt_float_to_fp8(x, policy(o), Kind); }
  __host__ __device__ static unsigned narrow(double x, overflow o) {
    return __nv_cvt_double_to_fp8(x, policy(o), Kind);
  }
  __host__ __device__ static float widen(unsigned code) {
    return __half2float(__half{__nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(code), Kind)});
  }
};
struct e4m3_type : fp8_type<resect::fp8_e4m3, __NV_E4M3> {
  static constexpr const char* name = "fp8_e4m3";
};
struct e5m2_type : fp8_type<resect::fp8_e5m2, __NV_E5M2> {
  static constexpr const char* name = "fp8_e5m2";
};

// The constructors of the types that users of CUDA write.
bool constructors_agree(float x) {
  const __half h(x);
  const __nv_bfloat16 b(x);
  const __nv_fp8_e4m3 e(x);
  const __nv_fp8_e5m2 m(x);
  const resect::f16 rh(x);
  const resect::bf16 rb(x);
  const resect::fp8_e4m3 re(x);
  const resect::fp8_e5m2 rm(x);
  static_assert(sizeof h == sizeof rh && sizeof b == sizeof rb && sizeof e == sizeof re && sizeof m == sizeof rm);
  return std::memcmp(&h, &rh, sizeof h) == 0 && std::memcmp(&b, &rb, sizeof b) == 0 &&
         std::memcmp(&e, &re, sizeof e) == 0 && std::memcmp(&m, &rm, sizeof m) == 0;
}

template <class C, class Source>
__host__ __device__ bool agrees(Source x) {
  using T = typename C::type;
  bool ok = true;
  for (const overflow o : {overflow::non_finite, overflow::saturate}) {
    if (o == overflow::saturate && !C::saturates) continue;
    ok = ok && T(x, o).bits == C::narrow(x, o);
  }
  return ok;
}
template <class C>
__host__ __device__ bool widens_alike(unsigned code) {
  using T = typename C::type;
  const float a = static_cast<float>(T::from_bits(static_cast<decltype(T::bits)>(code))), b = C::widen(code);
#ifdef __CUDA_ARCH__
  if (a != a || b != b) return a != a && b != b;
#endif
  return resect::bits_of(a) == resect::bits_of(b);
}

constexpr unsigned long long random_patterns = 10'000'000;
__host__ __device__ resect::random::philox_words pattern(unsigned long long i) {
  return resect::random::philox_stream(20260101, 7).block(0, i);
}
// Random doubles, half of them with an exponent that the small types have.
__host__ __device__ double random_double(const resect::random::philox_words& w) {
  const std::uint64_t bits = w.pair(1);
  if (w[0] % 2 == 0) return resect::double_of(bits);
  const std::uint64_t exponent = 1023 - 40 + w[1] % 64;
  return resect::double_of((bits & 0x800fffffffffffffu) | exponent << 52);
}

// Each middle between neighbours and the numbers next to it, as float and as double, both signs.
template <class C>
std::vector<double> boundaries() {
  using T = typename C::type;
  std::vector<double> out;
  for (unsigned code = 0; code <= T::max().bits; ++code) {
    const double a = static_cast<double>(T::from_bits(static_cast<decltype(T::bits)>(code)));
    double b = 2 * a - static_cast<double>(T::from_bits(static_cast<decltype(T::bits)>(code - (code > 0))));
    if (code < T::max().bits) b = static_cast<double>(T::from_bits(static_cast<decltype(T::bits)>(code + 1)));
    const double middle = a / 2 + b / 2;
    const float m = static_cast<float>(middle);
    for (const double x :
         {a, middle, static_cast<double>(std::nextafter(m, 0.0f)), static_cast<double>(std::nextafter(m, INFINITY)),
          std::nextafter(middle, 0.0), std::nextafter(middle, static_cast<double>(INFINITY))}) {
      out.push_back(x);
      out.push_back(-x);
    }
  }
  for (const double x : {1e38, 3.4028234663852886e38, 1e39, 1e300, 1e-46, 1e-300, 5e-324, HUGE_VAL}) {
    out.push_back(x);
    out.push_back(-x);
  }
  for (const std::uint64_t payload : {std::uint64_t{1}, std::uint64_t{0x4000000000000}, std::uint64_t{0x8000000000000},
                                      std::uint64_t{0xc000000000000}, std::uint64_t{0xfffffffffffff}})
    for (const std::uint64_t sign : {std::uint64_t{0}, std::uint64_t{1} << 63})
      out.push_back(resect::double_of(sign | 0x7ff0000000000000u | payload));
  return out;
}

template <class C>
long on_host() {
  long wrong = 0;
  for (unsigned code = 0; code < 1u << (8 * sizeof(typename C::type)); ++code) wrong += !widens_alike<C>(code);
  const std::vector<double> edges = boundaries<C>();
  for (const double x : edges) wrong += !agrees<C>(x) + !agrees<C>(static_cast<float>(x));
  for (unsigned long long i = 0; i < random_patterns; ++i) {
    const auto w = pattern(i);
    wrong += !agrees<C>(resect::float_of(w[0]));
    if (i % 4 == 0) wrong += !agrees<C>(random_double(w));
  }
  std::printf("%s on the host: %zu boundaries, %llu random floats, %llu random doubles: %ld differ from CUDA's\n",
              C::name, edges.size(), random_patterns, random_patterns / 4, wrong);
  return wrong;
}

template <class C>
__global__ void compare_on_device(const double* edges, int n_edges, unsigned long long* wrong) {
  const unsigned long long step = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
  const unsigned long long first = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  unsigned long long mine = 0;
  for (unsigned long long i = first; i < 1u << (8 * sizeof(typename C::type)); i += step)
    mine += !widens_alike<C>(static_cast<unsigned>(i));
  for (unsigned long long i = first; i < static_cast<unsigned long long>(n_edges); i += step)
    mine += !agrees<C>(edges[i]) + !agrees<C>(static_cast<float>(edges[i]));
  for (unsigned long long i = first; i < random_patterns; i += step) {
    const auto w = pattern(i);
    mine += !agrees<C>(resect::float_of(w[0])) + !agrees<C>(random_double(w));
  }
  if (mine != 0) atomicAdd(wrong, mine);
}

template <class C>
long on_device() {
  const std::vector<double> host_edges = boundaries<C>();
  double* edges = nullptr;
  unsigned long long* wrong = nullptr;
  cudaMalloc(&edges, host_edges.size() * sizeof(double));
  cudaMallocManaged(&wrong, sizeof *wrong);
  *wrong = 0;
  cudaMemcpy(edges, host_edges.data(), host_edges.size() * sizeof(double), cudaMemcpyHostToDevice);
  compare_on_device<C><<<256, 256>>>(edges, static_cast<int>(host_edges.size()), wrong);
  const cudaError_t status = cudaDeviceSynchronize();
  const long result = status == cudaSuccess ? static_cast<long>(*wrong) : -1;
  std::printf("%s on the device: %ld differ from CUDA's%s\n", C::name, result,
              status == cudaSuccess ? "" : " (the kernel failed)");
  cudaFree(edges);
  cudaFree(wrong);
  return result == 0 ? 0 : 1;
}

int main() {
  long wrong = on_host<half_type>() + on_host<bfloat_type>() + on_host<e4m3_type>() + on_host<e5m2_type>();
  long constructors = 0;
  for (unsigned long long i = 0; i < random_patterns / 10; ++i)
    constructors += !constructors_agree(resect::float_of(pattern(i)[1]));
  std::printf("constructors of CUDA's types: %ld differ\n", constructors);
  wrong += constructors;

  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) std::puts("skipped: no GPU (the device half)");
  else wrong += on_device<half_type>() + on_device<bfloat_type>() + on_device<e4m3_type>() + on_device<e5m2_type>();
  return wrong == 0 ? 0 : 1;
}
