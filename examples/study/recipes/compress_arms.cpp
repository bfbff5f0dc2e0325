// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/compress.hpp>

#include <algorithm>
#include <cmath>

#include <resect/factor/truncated_svd.hpp>
#include <resect/quant.hpp>
#include <study/recipes/quantizers.hpp>

namespace studies {

namespace {

namespace quant = resect::quant;
using resect::index_t;
using resect::model::weight_desc;
using factor_format = quant::affine_symmetric<8, quant::f16_store>;

constexpr factor_format of_factors{.group = 64};
constexpr index_t preset_group = 128;

template <int Bits>
double q_bits(index_t group, const weight_desc& w) {
  return quant::stored_bits(quant::affine_symmetric<Bits, quant::f16_store>{.group = group}, w.rows, w.cols);
}

// values (r, n) become what 8 bits leave of them.
resect::status try_round(backend& exec, resect::matrix_view<float> values) {
  const auto q = quant::try_quantize(exec, values, of_factors, quant::nearest{}, quant::mse_scale{});
  if (!q) return q.error();
  return quant::try_dequantize(exec, *q, values);
}

// Adds L·R of what is lost, (W − Q)·D ≈ L·R·D, to `values`, which hold Q.
resect::status try_add_pair(backend& exec, index_t rank, std::uint64_t seed, const quant::hessian& h,
                            const resect::matrix<float>& before, resect::matrix_view<float> values) {
  resect::array<float> d(values.cols);
  for (index_t c = 0; c < values.cols; ++c) d[c] = static_cast<float>(std::sqrt(h(c, c)));
  resect::matrix<float> lost(values.rows, values.cols);
  for (index_t r = 0; r < values.rows; ++r)
    for (index_t c = 0; c < values.cols; ++c) lost(r, c) = (before(r, c) - values(r, c)) * d[c];
  const auto svd =
      resect::factor::try_truncated_svd(exec, resect::matrix_view<const float>(lost.view()),
                                        {.rank = rank, .power_iterations = 4, .seed = seed, .error_probes = 0});
  if (!svd) return svd.error();
  auto pair = resect::factor::balanced_factors(*svd);
  for (index_t i = 0; i < rank; ++i)
    for (index_t c = 0; c < values.cols; ++c) pair.r(i, c) = d[c] > 0 ? pair.r(i, c) / d[c] : 0.0f;
  resect::matrix<float> left(rank, values.rows);  // Lᵀ: a component a row, scales within components
  for (index_t r = 0; r < values.rows; ++r)
    for (index_t i = 0; i < rank; ++i) left(i, r) = pair.l(r, i);
  if (auto s = try_round(exec, left.view()); !s) return s;
  if (auto s = try_round(exec, pair.r.view()); !s) return s;
  const resect::matrix_view<const float> l = left.view(), r = pair.r.view();
  return exec.try_gemm(1.0f, l.transposed(), r, 1.0f, values);
}

// Stores the matrices of one layer. Options of a list that the report names by budget and method need no hash there.
struct store_matrices {
  static constexpr std::string_view id = "resect.store_matrices/1";
  compress_bench* at;
  storing_list list;
  std::string_view method;
  double budget;
  int layer;

  resect::residual::operator_facts facts() const noexcept {
    return {.what = resect::residual::form::weights, .overwrites = true};
  }
  void fields(resect::field_visitor& v) const {
    if (!method.empty()) {
      v.number("budget", budget);
      v.word("method", method);
    }
    resect::fingerprint print;
    print.add(at->seed);
    for (std::size_t i = 0; i < list.size(); ++i)
      if (at->matrices[i].layer == layer)
        print.add(static_cast<std::uint64_t>(list[i].bits))
            .add(static_cast<std::uint64_t>(list[i].group))
            .add(static_cast<std::uint64_t>(list[i].rank));
    v.key("stored", print.value(), method.empty() ? resect::listed_by::hash : resect::listed_by::source);
  }
  resect::residual::weight_change change(const weight_desc& w, resect::matrix_view<float> values,
                                         resect::executor_ref) const {
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (at->matrices[i].layer != w.layer || at->matrices[i].id != w.id || list[i].bits == 0) continue;
      const auto done = try_store(at->exec, list[i], at->seed, w, at->h[static_cast<index_t>(i)], values);
      if (!done) return done.error().within(resect::text("layer ", w.layer, ", ", w.name.view()).view());
      if (at->stored) at->stored();
      return true;
    }
    return false;
  }
};

}  // namespace

index_t rank_of(const storing& s, const weight_desc& w) { return std::min(s.rank, std::min(w.rows, w.cols) / 2); }

double stored_bits(const storing& s, const weight_desc& w) {
  const index_t r = rank_of(s, w);
  const double pair =
      r == 0 ? 0 : quant::stored_bits(of_factors, r, w.rows) + quant::stored_bits(of_factors, r, w.cols);
  switch (s.bits) {
    case 2: return pair + q_bits<2>(s.group, w);
    case 3: return pair + q_bits<3>(s.group, w);
    case 4: return pair + q_bits<4>(s.group, w);
    case 5: return pair + q_bits<5>(s.group, w);
    case 6: return pair + q_bits<6>(s.group, w);
    default: return pair + q_bits<8>(s.group, w);
  }
}

resect::status try_store(backend& exec, const storing& s, std::uint64_t seed, const weight_desc& w,
                         const quant::hessian& h, resect::matrix_view<float> values) {
  resect::matrix<float> before(values.rows, values.cols);
  for (index_t r = 0; r < values.rows; ++r)
    for (index_t c = 0; c < values.cols; ++c) before(r, c) = values(r, c);
  const auto q =
      try_quantize_matrix(exec, s.bits <= 4 ? quantizer::ldlq : quantizer::gptq, s.bits, {s.group, seed}, w, h, values);
  if (!q) return q.error();
  const index_t rank = rank_of(s, w);
  return rank > 0 ? try_add_pair(exec, rank, seed, h, before, values) : resect::status{};
}

double bits_of(const compress_bench& at, const storing_list& list) {
  double out = 0;
  for (std::size_t i = 0; i < list.size(); ++i) out += stored_bits(list[i], at.matrices[i]);
  return out;
}

resect::study::arm arm_of(compress_bench& at, const storing_list& list, std::string_view method, double budget) {
  resect::study::arm out{{}, std::string(method) + " at " + std::string(resect::text(budget).view()) + " bits"};
  std::vector<int> layers;
  for (std::size_t i = 0; i < list.size(); ++i)
    if (list[i].bits > 0 && (layers.empty() || layers.back() != at.matrices[i].layer))
      layers.push_back(at.matrices[i].layer);
  for (const int l : layers)
    need(out.plan.try_add({resect::residual::layer(l), store_matrices{&at, list, method, budget, l}}));
  return out;
}

storing_list mixture(const compress_bench& at, int bits, index_t group, double budget) {
  const auto spread = [&](double share) {
    std::map<std::string, double> owed;
    storing_list out;
    for (const weight_desc& w : at.matrices) {
      double& sum = owed.try_emplace(std::string(w.name.view()), 0.5).first->second;
      sum += share;
      const bool wide = sum >= 1;
      sum -= wide;
      out.push_back({bits + wide, group, 0});
    }
    return out;
  };
  storing_list best;
  for (int k = 0; k <= 200; ++k) {
    auto list = spread(k / 200.0);
    if (bits_of(at, list) <= budget) best = std::move(list);
  }
  return best;
}

storing_list preset_list(const compress_bench& at, resect::compress::rank_preset preset, int bits, double budget,
                         int n_layers) {
  storing_list best;
  for (index_t rank = 0;; ++rank) {
    const auto ranks = need(resect::compress::try_preset_ranks(preset, rank, at.matrices, n_layers)).ranks;
    storing_list list;
    for (const index_t r : ranks) list.push_back({bits, preset_group, r});
    if (bits_of(at, list) > budget || list == best) return best;
    best = std::move(list);
  }
}

}  // namespace studies
