// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <support/every_operator.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::shared_value;
using size = resect::index_t;

namespace {

// Two texts of the same length: sequence 0 and sequence 1.
std::vector<row_meta> two_texts(int vocab) {
  const int lengths[] = {7, 7};
  return random_batch(lengths, vocab, 11);
}
std::vector<row_meta> text_of(const std::vector<row_meta>& both, int seq) {
  std::vector<row_meta> out;
  for (const auto& row : both)
    if (row.seq == seq) out.push_back(row);
  return out;
}
floats of_row(const row_store& store, int layer, token_place where) {
  const auto row = store.find(layer, where);
  return {row.begin(), row.end()};
}
std::string refused(const resect::result<step>& s) { return s ? "fine" : parts(s.error()); }

}  // namespace

TEST_CASE(
    "a patch of every row with another text's rows gives the other text's logits, bit for bit, in both directions") {
  for (const auto& model : small_models()) {
    llama_setting s(model);
    const auto both = two_texts(model.config.n_vocab), clean = text_of(both, 0), corrupt = text_of(both, 1);
    const host_ref host = s.host;
    for (const site where : {site::resid_pre, site::resid_post}) {
      const shared_value<row_store> from_clean = captured_at(host, where, clean),
                                    from_corrupt = captured_at(host, where, corrupt);
      for (int l = 0; l < 4; ++l) {
        const auto denoise =
            plan{} | patch(patch_direction::denoise, layer(l), where, from_clean, place_map::shifted(-1));
        const auto noise = plan{} | patch(patch_direction::noise, layer(l), where, from_corrupt, place_map::shifted(1));
        CHECK(same_bits(by_whole_pass(host, denoise, corrupt), by_whole_pass(host, plan{}, clean)));
        CHECK(same_bits(by_surgery(host, noise, clean), by_surgery(host, plan{}, corrupt)));
        CHECK(denoise.fingerprint() != noise.fingerprint());
      }
    }
  }
}

TEST_CASE("a patch at one place leaves earlier rows and other sequences as they were") {
  llama_setting s;
  const auto both = two_texts(s.model.config.n_vocab);
  const shared_value<row_store> post = captured_at(s.host, site::resid_post, both);
  const auto p = plan{} | at(mask({{1, 3}}),
                             patch(patch_direction::denoise, layer(1), site::resid_post, post, place_map::shifted(-1)));
  const auto got = by_surgery(s.host, p, both), intact = by_surgery(s.host, plan{}, both);
  const auto vocab = static_cast<long>(s.model.config.n_vocab);
  for (std::size_t r = 0; r < both.size(); ++r) {
    const auto first = static_cast<long>(r) * vocab;
    const bool same = std::equal(got.begin() + first, got.begin() + first + vocab, intact.begin() + first);
    CHECK(same == !(both[r].seq == 1 && both[r].pos >= 3));
  }
}

TEST_CASE("a row without a source is an error before anything runs") {
  llama_setting s;
  const auto both = two_texts(s.model.config.n_vocab), clean = text_of(both, 0);
  const shared_value<row_store> post = captured_at(s.host, site::resid_post, clean);
  const auto p = plan{} | patch(patch_direction::denoise, layers(1, 3), site::resid_post, post);
  auto state = resect::value_or_throw(s.host.try_embed(both));
  const auto before = copied(s.host.stream(state));
  CHECK(
      parts(try_run(s.host, p, state, 0, 4)) ==
      "invalid argument | patch.denoise on layers [1, 3): source of patch.denoise | no row of sequence 1 position 0 in "
      "layer 1 | a row of the row_store");
  CHECK(same_bits(copied(s.host.stream(state)), before));
  CHECK(
      parts(try_forward(s.host, p, both)) ==
      "invalid argument | patch.denoise on layers [1, 3): source of patch.denoise | no row of sequence 1 position 0 in "
      "layer 1 | a row of the row_store");
  CHECK(s.host.cached(0) == 0);
  CHECK(try_run(s.host, p, state, 3, 4));  // no patch there
  CHECK(try_run(s.host, plan{} | at(mask({{0, 2}}), patch(patch_direction::denoise, layer(1), site::resid_post, post)),
                state, 0, 4));
  const token_place to[] = {{0, 1}}, from[] = {{0, 2}};
  CHECK(
      parts(try_forward(
          s.host, plan{} | patch(patch_direction::noise, layer(1), site::resid_post, post, place_map::listed(to, from)),
          clean)) ==
      "invalid argument | patch.noise on layers [1, 2): source of patch.noise | no place for sequence 0 position 0 | a "
      "row of the row_store");
}

TEST_CASE("a store of another site or of other layers is no source, and one of another width does not fit the model") {
  const row_store store(site::resid_mid, layers(1, 3), 4, 8);
  const auto direction = patch_direction::denoise;
  CHECK(refused(try_patch(direction, layer(1), site::resid_post, store)) ==
        "conflict | source of patch.denoise | rows of resid_mid | rows of resid_post");
  CHECK(refused(try_patch(direction, layer(0), site::resid_mid, store)) ==
        "invalid argument | source of patch.denoise | layers [1, 3) | layers [0, 1)");
  CHECK(refused(try_patch(direction, layer(2), site::resid_post, row_store::of_block_deltas(layers(0, 4), 4, 8))) ==
        "conflict | source of patch.denoise | deltas of blocks | rows of resid_post");
  llama_setting s;
  CHECK(parts((plan{} | patch(direction, layer(1), site::resid_mid, store)).check(s.host.describe())) ==
        "shape mismatch | width of patch.denoise | 4 | d_model = 24");
}

TEST_CASE("a swapped subspace has the other row's components, and all that is orthogonal to it stays") {
  llama_setting s;
  const auto both = two_texts(s.model.config.n_vocab);
  const size d = s.model.config.d_model;
  const shared_value<row_store> post = captured_at(s.host, site::resid_post, both);
  const auto q = two_directions(d);
  const auto swap = subspace_swap(layer(1), site::resid_post, {q.data(), d, 2}, post, place_map::shifted(-1));
  floats h = of_row(*post, 1, {1, 4});
  const auto before = h, other = of_row(*post, 1, {0, 4});
  const std::vector<row_meta> row{{1, 4}};
  REQUIRE(swap.op.apply({site::resid_post, 1, row}, {}, {h.data(), 1, d}));
  const auto along = [&](const floats& x, std::size_t k) {
    double sum = 0;
    for (std::size_t c = 0; c < x.size(); ++c) sum += static_cast<double>(x[c]) * static_cast<double>(q[2 * c + k]);
    return sum;
  };
  const double size_of = largest(before) + largest(other);
  for (const std::size_t k : {0u, 1u}) CHECK(std::abs(along(h, k) - along(other, k)) <= 0x1p-22 * size_of);
  for (std::size_t c = 3; c < h.size(); ++c) CHECK(h[c] == before[c]);
  CHECK(std::abs(0.8 * h[0] - 0.6 * h[1] - (0.8 * before[0] - 0.6 * before[1])) <= 0x1p-22 * size_of);
}

TEST_CASE("a swap of the whole space is a patch up to rounding") {
  llama_setting s;
  const auto both = two_texts(s.model.config.n_vocab), corrupt = text_of(both, 1);
  const size d = s.model.config.d_model;
  const shared_value<row_store> post = captured_at(s.host, site::resid_post, both);
  floats identity(static_cast<std::size_t>(d * d), 0.0f);
  for (size c = 0; c < d; ++c) identity[static_cast<std::size_t>(c * d + c)] = 1;
  const auto from = place_map::shifted(-1);
  const auto swapped = by_surgery(
      s.host, plan{} | subspace_swap(layer(1), site::resid_post, {identity.data(), d, d}, post, from), corrupt);
  const auto patched =
      by_surgery(s.host, plan{} | patch(patch_direction::denoise, layer(1), site::resid_post, post, from), corrupt);
  CHECK(relative_difference(swapped, patched) < 1e-5);
}

TEST_CASE("a basis that is not orthonormal, of another width or not finite is refused") {
  const row_store store(site::resid_mid, layers(1, 3), 3, 8);
  const auto basis = [&](const floats& q, size rows, size cols) {
    return refused(try_subspace_swap(layer(1), site::resid_mid, {q.data(), rows, cols}, store));
  };
  CHECK(basis({1, 0, 0, 1, 0, 0}, 3, 2) == "fine");
  CHECK(basis({1, 1, 0, 1, 0, 0}, 3, 2) ==
        "invalid argument | basis of subspace_swap, columns 0 and 1 | an inner product of 1 | 0");
  CHECK(basis({2, 0, 0, 1, 0, 0}, 3, 2) ==
        "invalid argument | basis of subspace_swap, columns 0 and 0 | an inner product of 4 | 1");
  CHECK(basis({1, 0}, 2, 1) ==
        "shape mismatch | basis of subspace_swap | 2 x 1 | 3 rows, as the row_store, and a column or more");
  CHECK(basis({std::numeric_limits<float>::quiet_NaN(), 0, 0}, 3, 1).substr(0, 10) == "not finite");
}
