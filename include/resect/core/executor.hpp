// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE {

// A reference to a callable that outlives the call it is passed to. Two pointers; no allocation.
template <class Signature>
class function_ref;

template <class R, class... Args>
class function_ref<R(Args...)> {
 public:
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, function_ref> && std::is_invocable_r_v<R, F&, Args...>)
  function_ref(F&& f) noexcept : call_(&call<std::remove_reference_t<F>>) {
    if constexpr (std::is_function_v<std::remove_reference_t<F>>) target_.function = reinterpret_cast<void (*)()>(&f);
    else target_.object = const_cast<void*>(static_cast<const void*>(&f));
  }

  R operator()(Args... args) const { return call_(target_, std::forward<Args>(args)...); }

 private:
  union target {
    void* object;
    void (*function)();
  };
  template <class F>
  static R call(target t, Args... args) {
    F* f;
    if constexpr (std::is_function_v<F>) f = reinterpret_cast<F*>(t.function);
    else f = static_cast<F*>(t.object);
    if constexpr (std::is_void_v<R>) static_cast<void>((*f)(std::forward<Args>(args)...));
    else return (*f)(std::forward<Args>(args)...);
  }

  target target_;
  R (*call_)(target, Args...);
};

// An object whose bulk(n, f) runs tasks 0 … n−1, each once, in any order and on any threads, and returns when all are
// done. Tasks do not throw and write to places that do not overlap. An engine's own pool becomes an executor by a
// member `bulk`. No result of resect depends on the number of workers.
template <class E>
concept executor = requires(E& e, index_t n, function_ref<void(index_t)> f) { e.bulk(n, f); };

// The default executor: tasks run in order on the calling thread.
struct inline_executor {
  template <class F>
  void bulk(index_t n, F&& f) const {
    for (index_t i = 0; i < n; ++i) f(i);
  }
};

// A reference to an executor, for functions that are no templates; the executor must outlive it. Two pointers.
class executor_ref {
 public:
  template <executor E>
    requires(!std::same_as<std::remove_cv_t<E>, executor_ref>)
  executor_ref(E& e) noexcept
      : object_(const_cast<void*>(static_cast<const void*>(&e))),
        bulk_([](void* object, index_t n, function_ref<void(index_t)> f) { static_cast<E*>(object)->bulk(n, f); }) {}

  void bulk(index_t n, function_ref<void(index_t)> f) const { bulk_(object_, n, f); }

 private:
  void* object_;
  void (*bulk_)(void*, index_t, function_ref<void(index_t)>);
};

}  // namespace RESECT_NAMESPACE
