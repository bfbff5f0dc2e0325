// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <string>
#include <vector>

#include <student/planted_pairs.hpp>
#include <support/catch.hpp>

#include <resect/backend/cpu_extern.hpp>

using namespace resect;
using planted::bent_pairs;
using student::error_unit;
using student::loss_target;

namespace {

using resect::index_t;

// Every loss by itself and all together, of both targets and units, with rows that are capped.
std::vector<student::loss_options> every_loss() {
  std::vector<student::loss_options> out;
  for (const auto target : {loss_target::delta, loss_target::output}) {
    out.push_back({.target = target});
    out.push_back({.target = target, .unit = error_unit::mean, .cap = 0.9});
    out.push_back({.target = target, .error = 0, .cosine = 1});
    out.push_back({.target = target, .error = 0, .log_norm = 1});
    out.push_back({.target = target, .error = 0.7, .cosine = 0.4, .log_norm = 0.3, .cap = 1});
  }
  return out;
}
double unit_of(const student::loss_options& o, const student::row_pairs& p) {
  return student::mean_target_square(o.target, p.task.apart, p.batch(), p.x.view(), p.y.view());
}

// What a parameter's gradient is beside its central difference of fourth order, for the loss where they differ most.
struct worst_parameter {
  std::string name;
  double gradient = 0, difference = 0, excess = 0;  // |gradient − difference| over what is allowed
};

// Moves every parameter to four places; one forward pass at each serves every loss.
worst_parameter worst_of(student::network<double> n, const student::row_pairs& pairs) {
  cpu exec;
  const auto losses = every_loss();
  student::network_pass<double> pass;
  std::vector<student::network<double>> gradients;
  for (const auto& o : losses) {
    auto run = value_or_throw(student::trainer<double>::try_make(n, {.loss = o, .steps = 1}, pairs));
    gradients.emplace_back();
    value_or_throw(run.try_gradient(exec, pairs, gradients.back()));
  }
  const auto measured = [&] {
    const auto predicted = value_or_throw(pass.try_forward(exec, n, pairs.batch(), pairs.x.view()));
    std::vector<double> out;
    for (const auto& o : losses)
      out.push_back(student::loss_of_batch<double>(exec, o, unit_of(o, pairs), pairs.task.apart,
                                                   {pairs.batch(), pairs.x.view(), pairs.y.view(), predicted}, {})
                        .loss);
    return out;
  };
  std::vector<std::vector<const array<double>*>> parts(losses.size());
  for (std::size_t i = 0; i < losses.size(); ++i)
    student::visit_parts_of(gradients[i], [&](index_t, std::string_view, const array<double>& x, index_t, index_t,
                                              student::part_role) { parts[i].push_back(&x); });
  worst_parameter worst;
  std::size_t part = 0;
  student::visit_parts_of(
      n, [&](index_t b, std::string_view name, array<double>& x, index_t, index_t, student::part_role) {
        for (index_t k = 0; k < x.size(); ++k) {
          const double before = x[k], step = 1e-3;
          std::vector<double> sums(losses.size());
          const double weights[] = {1, -8, 8, -1}, places[] = {-2, -1, 1, 2};
          for (int i = 0; i < 4; ++i) {
            x[k] = before + places[i] * step;
            const auto loss = measured();
            for (std::size_t l = 0; l < losses.size(); ++l) sums[l] += weights[i] * loss[l] / (12 * step);
          }
          x[k] = before;
          for (std::size_t l = 0; l < losses.size(); ++l) {
            const double g = (*parts[l][part])[k], excess = std::fabs(g - sums[l]) / (1e-6 * std::fabs(g) + 2e-10);
            if (!(excess <= worst.excess))
              worst = {"block " + std::to_string(b) + ", " + std::string(name) + " " + std::to_string(k) + ", loss " +
                           std::to_string(l),
                       g, sums[l], excess};
          }
        }
        ++part;
      });
  return worst;
}

void check_gradients(const student::network<double>& n, const student::row_pairs& pairs) {
  const auto worst = worst_of(n, pairs);
  INFO(worst.name << ": gradient " << worst.gradient << ", central difference " << worst.difference);
  CHECK(worst.excess <= 1);
}

}  // namespace

TEST_CASE(
    "every parameter's gradient of a transformer student is its central difference to 1e-6, for every loss and "
    "target") {
  const auto pairs = bent_pairs({4, 1, 6}, 32, 0.7);
  check_gradients(planted::moved_student<double>(planted::small_shape(), 1, pairs), pairs);
}

TEST_CASE(
    "every parameter's gradient through a second block, of an MLP and of interleaved rotary embedding, is its "
    "difference") {
  const auto pairs = bent_pairs({3, 2}, 6, 0.7);
  auto shape = planted::small_shape();
  shape.width = 6;
  shape.hidden = 5;
  shape.head_dim = 4;
  shape.rope = student::rope_layout::interleaved;
  check_gradients(planted::moved_student<double>(shape, 2, pairs), pairs);
  shape.kind = student::block_kind::mlp;
  check_gradients(planted::moved_student<double>(shape, 2, pairs), pairs);
}

TEST_CASE("pads and rows apart have no part in the loss, and the others' losses are their mean") {
  cpu exec;
  auto pairs = bent_pairs({5, 4}, 32, 0.7);
  const auto n = planted::moved_student<double>(planted::small_shape(student::block_kind::mlp), 1, pairs);
  const auto loss = [&](const student::row_pairs& p) {
    auto run = value_or_throw(student::trainer<double>::try_make(n, {.steps = 1}, pairs));
    student::network<double> ignored;
    return value_or_throw(run.try_gradient(exec, p, ignored));
  };
  CHECK(loss(pairs).rows == 7);  // first positions stand apart
  auto altered = pairs;
  altered.rows[3].flags = model::row_meta::pad;
  for (index_t c = 0; c < 32; ++c) altered.y(0, c) = altered.y(3, c) = 1e4f;
  CHECK(loss(altered).rows == 6);
  CHECK(loss(altered).loss < 3);
  auto without = pairs;
  without.rows[3].flags = model::row_meta::pad;
  CHECK(loss(without).loss == loss(altered).loss);
}

TEST_CASE("gradients in float are those in double to 1e-5 of their norm, on every instruction set") {
  const auto pairs = bent_pairs({9, 1, 14, 6}, 32, 0.7);
  for (const auto kind : {student::block_kind::transformer, student::block_kind::mlp})
    for (const auto& loss : {every_loss()[4], every_loss()[9]}) {
      const auto narrow = planted::moved_student<float>(planted::small_shape(kind), 2, pairs);
      const auto wide = student::converted<double>(narrow);
      cpu reference;
      student::network<double> exact;
      auto in_double = value_or_throw(student::trainer<double>::try_make(wide, {.loss = loss, .steps = 1}, pairs));
      const auto want = value_or_throw(in_double.try_gradient(reference, pairs, exact));
      for (const auto set : {instruction_set::portable, instruction_set::avx2, instruction_set::avx512}) {
        cpu exec{inline_executor{}, set};
        student::network<float> got;
        auto in_float = value_or_throw(student::trainer<float>::try_make(narrow, {.loss = loss, .steps = 1}, pairs));
        const auto report = value_or_throw(in_float.try_gradient(exec, pairs, got));
        const auto widened = student::converted<double>(got);
        double squares = 0;
        std::vector<const array<double>*> parts;
        const auto keep = [&](index_t, std::string_view, const array<double>& x, index_t, index_t, student::part_role) {
          parts.push_back(&x);
        };
        student::visit_parts_of(exact, keep);
        student::visit_parts_of(widened, keep);
        for (std::size_t i = 0; i < parts.size() / 2; ++i)
          for (index_t k = 0; k < parts[i]->size(); ++k)
            squares += std::pow((*parts[i])[k] - (*parts[i + parts.size() / 2])[k], 2);
        INFO(name(runnable(set)) << ": off by " << std::sqrt(squares) << " of " << want.gradient_norm);
        CHECK(std::sqrt(squares) < 1e-5 * want.gradient_norm);
        CHECK(std::fabs(report.loss / want.loss - 1) < 1e-5);
      }
    }
}

// With β₁ = β₂ = 0 and ε far above every gradient, a step of Adam is −rate·g/ε: what a step moves is the gradient that it used.
TEST_CASE("a step moves every parameter against the clipped gradient, and weight decay shrinks matrices alone") {
  cpu exec;
  const auto pairs = bent_pairs({5, 4}, 32, 0.7);
  const double epsilon = 1e6;
  for (const double clip : {0.0, 0.01})
    for (const double decay : {0.0, 0.1}) {
      const auto n = planted::moved_student<double>(planted::small_shape(), 1, pairs);
      auto run = value_or_throw(student::trainer<double>::try_make(n,
                                                                   {.steps = 1,
                                                                    .learning_rate = 0.5,
                                                                    .beta1 = 0,
                                                                    .beta2 = 0,
                                                                    .epsilon = epsilon,
                                                                    .weight_decay = decay,
                                                                    .warm_up = 0,
                                                                    .clip = clip},
                                                                   pairs));
      student::network<double> gradient;
      const double norm = value_or_throw(run.try_gradient(exec, pairs, gradient)).gradient_norm;
      REQUIRE(norm > 0.01);
      value_or_throw(run.try_step(exec, pairs));
      std::vector<const array<double>*> before, after, of;
      std::vector<student::part_role> roles;
      const auto list = [&](std::vector<const array<double>*>& to) {
        return [&](index_t, std::string_view, const array<double>& x, index_t, index_t, student::part_role role) {
          to.push_back(&x);
          roles.push_back(role);
        };
      };
      student::visit_parts_of(n, list(before));
      student::visit_parts_of(run.state().weights, list(after));
      student::visit_parts_of(gradient, list(of));
      double worst = 0, largest = 0;
      for (std::size_t i = 0; i < of.size(); ++i)
        for (index_t k = 0; k < of[i]->size(); ++k) {
          const double keep = roles[i] == student::part_role::matrix ? 1 - 0.5 * decay : 1.0;
          const double g = (*of[i])[k] * (clip > 0 ? clip / norm : 1.0);
          worst = std::max(worst, std::fabs(((*after[i])[k] - keep * (*before[i])[k]) * epsilon / 0.5 + g));
          largest = std::max(largest, std::fabs(g));
        }
      INFO("clip " << clip << ", decay " << decay << ": off by " << worst << " of " << largest);
      CHECK(worst < 8 * 0x1p-52 * epsilon + largest * largest / epsilon);  // rounding of parameters, and √g² beside ε
      CHECK(largest > 1e4 * worst);
    }
}
