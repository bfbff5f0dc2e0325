// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/core/array.hpp>
#include <resect/model/host.hpp>

namespace RESECT_NAMESPACE::model {

// Guards of overridden weights; its destructor ends the guards in reverse order, so that nested overrides of one
// weight restore it.
template <surgical_host H>
class held_weights {
 public:
  held_weights() = default;
  held_weights(held_weights&&) noexcept = default;
  held_weights& operator=(held_weights&&) = delete;
  ~held_weights() {
    while (!guards_.empty()) guards_.pop_back();
  }
  void hold(typename H::weight_override guard) { guards_.push_back(std::move(guard)); }
  // How many weights are overridden.
  index_t size() const noexcept { return guards_.size(); }

 private:
  array<typename H::weight_override> guards_;
};

}  // namespace RESECT_NAMESPACE::model
