// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/model/host.hpp>

namespace RESECT_NAMESPACE::model {

namespace detail {
template <class H>
struct product_guards {};
template <product_host H>
struct product_guards<H> {
  array<typename H::product_override> held;
};
template <class H>
concept float_product_host =
    product_host<H> && std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>;
}  // namespace detail

// Guards of overridden weights and products; its destructor ends the guards in reverse order, so that nested overrides of
// one weight restore it.
template <surgical_host H>
class held_weights {
 public:
  held_weights() = default;
  held_weights(held_weights&&) noexcept = default;
  held_weights& operator=(held_weights&&) = delete;
  ~held_weights() {
    if constexpr (product_host<H>)
      while (!products_.held.empty()) products_.held.pop_back();
    while (!guards_.empty()) guards_.pop_back();
  }
  void hold(typename H::weight_override guard) { guards_.push_back(std::move(guard)); }
  template <class Guard>
  void hold_product(Guard guard) {
    products_.held.push_back(std::move(guard));
  }
  // How many weights are overridden.
  index_t size() const noexcept { return guards_.size(); }

 private:
  array<typename H::weight_override> guards_;
  [[no_unique_address]] detail::product_guards<H> products_;
};

}  // namespace RESECT_NAMESPACE::model
