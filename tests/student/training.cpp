// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>
#include <string>

#include <student/planted_pairs.hpp>
#include <support/catch.hpp>
#include <support/expect_error.hpp>
#include <support/study_setting.hpp>

#include <hosts/llama/host.hpp>
#include <resect/backend/cpu_extern.hpp>
#include <resect/core/threads.hpp>
#include <resect/io/npy.hpp>
#include <resect/residual/run.hpp>
#include <resect/student.hpp>
#include <resect/student/checkpoint.hpp>
#include <resect/student/head_agreement.hpp>
#include <resect/student/npy_pairs.hpp>

using namespace resect;
using planted::bent_pairs;
using support::expect_error;

namespace {

using resect::index_t;
using network = student::network<float>;
using trainer = student::trainer<float>;

student::training_options few_steps(index_t steps) {
  return {.loss = {.cosine = 0.2}, .steps = steps, .learning_rate = 0.01, .warm_up = 5};
}
network new_student(const student::row_pairs& pairs) {
  return value_or_throw(student::try_new_student<float>(planted::small_shape(), 1, pairs, 3));
}

// Closed forms of the pairs, in as many folds.
student::closed_forms maps_of(const student::row_pairs& pairs) {
  cpu exec;
  student::gathered_span from{pairs.task.span, {}, {}, {}};
  const auto sequences = student::detail::sequences_of(pairs.batch());
  for (index_t f = 0; f < 4; ++f) {
    const index_t a = sequences.size() * f / 4, b = sequences.size() * (f + 1) / 4, first = sequences[a].first,
                  rows = sequences[b - 1].first + sequences[b - 1].count - first;
    from.folds.push_back(value_or_throw(student::span_moments::try_make(pairs.x.cols, pairs.task.apart)));
    value_or_throw(from.folds.back().try_add(
        exec, pairs.batch().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows)),
        pairs.x.view().middle_rows(first, rows), pairs.y.view().middle_rows(first, rows)));
  }
  return value_or_throw(student::try_fit_closed_forms(exec, from));
}

// A folder of its own that goes away.
struct temporary_folder {
  std::string path;
  explicit temporary_folder(const std::string& name)
      : path((std::filesystem::temp_directory_path() / ("resect-student-" + name + std::to_string(::getpid())))
                 .string()) {
    std::filesystem::remove_all(path);
  }
  ~temporary_folder() { std::filesystem::remove_all(path); }
  io::durable_folder<> open() const { return value_or_throw(io::durable_folder<>::try_open(path)); }
};

// The parameters and the description of a checkpoint.
std::pair<array<std::byte>, array<std::byte>> bytes_of(const io::durable_folder<>& folder) {
  auto about = value_or_throw(folder.try_read("student.json"));
  const std::string text(io::as_text(std::as_const(about).span()));
  const std::string name =
      text.find("parameters-0") != text.npos ? "parameters-0.safetensors" : "parameters-1.safetensors";
  return {value_or_throw(folder.try_read(name)), std::move(about)};
}

// Trains to the end with a judgement and a checkpoint every 50 steps; stops after `kill_at` steps by SIGKILL.
template <class E>
void train(E& exec, trainer& run, const student::row_pairs& rows, const student::row_pairs& held,
           io::durable_folder<> folder, index_t kill_at = -1) {
  auto batches = value_or_throw(student::pair_batches::try_make(rows, 3, 5));
  while (!run.finished()) {
    value_or_throw(run.try_step(exec, batches.at(run.state().step)));
    if (run.state().step == kill_at) ::raise(SIGKILL);
    if (run.state().step % 100 != 0) continue;
    value_or_throw(run.try_judge(exec, held));
    value_or_throw(student::try_save(folder, run));
  }
}

}  // namespace

TEST_CASE(
    "student: 200 steps are 100, a killed process, its checkpoint and 100 more, byte for byte, at 1, 2 and 3 workers") {
  const auto rows = bent_pairs({7, 3, 9, 5, 1, 8, 6}, 32, 0.7), held = bent_pairs({5, 6, 4}, 32, 0.7, 1);
  const auto options = few_steps(200);
  std::pair<array<std::byte>, array<std::byte>> want;
  for (const int workers : {1, 2, 3}) {
    INFO(workers << " workers");
    cpu exec{threads{workers}};
    const temporary_folder whole("whole"), parts("parts");
    auto run = value_or_throw(trainer::try_make(new_student(rows), options, rows));
    train(exec, run, rows, held, whole.open());
    const auto bytes = bytes_of(whole.open());
    if (want.first.empty()) want = bytes;
    CHECK(bytes.first == want.first);
    CHECK(bytes.second == want.second);

    if (const pid_t child = ::fork(); child == 0) {
      cpu own{threads{1}};  // a pool's threads do not survive a fork
      auto part = value_or_throw(trainer::try_make(new_student(rows), options, rows));
      train(own, part, rows, held, parts.open(), 120);
      ::_exit(1);
    } else {
      int status = 0;
      REQUIRE(::waitpid(child, &status, 0) == child);
      REQUIRE(WIFSIGNALED(status));
      REQUIRE(WTERMSIG(status) == SIGKILL);
    }
    auto again = student::try_load(parts.open(), new_student(rows), options, rows.task);
    REQUIRE(again);
    CHECK(again->state().step == 100);
    train(exec, *again, rows, held, parts.open());
    CHECK(bytes_of(parts.open()).first == want.first);
    CHECK(bytes_of(parts.open()).second == want.second);
  }
}

TEST_CASE(
    "student: a checkpoint of another span, teacher, shape or option, and one that was changed, is refused by name") {
  cpu exec;
  const auto rows = bent_pairs({7, 3, 9}, 32, 0.7);
  const auto options = few_steps(10);
  const temporary_folder place("refused");
  auto folder = place.open();
  const auto like = new_student(rows);
  CHECK(student::try_load(folder, like, options, rows.task).error().code == errc::io);
  auto run = value_or_throw(trainer::try_make(like, options, rows));
  value_or_throw(run.try_step(exec, rows));
  value_or_throw(student::try_save(folder, run));
  auto task = rows.task;
  task.span = {2, 5};
  expect_error(student::try_load(folder, like, options, task), errc::conflict, {"span", "[2,4]", "[2,5]"});
  task = rows.task;
  task.teacher = 78;
  expect_error(student::try_load(folder, like, options, task), errc::conflict, {"teacher", "4d", "4e"});
  auto other = options;
  other.learning_rate = 0.02;
  expect_error(student::try_load(folder, like, other, rows.task), errc::conflict, {"learning_rate", "0.01", "0.02"});
  auto shape = planted::small_shape();
  shape.hidden = 21;
  expect_error(
      student::try_load(folder, value_or_throw(student::try_new_student<float>(shape, 1, rows, 3)), options, rows.task),
      errc::conflict, {"hidden", "20", "21"});
  expect_error(
      student::try_load(folder, value_or_throw(student::try_new_student<float>(planted::small_shape(), 2, rows, 3)),
                        options, rows.task),
      errc::conflict, {"blocks", "1", "2"});
  REQUIRE(student::try_load(folder, like, options, rows.task));
  auto file = value_or_throw(folder.try_read("parameters-0.safetensors"));
  file[file.size() - 9] ^= std::byte{1};
  value_or_throw(folder.try_write("parameters-0.safetensors", std::as_const(file).span()));
  expect_error(student::try_load(folder, like, options, rows.task), errc::malformed,
               {"hash of parameters-0.safetensors"});
}

TEST_CASE("student: a loss that is not finite is an error, and state and checkpoint stay what they were") {
  cpu exec;
  const auto rows = bent_pairs({7, 3, 9}, 32, 0.7);
  const temporary_folder place("finite");
  auto folder = place.open();
  auto run = value_or_throw(trainer::try_make(new_student(rows), few_steps(10), rows));
  value_or_throw(run.try_step(exec, rows));
  value_or_throw(student::try_save(folder, run));
  const auto kept = bytes_of(folder);
  auto large = rows;
  for (float& x : large.y.data) x *= 1e30f;
  for (float& x : large.x.data) x *= 1e30f;
  auto broken = value_or_throw(trainer::try_make(new_student(rows), few_steps(10), rows));
  broken.mutable_state().weights.blocks[0].down.data[5] = std::numeric_limits<float>::infinity();
  const auto step = broken.try_step(exec, rows);
  expect_error(step, errc::not_finite, {"loss of a student at step 0", "finite"});
  CHECK(broken.state().step == 0);
  CHECK(broken.state().mean == new_student(rows).zeros());
  auto holed = rows;
  holed.y(4, 2) = std::numeric_limits<float>::quiet_NaN();
  expect_error(run.try_step(exec, holed), errc::not_finite, {"targets of a student's rows", "row 4", "column 2"});
  CHECK(run.state().step == 1);
  CHECK(bytes_of(folder) == kept);
}

TEST_CASE(
    "student: rows of another width, without targets, of another span and texts cut at their beginning are refused") {
  cpu exec;
  const auto rows = bent_pairs({7, 3, 9}, 32, 0.7);
  auto run = value_or_throw(trainer::try_make(new_student(rows), few_steps(10), rows));
  expect_error(run.try_step(exec, bent_pairs({4}, 16, 0.7)), errc::shape_mismatch,
               {"rows of a student", "x 16", "x 32"});
  auto part = rows;
  part.y = {};
  expect_error(run.try_step(exec, part), errc::shape_mismatch, {"targets of a student's rows", "0 x 0", "19 x 32"});
  part = rows;
  part.task.span = {2, 3};
  expect_error(run.try_step(exec, part), errc::conflict, {"[2, 3)", "[2, 4)"});
  part = rows;
  for (auto& row : part.rows) row.pos += 2;
  expect_error(run.try_step(exec, part), errc::invalid_argument, {"sequence 0", "position 2", "position 0"});
  part = rows;
  part.rows[5].pos = 6;
  expect_error(run.try_step(exec, part), errc::invalid_argument, {"position 6", "position 5"});
  part = rows;
  for (auto& row : part.rows) row.flags = model::row_meta::pad;
  expect_error(run.try_step(exec, part), errc::invalid_argument, {"all pads or rows apart"});
  part = rows;
  part.y = part.x;
  expect_error(student::try_new_student<float>(planted::small_shape(), 1, part, 3), errc::invalid_argument, {"all 0"});
  auto shape = planted::small_shape();
  shape.kv_heads = 3;
  expect_error(student::try_new_student<float>(shape, 1, rows, 3), errc::invalid_argument,
               {"kv_heads", "3", "divisor of 4"});
  expect_error(student::try_new_student<float>(planted::small_shape(), 0, rows, 3), errc::invalid_argument,
               {"blocks", "0"});
  expect_error(trainer::try_make(new_student(rows), {.loss = {.error = 0}, .steps = 3}, rows), errc::invalid_argument,
               {"error, cosine and log_norm"});
  expect_error(trainer::try_make(new_student(rows), {}, rows), errc::invalid_argument, {"steps", "0", "1 or more"});
}

TEST_CASE(
    "student: a new one is the span left out; a trained one beats every closed form where the span bends, and not "
    "where it is affine") {
  cpu exec;
  const auto train_and_judge = [&](student::row_pairs all) {
    auto [rows, held] = value_or_throw(student::try_split(all, 160));
    const auto maps = maps_of(rows);
    auto batches = value_or_throw(student::pair_batches::try_make(rows, 8, 2));
    student::training_options options{
        .loss = {.unit = student::error_unit::mean}, .steps = 200, .learning_rate = 0.01, .patience = 3};
    auto run = value_or_throw(trainer::try_make(new_student(rows), options, rows));
    CHECK(value_or_throw(student::try_judge_student(exec, run.best(), 0, held, maps)).student.fvu_delta.value > 0.99);
    double loss = 0;
    int judged = 0;
    value_or_throw(student::try_train(exec, run, batches, held, 50, [&](const auto& report, const auto&) -> status {
      loss = report.loss;
      ++judged;
      return {};
    }));
    CHECK(judged >= 3);
    return value_or_throw(student::try_judge_student(exec, run.best(), loss, held, maps));
  };
  const std::vector<int> texts(190, 16);
  const auto bent = train_and_judge(bent_pairs(texts, 32, 0.7));
  INFO("bent: student " << bent.student.fvu_delta.value << ", " << bent.map << " " << bent.best_map.fvu_delta.value);
  CHECK(bent.beats_map());
  CHECK(bent.student.fvu_delta.value < 0.8 * bent.best_map.fvu_delta.value);
  CHECK(bent.documents == 30);
  CHECK(bent.student.cosine_delta.value > bent.best_map.cosine_delta.value);

  auto straight = bent_pairs(texts, 32, 0.7);
  const planted::affine_pair p(straight.rows.size(), 32, 0.01);
  straight.x = p.x;
  straight.y = p.y;
  const auto affine = train_and_judge(straight);
  INFO("affine: student " << affine.student.fvu_delta.value << ", " << affine.map << " "
                          << affine.best_map.fvu_delta.value);
  CHECK_FALSE(affine.beats_map());
  CHECK(affine.map == "affine");
}

TEST_CASE("student: fewer than six held-out documents, and closed forms of another span, are refused") {
  cpu exec;
  const auto rows = bent_pairs({9, 9, 9, 9, 9, 9}, 32, 0.7);
  auto maps = maps_of(rows);
  const auto n = new_student(rows);
  REQUIRE(student::try_judge_student(exec, n, 0, rows, maps));
  auto few = rows;
  for (auto& d : few.document) d = std::min<index_t>(d, 4);
  expect_error(student::try_judge_student(exec, n, 0, few, maps), errc::invalid_argument,
               {"held-out documents", "5", "6 or more"});
  maps.span = {1, 4};
  expect_error(student::try_judge_student(exec, n, 0, rows, maps), errc::conflict, {"[1, 4)", "[2, 4)"});
}

TEST_CASE("student: a run ends early where judgements bring nothing, and keeps the parameters of the best one") {
  cpu exec;
  const auto rows = bent_pairs({6, 6}, 32, 0.7), held = bent_pairs({6, 6, 6}, 32, 0.7, 1);  // far too few to learn from
  auto batches = value_or_throw(student::pair_batches::try_make(rows, 2, 1));
  auto options = few_steps(1000);
  options.patience = 2;
  auto run = value_or_throw(trainer::try_make(new_student(rows), options, rows));
  array<double> losses;
  value_or_throw(student::try_train(exec, run, batches, held, 10, [&](const auto&, const auto& loss) -> status {
    losses.push_back(loss.loss);
    return {};
  }));
  CHECK(run.state().step < 1000);
  double least = losses[0];
  for (const double l : losses) least = std::min(least, l);
  CHECK(run.state().best_loss == least);
  CHECK(losses[losses.size() - 3] == least);
  auto again = value_or_throw(trainer::try_make(run.best(), options, rows));
  again.mutable_state().mean_square = run.state().mean_square;
  CHECK(value_or_throw(again.try_judge(exec, held)).loss == least);
}

TEST_CASE("student: batches go through every sequence in each pass, in an order of the seed and the step alone") {
  const auto rows = bent_pairs({3, 5, 2, 7, 4}, 6, 0.7);
  auto a = value_or_throw(student::pair_batches::try_make(rows, 2, 1)),
       b = value_or_throw(student::pair_batches::try_make(rows, 2, 1));
  std::string lengths;
  for (index_t step = 0; step < 5; ++step)
    for (const auto& s : student::detail::sequences_of(a.at(step).batch())) lengths += std::to_string(s.count);
  for (const std::string& pass : {lengths.substr(0, 5), lengths.substr(5)})
    for (const char length : {'3', '5', '2', '7', '4'}) CHECK(pass.find(length) != pass.npos);
  CHECK(lengths.substr(0, 5) != lengths.substr(5));
  CHECK(b.at(3).x == a.at(3).x);
}

TEST_CASE(
    "student: a layer of a host as a student does what the layer does, in a plan and from NumPy files, and random "
    "weights are reinit's") {
  support::study_setting s(3);
  cpu exec;
  hosts::llama_host host(exec, s.model);
  const auto& c = s.config;
  const student::block_shape shape{.width = c.d_model,
                                   .hidden = c.d_ff,
                                   .heads = c.n_heads,
                                   .kv_heads = c.n_kv_heads,
                                   .head_dim = c.head_dim,
                                   .rope_theta = static_cast<double>(c.rope_theta),
                                   .epsilon = static_cast<double>(c.rms_eps)};
  const auto own = value_or_throw(student::try_layer_student(host, 1, shape));
  const residual::layer_range spans[] = {{1, 2}};
  const model::batch_view batches[] = {s.evaluation.rows};
  const auto pairs = value_or_throw(student::try_gather_pairs(host, spans, batches));
  const auto predicted = value_or_throw(student::try_predict(exec, own, pairs[0]));
  double off = 0, size = 0;
  for (index_t i = 0; i < predicted.data.size(); ++i) {
    off = std::max(off, std::fabs(static_cast<double>(predicted.data[i]) - static_cast<double>(pairs[0].y.data[i])));
    size = std::max(size, std::fabs(static_cast<double>(pairs[0].y.data[i])));
  }
  INFO("off by " << off << " of " << size);
  CHECK(off < 1e-5 * size);
  CHECK(value_or_throw(student::try_head_agreement(host, pairs[0], predicted.view())).estimate().value == 1);

  const auto run_with = [&](const residual::plan& plan) {
    auto state = value_or_throw(host.try_embed(s.evaluation.rows));
    residual::run(host, plan, state, 0, 3);
    const auto h = host.stream(state);
    matrix<float> out(h.rows, h.cols);
    copy(h, out.view());
    return out;
  };
  const auto furthest = [](const matrix<float>& a, const matrix<float>& b) {
    double most = 0;
    for (index_t i = 0; i < a.data.size(); ++i)
      most = std::max(most, std::fabs(static_cast<double>(a.data[i]) - static_cast<double>(b.data[i])));
    return most;
  };
  const auto intact = run_with({});
  CHECK(furthest(run_with(residual::plan{} | residual::replace_span(residual::layer(1), student::on(exec, own))),
                 intact) < 1e-4 * size);
  const auto random = value_or_throw(student::try_random_layer_student(host, 1, shape, 4, residual::norm_gains::reset));
  const auto drawn = run_with(residual::plan{} | residual::reinit(residual::layer(1), 4, residual::norm_gains::reset));
  CHECK(furthest(run_with(residual::plan{} | residual::replace_span(residual::layer(1), student::on(exec, random))),
                 drawn) < 1e-4 * size);
  CHECK(furthest(drawn, intact) > 1e-2 * size);

  auto narrow = new_student(bent_pairs({3, 3}, 32, 0.7));
  narrow.shape.width = 31;
  const auto plan = residual::plan{} | residual::replace_span(residual::layer(1), student::on(exec, narrow));
  expect_error(plan.check(host.describe()), errc::shape_mismatch, {"31", "32"});

  std::vector<std::int64_t> places;
  for (const auto& row : pairs[0].rows) places.insert(places.end(), {row.seq, row.pos, row.token});
  const auto npy = []<class T>(std::span<const T> values, index_t rows, index_t cols) {
    return value_or_throw(io::try_npy(values, {rows, cols}));
  };
  const index_t n = pairs[0].x.rows;
  const std::string x = npy(pairs[0].x.data.span(), n, 32), y = npy(pairs[0].y.data.span(), n, 32),
                    at = npy(std::span<const std::int64_t>(places), n, 3),
                    short_y = npy(pairs[0].y.data.span().first(32), 1, 32);
  const auto files = [&](const std::string& targets) {
    return student::pair_files{std::as_bytes(std::span(x)), std::as_bytes(std::span(targets)),
                               std::as_bytes(std::span(at))};
  };
  const auto read = value_or_throw(student::try_read_pairs(files(y), {1, 2}, host.describe().fingerprint));
  CHECK(read.x == pairs[0].x);
  CHECK(read.y == pairs[0].y);
  CHECK(read.documents() == 8);
  CHECK(read.task == pairs[0].task);
  expect_error(student::try_read_pairs(files(short_y), {1, 2}, 1), errc::shape_mismatch,
               {"targets of a student's rows", "1 x 32"});
}
