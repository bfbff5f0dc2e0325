// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <resect/core/shared_count.hpp>

namespace RESECT_NAMESPACE {

// An owned, immutable, shared callable: copies share it, calls are const and may run on many threads.
// (std::function copies what it holds and <functional> alone costs a quarter second to include.)
template <class Signature>
class shared_function;

template <class R, class... Args>
class shared_function<R(Args...)> {
 public:
  shared_function() noexcept = default;

  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, shared_function> && std::is_invocable_r_v<R, const F&, Args...>)
  shared_function(F f) : node_(new holder<F>(std::move(f))) {}

  shared_function(const shared_function& other) noexcept : node_(other.node_) {
    if (node_) node_->references.add();
  }
  shared_function(shared_function&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  shared_function& operator=(shared_function other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~shared_function() {
    if (node_ && node_->references.take_one() == 0) delete node_;
  }

  explicit operator bool() const noexcept { return node_ != nullptr; }
  R operator()(Args... args) const { return node_->call(std::forward<Args>(args)...); }

 private:
  struct node {
    virtual ~node() = default;
    virtual R call(Args... args) const = 0;
    shared_count references{1};
  };
  template <class F>
  struct holder final : node {
    explicit holder(F&& f) : function(std::move(f)) {}
    R call(Args... args) const override {
      if constexpr (std::is_void_v<R>) static_cast<void>(function(std::forward<Args>(args)...));
      else return function(std::forward<Args>(args)...);
    }
    F function;
  };

  node* node_ = nullptr;
};

}  // namespace RESECT_NAMESPACE
