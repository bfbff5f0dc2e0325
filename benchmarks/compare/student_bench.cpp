// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Steps of training a transformer student: what `./run compare student` runs beside PyTorch.
//   student_bench inputs SHAPE FOLDER
//       the parameters of a block that adds something (part after part in the order of checkpoints), rows and targets:
//       FOLDER/student.w, .x, .y, floats
//   student_bench train SHAPE STEPS THREADS
//       a step that is not timed, then STEPS steps on these rows. Prints JSON: loss and gradient's norm of the first step,
//       loss after the last one, tokens a second.
//   SHAPE: WIDTH,HIDDEN,HEADS,KV_HEADS,HEAD_DIM,SEQUENCES,LENGTH
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <resect/backend/cpu.hpp>
#include <resect/student/trainer.hpp>
#include <resect/study/speed.hpp>

namespace {

using resect::index_t;
using resect::value_or_throw;
namespace student = resect::student;

struct problem {
  student::block_shape shape;
  student::row_pairs pairs;
};

problem made(const char* text) {
  long n[7] = {};
  if (std::sscanf(text, "%ld,%ld,%ld,%ld,%ld,%ld,%ld", n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6) != 7) {
    std::fprintf(stderr, "student_bench: %s: wanted seven numbers\n", text);
    std::exit(1);
  }
  problem out;
  out.shape = {.width = n[0], .hidden = n[1], .heads = n[2], .kv_heads = n[3], .head_dim = n[4]};
  for (std::int32_t s = 0; s < n[5]; ++s)
    for (std::int32_t pos = 0; pos < n[6]; ++pos) {
      out.pairs.rows.push_back({s, pos, 0, 0});
      out.pairs.document.push_back(s);
    }
  const index_t rows = out.pairs.rows.size();
  out.pairs.x = out.pairs.y = resect::matrix<float>(rows, out.shape.width);
  resect::random::fill_gaussian(out.pairs.x.data.span(), 1, 1);
  resect::random::fill_gaussian(out.pairs.y.data.span(), 1, 2, 0, 0.5);
  for (index_t i = 0; i < out.pairs.y.data.size(); ++i) out.pairs.y.data[i] += out.pairs.x.data[i];
  return out;
}

student::network<float> new_student(const problem& p) {
  auto out = value_or_throw(student::network<float>::try_make(p.shape, 1, 3));
  std::uint64_t part = 0;
  student::visit_parts_of(
      out, [&](index_t, std::string_view, resect::array<float>& x, index_t, index_t, student::part_role) {
        ++part;
        for (index_t i = 0; i < x.size(); ++i)
          x[i] += static_cast<float>(0.02 * resect::random::gaussian(9, part, static_cast<std::uint64_t>(i)));
      });
  return out;
}

void write(const std::string& path, const resect::array<float>& x) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  const auto n = static_cast<std::size_t>(x.size());
  if (file == nullptr || std::fwrite(x.data(), sizeof(float), n, file) != n || std::fclose(file) != 0) {
    std::fprintf(stderr, "student_bench: %s: cannot be written\n", path.c_str());
    std::exit(1);
  }
}

int inputs(const problem& p, const std::string& folder) {
  resect::array<float> all;
  const auto n = new_student(p);
  student::visit_parts_of(
      n, [&](index_t, std::string_view, const resect::array<float>& x, index_t, index_t, student::part_role) {
        for (const float v : x) all.push_back(v);
      });
  write(folder + "/student.w", all);
  write(folder + "/student.x", p.pairs.x.data);
  write(folder + "/student.y", p.pairs.y.data);
  return 0;
}

int train(problem p, index_t steps, int threads) {
  resect::cpu<resect::threads> exec{resect::threads{threads}};
  p.pairs.task.span = {0, 1};
  student::training_options options{.steps = steps + 1, .learning_rate = 1e-3, .warm_up = 0, .last_share = 1};
  auto run = value_or_throw(student::trainer<float>::try_make(new_student(p), options, p.pairs));
  const auto first = value_or_throw(run.try_step(exec, p.pairs));
  const double start = resect::study::detail::seconds_now();
  double last = 0;
  for (index_t s = 0; s < steps; ++s) last = value_or_throw(run.try_step(exec, p.pairs)).loss;
  const double seconds = resect::study::detail::seconds_now() - start;
  std::printf("{\"loss\": %.9g, \"norm\": %.9g, \"last\": %.9g, \"tokens_per_second\": %.6g}\n", first.loss,
              first.gradient_norm, last, static_cast<double>(steps * p.pairs.rows.size()) / seconds);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "inputs") == 0) return inputs(made(argv[2]), argv[3]);
  if (argc == 5 && std::strcmp(argv[1], "train") == 0)
    return train(made(argv[2]), std::atol(argv[3]), std::atoi(argv[4]));
  std::fputs("student_bench: wanted inputs SHAPE FOLDER, or train SHAPE STEPS THREADS\n", stderr);
  return 1;
}
