// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/core/shared_count.hpp>

namespace RESECT_NAMESPACE {

// A shared, immutable value: copies share it and may be read by many threads. It is never empty but after a move.
template <class T>
class shared_value {
 public:
  shared_value(T value) : node_(new node{std::move(value)}) {}
  shared_value(const shared_value& other) noexcept : node_(other.node_) {
    if (node_) node_->references.add();
  }
  shared_value(shared_value&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  shared_value& operator=(shared_value other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~shared_value() {
    if (node_ && node_->references.take_one() == 0) delete node_;
  }

  const T& operator*() const noexcept { return node_->value; }
  const T* operator->() const noexcept { return &node_->value; }

 private:
  struct node {
    T value;
    shared_count references{1};
  };
  node* node_;
};

}  // namespace RESECT_NAMESPACE
