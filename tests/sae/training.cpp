// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/core/threads.hpp>
#include <resect/sae/architectures/jump_relu.hpp>
#include <resect/sae/checkpoint.hpp>
#include <resect/sae/codec.hpp>
#include <resect/sae/metrics.hpp>
#include <resect/sae/planted.hpp>
#include <resect/sae/trainer.hpp>

using namespace resect;
using namespace resect::sae;
using support::expect_error;

namespace {

using resect::index_t;

// Trains on planted rows; 256 a batch.
template <class A, class E = cpu<>>
trainer<float, A> trained(E& exec, const A& how, const planted_rows& data, index_t steps, std::uint64_t seed) {
  const auto truth = data.dictionary();
  matrix<float> x(256, data.width);
  data.draw(truth, 0, x.view());
  const trainer_options options{
      .latents = data.atoms, .steps = steps, .warm_up = steps / 20, .dead_after = 20'000, .seed = seed};
  auto t = value_or_throw(trainer<float, A>::try_make(exec, how, options, x.view()));
  for (index_t s = 0; s < steps; ++s) {
    data.draw(truth, s * x.rows, x.view());
    const auto report = t.try_step(exec, x.view());
    REQUIRE(report);
  }
  return t;
}

template <class A>
void recovers(const A& how, planted_rows data, index_t steps, std::uint64_t seeds) {
  cpu exec;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    data.seed = seed;
    const auto truth = data.dictionary();
    const auto found = trained(exec, how, data, steps, seed).weights().decoder;
    const auto random = planted_rows{.width = data.width, .atoms = data.atoms, .seed = seed + 1000}.dictionary();
    const double there = mean_max_cosine(truth.view(), found.view()),
                 back = mean_max_cosine(found.view(), truth.view());
    const double by_chance = mean_max_cosine(truth.view(), random.view());
    INFO(A::name << ", seed " << seed << ": MMCS " << there << " and " << back << ", of a random dictionary "
                 << by_chance);
    CHECK(there >= 0.95);
    CHECK(back >= 0.95);
    CHECK(by_chance < 0.5);
  }
}

// cpu without its tiles: 256 rows of pre-activations at a time.
struct without_tiles {
  using space = host_space;
  cpu<> exec;
  void bulk(index_t n, function_ref<void(index_t)> f) { exec.bulk(n, f); }
  status try_gemm(float alpha, matrix_view<const float> a, matrix_view<const float> b, float beta,
                  matrix_view<float> c) {
    return exec.try_gemm(alpha, a, b, beta, c);
  }
  instruction_set instructions() const noexcept { return exec.instructions(); }
};
static_assert(!tiling_backend<without_tiles, float> && dense_backend<without_tiles, float>);

// The parameters after four steps with AuxK and clipping. Rows come six times each and latents twice, in ranges of different
// calls, so scores are equal all over the batch.
template <class A, class E>
dictionary<float> after_ties(E& exec, const A& how) {
  const index_t latents = 2100;
  const planted_rows data{.width = 24, .atoms = 50, .active = 3, .noise = 0.1};
  const auto truth = data.dictionary();
  matrix<float> x(300, data.width);
  data.draw(truth, 0, x.view().middle_rows(0, 50));
  for (index_t r = 50; r < 300; ++r)
    for (index_t c = 0; c < x.cols; ++c) x(r, c) = x(r - 50, c);
  const trainer_options options{
      .latents = latents, .learning_rate = 1e-3, .warm_up = 0, .clip = 0.01, .dead_after = 1000};
  auto t = value_or_throw(trainer<float, A>::try_make(exec, how, options, x.view()));
  auto& s = t.mutable_state();
  for (index_t j = latents / 2; j < latents; ++j)
    for (index_t c = 0; c < x.cols; ++c) s.weights.encoder(j, c) = s.weights.encoder(j - latents / 2, c);
  for (index_t j = 0; j < latents; j += 3) s.since_fired[j] = options.dead_after;
  for (int step = 0; step < 4; ++step) REQUIRE(t.try_step(exec, x.view()));
  return t.state().weights;
}

// A stream of planted rows through a shuffle buffer, its cursor the next row.
struct planted_stream {
  planted_rows data{.width = 16, .atoms = 32, .active = 3};
  matrix<float> truth = data.dictionary();
  stream_state state{shuffle_buffer(600, 16, 9), 0};

  void next(matrix_view<float> batch) {
    matrix<float> rows(state.buffer.room(), data.width);
    data.draw(truth, static_cast<std::int64_t>(state.cursor), rows.view());
    state.cursor += static_cast<std::uint64_t>(state.buffer.put(rows.view()));
    REQUIRE(state.buffer.draw(batch) == batch.rows);
  }
};
constexpr trainer_options stream_options{.latents = 40, .steps = 200, .warm_up = 20, .dead_after = 300};

template <class A>
trainer<float, A> begun(cpu<threads>& exec, const A& how, planted_stream& s) {
  matrix<float> x(64, 16);
  s.data.draw(s.truth, 0, x.view());
  return value_or_throw(trainer<float, A>::try_make(exec, how, stream_options, x.view()));
}
template <class A>
void train(cpu<threads>& exec, trainer<float, A>& t, planted_stream& s, index_t steps) {
  matrix<float> x(64, 16);
  for (index_t i = 0; i < steps; ++i) {
    s.next(x.view());
    REQUIRE(t.try_step(exec, x.view()));
  }
}
void write_whole(const std::filesystem::path& path, const array<std::byte>& bytes) {
  std::ofstream(path.string() + ".new", std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  std::filesystem::rename(path.string() + ".new", path);
}
array<std::byte> read_whole(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  array<std::byte> out;
  for (const char c : bytes) out.push_back(static_cast<std::byte>(c));
  return out;
}

// 200 steps, and 100 steps of a process that is killed after step 120, then 100 more from its checkpoint.
template <class A>
void resumes(const A& how) {
  array<std::byte> want;
  for (const int workers : {1, 2, 3}) {
    INFO(A::name << ", " << workers << " workers");
    cpu exec{threads{workers}};
    planted_stream whole;
    auto t = begun(exec, how, whole);
    train(exec, t, whole, 200);
    const auto bytes = value_or_throw(try_write_checkpoint(t, whole.state));
    if (want.empty()) want = bytes;
    CHECK(bytes == want);

    const auto path = std::filesystem::temp_directory_path() / ("resect-sae-" + std::to_string(::getpid()));
    if (const pid_t child = ::fork(); child == 0) {
      cpu own{threads{1}};  // a pool's threads do not survive a fork
      planted_stream s;
      auto part = begun(own, how, s);
      train(own, part, s, 100);
      write_whole(path, value_or_throw(try_write_checkpoint(part, s.state)));
      train(own, part, s, 20);
      ::raise(SIGKILL);
    } else {
      int status = 0;
      REQUIRE(::waitpid(child, &status, 0) == child);
      REQUIRE(WIFSIGNALED(status));
      REQUIRE(WTERMSIG(status) == SIGKILL);
    }
    const auto half = read_whole(path);
    std::filesystem::remove(path);
    auto again = try_read_checkpoint(std::as_const(half).span(), how, stream_options, 16);
    REQUIRE(again);
    planted_stream s;
    s.state = again->stream;
    train(exec, again->run, s, 100);
    CHECK(value_or_throw(try_write_checkpoint(again->run, s.state)) == want);
  }
}

}  // namespace

TEST_CASE("sae: every architecture recovers a planted dictionary of 128 atoms, 3 seeds of 3") {
  const planted_rows data{.width = 64, .atoms = 128, .active = 4};
  recovers(topk{{.latents = 4}}, data, 2000, 3);
  recovers(batch_topk{{.latents = 4}}, data, 2000, 3);
  recovers(jump_relu{.latents = 4}, data, 2000, 3);
}

TEST_CASE(
    "sae: 200 steps are 100, a killed process, its checkpoint and 100 more, byte for byte, at 1, 2 and 3 workers") {
  resumes(topk{{.latents = 3, .anneal_from = 8, .anneal_steps = 50}});
  resumes(batch_topk{{.latents = 3}});
  resumes(jump_relu{.latents = 3});
}

TEST_CASE("sae: a backend that hands out tiles and one that does not choose the same latents, ties included") {
  const auto same = [](const auto& how) {
    without_tiles blocks;
    if (blocks.instructions() == instruction_set::portable) {
      WARN("skipped: by kernels alone products in tiles have the same bits");
      return;
    }
    cpu<> tiles;
    INFO(std::remove_cvref_t<decltype(how)>::name);
    CHECK(after_ties(tiles, how) == after_ties(blocks, how));
  };
  same(topk{{.latents = 5}});
  same(batch_topk{{.latents = 5}});
  same(jump_relu{.latents = 5});
}

TEST_CASE("sae: a calibrated threshold keeps the latents that were asked for on other rows, within 2 %") {
  cpu exec;
  const planted_rows data{.width = 32, .atoms = 64, .active = 4, .noise = 0.1};
  const auto truth = data.dictionary();
  codec c{trained(exec, batch_topk{{.latents = 4}}, data, 800, 1).weights(), 0};
  matrix<float> fit(4096, 32), held(4096, 32);
  data.draw(truth, 1'000'000, fit.view());
  data.draw(truth, 2'000'000, held.view());
  const auto threshold = try_calibrate_threshold(exec, c.weights, matrix_view<const float>(fit.view()), 4);
  REQUIRE(threshold);
  c.weights.threshold = array<float>(64, *threshold);
  codec_memory memory;
  codec_metrics found(64, 64, array<float>(32, 0.0f));
  REQUIRE(try_encode(exec, c, matrix_view<const float>(held.view()), memory));
  std::vector<float> back(32);
  for (index_t r = 0; r < 4096; ++r) {
    decode_row(c, memory.rows[r].span(), back);
    found.add(r / 64, {&held(r, 0), 32}, memory.rows[r].span(), back);
  }
  const auto l0 = found.mean_latents();
  INFO("L0 " << l0.value << ", FVU " << found.fvu().value << ", silent " << found.silent());
  CHECK(std::fabs(l0.value / 4 - 1) < 0.02);
  CHECK(l0.lo < l0.value);
  CHECK(found.fvu().value < 0.3);
  CHECK(found.rows() == 4096);
}

TEST_CASE("sae: weights() reconstructs rows in their own units, also where norms are folded") {
  cpu exec;
  const planted_rows data{.width = 16, .atoms = 32, .active = 3};
  const auto truth = data.dictionary();
  for (const decoder_norm norm : {decoder_norm::projected, decoder_norm::folded}) {
    matrix<float> x(128, 16);
    data.draw(truth, 0, x.view());
    for (index_t i = 0; i < x.data.size(); ++i) x.data[i] = 37.0f * x.data[i] + 5.0f;
    auto t = value_or_throw(trainer<float, topk>::try_make(
        exec, topk{{.latents = 3}}, {.latents = 32, .learning_rate = 0.01, .warm_up = 0, .norm = norm}, x.view()));
    for (int s = 0; s < 20; ++s) REQUIRE(t.try_step(exec, x.view()));
    const codec c{t.weights(), 3};
    dictionary<float> ignored;
    const double fvu = value_or_throw(t.try_gradient(exec, x.view(), ignored)).fvu;
    codec_memory memory;
    REQUIRE(try_encode(exec, c, matrix_view<const float>(x.view()), memory));
    std::vector<float> back(16);
    double lost = 0, mean[16] = {}, whole = 0;
    for (index_t r = 0; r < 128; ++r) {
      decode_row(c, memory.rows[r].span(), back);
      for (index_t k = 0; k < 16; ++k) {
        lost += std::pow(static_cast<double>(x(r, k)) - static_cast<double>(back[static_cast<std::size_t>(k)]), 2);
        mean[k] += static_cast<double>(x(r, k)) / 128;
      }
    }
    for (index_t r = 0; r < 128; ++r)
      for (index_t k = 0; k < 16; ++k) whole += std::pow(static_cast<double>(x(r, k)) - mean[k], 2);
    CHECK(std::fabs(lost / whole / fvu - 1) < 1e-4);
    for (index_t j = 0; j < 32; ++j) {
      double squares = 0;
      for (index_t k = 0; k < 16; ++k) squares += std::pow(static_cast<double>(c.weights.decoder(j, k)), 2);
      CHECK(std::fabs(squares - 1) < 1e-5);
    }
  }
}

TEST_CASE("sae: bad rows, options and checkpoints are refused by name, and the run is as before") {
  cpu exec{threads{1}};
  planted_stream s;
  const topk how{{.latents = 3}};
  auto t = begun(exec, how, s);
  train(exec, t, s, 3);
  const auto before = value_or_throw(try_write_checkpoint(t, s.state));
  matrix<float> x(4, 16), narrow(4, 15), empty(0, 16);
  x(2, 5) = std::numeric_limits<float>::quiet_NaN();
  expect_error(t.try_step(exec, x.view()), errc::not_finite, {"rows, row 2, column 5"});
  expect_error(t.try_step(exec, narrow.view()), errc::shape_mismatch, {"rows", "16"});
  expect_error(t.try_step(exec, empty.view()), errc::shape_mismatch, {"at least 1"});
  CHECK(value_or_throw(try_write_checkpoint(t, s.state)) == before);

  using T = trainer<float, topk>;
  matrix<float> sample(8, 16);
  expect_error(T::try_make(exec, topk{{.latents = 41}}, stream_options, x.view()), errc::invalid_argument,
               {"latents a row", "41", "1 to 40"});
  expect_error(T::try_make(exec, how, stream_options, sample.view()), errc::invalid_argument,
               {"sample", "all the same"});
  expect_error(T::try_make(exec, how, {.latents = 8, .beta1 = 1}, x.view()), errc::invalid_argument, {"beta1"});

  const auto bytes = std::as_const(before).span();
  expect_error(try_read_checkpoint(bytes.first(bytes.size() - 1), how, stream_options, 16), errc::malformed, {});
  expect_error(try_read_checkpoint(bytes, topk{{.latents = 4}}, stream_options, 16), errc::invalid_argument,
               {"options of the run that goes on"});
  auto other = stream_options;
  other.learning_rate = 0.5;
  expect_error(try_read_checkpoint(bytes, how, other, 16), errc::invalid_argument, {"options of the run that goes on"});
  expect_error(try_read_checkpoint(bytes, how, stream_options, 17), errc::malformed, {"encoder"});
}
