// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <resect/core/algorithm.hpp>
#include <span>
#include <string_view>
#include <utility>

#include <resect/core/executor.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/math.hpp>
#include <resect/core/matrix.hpp>
#include <resect/model/host.hpp>
#include <resect/quant/incoherence.hpp>
#include <resect/quant/stream_roles.hpp>

// A model on a rotation of its residual stream. Weights that were stored at few bits lie on their grid, and a quantizer
// reproduces them without error; after the rotation they do not, and the model is the same.
namespace RESECT_NAMESPACE::quant {

namespace detail {

// The overrides of a rotated model; they end in reverse order.
template <class Override>
class held_overrides {
 public:
  held_overrides() = default;
  held_overrides(held_overrides&&) noexcept = default;
  held_overrides& operator=(held_overrides&&) noexcept = default;
  ~held_overrides() {
    while (!held_.empty()) held_.pop_back();
  }
  void push_back(Override o) { held_.push_back(std::move(o)); }

 private:
  array<Override> held_;
};

// What a rotated host has beside surgery: the products of the host, which see rotated rows where it reads the stream.
template <class H>
class rotated_products {
 public:
  explicit rotated_products(H&) noexcept {}
};
template <model::product_host H>
class rotated_products<H> {
 public:
  using product_override = typename H::product_override;
  explicit rotated_products(H& host) noexcept : product_host_(&host) {}
  result<product_override> try_override_product(const model::weight_desc& w,
                                                model::product_function<typename H::value, typename H::space> f) {
    return product_host_->try_override_product(w, std::move(f));
  }

 private:
  H* product_host_;
};

template <class H>
inline constexpr bool is_rotated = false;

// W ← W·diag(g).
inline void fold_gain(matrix<float>& w, const matrix<float>& gain) noexcept {
  for (index_t r = 0; r < w.rows; ++r)
    for (index_t c = 0; c < w.cols; ++c) w(r, c) *= gain(0, c);
}

// ‖a − b‖_F / ‖b‖_F.
inline double relative_distance(matrix_view<const float> a, matrix_view<const float> b) noexcept {
  double apart = 0, size = 0;
  for (index_t r = 0; r < a.rows; ++r)
    for (index_t c = 0; c < a.cols; ++c) {
      const double d = static_cast<double>(a(r, c)) - static_cast<double>(b(r, c));
      apart += d * d;
      size += static_cast<double>(b(r, c)) * static_cast<double>(b(r, c));
    }
  return size > 0 ? math::sqrt(apart / size) : apart > 0 ? 1.0 : 0.0;
}

}  // namespace detail

// A surgery host of the same model whose residual stream is Q·h in place of h, Q a seeded rotation (quant/incoherence.hpp).
//   Gains of the layers' norms are folded into the matrices that read behind them and become 1; these matrices become
//   W·diag(g)·Qᵀ, those that write the stream Q·W, by overrides of the host that end with this object. Rows are turned
//   after try_embed, and at embed_out of whole passes; back before try_head, and after a callback at head_in. All sites up
//   to head_in show the rotated stream; head_norm and logits are the host's.
//   Logits: those of the host to about 10⁻⁵ of their size (1e-4 is tested): √n·2⁻²⁴ a layer. Deterministic, same bits for
//   any number of workers.
//   Norms other than RMSNorm do not commute with Q. A bias of a norm is refused by its name; any other norm, and a wrong
//   role of a weight, by a probe: eight tokens run through both models, and a layer whose streams are further than 10⁻³
//   apart is named.
//   A rotated host may be rotated again: rotations compose, and the logits stay. A host that another rotated host holds is
//   refused, because each of both would turn only its own part of the way: it is known by gains that are all 1 while its
//   weights_epoch() says that overrides are held. (Of a host without weights_epoch() it is not known.)
//   The host outlives this object and is not used beside it; a sequence that it had cached is to be forgotten first.
//   f16 and bf16 hosts: rotate the widened_host.
//   Cost: once O(log d) operations a weight and the memory of one matrix (the host keeps the overridden ones); a pass
//   O(d·log d) a row more, and a copy of the state a try_head.
//   Source: Ashkboos et al., "QuaRot", NeurIPS 2024, §4 (folding gains, rotating a residual stream); Ashkboos et al.,
//   "SliceGPT", ICLR 2024, §3.2 (RMSNorm commutes with rotations).
template <model::surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
class rotated_host : public detail::rotated_products<H> {
 public:
  using value = float;
  using space = host_space;
  using state = typename H::state;
  using weight_override = typename H::weight_override;

  // `exec` turns rows and matrices; it and the host are kept by reference. `roles` is asked about each weight.
  // Errors: unsupported (a weight without a role, a gain that no matrix stands behind, a norm other than RMSNorm,
  // embed_out or head_in that cannot be written); conflict (a host that is rotated already); those of the host. The host is
  // as before then.
  template <executor E, class Roles = llama_stream>
    requires std::is_invocable_r_v<stream_role, const Roles&, const model::weight_desc&>
  static result<rotated_host> try_make(E& exec, H& host, std::uint64_t seed, const Roles& roles = {}) {
    const model::model_desc& d = host.describe();
    for (const model::site s : {model::site::embed_out, model::site::head_in})
      if (host.supports(s, 0) != model::access::write)
        return error{errc::unsupported, text("site ", name(s)), "no access to write", "a host that lets it be written"};
    auto q = rotation::try_make(d.d_model, seed);
    if (!q) return q.error();
    rotated_host out(exec, host, std::move(*q), seed);
    if (auto s = out.check_not_rotated(roles); !s) return s.error();
    auto before = out.probe();
    if (!before) return before.error();
    for (int layer = 0; layer < d.n_layers; ++layer)
      if (auto s = out.rotate_layer(layer, roles); !s) return s.error();
    if (auto s = out.compare(*before); !s) return s.error();
    return out;
  }

  const model::model_desc& describe() const noexcept { return desc_; }
  const rotation& basis() const noexcept { return q_; }
  model::access supports(model::site s, int layer) const { return host_->supports(s, layer); }

  status try_forward(model::batch_view batch, model::site_set want, model::observer<float> look) {
    return model::try_observe(*this, batch, want, look);
  }
  status try_forward(model::batch_view batch, const model::hooks<float>& k) {
    status turned;
    auto call = [&](const model::tap& at, matrix_view<float> rows) {
      const bool wanted = k.read.contains(at.where) || k.write.contains(at.where);
      if (at.where == model::site::embed_out && turned) turned = q_.try_rotate_rows(exec_, rows);
      const model::edit done = wanted ? k.call(at, rows) : model::edit::unchanged;
      if (at.where == model::site::head_in && turned) turned = q_.try_restore_rows(exec_, rows);
      const bool turns = at.where == model::site::embed_out || at.where == model::site::head_in;
      return turns ? model::edit::modified : done;
    };
    const model::site_set write = k.write | model::site_set{model::site::embed_out, model::site::head_in};
    if (auto s = host_->try_forward(batch, model::hooks<float>{k.read, write, call, k.epoch}); !s) return s;
    return turned;
  }
  matrix_view<const float> logits() const { return host_->logits(); }
  void forget(std::int32_t seq) { host_->forget(seq); }
  std::uint64_t cache_epoch(std::int32_t seq) const { return host_->cache_epoch(seq); }
  index_t cached(std::int32_t seq) const { return host_->cached(seq); }

  result<state> try_embed(model::batch_view batch) {
    auto s = host_->try_embed(batch);
    if (!s) return s;
    if (auto turned = q_.try_rotate_rows(exec_, host_->stream(*s)); !turned) return turned.error();
    return s;
  }
  status try_run(state& s, int first, int last, const model::hooks<float>& k) {
    return host_->try_run(s, first, last, k);
  }
  state snapshot(const state& s) { return host_->snapshot(s); }
  matrix_view<float> stream(state& s) { return host_->stream(s); }
  model::batch_view rows(const state& s) const { return host_->rows(s); }
  status try_head(const state& s, index_t row, matrix_view<float> norm, matrix_view<float> logits) {
    state turned = host_->snapshot(s);
    const auto h = host_->stream(turned);
    if (row >= 0 && norm.rows >= 0 && norm.rows <= h.rows && row <= h.rows - norm.rows)  // else the host refuses
      if (auto st = q_.try_restore_rows(exec_, h.middle_rows(row, norm.rows)); !st) return st;
    return host_->try_head(turned, row, norm, logits);
  }

  decltype(auto) weights(int layer) const { return host_->weights(layer); }
  status try_read_weight(const model::weight_desc& w, matrix_view<float> values) const {
    return host_->try_read_weight(w, values);
  }
  result<weight_override> try_override_weight(const model::weight_desc& w, matrix_view<const float> values) {
    return host_->try_override_weight(w, values);
  }
  // Where the host tells it.
  std::uint64_t weights_epoch() const noexcept
    requires requires(const H& h) { h.weights_epoch(); }
  {
    return host_->weights_epoch();
  }

 private:
  static constexpr int probe_tokens = 8;
  static constexpr double tolerance = 1e-3;

  template <executor E>
  rotated_host(E& exec, H& host, rotation q, std::uint64_t seed)
      : detail::rotated_products<H>(host), exec_(exec), host_(&host), q_(std::move(q)), desc_(host.describe()) {
    desc_.name.append(" (rotated)");
    desc_.fingerprint = fingerprint{}.add("resect.rotated/1").add(desc_.fingerprint).add(seed).value();
  }

  // Whether no other rotated host holds this one. Errors: conflict; those of the host.
  template <class Roles>
  status check_not_rotated(const Roles& roles) const {
    if constexpr (!detail::is_rotated<H> && requires(const H& h) { h.weights_epoch(); }) {
      if (host_->weights_epoch() == 0) return {};
      bool gains = false;
      for (int layer = 0; layer < desc_.n_layers; ++layer) {
        const auto all = host_->weights(layer);
        const std::span<const model::weight_desc> weights{all};
        for (const model::weight_desc& w : weights) {
          if (roles(w).use != stream_use::gain) continue;
          const auto gain = read(w);
          if (!gain) return gain.error();
          gains = true;
          for (const float g : gain->data)
            if (g != 1.0f) return {};
        }
      }
      if (gains)
        return error{errc::conflict, "host to rotate", "one that a rotated host holds already",
                     "that rotated host, or one whose overrides have ended"};
    }
    return {};
  }

  result<matrix<float>> read(const model::weight_desc& w) const {
    matrix<float> values(w.rows, w.cols);
    if (auto s = host_->try_read_weight(w, values.view()); !s) return s.error();
    return values;
  }
  status replace(const model::weight_desc& w, const matrix<float>& values) {
    auto held = host_->try_override_weight(w, values.view());
    if (!held) return held.error();
    held_.push_back(std::move(*held));
    return {};
  }
  static error refused(const model::weight_desc& w, std::string_view got, std::string_view wanted) {
    return error{errc::unsupported, text("layer ", w.layer, ", ", w.name.view()), got, wanted};
  }

  // Readers and writers first, the gains that they fold last.
  template <class Roles>
  status rotate_layer(int layer, const Roles& roles) {
    const auto all = host_->weights(layer);
    const std::span<const model::weight_desc> weights{all};
    for (const model::weight_desc& w : weights)
      if (auto s = check_role(w, roles(w), weights, roles); !s) return s;
    for (const model::weight_desc& w : weights) {
      const stream_role role = roles(w);
      if (role.use != stream_use::reads && role.use != stream_use::writes) continue;
      auto values = read(w);
      if (!values) return values.error();
      if (role.use == stream_use::reads) {
        if (const auto* norm = find(weights, role.norm)) {
          const auto gain = read(*norm);
          if (!gain) return gain.error();
          detail::fold_gain(*values, *gain);
        }
        if (auto s = q_.try_rotate_rows(exec_, values->view()); !s) return s;
      } else {
        const auto view = w.rows == 1 ? values->view().transposed() : values->view();  // a bias is a row
        if (auto s = q_.try_rotate_columns(exec_, view); !s) return s;
      }
      if (auto s = replace(w, *values); !s) return s;
    }
    for (const model::weight_desc& w : weights)
      if (roles(w).use == stream_use::gain) {
        matrix<float> ones(w.rows, w.cols);
        ones.data.assign(w.rows * w.cols, 1.0f);
        if (auto s = replace(w, ones); !s) return s;
      }
    return {};
  }
  static const model::weight_desc* find(std::span<const model::weight_desc> weights, std::string_view name) noexcept {
    for (const model::weight_desc& w : weights)
      if (w.name.view() == name) return &w;
    return nullptr;
  }
  template <class Roles>
  status check_role(const model::weight_desc& w, stream_role role, std::span<const model::weight_desc> weights,
                    const Roles& roles) const {
    const index_t d = desc_.d_model;
    switch (role.use) {
      case stream_use::none: return {};
      case stream_use::other:
        if (w.role == model::weight_role::bias)
          return refused(w, "a bias whose part in the stream is not known",
                         "no bias of a norm (RMSNorm), or a role for it");
        return refused(w, "a weight whose part in the stream is not known", "one with a role");
      case stream_use::reads:
        if (w.cols != d)
          return refused(w, text(w.rows, " x ", w.cols).view(), text("columns of the stream: ", d).view());
        if (!role.norm.empty() && find(weights, role.norm) == nullptr)
          return refused(w, text("no gain ", role.norm).view(), "the gain of the norm before it");
        return {};
      case stream_use::writes:
        if ((w.rows == 1 ? w.cols : w.rows) != d)
          return refused(w, text(w.rows, " x ", w.cols).view(), text("rows of the stream: ", d).view());
        return {};
      case stream_use::gain:
        for (const model::weight_desc& reader : weights)
          if (roles(reader).use == stream_use::reads && roles(reader).norm == w.name.view()) return {};
        return refused(w, "a gain behind which no matrix reads", "a norm before matrices that read, as RMSNorm has it");
    }
    return {};
  }

  // The stream after the embedding and after each layer, for a few tokens.
  result<array<matrix<float>>> probe() {
    array<model::row_meta> batch;
    for (int i = 0; i < algo::min(probe_tokens, desc_.n_vocab); ++i)
      batch.push_back({0, i, i * (desc_.n_vocab / algo::min(probe_tokens, desc_.n_vocab)), 0});
    auto s = host_->try_embed(batch.span());
    if (!s) return s.error();
    array<matrix<float>> out;
    for (int layer = 0; layer <= desc_.n_layers; ++layer) {
      const auto h = host_->stream(*s);
      matrix<float> copy(h.rows, h.cols);
      for (index_t r = 0; r < h.rows; ++r)
        for (index_t c = 0; c < h.cols; ++c) copy(r, c) = h(r, c);
      out.push_back(std::move(copy));
      if (layer == desc_.n_layers) break;
      if (auto run = host_->try_run(*s, layer, layer + 1, model::no_hooks<float, host_space>()); !run)
        return run.error();
    }
    return out;
  }
  // Each layer of the rotated model runs from the stream that the intact model had before it.
  status compare(array<matrix<float>>& intact) {
    array<model::row_meta> batch;
    for (int i = 0; i < algo::min(probe_tokens, desc_.n_vocab); ++i)
      batch.push_back({0, i, i * (desc_.n_vocab / algo::min(probe_tokens, desc_.n_vocab)), 0});
    for (matrix<float>& h : intact)
      if (auto s = q_.try_rotate_rows(exec_, h.view()); !s) return s;
    auto s = host_->try_embed(batch.span());
    if (!s) return s.error();
    for (int layer = 0; layer < desc_.n_layers; ++layer) {
      const auto h = host_->stream(*s);
      const matrix<float>& before = intact[layer];
      for (index_t r = 0; r < h.rows; ++r)
        for (index_t c = 0; c < h.cols; ++c) h(r, c) = before(r, c);
      if (auto run = host_->try_run(*s, layer, layer + 1, model::no_hooks<float, host_space>()); !run) return run;
      const double apart = detail::relative_distance(host_->stream(*s), intact[layer + 1].view());
      if (!(apart <= tolerance))
        return error{errc::unsupported, text("layer ", layer, ", its norms or the roles of its weights"),
                     text("a rotated layer that is ", apart, " apart"),
                     text("at most ", tolerance, ": RMSNorm, and a role for each weight at the stream")};
    }
    return {};
  }

  executor_ref exec_;
  H* host_;
  rotation q_;
  model::model_desc desc_;
  detail::held_overrides<weight_override> held_;
};

namespace detail {
template <class H>
inline constexpr bool is_rotated<rotated_host<H>> = true;
}  // namespace detail

#if RESECT_EXCEPTIONS
// The rotated host, or resect::exception.
template <executor E, model::surgical_host H, class Roles = llama_stream>
rotated_host<H> rotate_host(E& exec, H& host, std::uint64_t seed, const Roles& roles = {}) {
  return value_or_throw(rotated_host<H>::try_make(exec, host, seed, roles));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
