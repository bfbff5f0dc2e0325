// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/quantize.hpp>

#include <cmath>

#include <resect/metrics/accumulators/contrast.hpp>
#include <study/report/numbers.hpp>
#include <study/report/places.hpp>

namespace studies {

namespace {

using resect::metrics::clustered_sums;

constexpr const char* table_name = "quantize";

// exp of Σ k_i·ln mean KL_i, and Σ k_i·mean Δln PPL_i, over the same tokens.
struct contrast {
  estimate kl, dlnppl;
};
contrast contrast_of(const quantize_results& r, const std::vector<std::size_t>& arms, const std::vector<double>& k) {
  std::vector<clustered_sums> kl, dlnppl;
  for (const std::size_t i : arms) {
    kl.push_back(r.kl(i));
    dlnppl.push_back(r.dlnppl(i));
  }
  return {resect::metrics::map_exp(need(resect::metrics::try_log_contrast(kl, k))),
          need(resect::metrics::try_contrast(dlnppl, k))};
}

std::string times(const estimate& ratio) { return "× " + with_interval(ratio); }

nlohmann::ordered_json to_json(const contrast& c) {
  return {{"kl_ratio", resect::io::to_json(c.kl)}, {"dlnppl", resect::io::to_json(c.dlnppl)}};
}

void say(study_record& to, const char* kind, std::string text) {
  to.said.push_back({kind, table_name, std::move(text), {}});
}

// A quantizer and the one that differs from it in one thing alone.
struct pair_of {
  quantizer better, than;
};
constexpr pair_of full_h[] = {{quantizer::gptq, quantizer::mse}, {quantizer::ldlq, quantizer::weighted_mse}};

// "gptq × 0.41 [0.38, 0.45] of mse": of each pair at one width.
void add_full_h(study_record& to, const quantize_results& r, int bits) {
  std::vector<std::string> won, open, lost;
  for (const auto& [better, than] : full_h) {
    const auto a = r.find(better, bits), b = r.find(than, bits);
    if (!a || !b) continue;
    const contrast c = contrast_of(r, {*a, *b}, {1, -1});
    auto row = to_json(c);
    row["bits"] = bits;
    row["arm"] = info(better).name;
    row["than"] = info(than).name;
    to.report.sections["comparisons"].push_back(row);
    const std::string text = std::string(info(better).name) + " " + times(c.kl) + " of " + std::string(info(than).name);
    (c.kl.hi < 1 ? won : c.kl.lo > 1 ? lost : open).push_back(text);
  }
  const std::string at = "At " + std::to_string(bits) + " bits ";
  if (!won.empty())
    say(to, "full_h",
        at + "feedback by the full H has lower KL than nearest codes on the same grid with the same scales: " +
            detail::and_list(won) + ".");
  if (!lost.empty()) say(to, "full_h_loses", at + "it has higher KL: " + detail::and_list(lost) + ".");
  if (!open.empty()) say(to, "full_h_open", at + "it is not told apart from them: " + detail::and_list(open) + ".");
}

// The arm of the least KL at a width among calibrated or data-free ones.
std::optional<std::size_t> best(const quantize_results& r, int bits, bool calibrated) {
  std::optional<std::size_t> out;
  for (std::size_t i = 0; i < r.arms.size(); ++i) {
    if (r.arms[i].bits != bits || info(r.arms[i].what).calibrated != calibrated) continue;
    if (!out || r.kl(i).estimate().value < r.kl(*out).estimate().value) out = i;
  }
  return out;
}

std::string with_bits(const quantize_results& r, std::size_t i) {
  return std::string(info(r.arms[i].what).name) + " (" + fixed(r.losses[i].bits_per_weight(), 2) +
         " bits a weight, KL " + with_interval(r.effects[i].kl.estimate()) + ")";
}

void add_best(study_record& to, const quantize_results& r, int bits) {
  const auto free = best(r, bits, false), calibrated = best(r, bits, true);
  if (!free || !calibrated) return;
  const contrast c = contrast_of(r, {*calibrated, *free}, {1, -1});
  say(to, "best",
      "At " + std::to_string(bits) + " bits the least KL without data is that of " + with_bits(r, *free) +
          ", with calibration that of " + with_bits(r, *calibrated) + ", " + times(c.kl) +
          " of it (the best of several, on the same tokens: a little too good).");
}

std::vector<int> widths_of(const quantize_results& r) {
  std::vector<int> out;
  for (const auto& a : r.arms)
    if (out.empty() || out.back() != a.bits) out.push_back(a.bits);
  return out;
}

// The four cells of the rotation table at one width.
struct cells {
  std::size_t nearest, ldlq, rotated_nearest, rotated_ldlq;
};
std::optional<cells> cells_at(const quantize_results& r, int bits) {
  const auto a = r.find(quantizer::weighted_mse, bits), b = r.find(quantizer::ldlq, bits),
             c = r.find(quantizer::rotated_nearest, bits), d = r.find(quantizer::rotated_ldlq, bits);
  if (!a || !b || !c || !d) return std::nullopt;
  return cells{*a, *b, *c, *d};
}

struct effect_of {
  const char *key, *name;
  std::vector<double> k;  // of nearest, ldlq, rotated_nearest, rotated_ldlq
};
const effect_of rotation_effects[] = {
    {"transform", "transform (mean over columns)", {-0.5, -0.5, 0.5, 0.5}},
    {"full_h", "full H (mean over rows)", {-0.5, 0.5, -0.5, 0.5}},
    {"interaction", "interaction", {1, -1, -1, 1}},
};

}  // namespace

std::string shown_name(const quantize_arm& a) {
  return std::string(info(a.what).name) + " at " + std::to_string(a.bits) + " bits";
}

double matrix_losses::relative_error() const { return whole > 0 ? std::sqrt(lost / whole) : 0; }

std::optional<std::size_t> quantize_results::find(quantizer q, int bits) const {
  for (std::size_t i = 0; i < arms.size(); ++i)
    if (arms[i].what == q && arms[i].bits == bits) return i;
  return std::nullopt;
}

void add_comparisons(study_record& to, const quantize_results& found) {
  for (const int bits : widths_of(found)) {
    add_full_h(to, found, bits);
    add_best(to, found, bits);
  }
}

void add_rotation_table(study_record& to, const quantize_results& found) {
  plain_table cells_table{
      "rotation",
      "nearest codes with scales fitted under the diagonal of H, and LDLQ with sweeps for the same "
      "scales, of each matrix as it is and between two randomized Hadamard-type transforms",
      {"bits", "transform", "bits/weight", "KL, diagonal of H", "KL, full H", "Δln PPL, diagonal", "Δln PPL, full H"},
      {}};
  plain_table effects_table{"rotation, effects",
                            "KL: factors, 1 is no effect; Δln PPL: differences",
                            {"bits", "effect", "KL ×", "Δln PPL"},
                            {}};
  for (const int bits : widths_of(found)) {
    const auto at = cells_at(found, bits);
    if (!at) continue;
    nlohmann::ordered_json row{{"bits", bits}};
    const auto add_row = [&](const char* transform, std::size_t nearest, std::size_t full) {
      const auto a = found.effects[nearest].estimate(), b = found.effects[full].estimate();
      cells_table.cells.push_back({std::to_string(bits), transform, fixed(found.losses[full].bits_per_weight(), 3),
                                   with_interval(a.kl), with_interval(b.kl), with_interval(a.dlnppl, 1, sign::always),
                                   with_interval(b.dlnppl, 1, sign::always)});
      row["cells"].push_back({{"transform", transform},
                              {"diagonal", info(found.arms[nearest].what).name},
                              {"full", info(found.arms[full].what).name}});
    };
    add_row("none", at->nearest, at->ldlq);
    add_row("two-sided", at->rotated_nearest, at->rotated_ldlq);
    std::vector<std::string> says;
    for (const auto& e : rotation_effects) {
      const contrast c = contrast_of(found, {at->nearest, at->ldlq, at->rotated_nearest, at->rotated_ldlq}, e.k);
      row["effects"][e.key] = to_json(c);
      effects_table.cells.push_back(
          {std::to_string(bits), e.name, with_interval(c.kl), with_interval(c.dlnppl, 1, sign::always)});
      says.push_back(std::string(e.key == std::string("full_h") ? "the full H" : "the " + std::string(e.key)) + " " +
                     times(c.kl) + (c.kl.lo <= 1 && c.kl.hi >= 1 ? " (no effect shown)" : ""));
    }
    to.report.sections["rotation"].push_back(row);
    say(to, "rotation",
        "Rotation table at " + std::to_string(bits) + " bits, effects on KL: " + detail::and_list(says) + ".");
  }
  if (cells_table.cells.empty()) return;
  to.extras.push_back(std::move(cells_table));
  to.extras.push_back(std::move(effects_table));
}

void add_trap_finding(study_record& to, const trap_result& trap) {
  to.said.push_back(
      {"on_grid",
       "",
       std::to_string(trap.grid.on_grid) + " of " + std::to_string(trap.grid.matrices) +
           " matrices were stored on a grid of " + std::to_string(trap.grid.bits) + " bits in groups of " +
           std::to_string(trap.grid.group) + " (" + trap.grid.kind +
           "). A quantizer that meets it would look perfect: min-max with float minimums in groups of 32, 5 bits a "
           "weight, "
           "has KL " +
           with_interval(trap.as_stored) + " on the file's own weights and " + with_interval(trap.rotated) +
           " on the same model with its residual stream rotated. All other rows are of the rotated model.",
       {}});
}

}  // namespace studies
