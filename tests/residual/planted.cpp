// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include <support/catch.hpp>
#include <support/planted_host.hpp>
#include <support/runs.hpp>

#include <resect/residual/operators.hpp>

// What the planted host says of itself, checked against what it does: other tests rely on its truth.

using namespace resect::residual;
using namespace support;

namespace {

double kl(const float* p, const float* q, int n) {
  const auto log_sum = [n](const float* x) {
    double s = 0;
    for (int i = 0; i < n; ++i) s += std::exp(static_cast<double>(x[i]));
    return std::log(s);
  };
  const double a = log_sum(p), b = log_sum(q);
  double out = 0;
  for (int i = 0; i < n; ++i) {
    const double lp = static_cast<double>(p[i]) - a, lq = static_cast<double>(q[i]) - b;
    out += std::exp(lp) * (lp - lq);
  }
  return out;
}

// KL of every row between the intact and the altered model, as the host computes them.
std::vector<double> row_kl(planted_host& host, const plan& p, batch_view batch) {
  const auto intact = by_surgery(host, plan{}, batch), altered = by_surgery(host, p, batch);
  const int n = host.describe().n_vocab;
  std::vector<double> out;
  for (std::size_t r = 0; r < batch.size(); ++r) {
    const auto at = r * static_cast<std::size_t>(n);
    out.push_back(kl(&intact[at], &altered[at], n));
  }
  return out;
}

// One row of every token.
std::vector<row_meta> every_token(const planted_host& host) {
  std::vector<row_meta> out;
  for (int id = 0; id < host.describe().n_vocab; ++id) out.push_back({id, 0, id, row_meta::wants_logits});
  return out;
}

struct clustered_mean {
  double mean, se;
};
clustered_mean of_clusters(const std::vector<double>& x, const std::vector<row_meta>& rows) {
  std::map<int, std::pair<double, double>> sums;
  double total = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    total += x[i];
    sums[rows[i].seq].first += x[i];
    sums[rows[i].seq].second += 1;
  }
  const double mean = total / static_cast<double>(x.size()), g = static_cast<double>(sums.size());
  double spread = 0;
  for (const auto& [seq, s] : sums) spread += (s.first - s.second * mean) * (s.first - s.second * mean);
  return {mean, std::sqrt(g / (g - 1) * spread) / static_cast<double>(x.size())};
}

}  // namespace

TEST_CASE("the host computes its true logits") {
  for (const int d : {4, 8, 32})
    for (const int n : {3, 6, 12}) {
      planted_options o;
      o.d_model = d;
      o.n_layers = n;
      o.critical = 1;
      o.useless = 2;
      planted_host host(o);
      const std::vector<double> whole(static_cast<std::size_t>(n), 1.0);
      floats want;
      for (int id = 0; id < host.describe().n_vocab; ++id)
        for (const double x : host.true_logits(id, whole)) want.push_back(static_cast<float>(x));
      CHECK(relative_difference(by_surgery(host, plan{}, every_token(host)), want) < 1e-5);
    }
}

TEST_CASE("tokens' probabilities add up, and texts are drawn from them") {
  planted_host host;
  double total = 0;
  for (int id = 0; id < host.describe().n_vocab; ++id) total += host.probability(id);
  CHECK(total == Approx(1.0).epsilon(1e-12));

  const auto rows = host.draw(4000, 8);
  std::vector<double> share(static_cast<std::size_t>(host.describe().n_vocab), 0.0);
  double kept = 0, pairs = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    share[static_cast<std::size_t>(rows[i].token)] += 1.0 / static_cast<double>(rows.size());
    if (rows[i].pos == 0) continue;
    kept += rows[i].token % 2 == rows[i - 1].token % 2;
    pairs += 1;
    CHECK(rows[i].token / 12 == rows[i - 1].token / 12);  // one level a sequence
  }
  CHECK(kept / pairs == Approx(0.9).margin(4 * std::sqrt(0.09 / pairs)));
  for (int id = 0; id < host.describe().n_vocab; ++id) {
    const double p = host.probability(id);  // the level of a sequence is shared by 8 rows, the class nearly so
    CHECK(share[static_cast<std::size_t>(id)] ==
          Approx(p).margin(5 * std::sqrt(8 * p / static_cast<double>(rows.size()))));
  }
}

TEST_CASE("texts depend on seed, sequence and position alone") {
  planted_options o;
  o.seed = 5;
  const planted_host a(o), b(o);
  const auto rows = a.draw(6, 9), again = b.draw(8, 12);
  for (const auto& row : rows) {
    const auto same = std::find_if(again.begin(), again.end(),
                                   [&](const row_meta& r) { return r.seq == row.seq && r.pos == row.pos; });
    CHECK(same->token == row.token);
  }
  o.seed = 6;
  CHECK(planted_host(o).draw(6, 9) != rows);
  const auto ids = a.draw_ids(6, 9);
  for (std::size_t i = 0; i < ids.size(); ++i) CHECK(ids[i] == rows[i].token);
}

TEST_CASE("the true effects are those of the host, summed over its tokens") {
  planted_host host;
  const auto tokens = every_token(host);
  for (int l = 0; l < host.options().n_layers; ++l)
    for (const float g : {0.0f, 0.5f, 2.0f}) {
      std::vector<double> scale(static_cast<std::size_t>(host.options().n_layers), 1.0);
      scale[static_cast<std::size_t>(l)] = static_cast<double>(g);
      const auto truth = host.true_effect(scale);
      const auto rows = row_kl(host, plan{} | scale_delta(layer(l), g), tokens);
      double mean = 0, squares = 0;
      for (std::size_t id = 0; id < rows.size(); ++id) {
        CHECK(rows[id] == Approx(host.true_row_kl(static_cast<int>(id), scale)).margin(1e-6));
        mean += host.probability(static_cast<int>(id)) * rows[id];
        squares += host.probability(static_cast<int>(id)) * rows[id] * rows[id];
      }
      CHECK(mean == Approx(truth.kl).margin(1e-6));
      CHECK(std::sqrt(std::max(0.0, squares - mean * mean)) == Approx(truth.kl_sd).margin(1e-5));
      if (g == 0.0f) CHECK(host.true_kl(l) == truth.kl);
    }
}

TEST_CASE("what is planted is there: one critical layer, one useless, the others small, heavy tails, sequences alike") {
  planted_host host;
  const auto& o = host.options();
  for (int l = 0; l < o.n_layers; ++l) {
    const auto t = host.true_skip(l);
    if (l == o.critical) {
      CHECK(t.kl > 0.9);
      CHECK(t.top1 == 0.0);
      CHECK(t.dlnppl > 0.5);
    } else if (l == o.useless) {
      CHECK(t.kl == 0.0);
      CHECK(t.top1 == Approx(1.0).epsilon(1e-12));
      CHECK(t.dlnppl == 0.0);
    } else {
      CHECK(t.kl > 0.001);
      CHECK(t.kl < 0.2);
      CHECK(t.kl_sd > 1.2 * t.kl);  // heavy tails
      CHECK(std::fabs(t.dlnppl) < 0.2);
    }
  }
  // rows of a sequence have more in common than rows of different ones
  const auto rows = host.draw(400, 10);
  const auto x = row_kl(host, plan{} | skip(layer(3)), rows);
  const auto clustered = of_clusters(x, rows);
  double independent = 0;
  for (const double v : x) independent += (v - clustered.mean) * (v - clustered.mean);
  independent = std::sqrt(independent) / static_cast<double>(x.size());
  CHECK(clustered.se > 1.15 * independent);
}

TEST_CASE("means over many texts come close to the truth, for every measure") {
  planted_host host;
  const int n = host.describe().n_vocab;
  const auto rows = host.draw(3000, 8);
  const auto intact = by_surgery(host, plan{}, rows);
  for (const int l : {0, host.options().critical, 3}) {
    const auto altered = by_surgery(host, plan{} | skip(layer(l)), rows);
    std::vector<double> kls, dlnppl;
    std::vector<row_meta> with_next;
    double same = 0;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const float *p = &intact[r * static_cast<std::size_t>(n)], *q = &altered[r * static_cast<std::size_t>(n)];
      kls.push_back(kl(p, q, n));
      same += std::max_element(p, p + n) - p == std::max_element(q, q + n) - q;
      if (r + 1 == rows.size() || rows[r + 1].seq != rows[r].seq) continue;
      const auto nll = [&](const float* x) {
        double s = 0;
        for (int i = 0; i < n; ++i) s += std::exp(static_cast<double>(x[i]));
        return std::log(s) - static_cast<double>(x[rows[r + 1].token]);
      };
      dlnppl.push_back(nll(q) - nll(p));
      with_next.push_back(rows[r]);
    }
    const auto truth = host.true_skip(l);
    const auto got = of_clusters(kls, rows), got_nll = of_clusters(dlnppl, with_next);
    CHECK(got.mean == Approx(truth.kl).margin(4 * got.se));
    CHECK(got_nll.mean == Approx(truth.dlnppl).margin(4 * got_nll.se));
    const double share = same / static_cast<double>(rows.size());
    CHECK(share ==
          Approx(truth.top1)
              .margin(4 * std::sqrt(8 * truth.top1 * (1 - truth.top1) / static_cast<double>(rows.size())) + 1e-12));
  }
}

TEST_CASE("2,000 studies with clustered intervals cover the truth about as often as they say") {
  const planted_host model;
  const double truth = model.true_kl(3);
  std::vector<double> scale(6, 1.0), by_token;
  scale[3] = 0.0;
  for (int id = 0; id < model.describe().n_vocab; ++id) by_token.push_back(model.true_row_kl(id, scale));
  int covered = 0;
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    planted_options o;
    o.seed = seed;
    const auto rows = planted_host(o).draw(32, 16);
    std::vector<double> x;
    for (const auto& row : rows) x.push_back(by_token[static_cast<std::size_t>(row.token)]);
    const auto got = of_clusters(x, rows);
    covered += std::fabs(got.mean - truth) <= 2.0395 * got.se;  // t at 31 degrees
  }
  CHECK(covered > 2000 * 0.90);
  CHECK(covered < 2000 * 0.97);
}

TEST_CASE("a study of every layer by real passes takes milliseconds") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    planted_options o;
    o.seed = seed;
    planted_host host(o);
    const auto rows = host.draw(16, 16);
    std::vector<double> mean;
    for (int l = 0; l < o.n_layers; ++l) {
      double sum = 0;
      for (const double x : row_kl(host, plan{} | skip(layer(l)), rows)) sum += x;
      mean.push_back(sum / static_cast<double>(rows.size()));
    }
    CHECK(std::max_element(mean.begin(), mean.end()) - mean.begin() == o.critical);
    CHECK(mean[static_cast<std::size_t>(o.useless)] == 0.0);
  }
}
