// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <resect/core/storage_float.hpp>
#include <resect/model/host.hpp>

// A host of the surgery level whose every answer is known. No transformer: each layer adds a linear function
// of the row alone, so that the effect of leaving layers out can be added up exactly over the distribution
// that texts are drawn from. One forward pass of a row costs well below a microsecond.
//
// A token id says everything about its row: the level of its sequence (constant in a sequence), its own
// level (heavy-tailed, independent) and its class, −1 or +1 (kept with probability `class_kept` from one
// token to the next). Row h:
//   h[0]  amplitude = exp(level of the token) · exp(level of the sequence); no layer changes it
//   h[1]  evidence for the class: −margin · class, until the critical layer turns it round
//   h[2]  1, so that the head can add the log of the token levels' frequencies
//   h[3…] what the other layers write: strength_l · h[0], each layer into one of them, a quarter of it by its
//         attention and the rest by its MLP
// Critical layer: h[1] := −h[1]; without it the model bets on the wrong class. Useless layer: delta 0.
// No final norm (head_norm = head_in); logits = head · h. Rows, deltas and logits are stored as T, which rounds each of
// them once; sums are floats. Compiled once, in planted_host.cpp, for float, f16 and bf16.
namespace support {

enum class last_layer { all_rows, wanted_rows };  // a host may gather the rows that want logits

struct planted_options {
  std::uint64_t seed = 1;  // of the texts; the model is the same for every seed
  int n_layers = 6;
  int d_model = 8;
  int critical = 2;
  int useless = 4;
  int sequence_levels = 3;
  int token_levels = 6;
  double sequence_spread = 0.4;  // standard deviation, about, of the log amplitude between sequences
  double token_step = 0.45;      // log amplitude from one token level to the next
  double tail = 2.2;             // P(amplitude > x) ~ x^−tail within a sequence
  double class_kept = 0.9;
  double margin = 1.0;
  double strength = 0.08;  // of the weakest other layer; the l-th is (1 + l mod 4) times as strong
  int n_streams = 1;       // what describe() says
  last_layer at_the_end = last_layer::all_rows;
  std::optional<resect::model::site> fused{};  // a site that cannot be reached
};

template <resect::widens_to_float T>
class basic_planted_host {
 public:
  using value = T;
  using space = resect::host_space;
  using hooks = resect::model::hooks<T>;
  using batch_view = resect::model::batch_view;
  using row_meta = resect::model::row_meta;
  using site = resect::model::site;
  using tap = resect::model::tap;
  using weight_desc = resect::model::weight_desc;
  using view = resect::matrix_view<T>;

  class state {
   public:
    state(state&&) noexcept = default;
    state& operator=(state&&) noexcept = default;

   private:
    friend basic_planted_host;
    state() = default;
    state(const state&) = default;
    std::vector<row_meta> rows;
    std::vector<T> stream;
  };

  class weight_override {
   public:
    weight_override(weight_override&& other) noexcept
        : host_(std::exchange(other.host_, nullptr)), slot_(other.slot_), previous_(std::move(other.previous_)) {}
    weight_override& operator=(weight_override&& other) noexcept {
      std::swap(host_, other.host_);
      std::swap(slot_, other.slot_);
      std::swap(previous_, other.previous_);
      return *this;
    }
    ~weight_override() {
      if (host_) host_->put(slot_, std::move(previous_));
    }

   private:
    friend basic_planted_host;
    weight_override(basic_planted_host* host, std::size_t slot, std::vector<float> previous)
        : host_(host), slot_(slot), previous_(std::move(previous)) {}
    basic_planted_host* host_;
    std::size_t slot_;
    std::vector<float> previous_;
  };

  explicit basic_planted_host(const planted_options& options = {});
  basic_planted_host(const basic_planted_host&) = delete;
  basic_planted_host& operator=(const basic_planted_host&) = delete;

  // --- texts ------------------------------------------------------------------------------------------

  // Whole sequences of rows, drawn at (seed, sequence, position); all want logits.
  std::vector<row_meta> draw(int sequences, int length) const;
  // The same as one text with a document a sequence.
  std::vector<std::int32_t> draw_ids(int sequences, int length) const;

  // --- the truth --------------------------------------------------------------------------------------

  struct truth {
    double kl = 0.0;      // E KL(intact ‖ altered) of a row
    double dlnppl = 0.0;  // E nll(altered) − nll(intact) of the next token of the same sequence
    double top1 = 0.0;    // P(same most likely token)
    double kl_sd = 0.0;   // standard deviation of KL over rows
  };

  // Where layer l adds scale[l] times its delta. Exact but for the rounding of double and of the fp32 weights.
  truth true_effect(std::span<const double> scale) const;
  truth true_skip(int layer) const;
  double true_kl(int layer) const { return true_skip(layer).kl; }

  // KL(intact ‖ altered) of a row with this token: with `draw`, all that a simulation of many studies needs.
  double true_row_kl(int id, std::span<const double> scale) const;

  // Probability of a row with this token, over all texts.
  double probability(int id) const { return token_share(token_level(id)) / (2.0 * o_.sequence_levels); }

  std::vector<double> true_logits(int id, std::span<const double> scale) const;

  const planted_options& options() const noexcept { return o_; }

  // --- observe and edit -------------------------------------------------------------------------------

  const resect::model::model_desc& describe() const noexcept { return desc_; }
  resect::model::access supports(site s, int layer) const noexcept;

  resect::status try_forward(batch_view batch, resect::model::site_set want, resect::model::observer<T> call) {
    return resect::model::try_observe(*this, batch, want, call);
  }

  resect::status try_forward(batch_view batch, const hooks& k);

  resect::matrix_view<const T> logits() const noexcept {
    return {logits_.data(), static_cast<resect::index_t>(logits_.size()) / desc_.n_vocab, desc_.n_vocab};
  }
  void forget(std::int32_t seq) { caches_.erase(seq); }
  std::uint64_t cache_epoch(std::int32_t seq) const;
  resect::index_t cached(std::int32_t seq) const;

  // --- surgery ----------------------------------------------------------------------------------------

  resect::result<state> try_embed(batch_view batch);
  resect::status try_run(state& s, int first, int last, const hooks& k);
  state snapshot(const state& s) const { return s; }
  view stream(state& s) const noexcept { return view_of(s); }
  batch_view rows(const state& s) const noexcept { return s.rows; }
  resect::status try_head(const state& s, resect::index_t row, view norm, view logits);

  std::span<const weight_desc> weights(int layer) const noexcept {
    return std::span(weights_).subspan(slot(layer, 0), n_weights);
  }
  resect::status try_read_weight(const weight_desc& w, resect::matrix_view<float> out) const;
  // Guards must go in reverse order, as with the example runtime.
  resect::result<weight_override> try_override_weight(const weight_desc& w, resect::matrix_view<const float> values);

 private:
  enum : int { attention, mlp, gain, n_weights };
  struct entry {
    int row, col;
    float value;
  };

  static std::size_t slot(int layer, int id) noexcept { return static_cast<std::size_t>(layer * n_weights + id); }

  int id_of(int sequence, int token, int kind) const noexcept {
    return (sequence * o_.token_levels + token) * 2 + kind;
  }
  int class_of(int id) const noexcept { return id % 2; }
  int token_level(int id) const noexcept { return id / 2 % o_.token_levels; }
  int sequence_level(int id) const noexcept { return id / 2 / o_.token_levels; }
  // geometric in the level, which is a power law in the amplitude
  double token_share(int k) const noexcept;

  void plant_tokens();

  void plant_layers();

  void put(std::size_t at, std::vector<float> values);

  resect::status check_token(const row_meta& row) const;
  resect::status check_weight(const weight_desc& w) const;

  bool wanted(const hooks& k, site s) const { return s != o_.fused && (k.read.contains(s) || k.write.contains(s)); }
  void call(const hooks& k, const tap& at, state& s) const {
    if (wanted(k, at.where)) k.call(at, view_of(s));
  }
  view view_of(state& s) const noexcept {
    return {s.stream.data(), static_cast<resect::index_t>(s.rows.size()), o_.d_model};
  }

  void embed(batch_view batch, state& s) const;

  void keep_wanted(state& s) const;

  void run_layer(int l, state& s, const hooks& k, last_layer end);

  void project(resect::matrix_view<const T> h, view out) const;

  static double divergence(const std::vector<double>& p, const std::vector<double>& q);
  static std::vector<double> log_softmax(std::vector<double> x);

  planted_options o_;
  resect::model::model_desc desc_;
  std::vector<float> embed_, head_;                   // (n_vocab, d_model) each
  std::vector<std::vector<float>> planted_, active_;  // weights as planted and as overridden
  std::vector<std::vector<entry>> entries_;           // what is not zero in them
  std::vector<weight_desc> weights_;
  std::map<std::int32_t, std::pair<resect::index_t, std::uint64_t>> caches_;  // length, epoch
  std::vector<T> logits_;
};
using planted_host = basic_planted_host<float>;

static_assert(resect::model::surgical_host<planted_host>);

}  // namespace support
