// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A system that starts five threads and then no more, for the pools of two parts.
#include <dlfcn.h>
#include <pthread.h>
#include <cerrno>
#include <cstdio>

namespace {
int started = 0, ended = 0;
}

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*f)(void*),
                              void* argument) noexcept {
  using create = int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  if (started - ended == 5) return EAGAIN;
  ++started;
  return reinterpret_cast<create*>(dlsym(RTLD_NEXT, "pthread_create"))(thread, attributes, f, argument);
}
extern "C" int pthread_join(pthread_t thread, void** value) {
  using join = int(pthread_t, void**);
  ++ended;
  return reinterpret_cast<join*>(dlsym(RTLD_NEXT, "pthread_join"))(thread, value);
}

int with_exceptions();
int without_exceptions();

int main() {
  const int with = with_exceptions(), without = without_exceptions();
  const bool fine = with == 6 && without == 6 && started == 10 && ended == 10;
  std::printf("workers %d and %d, threads started %d and ended %d: %s\n", with, without, started, ended,
              fine ? "fine" : "wanted 6 and 6, 10 and 10");
  return fine ? 0 : 1;
}
