// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/core/executor.hpp>
#include <resect/core/fields.hpp>
#include <resect/core/shared_function.hpp>
#include <resect/core/view.hpp>
#include <resect/model/weight.hpp>

namespace RESECT_NAMESPACE::compress {

// A function that computes altered values of a weight matrix (by quantizing, factorizing or another method), with its
// identity.
struct weight_method {
  // values (w.rows, w.cols), row-major: the intact weight, to be overwritten; `exec` shares out work
  using function = shared_function<status(const model::weight_desc& w, matrix_view<float> values, executor_ref exec)>;

  short_text<48> name;     // shown in tables and errors; nothing depends on it
  std::uint64_t hash = 0;  // hash of everything that changes the altered values
  function apply;
  shared_function<double(const model::weight_desc& w)> stored_bits{};  // of the altered matrix; empty: unknown
  std::string_view id = {};  // "resect.quantize/1": the method and its revision; a literal, kept by reference
  field_list fields = {};    // its parameters, as reports list them
  // Whether it may alter the weights of the model of this fingerprint; empty: of any. Asked before anything runs.
  shared_function<status(std::uint64_t model)> check_model{};
};

}  // namespace RESECT_NAMESPACE::compress
