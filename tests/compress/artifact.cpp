// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include <sys/wait.h>

#include <compress/small_problem.hpp>
#include <hosts/llama/host.hpp>
#include <support/catch.hpp>
#include <support/expect_error.hpp>
#include <support/study_setting.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/compress/compress_model.hpp>
#include <resect/compress/graft.hpp>

using namespace resect;
using namespace resect::compress;
using support::expect_error;

namespace {

using four = quant::affine_symmetric<4, quant::f16_store>;
using two = quant::affine_symmetric<2, quant::f16_store>;
using known = quant::format_list<two, four>;

struct temporary {
  std::filesystem::path path;
  explicit temporary(const char* name)
      : path(std::filesystem::temp_directory_path() / ("resect-" + std::to_string(::getpid()) + '-' + name)) {
    std::filesystem::remove_all(path);
  }
  ~temporary() { std::filesystem::remove_all(path); }
  std::string string() const { return path.string(); }
};

// Kills the process once so many bytes are written, or before or after so many renames; counts what it writes.
struct killing_files : io::posix_files {
  std::ptrdiff_t left = PTRDIFF_MAX;
  int renames_left = INT_MAX;
  bool after = false;
  std::ptrdiff_t* written = nullptr;

  static void die() { ::kill(::getpid(), SIGKILL); }
  std::ptrdiff_t write(int file, std::span<const std::byte> bytes) noexcept {
    const auto size = static_cast<std::ptrdiff_t>(bytes.size());
    const std::ptrdiff_t n = posix_files::write(file, bytes.first(static_cast<std::size_t>(std::min(left, size))));
    if (left < size) die();
    left -= size;
    if (written != nullptr) *written += size;
    return n;
  }
  bool rename(const char* from, const char* to) noexcept {
    const bool last = --renames_left < 0;
    if (last && !after) die();
    const bool done = posix_files::rename(from, to);
    if (last) die();
    return done;
  }
};
using folder_of = io::durable_folder<killing_files>;

folder_of open(const temporary& at, killing_files files = {}) {
  return value_or_throw(folder_of::try_open(at.string(), files));
}

// Weights without a model that runs: three layers of two matrices.
struct source {
  model::model_desc desc;
  array<model::weight_desc> all;
  std::vector<std::vector<float>> values;

  explicit source(std::uint64_t seed) {
    desc.fingerprint = seed;
    desc.n_layers = 3;
    for (int l = 0; l < 3; ++l)
      for (int i = 0; i < 2; ++i) {
        all.push_back({i == 0 ? "up" : "down", l, i, model::weight_role::matrix, i == 0 ? 24 : 16, i == 0 ? 16 : 24});
        random::fill_gaussian(values.emplace_back(24 * 16), seed, static_cast<std::uint64_t>(2 * l + i), 0, 0.05);
      }
  }
  const model::model_desc& describe() const { return desc; }
  std::span<const model::weight_desc> weights(int l) const { return {all.data() + 2 * l, 2}; }
  status try_read_weight(const model::weight_desc& w, matrix_view<float> out) const {
    std::memcpy(out.data, values[static_cast<std::size_t>(2 * w.layer + w.id)].data(), 24 * 16 * sizeof(float));
    return {};
  }
};

packing_method method(index_t group = 8) { return pack_weights(four{.group = group}); }

template <class H>
result<compressed_model> run(const H& host, folder_of& folder, std::span<const model::weight_desc> matrices,
                             const packing_method& how = method(), random::sketch_options sketch = {.seed = 9}) {
  cpu exec;
  return try_compress_model<known>(exec, host, matrices, how, folder, sketch);
}
template <class H>
result<compressed_model> run(const H& host, folder_of& folder, const packing_method& how = method()) {
  const auto matrices = all_matrices(host);
  return run(host, folder, matrices.span(), how);
}
// An H for each matrix of one model.
array<quant::hessian> hessians_of(std::uint64_t model, std::span<const model::weight_desc> matrices) {
  cpu exec;
  array<quant::hessian> out;
  for (const auto& w : matrices) {
    quant::hessian h(w.cols);
    matrix<float> rows(40, w.cols);
    random::fill_gaussian(rows.data.span(), 3, static_cast<std::uint64_t>(out.size()), 0, 1.0);
    REQUIRE(h.try_add(exec, rows));
    h.add_text("calibration", 77);
    h.set_owner(model, w);
    out.push_back(std::move(h));
  }
  return out;
}

// Every file of a folder.
std::map<std::string, std::string> files_of(const temporary& at) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(at.path)) {
    std::ifstream in(entry.path(), std::ios::binary);
    out[entry.path().filename().string()] = std::string(std::istreambuf_iterator<char>(in), {});
  }
  return out;
}

// Runs it in a child that is expected to be killed.
template <class F>
bool is_killed(F f) {
  const pid_t child = ::fork();
  if (child == 0) {
    f();
    ::_exit(0);
  }
  int state = 0;
  REQUIRE(::waitpid(child, &state, 0) == child);
  return WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL;
}

matrix_view<const float> values_of(const source& s, std::size_t i) {
  return {s.values[i].data(), s.all[static_cast<index_t>(i)].rows, s.all[static_cast<index_t>(i)].cols};
}

// The artifact of the first matrix, with L·R beside Q.
artifact one_artifact(const source& s) {
  cpu exec;
  const auto& w = s.all[0];
  auto stored = value_or_throw(method().make(w, values_of(s, 0), exec));
  matrix<float> l(2, 24), r(2, 16);  // L by its columns
  random::fill_gaussian(l.data.span(), 4, 0, 0, 0.01);
  random::fill_gaussian(r.data.span(), 5, 0, 0, 0.01);
  stored.l = value_or_throw(try_plain_part(std::as_const(l).view()));
  stored.r = value_or_throw(compress::detail::try_stored(quant::quantize(exec, r, four{.group = 16}))).q;
  const auto run = compress::detail::run_of(s.desc.fingerprint, method());
  return value_or_throw(try_make_artifact<known>(exec, run, w, values_of(s, 0), "none", std::move(stored)));
}

}  // namespace

TEST_CASE("artifact: a file holds everything, and gives the same values, bits counted in full") {
  cpu exec;
  const source s(1);
  const artifact a = one_artifact(s);
  const auto bytes = value_or_throw(try_write_artifact(a));
  const artifact b = value_or_throw(try_read_artifact(bytes.span()));
  CHECK(b.id == a.id);
  CHECK(b.sketch == a.sketch);
  CHECK(b.quality.correlation == a.quality.correlation);
  CHECK(b.quality.relative_error == a.quality.relative_error);
  CHECK(b.stored.rank() == 2);
  CHECK(b.id.format == "q int4s/f16, rank 2: l f32, r int4s/f16");
  CHECK(value_or_throw(try_write_artifact(b)) == bytes);
  matrix<float> x(24, 16), y(24, 16);
  REQUIRE(try_values<known>(exec, a.stored, x.view()));
  REQUIRE(try_check_artifact<known>(exec, b, s.all[0], values_of(s, 0), y.view()));
  CHECK(x == y);
  CHECK(a.quality.correlation > 0.97);
  CHECK(a.quality.relative_error < 0.2);

  // Against sums in another order: relative error and Pearson's correlation by their definitions.
  double lost = 0, whole = 0, wa = 0, aa = 0, mw = 0, ma = 0;
  for (index_t i = 24 * 16; i-- > 0;) {
    const double w = s.values[0][static_cast<std::size_t>(i)], v = x.data[i];
    lost += (w - v) * (w - v);
    whole += w * w;
    wa += w * v;
    aa += v * v;
    mw += w / 384;
    ma += v / 384;
  }
  CHECK(a.quality.relative_error == Approx(std::sqrt(lost / whole)).epsilon(1e-12));
  CHECK(a.quality.correlation ==
        Approx((wa / 384 - mw * ma) / std::sqrt((whole / 384 - mw * mw) * (aa / 384 - ma * ma))).epsilon(1e-10));
}

TEST_CASE("artifact: one byte changed anywhere in the file, or a file cut short, is refused") {
  const auto bytes = value_or_throw(try_write_artifact(one_artifact(source(1))));
  std::vector<index_t> accepted;
  for (index_t i = 0; i < bytes.size(); ++i) {
    auto changed = bytes;
    changed[i] ^= std::byte{static_cast<unsigned char>(1u << (i % 8))};
    if (try_read_artifact(std::as_const(changed).span())) accepted.push_back(i);
  }
  for (index_t n = 0; n < bytes.size(); ++n)
    if (try_read_artifact(bytes.span().first(static_cast<std::size_t>(n)))) accepted.push_back(-n);
  CHECK(accepted.empty());
  auto changed = bytes;
  changed[bytes.size() - 1] ^= std::byte{1};
  expect_error(try_read_artifact(std::as_const(changed).span()), errc::malformed, {"checksum", "as the file states"});
  expect_error(try_read_artifact({}), errc::malformed, {"artifact file", "0 bytes"});
}

TEST_CASE("artifact: one byte changed anywhere in the source, another matrix or another revision is refused") {
  cpu exec;
  const source s(1);
  const artifact a = one_artifact(s);
  matrix<float> made(24, 16);
  std::vector<std::size_t> accepted;
  for (std::size_t i = 0; i < 24 * 16 * sizeof(float); i += 3) {
    source other = s;
    reinterpret_cast<unsigned char*>(other.values[0].data())[i] ^= 1;
    if (try_check_artifact<known>(exec, a, s.all[0], values_of(other, 0), made.view())) accepted.push_back(i);
  }
  CHECK(accepted.empty());
  const source other(2);
  expect_error(try_check_artifact<known>(exec, a, s.all[0], values_of(other, 0), made.view()), errc::conflict,
               {"layer 0, up, 24 x 16", "source", a.id.source, "of model 0x0000000000000001", "relative distance"});
  expect_error(try_check_artifact<known>(exec, a, s.all[2], values_of(s, 0), made.view()), errc::conflict,
               {"matrix", "layer 0, up", "layer 1, up"});
  artifact old = a;
  old.id.run.revision = "resect.artifact/0";
  expect_error(try_check_artifact<known>(exec, old, s.all[0], values_of(s, 0), made.view()), errc::conflict,
               {"revision", "got resect.artifact/0, wanted resect.artifact/3"});
  expect_error(try_read_artifact(value_or_throw(try_write_artifact(old)).span()), errc::conflict,
               {"resect.artifact/0", "resect.artifact/3"});
  old = a;
  old.id.run.method = "resect.pack/0";
  expect_error(try_check_artifact<known>(exec, old, s.all[0], values_of(s, 0), made.view()), errc::conflict,
               {"revision of the method", "got resect.pack/0, wanted resect.pack/1"});
  old.id.run.method = "somebody.pack/0";
  CHECK(try_check_artifact<known>(exec, old, s.all[0], values_of(s, 0), made.view()));
  for (const index_t rank : {index_t{1} << 40, index_t{-1}, index_t{17}}) {
    artifact large = a;
    large.stored.l = {"int4s/f16", rank, 24, array<std::byte>(1)};
    large.stored.r = {"int4s/f16", rank, 16, array<std::byte>(1)};
    large.id.format = large.stored.format();
    expect_error(try_check_artifact<known>(exec, large, s.all[0], values_of(s, 0), made.view()), errc::invalid_argument,
                 {"rank of a stored matrix", "1 to 16"});
    expect_error(try_write_artifact(large), errc::invalid_argument, {"rank of a stored matrix"});
  }
  artifact shorter = a;
  shorter.stored.l.bytes.resize(4);
  expect_error(shorter.stored.check(), errc::malformed, {"part l", "4 bytes", "floats of 2 x 24"});
  artifact worse = a;
  worse.quality.correlation = -0.013;
  expect_error(try_check_artifact<known>(exec, worse, s.all[0], values_of(s, 0), made.view()), errc::conflict,
               {"correlation", "-0.013"});
  worse = a;
  worse.stored.l.bytes[3] = std::byte{0x40};  // an entry of L is 2 or more
  expect_error(try_check_artifact<known>(exec, worse, s.all[0], values_of(s, 0), made.view()), errc::conflict,
               {"artifact of layer 0"});
}

TEST_CASE("artifact: of W = 0 nothing but 0 is made, and long identities differ where an error shows it") {
  cpu exec;
  const source s(1);
  const matrix<float> zero(24, 16);
  const auto run = compress::detail::run_of(1, method());
  const auto stored = value_or_throw(method().make(s.all[0], values_of(s, 0), exec));
  expect_error(try_make_artifact<known>(exec, run, s.all[0], zero.view(), "none", stored), errc::invalid_argument,
               {"layer 0, up", "values other than 0"});
  const auto nothing = value_or_throw(method().make(s.all[0], zero.view(), exec));
  const auto a = value_or_throw(try_make_artifact<known>(exec, run, s.all[0], zero.view(), "none", nothing));
  CHECK((a.quality.relative_error == 0 && a.quality.correlation == 1));
  matrix<float> made(24, 16);
  CHECK(try_check_artifact<known>(exec, a, s.all[0], zero.view(), made.view()));

  auto one = run, other = run;
  one.corpus = std::string(300, 'x') + " first";
  other.corpus = std::string(300, 'x') + " second";
  expect_error(check_same(one, other, "it"), errc::conflict, {"corpus", "x first, wanted", "x second"});
  auto long_options = method();
  long_options.options = std::string(130, 'x');
  CHECK(compress::detail::run_of(1, long_options).options.starts_with("0x"));
}

TEST_CASE("artifact: no field of a fingerprint can be empty, neither written nor read") {
  const artifact a = one_artifact(source(1));
  int fields = 0;
  for_each_field(a.id, [&](std::string_view, const std::string&) { ++fields; });
  CHECK(fields == 11);
  for (int i = 0; i < fields; ++i) {
    artifact empty = a;
    int at = 0;
    std::string field;
    for_each_field(empty.id, [&](std::string_view name, std::string& value) {
      if (at++ != i) return;
      value.clear();
      field = name;
    });
    CAPTURE(field);
    expect_error(try_write_artifact(empty), errc::invalid_argument, {"fingerprint field " + field, "empty"});
    compress::detail::metadata_list raw{{"resect.kind", "matrix"}};
    compress::detail::add_fields(empty.id, raw);
    const auto sealed = value_or_throw(compress::detail::try_seal({}, raw));
    expect_error(try_read_artifact(sealed.span()), errc::invalid_argument, {"fingerprint field " + field});
    raw.erase(raw.begin() + 1 + i);
    const auto lacking = value_or_throw(compress::detail::try_seal({}, raw));
    expect_error(try_read_artifact(lacking.span()), errc::malformed, {"resect." + field, "no such field"});
  }
  const source s(1);
  const temporary at("empty");
  auto folder = open(at);
  packing_method nameless = method();
  nameless.options.clear();
  expect_error(run(s, folder, nameless), errc::invalid_argument, {"fingerprint field options"});
  nameless = method();
  nameless.corpus.clear();
  expect_error(run(s, folder, nameless), errc::invalid_argument, {"fingerprint field corpus"});
  CHECK(files_of(at).empty());
}

TEST_CASE(
    "compress_model: killed at 50 moments spread over the bytes, or around any rename, it ends with the same bytes") {
  const source s(1);
  const temporary whole("whole");
  std::ptrdiff_t written = 0;
  killing_files counting;
  counting.written = &written;
  auto folder = open(whole, counting);
  const auto made = value_or_throw(run(s, folder));
  CHECK(made.made == 6);
  CHECK(made.matrices[0].bits == Approx(4 + 16.0 / 8 + 48 * 8.0 / 384));  // the packed head is counted
  const auto wanted = files_of(whole);
  REQUIRE(wanted.size() == 7);
  REQUIRE(written > 50);

  const auto killed = [&](killing_files files) {
    const temporary at("killed");
    CHECK(is_killed([&] {
      auto f = open(at, files);
      static_cast<void>(run(s, f));
    }));
    auto again = open(at);
    const auto resumed = value_or_throw(run(s, again));
    CHECK(resumed.made + resumed.kept == 6);
    CHECK(files_of(at) == wanted);
    return resumed.kept;
  };
  index_t kept = 0;
  for (int k = 0; k < 50; ++k) {
    killing_files files;
    files.left = written * (2 * k + 1) / 100;
    CAPTURE(k, files.left, written);
    const index_t now = killed(files);
    CHECK(now >= kept);
    kept = now;
  }
  CHECK(kept == 6);
  for (int n = 0; n < 7; ++n)
    for (const bool after : {false, true}) {
      killing_files files;
      files.renames_left = n;
      files.after = after;
      CAPTURE(n, after);
      CHECK(killed(files) == std::min(6, n + after));
    }
}

TEST_CASE("compress_model: a full disk is an error, and the next run ends with the same bytes") {
  const source s(1);
  const temporary whole("disk-whole"), at("disk");
  auto folder = open(whole), full = open(at);
  REQUIRE(run(s, folder));
  std::filesystem::create_symlink("/dev/full", at.path / "layer-001.down.safetensors.partial");
  expect_error(run(s, full), errc::io, {"layer-001.down", "No space left"});
  CHECK(files_of(at).size() == 3);
  const auto resumed = value_or_throw(run(s, full));
  CHECK(resumed.kept == 3);
  CHECK(files_of(at) == files_of(whole));
}

TEST_CASE(
    "compress_model: another model, method, options, H, corpus or seed does not resume a folder, and changes nothing") {
  cpu exec;
  const source s(1);
  const auto hessians = hessians_of(1, s.all.span());
  const four format{.group = 8};
  const auto gptq = pack_gptq(exec, format, hessians.span());
  CHECK(gptq.corpus == "calibration 0x000000000000004d");
  const temporary at("gate");
  auto folder = open(at);
  REQUIRE(run(s, folder, gptq));
  CHECK(value_or_throw(run(s, folder, gptq)).kept == 6);
  const auto wanted = files_of(at);
  const auto refused = [&](const source& from, const packing_method& how,
                           std::initializer_list<std::string_view> texts) {
    for (const bool listed : {true, false}) {  // with the list, and of a run that did not end
      if (!listed) std::filesystem::remove(at.path / artifact_list_name);
      expect_error(run(from, folder, how), errc::conflict, texts);
      auto now = files_of(at);
      now[std::string(artifact_list_name)] = wanted.at(std::string(artifact_list_name));
      CHECK(now == wanted);
    }
    REQUIRE(run(s, folder, gptq));
  };
  refused(source(2), gptq, {"model", "0x0000000000000001", "0x0000000000000002"});
  refused(s, method(), {"method", "resect.pack_gptq/1", "resect.pack/1"});
  refused(s, pack_gptq(exec, four{.group = 4}, hessians.span()), {"options", "group 8", "group 4"});
  refused(s, pack_gptq(exec, format, hessians.span(), {.sweeps = 1}), {"options", "sweep"});
  auto seeded = gptq;
  seeded.seed = 5;
  refused(s, seeded, {"seed", "got 0, wanted 5"});
  auto texts = hessians;
  for (auto& h : texts) h.add_text("more", 1);
  refused(s, pack_gptq(exec, format, texts.span()), {"corpus", "calibration", "more"});
  auto other = hessians;
  matrix<float> row(1, 24);
  row.data[3] = 1;
  for (auto& h : other)
    if (h.size() == 24) REQUIRE(h.try_add(exec, row));
  const temporary elsewhere("other-model");
  auto untouched = open(elsewhere);
  expect_error(run(source(2), untouched, gptq), errc::conflict,
               {"H", "of model 0x0000000000000001", "of model 0x0000000000000002"});
  CHECK(files_of(elsewhere).empty());
  const auto changed = run(s, folder, pack_gptq(exec, format, other.span()));
  expect_error(changed, errc::conflict, {"layer-000.down", "hessian"});
  source touched = s;
  touched.values[5][100] += 1e-6f;
  expect_error(run(touched, folder, gptq), errc::conflict, {"layer 2, down", "source"});
  CHECK(files_of(at) == wanted);
  for (const random::sketch_options& sketch : {random::sketch_options{.seed = 77}, {.seed = 9, .buckets = 32}})
    expect_error(run(s, folder, s.all.span(), gptq, sketch), errc::conflict,
                 {"layer-000.up", "sketch", "seed 9, 64 buckets"});
  CHECK(files_of(at) == wanted);
}

TEST_CASE("compress_model: a folder of some matrices is completed, one of further matrices is refused, in any order") {
  const source s(1);
  const temporary whole("all"), at("some"), backwards("backwards");
  auto folder = open(at), all = open(whole), other = open(backwards);
  REQUIRE(run(s, all));
  const auto wanted = files_of(whole);
  const auto first = s.all.span().first(2);
  CHECK(value_or_throw(run(s, folder, first)).made == 2);
  const auto some = files_of(at);
  REQUIRE(some.size() == 3);
  CHECK(is_killed([&] {  // the list of two is gone before a third file is there
    killing_files files;
    files.renames_left = 1;
    auto f = open(at, files);
    static_cast<void>(run(s, f));
  }));
  CHECK_FALSE(folder.has(artifact_list_name));
  const auto completed = value_or_throw(run(s, folder));
  CHECK(completed.kept == 3);
  CHECK(files_of(at) == wanted);
  expect_error(run(s, folder, first), errc::conflict,
               {"artifact.safetensors", "a list of 6 files with layer-001", "or another folder"});
  CHECK(files_of(at) == wanted);
  array<model::weight_desc> reversed;
  for (index_t i = s.all.size(); i-- > 0;) reversed.push_back(s.all[i]);
  REQUIRE(run(s, other, reversed.span()));
  CHECK(files_of(backwards) == wanted);
}

TEST_CASE("compress_model: what can be refused is refused before a file is written") {
  cpu exec;
  const source s(1);
  const temporary at("untouched");
  auto folder = open(at);
  auto twice = s.all;
  twice.push_back(s.all[1]);
  expect_error(run(s, folder, twice.span()), errc::invalid_argument, {"layer 0, down", "twice"});
  expect_error(run(s, folder, std::span<const model::weight_desc>{}), errc::invalid_argument, {"matrices", "none"});
  source bad = s;
  bad.values.back().back() = NAN;
  expect_error(run(bad, folder), errc::not_finite, {"layer 2, down"});
  const auto hessians = hessians_of(1, s.all.span());
  const auto lacking = pack_gptq(exec, four{.group = 8}, hessians.span().first(5));
  expect_error(run(s, folder, lacking), errc::invalid_argument, {"H of layer 2, down", "none among 5"});
  auto wide = hessians;
  quant::hessian h(20);
  matrix<float> rows(2, 20);
  REQUIRE(h.try_add(exec, rows));
  h.add_text("calibration", 77);
  h.set_owner(1, s.all[5]);
  wide[5] = std::move(h);
  expect_error(run(s, folder, pack_gptq(exec, four{.group = 8}, wide.span())), errc::shape_mismatch,
               {"H of layer 2, down", "20 x 20", "24 x 24"});
  CHECK(files_of(at).empty());
}

TEST_CASE(
    "pack_decomposed: Q + L·R of a model's matrices is stored, resumed and grafted with the decomposition's values") {
  const support::study_setting s(2);
  cpu exec;
  resect::cpu<threads> rounds{threads{1}};
  hosts::llama_host host(exec, s.model);
  const auto all = all_matrices(host);
  const auto some = all.span().last(2);
  const auto hessians = hessians_of(host.describe().fingerprint, some);
  const auto options = tests::small_options(3, 1);
  const auto how = tests::small_packing(rounds, hessians.span(), options);
  const temporary at("decomposed");
  auto folder = open(at);
  const auto made = value_or_throw(run(host, folder, some, how));
  CHECK(value_or_throw(run(host, folder, some, how)).kept == 2);
  auto more = options;
  more.rank = 4;
  expect_error(run(host, folder, some, tests::small_packing(rounds, hessians.span(), more)), errc::conflict,
               {"options", "rank 3", "rank 4"});
  more = options;
  more.feedback.sweeps = 3;
  expect_error(run(host, folder, some, tests::small_packing(rounds, hessians.span(), more)), errc::conflict,
               {"options"});
  std::vector<matrix<float>> wanted;
  for (index_t i = 0; i < 2; ++i) {
    const auto& w = some[static_cast<std::size_t>(i)];
    matrix<float> intact(w.rows, w.cols);
    REQUIRE(host.try_read_weight(w, intact.view()));
    const auto d = value_or_throw(tests::try_small_decompose(intact, hessians[i], options));
    wanted.push_back(d.to_dense(rounds));
    // three heads and the ends of streams are all that is stored beside the bits that count
    const double extra = 8.0 * static_cast<double>(made.matrices[i].bytes) - d.stored_bits();
    CHECK((extra >= 0 && extra <= 3 * (48 * 8 + 16)));
  }
  const auto held = value_or_throw(try_graft<known>(exec, host, folder));
  CHECK(held.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    matrix<float> now(some[i].rows, some[i].cols);
    REQUIRE(host.try_read_weight(some[i], now.view()));
    CHECK(now == wanted[i]);
  }
}

TEST_CASE("graft: artifacts go on their own model, wholly, and on no other one") {
  const support::study_setting s(2);
  cpu exec;
  hosts::llama_host host(exec, s.model);
  const temporary at("graft");
  auto folder = open(at);
  expect_error(try_graft<known>(exec, host, folder), errc::io, {"artifact.safetensors"});
  const artifact_list no_file{compress::detail::run_of(host.describe().fingerprint, method()), {}};
  REQUIRE(folder.try_write(artifact_list_name, value_or_throw(try_write_artifact_list(no_file)).span()));
  expect_error(try_graft<known>(exec, host, folder), errc::invalid_argument, {"a list of no file"});
  REQUIRE(run(host, folder));
  const auto all = all_matrices(host);
  const auto weights = [&](const hosts::llama_host& of) {
    std::vector<matrix<float>> out;
    for (const auto& w : all) REQUIRE(of.try_read_weight(w, out.emplace_back(w.rows, w.cols).view()));
    return out;
  };
  const auto intact = weights(host);
  {
    const auto held = value_or_throw(try_graft<known>(exec, host, folder));
    CHECK(held.size() == all.size());
    const auto grafted = weights(host);
    for (std::size_t i = 0; i < intact.size(); ++i) {
      CAPTURE(all[static_cast<index_t>(i)].name.c_str());
      const auto q = quant::quantize(exec, intact[i], four{.group = 8});
      matrix<float> wanted(intact[i].rows, intact[i].cols);
      REQUIRE(quant::try_dequantize(exec, q, wanted.view()));
      CHECK(grafted[i] == wanted);
    }
    expect_error(try_graft<known>(exec, host, folder), errc::conflict, {"source"});  // no longer the intact weights
  }
  CHECK(weights(host) == intact);

  const auto other_model = support::random_llama(s.config, support::output_matrix::tied, 6);
  hosts::llama_host other(exec, other_model);
  const auto before = weights(other);
  expect_error(try_graft<known>(exec, other, folder), errc::conflict,
               {"artifact of layer 0", "source", "distance of 1."});
  CHECK(weights(other) == before);

  // One weight of the last matrix differs: what was put on before is taken back.
  auto last = intact.back();
  last.data[0] += 1;
  {
    const auto guard = value_or_throw(host.try_override_weight(all.back(), std::as_const(last).view()));
    const auto touched = weights(host);
    expect_error(try_graft<known>(exec, host, folder), errc::conflict, {"layer 1, mlp.down", "source"});
    CHECK(weights(host) == touched);
  }

  // A file of another run, a lost file, a changed byte.
  const auto files = files_of(at);
  const std::string name = "layer-001.attn.q.safetensors";
  const auto put = [&](const std::string& bytes) { std::ofstream(at.path / name, std::ios::binary) << bytes; };
  const temporary elsewhere("graft-other");
  auto second = open(elsewhere);
  REQUIRE(run(host, second, method(16)));
  put(files_of(elsewhere).at(name));
  expect_error(try_graft<known>(exec, host, folder), errc::conflict, {"checksum of " + name, "artifact.safetensors"});
  auto changed = files.at(name);
  changed[changed.size() / 2] ^= 4;
  put(changed);
  expect_error(try_graft<known>(exec, host, folder), errc::malformed, {name, "checksum"});
  put(files.at(name).substr(0, 500));
  expect_error(try_graft<known>(exec, host, folder), errc::malformed, {name});
  std::filesystem::remove(at.path / name);
  expect_error(try_graft<known>(exec, host, folder), errc::io, {name});
  CHECK(weights(host) == intact);
  using fewer = quant::format_list<quant::affine<2>>;
  put(files.at(name));
  expect_error(try_graft<fewer>(exec, host, folder), errc::unsupported, {"int4s/f16"});
  CHECK(try_graft<known>(exec, host, folder));
}
