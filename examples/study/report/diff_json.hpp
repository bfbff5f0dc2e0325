// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <vector>

#include <study/report/diff_record.hpp>
#include <study/report/diff_text.hpp>
#include <study/report/report_json.hpp>

// A comparison of two reports for programs, schema 1:
//   {schema, resect, a, b {report, command, recipe, seed, bos {id, rule}, model {name, fingerprint, layers}},
//    text {name, sha256, windows, context, clusters, cluster},
//    baseline {perplexity_a, perplexity_b, nll_difference, perplexity_ratio: estimate, p, differs},
//    floor {a, b}: of KL, nats, or null,
//    rows [{arm, arm_b, table, operator, layers, first, last, matrix, seeds_a, seeds_b,
//           metrics {kl, top1_agreement, dlnppl, cosine_head_norm: {a, b, difference: estimate, p, p_holm, differs}},
//           rank {a, b: {value, lo, hi}, differs}}],
//    only_a, only_b {tables, arms}, tables [{name, a, b}], notes, findings}
// Differences are B − A; an estimate is as in report.json, and so is null.
namespace studies {

namespace detail {

inline json floor_json(const stored_report& r) { return r.report.floor ? json(*r.report.floor) : json(); }

}  // namespace detail

json diff_json(const stored_report& a, const stored_report& b, const report_difference& d);

}  // namespace studies
