// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include <resect/metrics/accumulators/clustered.hpp>
#include <resect/metrics/accumulators/explained_variance.hpp>
#include <resect/student/closed_forms.hpp>
#include <resect/student/network_pass.hpp>
#include <resect/student/row_pairs.hpp>

// What a student is worth on rows that it was not trained on, beside the best closed form.
namespace RESECT_NAMESPACE::student {

// How near predicted rows are to their targets: FVU of the rows after the span, FVU of the deltas, and the mean cosine of
// predicted and true deltas, each with its interval clustered by documents.
struct held_out_errors {
  metrics::estimate fvu, fvu_delta, cosine_delta;
};

// A student's verdict.
struct student_verdict {
  double training_loss = 0;
  held_out_errors student;
  std::string_view map;  // the best closed form of the span
  held_out_errors best_map;
  metrics::estimate difference;  // FVU of the student's deltas less that of the map's, on the same rows
  index_t rows = 0, documents = 0;

  // Whether the student is better than every closed form on held-out rows; false where the interval holds 0: such a student
  // is not worth its parameters.
  bool beats_map() const noexcept { return difference.hi < 0; }
};

namespace detail {

// The sums of one predictor, document by document.
struct held_out_sums {
  metrics::explained_variance rows, deltas;
  metrics::clustered_sums cosines;

  held_out_sums(index_t documents, index_t width)
      : rows(documents, width), deltas(documents, width), cosines(documents) {}
  held_out_errors errors() const {
    return {rows.fvu(), deltas.fvu(), cosines.estimate(0.95, metrics::mean_range::any)};
  }
};

template <class = void>
held_out_sums compare_rows(const row_pairs& held_out, matrix_view<const float> predicted) {
  const index_t d = held_out.x.cols;
  held_out_sums out(held_out.documents(), d);
  const loss_rows<float> in{held_out.batch(), held_out.x.view(), held_out.y.view(), predicted};
  array<float> guess(d), target(d), row(d);
  for (index_t r = 0; r < held_out.x.rows; ++r) {
    if (!in.counts(held_out.task.apart, r)) continue;
    double pp = 0, tt = 0, pt = 0;
    for (index_t c = 0; c < d; ++c) {
      const double p = in.guess(loss_target::delta, r, c), t = in.target(loss_target::delta, r, c);
      guess[c] = static_cast<float>(p);
      target[c] = static_cast<float>(t);
      row[c] = predicted(r, c);
      pp += p * p;
      tt += t * t;
      pt += p * t;
    }
    const index_t document = held_out.document[r];
    out.rows.add(document, held_out.y.view().row_span(r), std::as_const(row).span());
    out.deltas.add(document, std::as_const(target).span(), std::as_const(guess).span());
    out.cosines.add(document, pp > 0 && tt > 0 ? pt / std::sqrt(pp * tt) : 0.0);
  }
  return out;
}

// (Σ‖e_a‖² − Σ‖e_b‖²)/Σ‖t − t̄‖² over the same rows.
struct difference_of_shares {
  double operator()(const double (&t)[3], double (&gradient)[3]) const noexcept {
    if (!(t[2] > 0)) return metrics::nan;
    gradient[0] = 1 / t[2];
    gradient[1] = -1 / t[2];
    gradient[2] = -(t[0] - t[1]) / (t[2] * t[2]);
    return (t[0] - t[1]) / t[2];
  }
};
template <class = void>
metrics::estimate paired_difference(const held_out_sums& a, const held_out_sums& b) {
  const auto of_a = a.deltas.sums(), of_b = b.deltas.sums();
  metrics::joint_sums<3> all(of_a.clusters());
  for (index_t c = 0; c < of_a.clusters(); ++c)
    if (of_a.count(c) > 0) all.add_sums(c, {of_a.sum(c, 0), of_b.sum(c, 0), of_a.sum(c, 1)}, of_a.count(c));
  return all.estimate(difference_of_shares{});
}

inline constexpr index_t fewest_documents = 6;  // below which there is no interval (metrics::set_interval)

template <class = void>
status check_held_out(const row_pairs& held_out, index_t width) {
  if (auto s = held_out.check(width); !s) return s;
  if (held_out.document.size() != held_out.rows.size() || held_out.documents() < fewest_documents)
    return error{errc::invalid_argument, "held-out documents of a student", text(held_out.documents()),
                 text(fewest_documents, " or more: with fewer there is no interval")};
  return {};
}

}  // namespace detail

// The student's rows ŷ of pairs, in batches of about 2,048 rows of whole sequences. Errors: those of network_pass.
template <dense_backend<float> B>
result<matrix<float>> try_predict(B& exec, const network<float>& student, const row_pairs& pairs) {
  matrix<float> out(pairs.x.rows, pairs.x.cols);
  const auto sequences = detail::sequences_of(pairs.batch());
  network_pass<float> pass;
  for (index_t i = 0; i < sequences.size();) {
    const index_t first = sequences[i].first;
    index_t rows = 0;
    for (; i < sequences.size() && (rows == 0 || rows + sequences[i].count <= 2048); ++i) rows += sequences[i].count;
    auto part = pass.try_forward(exec, student,
                                 pairs.batch().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows)),
                                 pairs.x.view().middle_rows(first, rows));
    if (!part) return part.error();
    copy(*part, out.view().middle_rows(first, rows));
  }
  return result<matrix<float>>(std::move(out));
}

// Judges a student on held-out pairs beside the closed forms of the same span, the best of which is chosen on these rows,
// which favours the map. Rows apart and pads do not count.
//   Cost: one forward pass of the student and of each map.
// Errors: conflict (closed forms of another span); shape_mismatch (a student of another width than the rows, rows without
// targets); invalid_argument (fewer than 6 documents: their intervals would mean nothing); those of the forward pass.
template <dense_backend<float> B>
result<student_verdict> try_judge_student(B& exec, const network<float>& student, double training_loss,
                                          const row_pairs& held_out, const closed_forms& maps) {
  if (auto s = detail::check_held_out(held_out, student.width()); !s) return s.error();
  if (!(maps.span == held_out.task.span))
    return error{errc::conflict, "closed forms beside a student",
                 text("layers [", maps.span.first, ", ", maps.span.last, ")"),
                 text("layers [", held_out.task.span.first, ", ", held_out.task.span.last, ")")};
  auto predicted = try_predict(exec, student, held_out);
  if (!predicted) return predicted.error();
  const auto own = detail::compare_rows(held_out, std::as_const(*predicted).view());
  student_verdict out{training_loss, own.errors(), {}, {}, {}, own.cosines.total_count(), own.cosines.used_clusters()};
  status done;
  maps.for_each([&](std::string_view name, const auto& map) {
    if (!done) return;
    done = map.try_apply(exec, held_out.x.view(), predicted->view());
    if (!done) return;
    const auto other = detail::compare_rows(held_out, std::as_const(*predicted).view());
    const auto errors = other.errors();
    if (!out.map.empty() && !(errors.fvu_delta.value < out.best_map.fvu_delta.value)) return;
    out.map = name;
    out.best_map = errors;
    out.difference = detail::paired_difference(own, other);
  });
  if (!done) return done.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::student
