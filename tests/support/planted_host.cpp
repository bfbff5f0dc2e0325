// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <support/planted_host.hpp>

#include <algorithm>
#include <cmath>

#include <resect/core/float16.hpp>
#include <resect/random/distributions.hpp>

namespace support {

template <resect::widens_to_float T>
basic_planted_host<T>::basic_planted_host(const planted_options& options) : o_(options) {
  desc_.name = "planted";
  desc_.fingerprint = 0x706c616e746564u;
  desc_.n_layers = o_.n_layers;
  desc_.d_model = o_.d_model;
  desc_.n_vocab = 2 * o_.sequence_levels * o_.token_levels;
  desc_.n_streams = o_.n_streams;
  plant_tokens();
  plant_layers();
}

template <resect::widens_to_float T>
std::vector<resect::model::row_meta> basic_planted_host<T>::draw(int sequences, int length) const {
  std::vector<row_meta> out;
  for (int s = 0; s < sequences; ++s) {
    const resect::random::philox_stream draws{o_.seed, static_cast<std::uint64_t>(s)};
    const auto level =
        static_cast<int>(resect::random::integer_below(draws, 0, static_cast<std::uint64_t>(o_.sequence_levels)));
    int kind = resect::random::uniform(draws, 2) < 0.5 ? 0 : 1;
    for (int pos = 0; pos < length; ++pos) {
      const auto at = static_cast<std::uint64_t>(4 + 2 * pos);
      if (pos > 0 && resect::random::uniform(draws, at) >= o_.class_kept) kind = 1 - kind;
      double left = resect::random::uniform(draws, at + 1);
      int k = 0;
      while (k + 1 < o_.token_levels && left >= token_share(k)) left -= token_share(k++);
      out.push_back({s, pos, id_of(level, k, kind), row_meta::wants_logits});
    }
  }
  return out;
}

template <resect::widens_to_float T>
std::vector<std::int32_t> basic_planted_host<T>::draw_ids(int sequences, int length) const {
  std::vector<std::int32_t> out;
  for (const auto& row : draw(sequences, length)) out.push_back(row.token);
  return out;
}

template <resect::widens_to_float T>
auto basic_planted_host<T>::true_effect(std::span<const double> scale) const -> truth {
  truth out;
  const std::vector<double> whole(static_cast<std::size_t>(o_.n_layers), 1.0);
  double kl_squared = 0.0;
  for (int id = 0; id < desc_.n_vocab; ++id) {
    const auto intact = log_softmax(true_logits(id, whole)), altered = log_softmax(true_logits(id, scale));
    const double kl = divergence(intact, altered);
    const double p = probability(id);
    out.kl += p * kl;
    kl_squared += p * kl * kl;
    out.top1 += p * (std::max_element(intact.begin(), intact.end()) - intact.begin() ==
                             std::max_element(altered.begin(), altered.end()) - altered.begin()
                         ? 1.0
                         : 0.0);
    for (int k = 0; k < o_.token_levels; ++k)
      for (int kind = 0; kind < 2; ++kind) {
        const auto next = static_cast<std::size_t>(id_of(sequence_level(id), k, kind));
        const double chance = token_share(k) * (kind == class_of(id) ? o_.class_kept : 1.0 - o_.class_kept);
        out.dlnppl += p * chance * (intact[next] - altered[next]);
      }
  }
  out.kl_sd = std::sqrt(std::max(0.0, kl_squared - out.kl * out.kl));
  return out;
}

template <resect::widens_to_float T>
auto basic_planted_host<T>::true_skip(int layer) const -> truth {
  std::vector<double> scale(static_cast<std::size_t>(o_.n_layers), 1.0);
  scale[static_cast<std::size_t>(layer)] = 0.0;
  return true_effect(scale);
}

template <resect::widens_to_float T>
double basic_planted_host<T>::true_row_kl(int id, std::span<const double> scale) const {
  const std::vector<double> whole(static_cast<std::size_t>(o_.n_layers), 1.0);
  return divergence(log_softmax(true_logits(id, whole)), log_softmax(true_logits(id, scale)));
}

template <resect::widens_to_float T>
std::vector<double> basic_planted_host<T>::true_logits(int id, std::span<const double> scale) const {
  std::vector<double> h(embed_.begin() + id * o_.d_model, embed_.begin() + (id + 1) * o_.d_model);
  for (int l = 0; l < o_.n_layers; ++l) {
    auto after = h;
    for (const int half : {attention, mlp}) {
      const auto& w = planted_[slot(l, half)];
      const auto before = after;
      for (int r = 0; r < o_.d_model; ++r)
        for (int c = 0; c < o_.d_model; ++c)
          after[static_cast<std::size_t>(r)] += static_cast<double>(w[static_cast<std::size_t>(r * o_.d_model + c)]) *
                                                before[static_cast<std::size_t>(c)];
    }
    for (std::size_t i = 0; i < h.size(); ++i) h[i] += scale[static_cast<std::size_t>(l)] * (after[i] - h[i]);
  }
  std::vector<double> out;
  for (int v = 0; v < desc_.n_vocab; ++v) {
    double sum = 0.0;
    for (int c = 0; c < o_.d_model; ++c)
      sum += static_cast<double>(head_[static_cast<std::size_t>(v * o_.d_model + c)]) * h[static_cast<std::size_t>(c)];
    out.push_back(sum);
  }
  return out;
}

template <resect::widens_to_float T>
resect::model::access basic_planted_host<T>::supports(site s, int layer) const noexcept {
  const bool exists = !is_layer_site(s) || (layer >= 0 && layer < o_.n_layers);
  return exists && s != o_.fused ? resect::model::access::write : resect::model::access::none;
}

template <resect::widens_to_float T>
resect::status basic_planted_host<T>::try_forward(batch_view batch, const hooks& k) {
  std::map<std::int32_t, resect::index_t> next;
  for (const auto& row : batch) {
    if (auto s = check_token(row); !s) return s;
    const auto at = next.emplace(row.seq, cached(row.seq)).first;
    if (row.pos != at->second++)
      return resect::error{resect::errc::invalid_argument, resect::text("position in sequence ", row.seq),
                           resect::text(row.pos), resect::text(at->second - 1)};
  }
  for (const auto& [seq, length] : next) caches_[seq] = {length, k.epoch};

  state s;
  embed(batch, s);
  call(k, {site::embed_out, 0, s.rows}, s);
  for (int l = 0; l < o_.n_layers; ++l) run_layer(l, s, k, l + 1 == o_.n_layers ? o_.at_the_end : last_layer::all_rows);
  keep_wanted(s);
  call(k, {site::head_in, 0, s.rows}, s);
  call(k, {site::head_norm, 0, s.rows}, s);
  logits_.resize(s.rows.size() * static_cast<std::size_t>(desc_.n_vocab));
  const view out{logits_.data(), static_cast<resect::index_t>(s.rows.size()), desc_.n_vocab};
  project(view_of(s), out);
  if (wanted(k, site::logits)) k.call({site::logits, 0, s.rows}, out);
  return {};
}

template <resect::widens_to_float T>
std::uint64_t basic_planted_host<T>::cache_epoch(std::int32_t seq) const {
  const auto at = caches_.find(seq);
  return at == caches_.end() ? 0 : at->second.second;
}

template <resect::widens_to_float T>
resect::index_t basic_planted_host<T>::cached(std::int32_t seq) const {
  const auto at = caches_.find(seq);
  return at == caches_.end() ? 0 : at->second.first;
}

template <resect::widens_to_float T>
auto basic_planted_host<T>::try_embed(batch_view batch) -> resect::result<state> {
  std::map<std::int32_t, int> next;
  for (const auto& row : batch) {
    if (auto s = check_token(row); !s) return s.error();
    if (row.pos != next[row.seq]++)
      return resect::error{resect::errc::invalid_argument, resect::text("position in sequence ", row.seq),
                           resect::text(row.pos), "positions from 0 on"};
  }
  state out;
  embed(batch, out);
  return out;
}

template <resect::widens_to_float T>
resect::status basic_planted_host<T>::try_run(state& s, int first, int last, const hooks& k) {
  if (first < 0 || last > o_.n_layers || first > last)
    return resect::error{resect::errc::invalid_argument, "layers to run", resect::text("[", first, ", ", last, ")"),
                         resect::text("a range within [0, ", o_.n_layers, ")")};
  for (int l = first; l < last; ++l) run_layer(l, s, k, last_layer::all_rows);
  return {};
}

template <resect::widens_to_float T>
resect::status basic_planted_host<T>::try_head(const state& s, resect::index_t row, view norm, view logits) {
  if (row < 0 || norm.rows < 0 || row + norm.rows > static_cast<resect::index_t>(s.rows.size()))
    return resect::error{resect::errc::invalid_argument, "rows of the head",
                         resect::text("[", row, ", ", row + norm.rows, ")"),
                         resect::text("rows below ", s.rows.size())};
  if (auto st = check_view(norm, norm.rows, o_.d_model, "norm"); !st) return st;
  if (auto st = check_view(logits, norm.rows, desc_.n_vocab, "logits"); !st) return st;
  for (resect::index_t r = 0; r < norm.rows; ++r)
    for (resect::index_t c = 0; c < norm.cols; ++c)
      norm(r, c) = s.stream[static_cast<std::size_t>((row + r) * o_.d_model + c)];
  project(norm, logits);
  return {};
}

template <resect::widens_to_float T>
resect::status basic_planted_host<T>::try_read_weight(const weight_desc& w, resect::matrix_view<float> out) const {
  if (auto s = check_weight(w); !s) return s;
  if (auto s = check_view(out, w.rows, w.cols, "values of the weight"); !s) return s;
  const auto& values = active_[slot(w.layer, w.id)];
  for (resect::index_t r = 0; r < w.rows; ++r)
    for (resect::index_t c = 0; c < w.cols; ++c) out(r, c) = values[static_cast<std::size_t>(r * w.cols + c)];
  return {};
}

template <resect::widens_to_float T>
auto basic_planted_host<T>::try_override_weight(const weight_desc& w, resect::matrix_view<const float> values)
    -> resect::result<weight_override> {
  if (auto s = check_weight(w); !s) return s.error();
  if (auto s = check_view(values, w.rows, w.cols, "values of the weight"); !s) return s.error();
  std::vector<float> fresh;
  for (resect::index_t r = 0; r < w.rows; ++r)
    for (resect::index_t c = 0; c < w.cols; ++c) fresh.push_back(values(r, c));
  const auto at = slot(w.layer, w.id);
  auto previous = active_[at];
  put(at, std::move(fresh));
  return weight_override{this, at, std::move(previous)};
}

template <resect::widens_to_float T>
double basic_planted_host<T>::token_share(int k) const noexcept {
  const double ratio = std::exp(-o_.tail * o_.token_step);
  return std::pow(ratio, k) * (1.0 - ratio) / (1.0 - std::pow(ratio, o_.token_levels));
}

template <resect::widens_to_float T>
void basic_planted_host<T>::plant_tokens() {
  for (int id = 0; id < desc_.n_vocab; ++id) {
    const double z = (sequence_level(id) - 0.5 * (o_.sequence_levels - 1)) * 1.2;
    const double sign = class_of(id) == 0 ? -1.0 : 1.0;
    std::vector<float> h(static_cast<std::size_t>(o_.d_model), 0.0f), w = h;
    h[0] = static_cast<float>(std::exp(o_.token_step * token_level(id) + o_.sequence_spread * z));
    h[1] = static_cast<float>(-o_.margin * sign);
    h[2] = 1.0f;
    w[1] = static_cast<float>(sign);
    w[2] = static_cast<float>(std::log(token_share(token_level(id))));
    for (int c = 3; c < o_.d_model; ++c)  // no two tokens alike, and about as many up as down
      w[static_cast<std::size_t>(c)] = static_cast<float>(std::cos(1.7 * id * (c - 2) + c));
    embed_.insert(embed_.end(), h.begin(), h.end());
    head_.insert(head_.end(), w.begin(), w.end());
  }
}

template <resect::widens_to_float T>
void basic_planted_host<T>::plant_layers() {
  const auto square = static_cast<std::size_t>(o_.d_model * o_.d_model);
  entries_.resize(slot(o_.n_layers, 0));
  for (int l = 0; l < o_.n_layers; ++l) {
    std::vector<float> a(square, 0.0f), m(square, 0.0f);
    const auto at = [&](int r, int c) { return static_cast<std::size_t>(r * o_.d_model + c); };
    if (l == o_.critical) {  // −½ h[1], then −3 · ½ h[1]
      a[at(1, 1)] = -0.5f;
      m[at(1, 1)] = -3.0f;
    } else if (l != o_.useless) {
      const double s = o_.strength * (1 + l % 4);
      const int to = 3 + l % (o_.d_model - 3);
      a[at(to, 0)] = static_cast<float>(0.25 * s);
      m[at(to, 0)] = static_cast<float>(0.75 * s);
    }
    planted_.push_back(std::move(a));
    planted_.push_back(std::move(m));
    planted_.emplace_back(static_cast<std::size_t>(o_.d_model), 1.0f);
    weights_.push_back({"attention", l, attention, resect::model::weight_role::matrix, o_.d_model, o_.d_model});
    weights_.push_back({"mlp", l, mlp, resect::model::weight_role::matrix, o_.d_model, o_.d_model});
    weights_.push_back({"gain", l, gain, resect::model::weight_role::norm_gain, 1, o_.d_model});
  }
  active_ = planted_;
  for (std::size_t i = 0; i < active_.size(); ++i) put(i, active_[i]);
}

template <resect::widens_to_float T>
void basic_planted_host<T>::put(std::size_t at, std::vector<float> values) {
  active_[at] = std::move(values);
  entries_[at].clear();
  for (std::size_t i = 0; i < active_[at].size(); ++i)
    if (active_[at][i] != 0.0f)
      entries_[at].push_back({static_cast<int>(i) / o_.d_model, static_cast<int>(i) % o_.d_model, active_[at][i]});
}

template <resect::widens_to_float T>
resect::status basic_planted_host<T>::check_token(const row_meta& row) const {
  if (row.token >= 0 && row.token < desc_.n_vocab) return {};
  return resect::error{resect::errc::invalid_argument, resect::text("token in sequence ", row.seq),
                       resect::text(row.token), resect::text("an id below ", desc_.n_vocab)};
}

template <resect::widens_to_float T>
resect::status basic_planted_host<T>::check_weight(const weight_desc& w) const {
  if (w.layer >= 0 && w.layer < o_.n_layers && w.id >= 0 && w.id < n_weights) return {};
  return resect::error{resect::errc::invalid_argument, "weight", resect::text("layer ", w.layer, ", id ", w.id),
                       "one of the model"};
}

template <resect::widens_to_float T>
void basic_planted_host<T>::embed(batch_view batch, state& s) const {
  s.rows.assign(batch.begin(), batch.end());
  s.stream.reserve(batch.size() * static_cast<std::size_t>(o_.d_model));
  for (const auto& row : batch)
    for (int c = 0; c < o_.d_model; ++c)
      s.stream.push_back(T{embed_[static_cast<std::size_t>(row.token * o_.d_model + c)]});
}

template <resect::widens_to_float T>
void basic_planted_host<T>::keep_wanted(state& s) const {
  const auto d = static_cast<std::size_t>(o_.d_model);
  std::size_t to = 0;
  for (std::size_t r = 0; r < s.rows.size(); ++r) {
    if (!(s.rows[r].flags & row_meta::wants_logits)) continue;
    s.rows[to] = s.rows[r];
    for (std::size_t c = 0; c < d; ++c) s.stream[to * d + c] = s.stream[r * d + c];
    ++to;
  }
  s.rows.resize(to);
  s.stream.resize(to * d);
}

template <resect::widens_to_float T>
void basic_planted_host<T>::run_layer(int l, state& s, const hooks& k, last_layer end) {
  call(k, {site::resid_pre, l, s.rows}, s);
  if (end == last_layer::wanted_rows) keep_wanted(s);
  const auto d = static_cast<std::size_t>(o_.d_model);
  std::vector<float> sum(s.stream.size());
  std::vector<T> delta(s.stream.size());
  for (const int half : {attention, mlp}) {
    std::fill(sum.begin(), sum.end(), 0.0f);
    for (std::size_t r = 0; r < s.rows.size(); ++r)
      for (const entry& e : entries_[slot(l, half)])
        sum[r * d + static_cast<std::size_t>(e.row)] +=
            e.value * (active_[slot(l, gain)][static_cast<std::size_t>(e.col)] *
                       static_cast<float>(s.stream[r * d + static_cast<std::size_t>(e.col)]));
    for (std::size_t i = 0; i < sum.size(); ++i) delta[i] = T{sum[i]};
    const site where = half == attention ? site::attn_delta : site::mlp_delta;
    if (wanted(k, where))
      k.call({where, l, s.rows}, view{delta.data(), static_cast<resect::index_t>(s.rows.size()), o_.d_model});
    for (std::size_t i = 0; i < delta.size(); ++i)
      s.stream[i] = T{static_cast<float>(s.stream[i]) + static_cast<float>(delta[i])};
    call(k, {half == attention ? site::resid_mid : site::resid_post, l, s.rows}, s);
  }
}

template <resect::widens_to_float T>
void basic_planted_host<T>::project(resect::matrix_view<const T> h, view out) const {
  for (resect::index_t r = 0; r < h.rows; ++r)
    for (int v = 0; v < desc_.n_vocab; ++v) {
      float sum = 0.0f;
      for (int c = 0; c < o_.d_model; ++c)
        sum += head_[static_cast<std::size_t>(v * o_.d_model + c)] * static_cast<float>(h(r, c));
      out(r, v) = T{sum};
    }
}

template <resect::widens_to_float T>
double basic_planted_host<T>::divergence(const std::vector<double>& p, const std::vector<double>& q) {
  double kl = 0.0;
  for (std::size_t v = 0; v < p.size(); ++v) kl += std::exp(p[v]) * (p[v] - q[v]);
  return kl;
}

template <resect::widens_to_float T>
std::vector<double> basic_planted_host<T>::log_softmax(std::vector<double> x) {
  const double top = *std::max_element(x.begin(), x.end());
  double sum = 0.0;
  for (const double v : x) sum += std::exp(v - top);
  for (double& v : x) v -= top + std::log(sum);
  return x;
}

template class basic_planted_host<float>;
template class basic_planted_host<resect::f16>;
template class basic_planted_host<resect::bf16>;

}  // namespace support
