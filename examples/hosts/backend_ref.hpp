// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <type_traits>

#include <resect/core/backend.hpp>

namespace hosts {

// A reference to a backend that outlives it, whatever its type: what a runtime asks of one, tasks and products of floats.
// Three pointers. A runtime that takes this instead of the backend's type is compiled once.
class backend_ref {
 public:
  using space = resect::host_space;
  using view = resect::matrix_view<float>;
  using const_view = resect::matrix_view<const float>;

  template <resect::dense_backend<float> B>
    requires(!std::same_as<std::remove_cv_t<B>, backend_ref>)
  backend_ref(B& b) noexcept;

  void bulk(resect::index_t n, resect::function_ref<void(resect::index_t)> f) const { bulk_(object_, n, f); }
  // C ← α·A·B + β·C, as the backend does it.
  resect::status try_gemm(float alpha, const_view a, const_view b, float beta, view c) const {
    return gemm_(object_, alpha, a, b, beta, c);
  }

 private:
  void* object_;
  void (*bulk_)(void*, resect::index_t, resect::function_ref<void(resect::index_t)>);
  resect::status (*gemm_)(void*, float, const_view, const_view, float, view);
};

// Not inline: a file that names a backend of cpu.hpp does not compile its products.
template <resect::dense_backend<float> B>
  requires(!std::same_as<std::remove_cv_t<B>, backend_ref>)
backend_ref::backend_ref(B& b) noexcept
    : object_(&b),
      bulk_([](void* object, resect::index_t n, resect::function_ref<void(resect::index_t)> f) {
        static_cast<B*>(object)->bulk(n, f);
      }),
      gemm_([](void* object, float alpha, const_view a, const_view c, float beta, view out) {
        return static_cast<B*>(object)->try_gemm(alpha, a, c, beta, out);
      }) {}

}  // namespace hosts
