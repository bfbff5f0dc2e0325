// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// 1 where a sanitizer brings its own allocator, in g++ and clang.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TESTS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define TESTS_SANITIZED 1
#else
#define TESTS_SANITIZED 0
#endif
#else
#define TESTS_SANITIZED 0
#endif
