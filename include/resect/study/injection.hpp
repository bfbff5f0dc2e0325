// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/residual/operators.hpp>
#include <resect/residual/resample.hpp>
#include <resect/student/closed_forms.hpp>
#include <resect/student/trained_span.hpp>
#include <resect/study/arm.hpp>
#include <resect/study/detail/paths.hpp>
#include <resect/study/detail/walk_cost.hpp>

// Arms of the study of skipped, replaced and injected layers: can a model do without some of its layers, what must stand
// in their place, and how much does a stream survive that starts in the middle?
namespace RESECT_NAMESPACE::study {

namespace operators {

// h_k := h_0: the embedding itself is injected at layer k.
struct inject_embedding {
  static constexpr std::string_view id = "resect.inject.embedding/1";
  residual::operator_facts facts() const noexcept { return {.what = residual::form::replace, .overwrites = true}; }
  void fields(field_visitor&) const {}
  status apply(const residual::tap&, matrix_view<const float> in, matrix_view<float> out) const noexcept {
    copy(in, out);
    return {};
  }
};

// h_k := A(h_0): an affine map of the embedding is injected at layer k.
template <class B>
struct inject_affine : student::map_operator<B, student::affine_map> {
  static constexpr std::string_view id = "resect.inject.affine/1";
};

}  // namespace operators

// An arm with what its study asks besides: the layer before which its splice ends (−1: no splice to judge), the name of
// the map, and the operations a token of what stands in the layers' place.
struct spliced_arm {
  study::arm arm;
  int splice = -1;
  std::string_view map = {};
  double map_flop = 0;
  bool of_these_rows = false;  // the plan has sources for the evaluated rows alone: no other text runs under it
};

namespace detail {
template <class = void>
std::string span_text(residual::layer_range s) {
  return s.last - s.first == 1 ? "layer " + std::to_string(s.first)
                               : "layers " + std::to_string(s.first) + "-" + std::to_string(s.last - 1);
}

template <class... Step>
result<spliced_arm> try_spliced(std::string label, residual::layer_range span, Step... steps) {
  spliced_arm out{{{}, std::move(label)}, span.last, {}, 0, false};
  status done;
  ((done = done ? out.arm.plan.try_add(std::move(steps)) : done), ...);
  if (!done) return done.error();
  return out;
}
}  // namespace detail

// The host's own layers in the place of a span: changes no bit, or the study's splices are wrong.
template <model::surgical_host H>
result<spliced_arm> try_splice_arm(H& host, residual::layer_range span) {
  const auto identity =
      fingerprint{}.add(static_cast<std::uint64_t>(span.first)).add(static_cast<std::uint64_t>(span.last)).value();
  return detail::try_spliced("own " + detail::span_text(span), span,
                             residual::replace_span(span, residual::own_layers(host, span), identity));
}

// The span is left out.
template <class = void>
result<spliced_arm> try_skip_arm(residual::layer_range span) {
  return detail::try_spliced("without " + detail::span_text(span), span, residual::skip(span));
}

// The deltas of a span times a dose between 0 (left out) and 1 (intact).
template <class = void>
result<spliced_arm> try_dose_arm(residual::layer_range span, float dose) {
  return detail::try_spliced(std::string(text(dose, " of ").view()) + detail::span_text(span), span,
                             residual::scale_delta(span, dose));
}

// The deltas of a span are their means over reference rows.
template <class = void>
result<spliced_arm> try_mean_arm(residual::layer_range span, const residual::delta_means& means) {
  auto step = residual::try_mean_delta(span, means);
  if (!step) return step.error();
  return detail::try_spliced("mean of " + detail::span_text(span), span, std::move(*step));
}

// The deltas of a span are those of the same positions of other windows, drawn with a seed.
template <class = void>
result<spliced_arm> try_resample_arm(residual::layer_range span, const shared_value<residual::row_store>& deltas,
                                     std::uint64_t seed) {
  auto step = residual::try_resample_delta(span, deltas, seed);
  if (!step) return step.error();
  auto out = detail::try_spliced("resampled " + detail::span_text(span), span, std::move(*step));
  if (out) out->of_these_rows = true;
  return out;
}

// Untrained injection: the embedding goes through the first `own` layers of the host, re-initialized by this seed (gains
// reset, biases 0), and is injected at layer `depth`; layers [own, depth) do not run. own = 0 injects the embedding.
// Errors: invalid_argument (depth below 1 or below own).
template <class = void>
result<spliced_arm> try_untrained_arm(int depth, int own, std::uint64_t seed) {
  if (own < 0 || depth < 1 || depth < own)
    return error{errc::invalid_argument, "depth of an injection", text(depth), text("1 or more, and at least ", own)};
  const residual::layer_range whole{0, depth};
  std::string label = "embedding through " + std::to_string(own) + " at layer " + std::to_string(depth);
  if (own == 0)
    return detail::try_spliced(std::move(label), whole, residual::replace_span(whole, operators::inject_embedding{}));
  auto random = residual::reinit(residual::layers(0, own), seed, residual::norm_gains::reset);
  if (own == depth) return detail::try_spliced(std::move(label), whole, std::move(random));
  return detail::try_spliced(std::move(label), whole, std::move(random), residual::skip(residual::layers(own, depth)));
}

// An affine map of the embedding, fitted on the span [0, depth), is injected at layer `depth`.
template <class B>
result<spliced_arm> try_affine_injection_arm(B& exec, int depth, const student::span_map<student::affine_map>& map) {
  operators::inject_affine<B> op;
  op.exec = &exec;
  op.map = map;
  const residual::layer_range whole{0, depth};
  auto out = detail::try_spliced("affine map of the embedding at layer " + std::to_string(depth), whole,
                                 residual::replace_span(whole, std::move(op)));
  if (out) out->map_flop = map.flop();
  return out;
}

// Every closed-form map of a span in its place, the identity with shifted rows apart first.
template <class B>
result<std::vector<spliced_arm>> try_map_arms(B& exec, const student::closed_forms& forms) {
  std::vector<spliced_arm> out;
  status done;
  forms.for_each([&](std::string_view name, const auto& map) {
    if (!done) return;
    student::span_map with{map, forms.apart};
    const double flop = with.flop();
    auto one = detail::try_spliced(std::string(name) + " in place of " + detail::span_text(forms.span), forms.span,
                                   residual::replace_span(forms.span, student::on(exec, std::move(with))));
    if (!one) {
      done = one.error();
      return;
    }
    one->map = name;
    one->map_flop = flop;
    out.push_back(std::move(*one));
  });
  if (!done) return done.error();
  return result<std::vector<spliced_arm>>(std::move(out));
}

// A trained student and the span that it was trained for.
struct span_student {
  residual::layer_range span;
  student::network<float> network;
  student::apart_rows apart;
};

// Students in the place of their spans, which follow each other: with one, a student that reads the intact stream
// (teacher-forced); with several, each but the first reads what the one before it leaves (free-running). The splice is
// the end of the last span. Operations are those of the products with weights.
// Errors: invalid_argument (no student, spans with a gap); those of the plan.
template <class B>
result<spliced_arm> try_student_arm(B& exec, std::span<const span_student> students) {
  if (students.empty()) return error{errc::invalid_argument, "students of an arm", "none", "1 or more"};
  const residual::layer_range whole{students.front().span.first, students.back().span.last};
  std::string label =
      students.size() == 1 ? std::to_string(students.front().network.blocks.size()) + " blocks" : "students";
  spliced_arm out{{{}, label + " in place of " + detail::span_text(whole)}, whole.last, {}, 0, false};
  for (std::size_t i = 0; i < students.size(); ++i) {
    const span_student& s = students[i];
    if (i > 0 && s.span.first != students[i - 1].span.last)
      return error{errc::invalid_argument, "spans of students", text("[", s.span.first, ", ", s.span.last, ")"),
                   text("one that begins at layer ", students[i - 1].span.last)};
    out.map_flop += s.network.flop();
    if (auto done = out.arm.plan.try_add(residual::replace_span(s.span, student::on(exec, s.network, s.apart))); !done)
      return done.error();
  }
  return out;
}

// Floating-point operations a token of a model under a plan: the products of the layers that run and of the head. What
// stands in a span's place is not counted (spliced_arm::map_flop).
template <model::surgical_host H>
double flop_per_token(const H& host, const residual::plan& plan) {
  const int n = host.describe().n_layers;
  const auto path = detail::path_of(plan, 0, n);
  double out = detail::head_flop(host.describe(), 1);
  for (int l = 0; l < n; ++l)
    if (path.runs_layer(l)) out += detail::layer_flop(host, l, 1);
  return out;
}

}  // namespace RESECT_NAMESPACE::study
