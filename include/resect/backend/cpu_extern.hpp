// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/backend/cpu.hpp>
#include <resect/factor/truncated_svd.hpp>
#include <resect/factor/weighted_low_rank.hpp>
#include <resect/linalg/orthonormalize.hpp>

// cpu.hpp and the factorizations, for a program of several files: what takes long to compile of them (products, Cholesky,
// eigenvectors, orthonormal bases, truncated SVDs and weighted pairs of float and double on cpu<> and
// cpu<threads>) is compiled in one file of
// the program,
//   #include <resect/backend/cpu_instances.inl>
// and linked to the others, which include this header. Where that file is missing, the linker names what it did not find.
#define RESECT_INSTANCE extern template
#include <resect/backend/detail/cpu_instances.inl>
#undef RESECT_INSTANCE
