// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/expect_error.hpp>
#include <support/neox_host.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/core/threads.hpp>
#include <resect/io/npy.hpp>
#include <resect/io/npy_reader.hpp>
#include <resect/sae/architectures/topk.hpp>
#include <resect/sae/coder.hpp>
#include <resect/sae/host_rows.hpp>
#include <resect/sae/planted.hpp>
#include <resect/sae/set_checkpoint.hpp>
#include <resect/sae/similarity.hpp>
#include <resect/sae/training_set.hpp>

using namespace resect;
using namespace resect::sae;
using support::expect_error;
using neox = support::neox::host<>;
using model::row_meta;

namespace {

using resect::index_t;

constexpr std::int32_t massive_id = 7, bos_id = 3;

// A model whose stream is large wherever token 7 stands.
neox a_host() {
  support::neox::parameters p{support::neox::block::sequential, support::neox::positions::learned};
  for (std::size_t c = 0; c < p.width; ++c) p.tokens[massive_id * p.width + c] *= 1000;
  return neox{p};
}
// Sequences of random tokens, the BOS in front of each.
std::vector<row_meta> text_of(int sequences, int length) {
  std::vector<row_meta> out;
  for (int s = 0; s < sequences; ++s)
    for (int p = 0; p < length; ++p) {
      const auto draw =
          random::integer_below(random::philox_stream{5, 0}, static_cast<std::uint64_t>(s * length + p), 41);
      out.push_back({s, p, p == 0 ? bos_id : static_cast<std::int32_t>(draw), row_meta::wants_logits});
    }
  return out;
}
constexpr model_site two_sites[] = {{.layer = 1}, {.layer = 2, .where = model::site::mlp_delta}};
constexpr host_rows_options small{.rows_a_pass = 40, .sample_rows = 100, .bos = bos_id, .seed = 4};
constexpr std::uint64_t two_seeds[] = {1, 2};
constexpr trainer_options brief{.latents = 24, .steps = 30, .warm_up = 3, .dead_after = 200};
constexpr set_options in_batches{.batch = 32, .buffer = 128, .seeds = two_seeds};
const topk three{{.latents = 3}};

// Of the edit level alone.
struct watched_host : support::forwarding_host<neox> {
  using support::forwarding_host<neox>::forwarding_host;
  status try_forward(model::batch_view b, model::site_set want, model::observer<float> look) {
    return host_.try_forward(b, want, look);
  }
};

// Names and bytes of the files of a folder.
std::map<std::string, array<std::byte>> files_of(const io::durable_folder<>& folder) {
  std::map<std::string, array<std::byte>> out;
  for (const auto& f : std::filesystem::directory_iterator(folder.path()))
    out[f.path().filename().string()] = value_or_throw(folder.try_read(f.path().filename().string()));
  return out;
}
struct temporary_folder {
  std::string path;
  io::durable_folder<> at;
  explicit temporary_folder(const std::string& name)
      : path((std::filesystem::temp_directory_path() / ("resect-set-" + name + std::to_string(::getpid()))).string()),
        at((std::filesystem::remove_all(path), value_or_throw(io::durable_folder<>::try_open(path)))) {}
  ~temporary_folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE(
    "sae: rows of a host are those of its stream, without first positions, BOS and massive rows, whatever its level") {
  auto h = a_host();
  watched_host watched(h);
  const auto text = text_of(12, 10);
  auto options = small;
  options.seed = 0;
  auto rows = value_or_throw(try_rows_of(h, two_sites, text, options));
  auto seen = value_or_throw(try_rows_of(watched, two_sites, text, options));
  CHECK(rows.identity() == seen.identity());
  CHECK(rows.cursor_of_epoch() == 12);
  auto state = value_or_throw(h.try_embed(text));
  value_or_throw(h.try_run(state, 0, 2, model::no_hooks<float>()));
  const matrix_view<const float> stream = h.stream(state);

  index_t kept = 0;
  std::int64_t first = 0, massive = 0;
  for (std::uint64_t cursor = 0; cursor < 12;) {
    const auto next = value_or_throw(rows.try_pass(cursor));
    CHECK(value_or_throw(seen.try_pass(cursor)) == next);
    index_t at = 0;
    for (std::uint64_t r = cursor * 10; r < next * 10; ++r) {
      const bool is_first = text[r].pos == 0 || text[r].token == bos_id, is_massive = text[r].token == massive_id;
      first += is_first;
      massive += !is_first && is_massive;
      if (is_first || is_massive) continue;
      REQUIRE(at < rows.rows(0).rows);
      CHECK(rows.tokens()[static_cast<std::size_t>(at)].place() == text[r].place());
      for (index_t c = 0; c < 16; ++c) {
        CHECK(rows.rows(0)(at, c) == stream(static_cast<index_t>(r), c));
        CHECK(rows.rows(1)(at, c) == seen.rows(1)(at, c));
      }
      ++at;
    }
    CHECK(at == rows.rows(1).rows);
    kept += at;
    cursor = next;
  }
  CHECK(massive > 0);
  CHECK(first > 12);
  CHECK(rows.counts().kept == kept);
  CHECK(rows.counts().first == first);
  CHECK(rows.counts().massive == massive);
  CHECK(h.cached(0) == 0);  // what was watched is forgotten
}

TEST_CASE("sae: an epoch visits each sequence once, in an order of its own") {
  auto h = a_host();
  const auto text = text_of(9, 4);
  auto rows = value_or_throw(try_rows_of(h, two_sites, text, {.rows_a_pass = 8, .sample_rows = 8, .seed = 6}));
  std::vector<std::vector<int>> orders;
  for (std::uint64_t cursor = 0; cursor < 18; cursor = value_or_throw(rows.try_pass(cursor))) {
    if (cursor % 9 == 0) orders.emplace_back();
    (void)value_or_throw(rows.try_pass(cursor));
    for (const auto& row : rows.tokens())
      if (orders.back().empty() || orders.back().back() != row.seq) orders.back().push_back(row.seq);
  }
  REQUIRE(orders.size() == 2);
  CHECK(orders[0] != orders[1]);
  for (auto& order : orders) {
    std::sort(order.begin(), order.end());
    CHECK(order == std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8});
  }
}

TEST_CASE("sae: a set runs the host once for all sites and seeds, and each trainer is what it is alone") {
  auto h = a_host();
  support::counting_host<neox> counted(h);
  const auto text = text_of(20, 10);
  cpu exec;
  auto rows = value_or_throw(try_rows_of(counted, two_sites, text, small));
  counted.reset();
  const auto both = value_or_throw(try_train(exec, rows, three, brief, in_batches));
  const int passes = counted.n.embeds;
  CHECK(both.rows() == 30 * 32);
  CHECK(both.cursor() > rows.cursor_of_epoch());  // the text is shorter than the run
  CHECK(rows.counts().kept >= both.rows() + both.buffer(0).waiting());
  CHECK(static_cast<std::uint64_t>(passes) < both.cursor());

  auto again = value_or_throw(try_rows_of(counted, two_sites, text, small));
  counted.reset();
  auto alone = in_batches;
  alone.seeds = std::span(two_seeds).subspan(1);
  const auto one = value_or_throw(try_train(exec, again, three, brief, alone));
  CHECK(counted.n.embeds == passes);
  CHECK(counted.n.layers[0] == passes);
  for (const index_t site : {0, 1}) {
    CHECK(one.at(site).weights() == both.at(site, 1).weights());
    CHECK_FALSE(both.at(site, 0).weights() == both.at(site, 1).weights());
  }
}

TEST_CASE("sae: rows of a .npy file feed a set; massive ones are left out and counted") {
  cpu exec;
  const planted_rows data{.width = 16, .atoms = 24, .active = 3};
  matrix<float> x(600, 16);
  data.draw(data.dictionary(), 0, x.view());
  for (index_t c = 0; c < 16; ++c) x(77, c) *= 1000;
  const auto file = value_or_throw(io::try_npy<float>(std::as_const(x.data).span(), {600, 16}));
  const auto stored = value_or_throw(io::try_read_npy(std::as_bytes(std::span(file))));
  const auto values = value_or_throw(io::try_npy_values<float>(stored));
  auto rows = value_or_throw(array_rows::try_make(matrix_view<const float>{values.data(), 600, 16}));
  CHECK(rows.cursor_of_epoch() == 3);
  for (std::uint64_t cursor = 0; cursor < 3;) cursor = value_or_throw(rows.try_pass(cursor));
  CHECK(rows.counts().kept == 599);
  CHECK(rows.counts().massive == 1);
  const auto set = value_or_throw(try_train(exec, rows, three, brief, {.batch = 64}));
  CHECK(set.rows() == 30 * 64);
  x(5, 2) = std::numeric_limits<float>::infinity();
  expect_error(array_rows::try_make(x), errc::not_finite, {"rows of site 0"});
  expect_error(array_rows::try_make(std::span<const matrix_view<const float>>{}), errc::shape_mismatch, {"sites"});
}

TEST_CASE("sae: a set that is killed and goes on ends with the files of one that was not, at 1 and 3 workers") {
  auto h = a_host();
  const auto text = text_of(20, 10);
  temporary_folder whole("whole"), part("part");
  const auto save_at = [&](const auto& rows, io::durable_folder<>& folder, index_t every) {
    return [&rows, &folder, every](const auto& set, auto) {
      return set.step() % every == 0 || set.step() == 30 ? try_save(set, rows, folder) : status{};
    };
  };
  {
    cpu exec{threads{3}};
    auto rows = value_or_throw(try_rows_of(h, two_sites, text, small));
    auto set = value_or_throw(training_set<topk>::try_make(exec, rows, three, brief, in_batches));
    REQUIRE(try_train(exec, rows, set, save_at(rows, whole.at, 30)));
  }
  if (const pid_t child = ::fork(); child == 0) {
    cpu exec{threads{1}};
    auto rows = value_or_throw(try_rows_of(h, two_sites, text, small));
    auto set = value_or_throw(training_set<topk>::try_make(exec, rows, three, brief, in_batches));
    (void)try_train(exec, rows, set, [&](const auto& s, auto) -> status {
      if (s.step() == 7 || s.step() == 14) return try_save(s, rows, part.at);
      if (s.step() == 17) ::raise(SIGKILL);
      return {};
    });
    ::_exit(1);
  } else {
    int how = 0;
    REQUIRE(::waitpid(child, &how, 0) == child);
    REQUIRE(WIFSIGNALED(how));
  }
  cpu exec{threads{1}};
  auto rows = value_or_throw(try_rows_of(h, two_sites, text, small));
  auto set = value_or_throw(try_resume(part.at, rows, three, brief, in_batches));
  REQUIRE(set);
  CHECK(set->step() == 14);
  REQUIRE(try_train(exec, rows, *set, save_at(rows, part.at, 5)));
  CHECK(files_of(part.at) == files_of(whole.at));

  // A finished set is there to be used, and no other run goes on with it.
  CHECK(value_or_throw(try_resume(part.at, rows, three, brief, in_batches))->step() == 30);
  const auto refuses = [&](const auto& from, const topk& how, trainer_options o, set_options s, const char* key) {
    INFO(key);
    expect_error(try_resume(part.at, from, how, o, s), errc::conflict, {key, "checkpoint"});
  };
  auto other = brief;
  other.learning_rate = 0.1;
  refuses(rows, three, other, in_batches, "options");
  refuses(rows, topk{{.latents = 4}}, brief, in_batches, "options");
  auto batches = in_batches;
  batches.batch = 16;
  refuses(rows, three, brief, batches, "batch");
  batches = in_batches;
  batches.seeds = std::span(two_seeds).first(1);
  refuses(rows, three, brief, batches, "seeds");
  auto another = value_or_throw(try_rows_of(h, two_sites, text_of(20, 9), small));
  refuses(another, three, brief, in_batches, "rows");
  const std::string name = set_member_name(1, 2);
  const auto bytes = value_or_throw(part.at.try_read(name));
  REQUIRE(part.at.try_write(name, std::as_const(bytes).span().first(static_cast<std::size_t>(bytes.size() - 1))));
  expect_error(try_resume(part.at, rows, three, brief, in_batches), errc::malformed, {name});
}

TEST_CASE("sae: sets refuse sites, texts, buffers and seeds that do not fit, by name") {
  auto h = a_host();
  cpu exec;
  const auto text = text_of(4, 10);
  const model_site none[] = {{.layer = 3}}, twice[] = {{.layer = 1}, {.layer = 1}};
  expect_error(try_rows_of(h, none, text), errc::invalid_argument, {"resid_post of layer 3", "layers 0 to 2"});
  expect_error(try_rows_of(h, twice, text), errc::invalid_argument, {"layer 1 twice"});
  expect_error(try_rows_of(h, std::span<const model_site>{}, text), errc::invalid_argument, {"sites of rows"});
  expect_error(try_rows_of(h, two_sites, model::batch_view(text).subspan(1)), errc::invalid_argument,
               {"sequence 0 from position 1"});
  expect_error(try_rows_of(h, two_sites, text_of(4, 1)), errc::invalid_argument, {"first position"});
  support::neox::parameters broken{support::neox::block::sequential, support::neox::positions::learned};
  broken.tokens[static_cast<std::size_t>(text[2].token) * broken.width] = std::numeric_limits<float>::quiet_NaN();
  neox sick{broken};
  expect_error(try_rows_of(sick, two_sites, text, small), errc::not_finite, {"resid_post of layer 1", "sequence"});
  auto rows = value_or_throw(try_rows_of(h, two_sites, text, small));
  expect_error(try_train(exec, rows, three, brief, {.batch = 32, .buffer = 40}), errc::invalid_argument,
               {"shuffle buffer", "at least 72"});
  const std::uint64_t same[] = {4, 4};
  expect_error(try_train(exec, rows, three, brief, {.batch = 32, .buffer = 128, .seeds = same}), errc::invalid_argument,
               {"seeds", "4 twice"});
  expect_error(try_train(exec, rows, topk{{.latents = 25}}, brief, in_batches), errc::invalid_argument,
               {"site 0", "25", "1 to 24"});
}

TEST_CASE("sae: a coder's rows are its blocks, with ties, thresholds and a bias far from 0") {
  cpu exec;
  for (const index_t keep : {0, 1, 5}) {
    codec c{dictionary<float>(40, 12, true), keep};
    for (dictionary<float>* w = &c.weights;
         const auto part : {&w->encoder.data, &w->decoder.data, &w->encoder_bias, &w->bias})
      random::fill_gaussian(part->span(), 9, static_cast<std::uint64_t>(part->size()));
    for (float& t : c.weights.threshold) t = 0.7f;
    for (float& b : c.weights.bias) b += 20;
    for (index_t k = 0; k < 12; ++k) c.weights.encoder(17, k) = c.weights.encoder(16, k);  // a tie
    c.weights.encoder_bias[17] = c.weights.encoder_bias[16];
    matrix<float> x(30, 12), back(30, 12);
    random::fill_gaussian(x.data.span(), 10, 0, 0, 3.0);
    for (float& v : x.data) v += 20;
    const coder<cpu<>> one(exec, c);
    REQUIRE(one.try_recode(x.view(), back.view()));
    std::vector<float> f(40), row(12);
    double worst = 0;
    for (index_t r = 0; r < 30; ++r) {
      one.encode(std::as_const(x).view().row_span(r), f);
      if (keep > 0) CHECK(40 - std::count(f.begin(), f.end(), 0.0f) <= keep);
      one.decode(f, row);
      for (index_t k = 0; k < 12; ++k)
        worst = std::max(worst, std::fabs(static_cast<double>(row[static_cast<std::size_t>(k)] - back(r, k))));
    }
    INFO("keep " << keep << ": largest difference " << worst);
    CHECK(worst < 2e-4);
  }
}

TEST_CASE("sae: the mean largest cosine by products is that of plain loops") {
  cpu exec;
  const auto a = planted_rows{.width = 24, .atoms = 300, .seed = 1}.dictionary();
  auto b = planted_rows{.width = 24, .atoms = 70, .seed = 2}.dictionary();
  for (index_t c = 0; c < 24; ++c) b(3, c) = 5 * a(8, c), b(4, c) = 0;
  const auto of = [&](const auto& x, const auto& y) {
    return value_or_throw(try_mean_max_cosine(exec, x.view(), y.view()));
  };
  CHECK(std::fabs(of(a, b) - mean_max_cosine(a.view(), b.view())) < 1e-6);
  CHECK(std::fabs(of(b, a) - mean_max_cosine(b.view(), a.view())) < 1e-6);
  CHECK(std::fabs(of(a, a) - 1) < 1e-6);
}
