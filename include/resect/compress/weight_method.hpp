// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/executor.hpp>
#include <resect/core/shared_function.hpp>
#include <resect/core/view.hpp>
#include <resect/model/weight.hpp>

namespace RESECT_NAMESPACE::compress {

// A way to alter a matrix: quantize it, factorize it, anything else that makes other values of it.
struct weight_method {
  // values (w.rows, w.cols), row-major: the intact weight, to be overwritten; `exec` shares out work
  using function =
      shared_function<status(const model::weight_desc& w, matrix_view<float> values, executor_ref exec)>;

  short_text<48> name;
  std::uint64_t hash = 0;  // of everything that changes what it does
  function apply;
  shared_function<double(const model::weight_desc& w)> stored_bits{};  // of the altered matrix; none: not known
};

}  // namespace RESECT_NAMESPACE::compress
