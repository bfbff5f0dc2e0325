// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How much does each layer matter? Every layer is altered alone, in every chosen way.
#include <memory>

#include <study/io/cli.hpp>

#include <resect/study/sensitivity.hpp>
#include <study/io/arguments.hpp>
#include <study/recipes/bench.hpp>
#include <study/recipes/recipes.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace study = resect::study;

struct options {
  std::string alterations = "skip,mean_delta,reinit,zero_stream";
  study::sensitivity_options study;
};

const char* describe(study::alteration a) {
  switch (a) {
    case study::alteration::skip: return "the layer is left out";
    case study::alteration::mean_delta: return "the layer adds its mean over the calibration windows";
    case study::alteration::reinit: return "random weights in place of the layer's";
    case study::alteration::zero_stream: return "control: the whole stream after the layer is zero";
  }
  return "";
}

void declare(CLI::App& app, options& o) {
  app.add_option("--alterations", o.alterations, "what to do to the layers")->capture_default_str();
  app.add_option("--reinit-seeds", o.study.reinit_seeds, "seeds of re-initialization, 5 or more")
      ->check(CLI::Range(5, 1000))
      ->capture_default_str();
}

// Seeds are numbers in JSON, which are exact below 2^53.
void check_seeds(const study::sensitivity_options& o) {
  const std::uint64_t last = (std::uint64_t{1} << 53) - static_cast<std::uint64_t>(o.reinit_seeds);
  if (o.seed > last)
    fail({resect::errc::invalid_argument, "--seed", resect::text(o.seed),
          resect::text("0 to ", last, ", so that ", o.reinit_seeds, " seeds are exact in a report")});
}

void accept(const common_options& given, options& o) {
  const std::vector all{study::alteration::skip, study::alteration::mean_delta, study::alteration::reinit,
                        study::alteration::zero_stream};
  o.study.alterations =
      need(try_parse_names(o.alterations, "--alterations", all, [](study::alteration a) { return study::name(a); }));
  o.study.seed = given.seed;
  o.study.bootstrap = bootstrap_resamples;
  check_seeds(o.study);
}

// One table an alteration.
std::vector<arm_table> tables(bench& b, const study::sensitivity_options& o,
                              const resect::residual::delta_means& means) {
  std::vector<arm_table> out;
  for (const auto a : o.alterations) {
    auto of_one = o;
    of_one.alterations = {a};
    out.push_back({std::string(study::name(a)), describe(a),
                   need(study::try_sensitivity_arms(b.model().describe(), of_one, means)),
                   a == study::alteration::zero_stream});
  }
  return out;
}

void describe_options(study_record& to, const study::sensitivity_options& o) {
  const double std = static_cast<double>(o.reinit.std);
  const std::string gains = o.reinit_gains == resect::residual::norm_gains::keep ? "keep" : "reset";
  for (const auto a : o.alterations) to.options["alterations"].push_back(std::string(study::name(a)));
  to.options["reinit"] = {{"seeds", o.reinit_seeds},
                          {"norm_gains", gains},
                          {"std", std > 0 ? nlohmann::ordered_json(std) : nlohmann::ordered_json("rms of the matrix")}};
  to.facts.emplace_back("re-initialization", "normal, sd " +
                                                 (std > 0 ? plain(std) : "each matrix's own root mean square") +
                                                 ", norm gains " + gains + ", " + std::to_string(o.reinit_seeds) +
                                                 " seeds from " + std::to_string(o.seed));
}

void measure(bench& b, const study::sensitivity_options& o) {
  describe_options(b.record(), o);
  resect::residual::delta_means means;
  if (study::needs_calibration(o)) {
    const auto& calibration = b.windows(role::calibration);
    means = need(study::try_delta_means(b.model(), calibration));
    b.show("means of the layers",
           study::estimate_cost(b.model(), calibration, std::span<const study::arm>{}).baseline_flop);
  }
  b.run();
  b.tabulate(tables(b, o, means));
}

}  // namespace

recipe sensitivity_recipe() {
  const auto o = std::make_shared<options>();
  recipe out{.name = "sensitivity", .says = "each layer is altered alone, in four ways", .roles = {role::calibration}};
  out.declare = [o](CLI::App& app) { declare(app, *o); };
  out.accept = [o](const common_options& given) { accept(given, *o); };
  out.needs = [o](role) { return study::needs_calibration(o->study); };
  out.check = [o](bench& b) { o->study.layers = b.layers(); };
  out.cost = [o](bench& b) {
    return study::estimate_cost(b.model(), b.evaluation(),
                                static_cast<resect::index_t>(b.windows(role::calibration).rows.size()), o->study);
  };
  out.run = [o](bench& b) { measure(b, o->study); };
  return out;
}

}  // namespace studies
