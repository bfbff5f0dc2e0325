// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/config.hpp>

// Which kernels a machine can run. Kernels are free functions that carry a target attribute, in a namespace named after
// their instruction set; they are compiled into every build, whatever its flags, and chosen when the program runs.
//
// Such a function carries [[RESECT_TARGET_AVX2]]. The macro lists `no-avx512f` so that an AVX2 kernel that is
// compiled in a unit with -march=native contains no AVX-512 instruction; the linker may keep that copy for every
// unit.
#define RESECT_TARGET_AVX2 gnu::target("avx2,fma,no-avx512f")
#define RESECT_TARGET_AVX512 gnu::target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl")

namespace RESECT_NAMESPACE {

// Instruction sets with kernels of their own; each includes those before it.
enum class instruction_set : std::uint8_t {
  portable,  // what every machine of the architecture has (x86-64: SSE2; aarch64: NEON); the only one outside x86-64
  avx2,      // AVX2 with FMA
  avx512,    // AVX-512 F, DQ, BW and VL
};

// The name of an instruction set: "portable", "avx2", "avx512".
constexpr std::string_view name(instruction_set set) noexcept {
  switch (set) {
    case instruction_set::portable: return "portable";
    case instruction_set::avx2: return "avx2";
    case instruction_set::avx512: return "avx512";
  }
  return "unknown";
}

// Whether this machine and its operating system can run the kernels of `set`. A few loads of what the compiler's
// runtime found out at program start; no state of our own. Not before static constructors run (ifunc resolvers).
inline bool supported(instruction_set set) noexcept {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (set == instruction_set::avx2) return avx2;
  if (set == instruction_set::avx512)
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
  return set == instruction_set::portable;
}

// The largest supported set. 2 ns.
inline instruction_set best_instruction_set() noexcept {
  return supported(instruction_set::avx512) ? instruction_set::avx512
         : supported(instruction_set::avx2) ? instruction_set::avx2
                                            : instruction_set::portable;
}

// The set that runs if `wanted` is forced: `wanted`, or the largest supported set below it. Forcing a set is always
// safe; a test that needs a certain set calls `supported` first.
inline instruction_set runnable(instruction_set wanted) noexcept {
  if (supported(wanted)) return wanted;
  return supported(instruction_set::avx2) && wanted == instruction_set::avx512 ? instruction_set::avx2
                                                                               : instruction_set::portable;
}

// The instruction set of a backend's constructor argument, or the machine's largest if it has none.
template <class B>
instruction_set instructions_of(const B& backend) noexcept {
  if constexpr (requires { backend.instructions(); }) return backend.instructions();
  else return best_instruction_set();
}

}  // namespace RESECT_NAMESPACE
