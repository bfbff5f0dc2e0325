// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include <resect/core/shared_value.hpp>
#include <resect/residual/replace.hpp>
#include <resect/student/network_pass.hpp>
#include <resect/student/span_map.hpp>

// A trained student in the place of layers.
namespace RESECT_NAMESPACE::student {

// What a report lists of a student besides its blocks, where students of one span differ: a literal of what training began
// with, and the rows that were trained on.
struct student_origin {
  std::string_view start = {};
  double rows = 0;
};

// A student as an operator of plans, its products those of a backend that it keeps a reference to.
//   h_j := ŷ(h_i); rows apart get h_i + δ̄. A student that attends reads the rows of a sequence from its beginning, as partial
//   passes of a surgical host give them, and has no cache of keys and values: other rows are an error (invalid_argument names
//   sequence and position). It takes working memory anew in every call.
//   fields: what kind of blocks and how many, its origin, and the hash of all parameters.
template <class B>
struct trained_operator {
  static constexpr std::string_view id = "resect.student/1";
  B* exec = nullptr;
  shared_value<network<float>> student;
  apart_rows apart;
  student_origin origin = {};

  residual::operator_facts facts() const noexcept {
    return {.what = residual::form::replace, .overwrites = true, .width = student->width()};
  }
  void fields(field_visitor& v) const {
    v.word("block", student->shape.attends() ? "transformer" : "mlp");
    v.number("blocks", static_cast<double>(student->blocks.size()));
    if (!origin.start.empty()) {
      v.word("start", origin.start);
      v.number("rows", origin.rows);
    }
    v.key("student",
          fingerprint{}
              .add(student->hash())
              .add(apart.shift.span())
              .add(apart.shift.empty() ? 0.0 : apart.rule.limit_x)
              .value(),
          listed_by::source);
  }
  status check() const {
    if (exec == nullptr)
      return error{errc::null_pointer, text("backend of ", residual::plain_name(id)), "null", "a backend"};
    if (!apart.shift.empty() && apart.shift.size() != student->width())
      return error{errc::shape_mismatch, "shift of rows apart", text(apart.shift.size()), text(student->width())};
    return student->shape.check();
  }
  status apply(const residual::tap& at, matrix_view<const float> in, matrix_view<float> out) const {
    network_pass<float> pass;
    auto rows = pass.try_forward(*exec, *student, at.rows, in);
    if (!rows) return rows.error();
    copy(*exec, *rows, out);
    apart.write(at.rows, in, out);
    return {};
  }
};

// The operator of a student on a backend, which outlives every plan that holds it.
//   plan{} | residual::replace_span(layers(3, 6), student::on(exec, run.best()))
// `apart` is that of the closed-form maps of the same span (apart_rows_of), where rows apart were left out of training.
template <class B>
trained_operator<B> on(B& exec, network<float> student, apart_rows apart = {}, student_origin origin = {}) {
  return {&exec, shared_value<network<float>>(std::move(student)), std::move(apart), origin};
}

}  // namespace RESECT_NAMESPACE::student
