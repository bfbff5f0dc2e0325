// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>
#include <utility>

#include <resect/student/detail/adam.hpp>
#include <resect/student/network_pass.hpp>
#include <resect/student/row_pairs.hpp>

// Training of students: one trainer for every block and loss.
namespace RESECT_NAMESPACE::student {

// All that a run needs to go on: what checkpoints hold.
template <class T>
struct training_state {
  network<T> weights, mean, square;  // parameters, Adam's running means of g and g²
  network<T> best;                   // parameters of the least held-out loss; no block before the first judgement
  double mean_square = 0;            // mean of ‖t‖² over the rows that training began with
  double best_loss = std::numeric_limits<double>::infinity();
  index_t best_step = -1;
  index_t since_best = 0;  // judgements
  index_t step = 0;
  std::int64_t rows = 0;  // that were trained on
};

// The parameters of a new student for pairs: its blocks add nothing yet, and what they add is in units of the root mean
// square of the pairs' deltas. Errors: shape_mismatch (a width that is not the pairs'); invalid_argument (shape, blocks;
// deltas that are all 0); those of row_pairs::check.
template <class T>
result<network<T>> try_new_student(const block_shape& shape, index_t blocks, const row_pairs& pairs,
                                   std::uint64_t seed) {
  if (auto s = pairs.check(shape.width); !s) return s.error();
  const double square =
      mean_target_square(loss_target::delta, pairs.task.apart, pairs.batch(), pairs.x.view(), pairs.y.view());
  if (!(square > 0))
    return error{errc::invalid_argument, "targets of a student's rows", "deltas that are all 0",
                 "rows that a span changes"};
  return network<T>::try_make(shape, blocks, seed, std::sqrt(square / static_cast<double>(shape.width)));
}

// Trains a student on batches of whole sequences.
//   T: parameters, moments and arithmetic; float, or double to check it. Losses in double.
//   Cost of a step: 3·network::flop() a row, and AdamW's 7 reads and writes of every parameter. Memory: five times the
//   parameters and that of network_pass.
//   Same bits for any number of workers, if the backend's products have that.
//   Errors of try_step, try_gradient, try_judge: shape_mismatch (x of another width than the student, rows without targets),
//   conflict (rows of another span or teacher), not_finite (a row; the loss or its gradient), invalid_argument (no row that
//   counts; texts that are not whole); those of the backend. The state is as before.
template <class T>
class trainer {
 public:
  // A run that begins with these parameters. `sample` gives the unit of losses and the task.
  // Errors: those of the options; shape_mismatch; invalid_argument (no block; targets that are all 0); not_finite.
  static result<trainer> try_make(network<T> student, const training_options& options, const row_pairs& sample) {
    if (auto s = options.check(); !s) return s.error();
    if (auto s = student.shape.check(); !s) return s.error();
    if (student.blocks.empty()) return error{errc::invalid_argument, "blocks of a student", "0", "1 or more"};
    if (auto s = sample.check(student.width()); !s) return s.error();
    trainer t(options, sample.task);
    t.state_.mean_square =
        mean_target_square(options.loss.target, sample.task.apart, sample.batch(), sample.x.view(), sample.y.view());
    if (!(t.state_.mean_square > 0))
      return error{errc::invalid_argument, "targets of a student's rows", "no row that counts, or all 0",
                   "rows that a span changes"};
    t.state_.mean = t.state_.square = student.zeros();
    t.state_.weights = std::move(student);
    return result<trainer>(std::move(t));
  }
  // A run that goes on from a state. Errors: those of the options; shape_mismatch (parts of other extents).
  static result<trainer> try_resume(const training_options& options, const training_task& task,
                                    training_state<T> state) {
    if (auto s = options.check(); !s) return s.error();
    const network<T>& w = state.weights;
    for (const network<T>* part : {&state.mean, &state.square})
      if (!(part->shape == w.shape) || part->blocks.size() != w.blocks.size() || w.blocks.empty())
        return error{errc::shape_mismatch, "state of a student's training",
                     text(part->blocks.size(), " blocks of moments"),
                     text(w.blocks.size(), " blocks of the student's shape, 1 or more")};
    trainer t(options, task);
    t.state_ = std::move(state);
    return result<trainer>(std::move(t));
  }

  // One step of training.
  template <dense_backend<T> B>
  result<training_report> try_step(B& exec, const row_pairs& batch) {
    auto report = try_gradient(exec, batch, gradient_);
    if (!report) return report;
    const double norm = report->gradient_norm,
                 scale = options_.clip > 0 && norm > options_.clip ? options_.clip / norm : 1;
    update(exec, scale);
    ++state_.step;
    state_.rows += report->rows;
    return report;
  }

  // The loss of a batch and its gradient by all parameters, before clipping.
  template <dense_backend<T> B>
  result<training_report> try_gradient(B& exec, const row_pairs& batch, network<T>& gradient) {
    auto loss = try_loss(exec, batch, true);
    if (!loss) return loss.error();
    if (auto s = pass_.try_backward(exec, state_.weights, dy_.view(), gradient); !s) return s.error();
    training_report out{state_.step, loss->loss, norm_of(exec, gradient), options_.rate_at(state_.step), loss->rows};
    if (!is_finite(out.gradient_norm))
      return error{errc::not_finite, text("gradient of a student at step ", state_.step), text(out.gradient_norm),
                   "a finite norm"};
    return out;
  }

  // The held-out loss. The parameters become `best` where it is the least so far.
  template <dense_backend<T> B>
  result<batch_loss> try_judge(B& exec, const row_pairs& held_out) {
    auto loss = try_loss(exec, held_out, false);
    if (!loss) return loss;
    if (loss->loss < state_.best_loss) {
      state_.best = state_.weights;
      state_.best_loss = loss->loss;
      state_.best_step = state_.step;
      state_.since_best = 0;
    } else {
      ++state_.since_best;
    }
    return loss;
  }

  // Whether all steps are done, or `patience` judgements brought nothing.
  bool finished() const noexcept {
    return state_.step >= options_.steps || (options_.patience > 0 && state_.since_best >= options_.patience);
  }
  // The parameters of the least held-out loss; those of the last step before the first judgement.
  const network<T>& best() const noexcept { return state_.best.blocks.empty() ? state_.weights : state_.best; }
  const training_state<T>& state() const noexcept { return state_; }
  // For tests that move a parameter.
  training_state<T>& mutable_state() noexcept { return state_; }
  const training_options& options() const noexcept { return options_; }
  const training_task& task() const noexcept { return task_; }

 private:
  trainer(const training_options& options, const training_task& task) : options_(options), task_(task) {}

  status check_batch(const row_pairs& batch) const {
    if (auto s = batch.check(state_.weights.width()); !s) return s;
    const auto& got = batch.task;
    if (!(got.span == task_.span) || got.teacher != task_.teacher)
      return error{errc::conflict, "rows of a student",
                   text("layers [", got.span.first, ", ", got.span.last, ") of model ", got.teacher),
                   text("layers [", task_.span.first, ", ", task_.span.last, ") of model ", task_.teacher)};
    return {};
  }
  template <class B>
  result<batch_loss> try_loss(B& exec, const row_pairs& batch, bool with_gradient) {
    if (auto s = check_batch(batch); !s) return s.error();
    auto predicted = pass_.try_forward(exec, state_.weights, batch.batch(), batch.x.view());
    if (!predicted) return predicted.error();
    if (with_gradient) dy_.resize(batch.x.rows, batch.x.cols);
    const batch_loss out = loss_of_batch<T>(exec, options_.loss, state_.mean_square, task_.apart,
                                            {batch.batch(), batch.x.view(), batch.y.view(), *predicted},
                                            with_gradient ? dy_.view() : matrix_view<T>{});
    if (out.rows == 0)
      return error{errc::invalid_argument, "rows of a student", text(batch.x.rows, ", all pads or rows apart"),
                   "1 or more that count"};
    if (!is_finite(out.loss))
      return error{errc::not_finite, text("loss of a student at step ", state_.step), text(out.loss), "a finite loss"};
    return out;
  }

  // f(part of the weights, the same part of other networks …) in pieces of fixed size, as tasks.
  static constexpr index_t piece = 1 << 14;
  struct part_piece {
    T *weights, *mean, *square, *gradient;
    index_t size;
    part_role role;
  };
  array<part_piece> pieces_of(network<T>& gradient) {
    array<array<T>*> parts[4];
    array<part_role> roles;
    network<T>* const all[4] = {&state_.weights, &state_.mean, &state_.square, &gradient};
    for (int i = 0; i < 4; ++i)
      visit_parts_of(*all[i], [&](index_t, std::string_view, array<T>& x, index_t, index_t, part_role role) {
        parts[i].push_back(&x);
        if (i == 0) roles.push_back(role);
      });
    array<part_piece> out;
    for (index_t k = 0; k < roles.size(); ++k)
      for (index_t at = 0; at < parts[0][k]->size(); at += piece)
        out.push_back({parts[0][k]->data() + at, parts[1][k]->data() + at, parts[2][k]->data() + at,
                       parts[3][k]->data() + at, algo::min(piece, parts[0][k]->size() - at), roles[k]});
    return out;
  }
  template <class B>
  double norm_of(B& exec, network<T>& gradient) {
    const auto pieces = pieces_of(gradient);
    const detail::row_loops loops{instructions_of(exec)};
    array<double> squares(pieces.size());
    exec.bulk(pieces.size(), [&](index_t i) {
      for (index_t at = 0; at < pieces[i].size; at += 1024) {
        const T* const g = pieces[i].gradient + at;
        squares[i] += static_cast<double>(loops.dot(g, g, algo::min(index_t{1024}, pieces[i].size - at)));
      }
    });
    double sum = 0;
    for (const double x : squares) sum += x;
    return std::sqrt(sum);
  }
  template <class B>
  void update(B& exec, double scale) {
    const auto pieces = pieces_of(gradient_);
    detail::adam_rates rates{options_.beta1, options_.beta2, options_.epsilon, options_.rate_at(state_.step), 0};
    const detail::adam_step gains(rates, state_.step, scale);
    rates.decay = options_.weight_decay;
    const detail::adam_step matrices(rates, state_.step, scale);
    const detail::row_loops loops{instructions_of(exec)};
    exec.bulk(pieces.size(), [&](index_t i) {
      const part_piece& p = pieces[i];
      (p.role == part_role::gain ? gains : matrices).apply(loops, p.gradient, p.mean, p.square, p.weights, p.size);
    });
  }

  training_options options_;
  training_task task_;
  training_state<T> state_;
  network_pass<T> pass_;
  network<T> gradient_;
  matrix<T> dy_;
};

// Called after each judgement with the report of the last step and the held-out loss; what it reports ends the run, which
// can go on from its state. Writes checkpoints and shows progress.
using judged_function = function_ref<status(const training_report&, const batch_loss& held_out)>;

// Runs a trainer to its end: steps over batches of `training`, and after every `judge_every` steps and the last one a
// judgement on `held_out`. A run that goes on takes the batches that it would have taken.
// Errors: those of trainer; conflict (pairs of another span or teacher); invalid_argument (judge_every below 1).
template <class T, dense_backend<T> B>
status try_train(B& exec, trainer<T>& run, pair_batches& training, const row_pairs& held_out, index_t judge_every,
                 judged_function judged) {
  if (judge_every < 1) return error{errc::invalid_argument, "judge_every", text(judge_every), "1 or more"};
  while (!run.finished()) {
    auto report = run.try_step(exec, training.at(run.state().step));
    if (!report) return report.error();
    const index_t done = run.state().step;
    if (done % judge_every != 0 && done < run.options().steps) continue;
    auto loss = run.try_judge(exec, held_out);
    if (!loss) return loss.error();
    if (auto s = judged(*report, *loss); !s) return s;
  }
  return {};
}

}  // namespace RESECT_NAMESPACE::student
