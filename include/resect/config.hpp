// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/version.hpp>

// The only header that reads the compiler's settings. A user may define before the first include:
//   RESECT_NAMESPACE_TAG   name of the inline namespace (default v0), so that two vendored copies can
//                          live in one program under different tags.
#ifndef RESECT_NAMESPACE_TAG
#define RESECT_NAMESPACE_TAG v0
#endif
// The namespace of every header, as one token: editors and indexers that expand no macro still see what it encloses.
#define RESECT_NAMESPACE resect::inline RESECT_NAMESPACE_TAG

// -ffast-math breaks resect: it removes checks for NaN, compensated summation and signed zeros, and the linker may
// keep such a copy of a function for units without the option. g++ announces it by the macros below. clang announces
// only -ffinite-math-only, so for clang the pragma disables reassociation for the rest of the file.
#if (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(__FAST_MATH__) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error \
    "resect: -ffast-math (or its part -ffinite-math-only, -fassociative-math, -freciprocal-math or -fno-signed-zeros) is not supported: it removes the checks for NaN and changes results"
#endif
#if defined(__clang__)
#pragma clang fp reassociate(off)
#endif

// 1 where exceptions are enabled. Where it is 0, the class `exception` and the throwing forms are absent (free
// functions, and members that are neither virtual nor special). Only the throwing forms may depend on this macro: if
// a layout or the body of an inline function did, a program that mixes -fno-exceptions and -fexceptions units would
// violate the one-definition rule (the linker keeps one body for both). A template that takes it as an argument is
// safe.
#if defined(__cpp_exceptions) && __cpp_exceptions
#define RESECT_EXCEPTIONS 1
#else
#define RESECT_EXCEPTIONS 0
#endif

// Marks small leaf functions whose body is the same on host and device.
#if defined(__CUDACC__)
#define RESECT_HD __host__ __device__
#else
#define RESECT_HD
#endif

// Unrolls the loop that follows n times; nvcc has no such pragma.
#if defined(__CUDACC__)
#define RESECT_UNROLL(n)
#else
#define RESECT_UNROLL_(text) _Pragma(#text)
#define RESECT_UNROLL(n) RESECT_UNROLL_(GCC unroll n)
#endif

namespace RESECT_NAMESPACE {}
