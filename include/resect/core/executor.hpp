// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <resect/core/types.hpp>

namespace resect::inline RESECT_NAMESPACE_TAG {

// A reference to a callable that outlives the call it is passed to. Two pointers; no allocation.
template <class Signature>
class function_ref;

template <class R, class... Args>
class function_ref<R(Args...)> {
 public:
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, function_ref> && std::is_invocable_r_v<R, F&, Args...>)
  function_ref(F&& f) noexcept
      : object_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// Anything that can run tasks 0 … n−1, each once, in any order and on any threads, and returns when all
// are done. Tasks write to places that do not overlap and do not throw. An engine lends its own pool by
// giving it `bulk`. What resect computes never depends on how many workers there are.
template <class E>
concept executor = requires(E& e, index n, function_ref<void(index)> f) { e.bulk(n, f); };

// The default: no thread is started, tasks run in order on the caller.
struct inline_executor {
  template <class F>
  void bulk(index n, F&& f) const {
    for (index i = 0; i < n; ++i) f(i);
  }
};

}  // namespace resect::inline RESECT_NAMESPACE_TAG
