// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How far a model is from another one whose logits llama.cpp has stored (llama-perplexity --kl-divergence-base FILE):
// KL, nll, top token, on the same tokens and by the same chunking as its own --kl-divergence.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <thread>

#include <study/io/cli.hpp>
#include <study/io/input.hpp>
#include <study/io/output.hpp>

#include <hosts/bytes.hpp>
#include <hosts/llama/host.hpp>
#include <hosts/mapped_file.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/io/report.hpp>
#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/accumulators/kl_profile.hpp>
#include <resect/metrics/accumulators/paired_tokens.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <study/io/progress_bar.hpp>
#include <study/programs/chunk.hpp>
#include <study/report/numbers.hpp>

namespace {

struct arguments {
  std::string model, base, json;
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
};

// llama.cpp's file: "_logits_", context, vocabulary and chunks as int32, the ids of all chunks, then for each scored
// position a scale, an offset and n_vocab 16-bit codes (an even number of them): ln p = scale · code + offset. Codes
// reach 16 nats below the largest logit; what lies lower is stored as that. The file's p are taken as they are, as
// llama.cpp takes them: ids with ln p ≤ −16 are left out of KL, and the rest is not normalized again.
class stored_logits {
 public:
  static resect::result<stored_logits> try_open(const std::string& path) {
    auto file = hosts::mapped_file::try_open(path);
    if (!file) return file.error();
    stored_logits out(std::move(*file));
    const auto refusal = [&](std::string_view got, std::string_view wanted) {
      return resect::error{resect::errc::malformed, hosts::shown_path(path), got, wanted};
    };
    hosts::byte_reader in(out.file_.bytes());
    std::span<const std::byte> magic;
    if (!in.take(8, magic) || hosts::as_text(magic) != "_logits_")
      return refusal("other bytes at its beginning", "a file of llama-perplexity --kl-divergence-base");
    std::uint32_t numbers[3];
    for (auto& n : numbers)
      if (!in.read(n)) return refusal(resect::text(out.file_.bytes().size(), " bytes").view(), "a header");
    for (const std::uint32_t n : numbers)
      if (n < 1 || n > 1u << 24) return refusal(resect::text("a size of ", n).view(), "sizes from 1 to 2^24");
    out.context_ = static_cast<int>(numbers[0]);
    out.vocabulary_ = static_cast<int>(numbers[1]);
    out.chunks_ = static_cast<int>(numbers[2]);
    if (out.context_ < 4) return refusal(resect::text("chunks of ", out.context_).view(), "4 tokens or more");
    out.codes_at_ = in.position() + 4 * std::size_t{numbers[0]} * numbers[2];
    const std::size_t wanted = out.codes_at_ + out.row_bytes() * static_cast<std::size_t>(out.scored()) * numbers[2];
    if (out.file_.bytes().size() != wanted)
      return refusal(resect::text(out.file_.bytes().size(), " bytes").view(), resect::text(wanted).view());
    for (int chunk = 0; chunk < out.chunks_; ++chunk)
      for (int i = 0; i < out.context_; ++i)
        if (const auto id = out.token(chunk, i); id < 0 || id >= out.vocabulary_)
          return refusal(resect::text("token ", id).view(), resect::text("ids below ", out.vocabulary_).view());
    return resect::result<stored_logits>{std::move(out)};
  }

  int context() const noexcept { return context_; }
  int vocabulary() const noexcept { return vocabulary_; }
  int chunks() const noexcept { return chunks_; }
  int first_scored() const noexcept { return context_ / 2; }
  int scored() const noexcept { return context_ - 1 - first_scored(); }

  std::int32_t token(int chunk, int i) const noexcept {
    const std::size_t at =
        20 + 4 * (static_cast<std::size_t>(chunk) * static_cast<std::size_t>(context_) + static_cast<std::size_t>(i));
    return static_cast<std::int32_t>(hosts::load_little<std::uint32_t>(file_.bytes().data() + at));
  }
  // ln p of scored position `row` of a chunk, −∞ where ln p ≤ −16. Returns ln p of `token` as stored.
  double read_row(int chunk, int row, std::int32_t token, std::span<float> out) const noexcept {
    const auto place =
        static_cast<std::size_t>(chunk) * static_cast<std::size_t>(scored()) + static_cast<std::size_t>(row);
    const std::byte* p = file_.bytes().data() + codes_at_ + row_bytes() * place;
    const auto scale = std::bit_cast<float>(hosts::load_little<std::uint32_t>(p));
    const auto offset = std::bit_cast<float>(hosts::load_little<std::uint32_t>(p + 4));
    double of_token = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const float x = scale * static_cast<float>(hosts::load_little<std::uint16_t>(p + 8 + 2 * i)) + offset;
      if (i == static_cast<std::size_t>(token)) of_token = static_cast<double>(x);
      out[i] = x > -16 ? x : -std::numeric_limits<float>::infinity();
    }
    return of_token;
  }

 private:
  explicit stored_logits(hosts::mapped_file file) : file_(std::move(file)) {}
  std::size_t row_bytes() const noexcept { return 8 + 4 * ((static_cast<std::size_t>(vocabulary_) + 1) / 2); }

  hosts::mapped_file file_;
  int context_ = 0, vocabulary_ = 0, chunks_ = 0;
  std::size_t codes_at_ = 0;
};

// Logits in the file's 16-bit form and read back, as read_row gives them: codes from the largest logit down to the
// smallest, or to 16 below the largest.
void as_stored(std::span<const float> logits, double log_sum_exp, std::span<float> out) {
  const auto [low, high] = std::minmax_element(logits.begin(), logits.end());
  const float least = std::max(*low, *high - 16), scale = (*high - least) / 65535;
  const float offset = static_cast<float>(static_cast<double>(least) - log_sum_exp);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float code = scale > 0 && logits[i] > least ? std::nearbyint((logits[i] - least) / scale) : 0.0f;
    const float x = scale * code + offset;
    out[i] = x > -16 ? x : -std::numeric_limits<float>::infinity();
  }
}

// What comparing a row of stored logits with logits gives. Its KL is that of the stored p as they are: they need not sum to 1,
// so that the KL of a row may be below 0 by as much as their form is inexact.
resect::metrics::logit_comparison compare_stored(resect::instruction_set set, std::span<const float> stored,
                                                 std::span<const float> logits, std::int32_t next) {
  auto c = resect::metrics::compare_logits(set, stored, logits, next);
  // KL of the normalized distribution, back to what is stored: Σ p·(ln p − ln q) with Σ p = s
  const double log_s = resect::metrics::log_sum_exp(set, stored);
  c.kl = std::exp(log_s) * (c.kl + log_s);
  return c;
}

struct measures {
  resect::metrics::kl_profile kl;
  resect::metrics::top1_agreement top1;
  resect::metrics::paired_tokens nll;
  resect::metrics::clustered_sums kl_tokens;  // every token a cluster: as llama.cpp takes them
  double floor_sum = 0, floor_max = 0;        // KL between the model's own logits and their 16-bit form

  measures(const stored_logits& b, resect::index_t clusters)
      : kl(clusters, resect::metrics::kl_profile::rounded_reference{}),
        top1(clusters),
        nll(clusters),
        kl_tokens(resect::index_t{b.chunks()} * b.scored()) {}
  double floor_mean() const { return floor_sum / static_cast<double>(kl_tokens.clusters()); }
};

// The cluster of every chunk: chunks of the same text are one.
std::vector<resect::index_t> clusters_of(const stored_logits& base) {
  std::vector<std::int32_t> ids;
  for (int chunk = 0; chunk < base.chunks(); ++chunk)
    for (int i = 0; i < base.context(); ++i) ids.push_back(base.token(chunk, i));
  return studies::chunk_clusters(ids, base.context(), base.chunks());
}

measures compare(const arguments& a, const hosts::llama_model& model, const stored_logits& base) {
  resect::cpu exec{resect::threads{a.threads}};
  hosts::llama_host host(exec, model);
  studies::progress_bar bar(studies::progress_bar::style_of_stderr());
  const auto clusters = clusters_of(base);
  measures out(base, studies::cluster_count(clusters));
  std::vector<resect::metrics::logit_comparison> rows(static_cast<std::size_t>(base.scored()));
  std::vector<double> floor(rows.size());
  for (int chunk = 0; chunk < base.chunks(); ++chunk) {
    const auto batch =
        studies::chunk_batch(base.context(), model.config.bos, [&](int i) { return base.token(chunk, i); });
    host.forget(0);
    studies::need(host.try_forward(batch, resect::model::no_hooks<float>()));
    const auto logits = host.logits();
    exec.bulk(logits.rows, [&](resect::index_t r) {
      std::vector<float> stored(static_cast<std::size_t>(base.vocabulary()));
      const std::int32_t next = base.token(chunk, base.first_scored() + 1 + static_cast<int>(r));
      const double of_next = base.read_row(chunk, static_cast<int>(r), next, stored);
      const std::span<const float> own{logits.row(r).data, stored.size()};
      auto& c = rows[static_cast<std::size_t>(r)];
      c = compare_stored(exec.instructions(), stored, own, next);
      c.nll_full = -of_next;
      as_stored(own, resect::metrics::log_sum_exp(exec.instructions(), own), stored);
      floor[static_cast<std::size_t>(r)] = compare_stored(exec.instructions(), stored, own, next).kl;
    });
    const auto cluster = clusters[static_cast<std::size_t>(chunk)];
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto& c = rows[r];
      if (!std::isfinite(c.kl) || !std::isfinite(c.nll_full) || !std::isfinite(c.nll_edited))
        studies::fail({resect::errc::not_finite, resect::text("logits of chunk ", chunk, ", scored position ", r),
                       "NaN or infinite values", "finite logits"});
      out.kl.add(cluster, c.kl);
      out.floor_sum += floor[r];
      out.floor_max = std::max(out.floor_max, floor[r]);
      out.kl_tokens.add(resect::index_t{chunk} * base.scored() + static_cast<resect::index_t>(r), c.kl);
      out.top1.add(cluster, c.top1_full, c.top1_edited, c.tie_full || c.tie_edited);
      out.nll.add(cluster, c.nll_full, c.nll_edited);
    }
    bar.show(chunk + 1, base.chunks(), "chunk " + std::to_string(chunk + 1) + " of " + std::to_string(base.chunks()));
  }
  return out;
}

int run(const arguments& a) {
  const std::string model_path = studies::model_path(a.model);
  auto inputs = studies::model_files(model_path);
  inputs.push_back(a.base);
  studies::check_output_file(a.json, "--json", inputs);
  const auto base = studies::need(stored_logits::try_open(a.base));
  const auto model = studies::need(hosts::try_load_llama(model_path));
  if (model.config.n_vocab != base.vocabulary())
    studies::fail({resect::errc::shape_mismatch, "vocabulary of the stored logits", resect::text(base.vocabulary()),
                   resect::text(model.config.n_vocab, ", the model's")});
  const auto m = compare(a, model, base);
  const auto kl = m.kl.estimate(), tokens = m.kl_tokens.estimate(), top = m.top1.estimate(),
             top_tokens = m.top1.estimate_tokens(), log_ratio = m.nll.log_ratio_tokens(), ratio = m.nll.ratio_tokens(),
             difference = m.nll.difference_tokens(), delta_p = m.nll.mean_delta_p_tokens(),
             rms_delta_p = m.nll.rms_delta_p_tokens();
  const double ppl = std::exp(m.nll.edited().mean()), ppl_base = std::exp(m.nll.intact().mean());
  std::printf("standard errors with tokens taken for independent, as llama.cpp, unless something else is said\n");
  std::printf("PPL(model) %.6f, PPL(base) %.6f, ratio %.6f ± %.6f, difference %.6f ± %.6f\n", ppl, ppl_base,
              ratio.value, ratio.se, difference.value, difference.se);
  std::printf("mean Δln PPL %.6f ± %.6f, correlation of the two nll %s\n", log_ratio.value, log_ratio.se,
              studies::fixed(m.nll.correlation(), 4).c_str());
  std::printf("mean KL %.6f ± %.6f, ± %.6f by chunk, nats\n", kl.value, tokens.se, kl.se);
  std::printf("floor of KL, the model's own logits against their 16-bit form: mean %s, largest %s\n",
              studies::scientific(m.floor_mean()).c_str(), studies::scientific(m.floor_max).c_str());
  std::printf("KL median %.6f, 99 %% %.6f, 99.9 %% %.6f, largest %.6f\n", m.kl.median(), m.kl.p99(), m.kl.p999(),
              m.kl.max());
  std::printf("Δp of the right token: mean %.4f ± %.4f %%, RMS %.4f ± %.4f %%\n", 100 * delta_p.value, 100 * delta_p.se,
              100 * rms_delta_p.value, 100 * rms_delta_p.se);
  std::printf("same top token %.3f ± %.3f %%; %s tokens in %d chunks of %d%s\n", 100 * top.value, 100 * top_tokens.se,
              studies::grouped(kl.n).c_str(), base.chunks(), base.context(),
              studies::copies_text(base.chunks(), kl.n_clusters).c_str());
  if (model.config.bos >= 0)
    std::printf("begin of text: id %d in the place of each chunk's first id (%s)\n", model.config.bos,
                model.config.bos_rule.c_str());
  else std::printf("begin of text: none (%s)\n", model.config.bos_rule.c_str());
  if (!a.json.empty())
    studies::write_file(a.json, resect::io::json_text(nlohmann::ordered_json{
                                    {"kl", kl.value},
                                    {"kl_se_tokens", resect::io::to_json(tokens.se)},
                                    {"kl_se_clustered", resect::io::to_json(kl.se)},
                                    {"kl_median", m.kl.median()},
                                    {"kl_p99", m.kl.p99()},
                                    {"kl_max", m.kl.max()},
                                    {"kl_floor", m.floor_mean()},
                                    {"kl_floor_max", m.floor_max},
                                    {"bos_id", studies::bos_json(model.config.bos)},
                                    {"bos_rule", model.config.bos_rule},
                                    {"top1", top.value},
                                    {"top1_se_tokens", resect::io::to_json(top_tokens.se)},
                                    {"ppl", ppl},
                                    {"ppl_base", ppl_base},
                                    {"ppl_ratio", ratio.value},
                                    {"ppl_ratio_se_tokens", resect::io::to_json(ratio.se)},
                                    {"ppl_difference", difference.value},
                                    {"ppl_difference_se_tokens", resect::io::to_json(difference.se)},
                                    {"nll_correlation", resect::io::to_json(m.nll.correlation())},
                                    {"dlnppl", log_ratio.value},
                                    {"dlnppl_se_tokens", resect::io::to_json(log_ratio.se)},
                                    {"delta_p", delta_p.value},
                                    {"delta_p_se_tokens", resect::io::to_json(delta_p.se)},
                                    {"delta_p_rms", rms_delta_p.value},
                                    {"delta_p_rms_se_tokens", resect::io::to_json(rms_delta_p.se)},
                                    {"tokens", kl.n}}));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App options{"KL divergence from logits that llama-perplexity stored", "kl_divergence"};
  arguments a;
  options.add_option("--model", a.model, "a GGUF file or a safetensors folder")->required();
  options.add_option("--base", a.base, "file of llama-perplexity --kl-divergence-base")->required();
  options.add_option("--threads", a.threads, "worker threads")->capture_default_str()->check(CLI::Range(1, 1024));
  options.add_option("--json", a.json, "file to write the figures to");
  if (const int done = studies::parse(options, argc, argv); done >= 0) return done;
  return studies::guarded("kl_divergence", [&] { return run(a); });
}
