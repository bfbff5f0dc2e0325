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

// NaN is an error here, sums are compensated, zeros keep their signs, and the linker may keep either copy of a function:
// none of that survives. clang tells of no part but -ffinite-math-only; it gets told not to reorder sums instead, in
// what follows of the file.
#if (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(__FAST_MATH__) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error \
    "resect: -ffast-math (or its part -ffinite-math-only, -fassociative-math, -freciprocal-math or -fno-signed-zeros) is not supported: it removes the checks for NaN and changes results"
#endif
#if defined(__clang__)
#pragma clang fp reassociate(off)
#endif

// 1 where exceptions are on. Where it is 0, the throwing forms are absent (free functions, and members that are neither
// virtual nor special), and so is the class `exception`. Nothing else may depend on it, no layout and no body of a
// function, unless it is an argument of a template: the linker keeps one copy of a function for units of both kinds.
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
