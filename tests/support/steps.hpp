// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <resect/residual/plan.hpp>

// Steps that a user could write: what the operators of the library do not cover.
namespace support {

using resect::model::site;
using resect::model::tap;
using resect::residual::layer_range;
using resect::residual::step;

enum class effect_on_place { overwrites, edits };

// The identity of a step is its name's, unless the test gives another.
inline std::uint64_t identity_of(std::string_view name) { return resect::fingerprint{}.add(name).value(); }

template <class F>
step rows_step(site where, layer_range range, F f, std::string_view name = "rows",
               effect_on_place how = effect_on_place::edits, std::uint64_t identity = 0) {
  step s{range, where,
         resect::residual::named("tests.rows/1", identity != 0 ? identity : identity_of(name), std::move(f),
                                 {.overwrites = how == effect_on_place::overwrites})};
  s.name = name;
  return s;
}

// h ← a·h + b
inline step affine_step(site where, layer_range range, float a, float b) {
  return rows_step(
      where, range,
      [a, b](const tap&, resect::matrix_view<float> h) {
        for (resect::index_t r = 0; r < h.rows; ++r)
          for (resect::index_t c = 0; c < h.cols; ++c) h(r, c) = a * h(r, c) + b;
      },
      "affine", effect_on_place::edits, resect::fingerprint{}.add(a).add(b).value());
}

// The same function whatever its name is.
inline step idle_rows(site where, layer_range range, std::string_view name = "idle",
                      effect_on_place how = effect_on_place::edits) {
  return rows_step(where, range, [](const tap&, resect::matrix_view<float>) {}, name, how, 1);
}

template <class F>
step block_step(layer_range range, F f, std::string_view name = "block", effect_on_place how = effect_on_place::edits) {
  step s{range, resect::residual::named("tests.block/1", identity_of(name), std::move(f),
                                        {.overwrites = how == effect_on_place::overwrites})};
  s.name = name;
  return s;
}

template <class F>
step weights_step(layer_range range, F f, std::string_view name = "weights",
                  effect_on_place how = effect_on_place::edits) {
  const auto change = [f = std::move(f)](const resect::model::weight_desc& w, resect::matrix_view<float> v,
                                         resect::executor_ref) { return f(w, v); };
  step s{range, resect::residual::named("tests.weights/1", identity_of(name), change,
                                        {.overwrites = how == effect_on_place::overwrites})};
  s.name = name;
  return s;
}

inline std::string parts(const resect::error& e) {
  std::string out{name(e.code)};
  for (const auto& part : {e.operand, e.got, e.wanted}) out.append(" | ").append(part.view());
  return out;
}
inline std::string parts(const resect::status& s) { return s ? "fine" : parts(s.error()); }

}  // namespace support
