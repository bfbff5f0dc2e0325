// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <resect/version.hpp>
#include <study/report/findings.hpp>
#include <study/report/numbers.hpp>
#include <study/report/record.hpp>
#include <study/report/table.hpp>

// report.html: the study on one page, beside its two pictures.
namespace studies {

// Text as HTML shows it, inside elements and quoted attributes. Control characters become blanks.
std::string escaped(std::string_view text);

namespace detail {

inline constexpr const char* page_head = R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
)";

inline constexpr const char* page_style = R"(<style>
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6470; --line: #d9dee3; --paper: #ffffff; --card: #f5f7f9;
  --red: #b3261e; --green: #1a7f4b; --blue: #0b66b0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4af; --line: #343b43; --paper: #14171a;
  --card: #1d2125; --red: #ff8a80; --green: #63d297; --blue: #7cbcff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; } h3 span { color: var(--soft); font-weight: normal; }
p.facts, figcaption, p.note { color: var(--soft); } figcaption, p.note { font-size: .9rem; }
ul.findings { background: var(--card); border-radius: .5rem; padding: 1rem 1.25rem 1rem 2.25rem; margin: 1.25rem 0; }
ul.findings li { margin: .35rem 0; }
p.warning { border-left: .25rem solid var(--red); padding-left: .75rem; }
figure { margin: 1.5rem 0; } figure img { width: 100%; height: auto; background: #fff; border-radius: .5rem;
  border: 1px solid var(--line); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } td.mark, th.mark { text-align: left; } td small { color: var(--soft); }
.critical { color: var(--red); } .negligible { color: var(--blue); } .better { color: var(--green); }
dt { font-weight: 600; margin-top: .6rem; } dd { margin: 0 0 0 1.25rem; }
pre { background: var(--card); border-radius: .5rem; padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap:
  anywhere; }
code { overflow-wrap: anywhere; }
</style>
)";

std::string cell(const std::string& text);

inline constexpr const char* html_columns = R"(<h2>What the columns mean</h2>
<dl>
<dt>KL</dt><dd>Mean over tokens of KL(intact ‖ altered), the divergence of the altered model's next-token
distribution from the intact model's, in nats. The rows of a table are ranked by it.</dd>
<dt>rank</dt><dd>1 is the alteration that changes the output most; in brackets a bootstrap interval over clusters. Rows
whose intervals overlap are not told apart.</dd>
<dt>seed sd</dt><dd>Standard deviation of KL between seeds of the random weights. Intervals of seeded rows are
clustered by seed and by text.</dd>
<dt>top-1</dt><dd>Share of tokens whose most likely successor is the same in both models. It is agreement with the
intact model, not accuracy.</dd>
<dt>Δln PPL</dt><dd>Mean over tokens of the altered model's negative log-likelihood minus the intact model's on the
same token: the logarithm of the ratio of perplexities. Below 0 the altered model is better.</dd>
<dt>cosine</dt><dd>Mean cosine between what the output matrix reads in both models.</dd>
<dt>S, R</dt><dd>Of a way to store matrices with fewer bytes. S: KL where this layer alone is altered. R: what sparing
it alone brings back where all layers are altered, KL(all) − KL(all but this one). R − S is how much the damages of layers
hang together.</dd>
<dt>norm read</dt><dd>Median norm of the residual stream that the layer reads, with 1st and 99th percentile; first
tokens of a window apart, because many models carry a massive activation there.</dd>
<dt>|Δ|/|h|, cos(Δ, h)</dt><dd>How large what the layer adds is beside the stream, and in which direction it points;
first tokens left out.</dd>
<dt>block influence</dt><dd>1 − mean cosine between the stream before and after the layer: how much the layer turns
it.</dd>
</dl>
<h2>What the marks mean</h2>
<dl>
<dt class="critical">critical</dt><dd>Δln PPL is above 0.1.</dd>
<dt class="negligible">negligible</dt><dd>Δln PPL is within ± 0.01.</dd>
<dt>at the floor</dt><dd>The interval of KL begins below 3 times the floor, which is the KL of the intact model with
itself, run in another way: what the order of additions does. Such a row has no rank.</dd>
<dt class="better">better than intact</dt><dd>Δln PPL is below 0. Confirm on another text before acting on it.</dd>
</dl>
<p class="note">A mark is given only where the bounds of the interval say so after Holm's correction over all rows
of the table, so that all marks of a kind hold together with 97.5 % confidence. No mark means that nothing of this
kind can be claimed, not that nothing happens.</p>
)";

inline constexpr const char* html_pictures = R"(<figure>
<img src="effects.png" alt="KL and Δln PPL of each altered model, with intervals">
<figcaption>Above: how far the output moves under each alteration. Below: what that costs in perplexity; filled
symbols are critical, crosses negligible, diamonds better than intact. Bars are 95 % intervals.</figcaption>
</figure>
<figure>
<img src="norms.png" alt="Norm of the residual stream and block influence by layer">
<figcaption>Above: the norm of the stream that each layer reads (logarithmic). Below: how much each layer turns
it.</figcaption>
</figure>
)";

inline constexpr const char* html_bits_pictures = R"(<figure>
<img src="effects.png" alt="KL against stored bits a weight, data-free and calibrated methods apart">
<figcaption>How far the output moves against what is stored, all overhead counted. On the left methods that read no
data, on the right calibrated ones; the grey line there is the least KL of the left. Bars are 95 % intervals.</figcaption>
</figure>
<figure>
<img src="norms.png" alt="Norm of the residual stream and block influence by layer">
<figcaption>Above: the norm of the stream that each layer reads (logarithmic). Below: how much each layer turns
it.</figcaption>
</figure>
)";

}  // namespace detail

std::string report_html(const study_record& r, const std::vector<finding>& findings);

}  // namespace studies
