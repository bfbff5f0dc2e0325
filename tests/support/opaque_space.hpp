// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <utility>

#include <resect/backend/cpu.hpp>
#include <resect/core/memory.hpp>
#include <resect/core/panels.hpp>
#include <resect/random/test_matrix.hpp>

// A memory space that the host cannot touch: one memory is mapped twice, and the half that algorithms get has no access
// rights. The backend alone knows the other half. An algorithm that reads or writes an element itself dies.
namespace opaque {

struct opaque_space {};

// The memory, mapped twice. Pages exist when they are touched; what was allocated is not reused.
class arena {
 public:
  static constexpr std::size_t size = std::size_t{1} << 30;

  arena() {
    const int file = ::memfd_create("opaque", 0);
    if (file < 0 || ::ftruncate(file, static_cast<off_t>(size)) != 0) throw std::runtime_error("no memory file");
    closed_ = static_cast<char*>(::mmap(nullptr, size, PROT_NONE, MAP_SHARED, file, 0));
    open_ = static_cast<char*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    ::close(file);
    if (closed_ == MAP_FAILED || open_ == MAP_FAILED) throw std::runtime_error("memory cannot be mapped");
  }
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;
  ~arena() {
    ::munmap(closed_, size);
    ::munmap(open_, size);
  }

  void* take(std::size_t bytes) noexcept {
    const std::size_t at = used_;
    if (bytes > size - at) return nullptr;
    used_ += (bytes + 63) / 64 * 64;
    return closed_ + at;
  }
  // The other half's address of the same element.
  template <class T>
  T* opened(T* p) const noexcept {
    return p == nullptr ? p : reinterpret_cast<T*>(reinterpret_cast<std::intptr_t>(p) + (open_ - closed_));
  }

 private:
  char* closed_ = nullptr;
  char* open_ = nullptr;
  std::size_t used_ = 0;
};

}  // namespace opaque

namespace RESECT_NAMESPACE {

// Elements that the host cannot touch; the arena keeps them.
template <class T>
class array<T, opaque::opaque_space> {
 public:
  array() noexcept = default;
  array(T* data, index_t n) noexcept : data_(data), size_(n) {}
  array(array&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  array& operator=(array&& other) noexcept {
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  index_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }

 private:
  T* data_ = nullptr;
  index_t size_ = 0;
};

}  // namespace RESECT_NAMESPACE

namespace opaque {

using resect::error, resect::index_t, resect::matrix_view, resect::status;

template <class T>
using view = matrix_view<T, opaque_space>;

// The backend of the space: cpu, on the half that can be touched.
class backend {
 public:
  using space = opaque_space;

  void bulk(index_t n, resect::function_ref<void(index_t)> f) { host_.bulk(n, f); }
  template <class T>
  status try_gemm(T alpha, std::type_identity_t<view<const T>> a, std::type_identity_t<view<const T>> b, T beta,
                  view<T> c) {
    return host_.try_gemm(alpha, opened(a), opened(b), beta, opened(c));
  }
  template <class T>
  status try_solve_right(std::type_identity_t<view<const T>> l, view<T> x) {
    return host_.try_solve_right(opened(l), opened(x));
  }
  resect::cpu<>& core() noexcept { return host_; }

  template <class T>
  resect::result<resect::array<T, space>> try_allocate(index_t n) {
    void* const p = memory_.take(static_cast<std::size_t>(n) * sizeof(T));
    if (p == nullptr) return error{resect::errc::out_of_memory, "opaque memory", "", ""};
    return resect::array<T, space>(static_cast<T*>(p), n);
  }
  template <class T>
  status try_copy(const matrix_view<const T>& from, const view<T>& to) {
    resect::copy(from, opened(to));
    return {};
  }
  template <class T>
  status try_copy(const view<const T>& from, const matrix_view<T>& to) {
    resect::copy(opened(from), to);
    return {};
  }
  template <class T>
  status try_copy(const view<const T>& from, const view<T>& to) {
    resect::copy(opened(from), opened(to));
    return {};
  }
  status try_wait() { return {}; }

  // The same elements in the half that can be touched.
  template <class T>
  matrix_view<T> opened(const view<T>& a) const noexcept {
    return {memory_.opened(a.data), a.rows, a.cols, a.row_stride, a.col_stride};
  }

 private:
  resect::cpu<> host_;
  arena memory_;
};

// What algorithms do to panels, found by the backend's type.
template <class T>
status try_column_norms(backend& exec, const view<T>& a, std::span<resect::column_measure> out) {
  return resect::try_column_norms(exec.core(), exec.opened(a), out);
}
template <class U, class T>
status try_scale_columns(backend& exec, const view<U>& from, std::span<const resect::column_scale> by,
                         const view<T>& to) {
  return resect::try_scale_columns(exec.core(), exec.opened(from), by, exec.opened(to));
}
template <class T>
status try_gram(backend& exec, const view<T>& a, matrix_view<double> g) {
  return resect::try_gram(exec.core(), exec.opened(a), g);
}
template <class U, class T>
status try_convert(backend& exec, const view<U>& from, const view<T>& to) {
  return resect::try_convert(exec.core(), exec.opened(from), exec.opened(to));
}
template <resect::random::test_matrix M, class T>
status try_fill(backend& exec, const M& omega, const view<T>& out, resect::random::block_origin origin) {
  return resect::random::try_fill(exec.core(), omega, exec.opened(out), origin);
}

}  // namespace opaque
