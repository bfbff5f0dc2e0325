#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares resect's KL divergence and perplexities with llama.cpp's --kl-divergence, in one run on the same logits.

    python3 benchmarks/compare/kl.py --build-dir build --text FILE [--chunks 8] [--context 512] [--threads 2]

The base is SmolLM2-135M as an F32 GGUF, the other model the same after a trip through Q4_0 and back to F32, so that both
sides compute in fp32. llama-perplexity stores the base's logits (16 bits each, 16 nats deep) and compares the other model
with them; `kl_divergence` reads that file. Both see the same stored distribution, and logits of the other model that agree to
1e-5. The stored p are taken as llama.cpp takes them: not normalized again, ids with ln p <= -16 left out of KL.

Writes build/compare/kl.json as harness.py says. Exit status: 0 when everything ran, 1 with one line otherwise.
"""
import argparse
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.dirname(HERE))
import runtime  # noqa: E402
from harness import Failed, finish, row, run, say  # noqa: E402

LIMIT = 1e-4  # relative


def other_model(paths, folder, threads):
    """F32 weights that went through 4 bits."""
    small, back = os.path.join(folder, "smollm2-q4_0.gguf"), os.path.join(folder, "smollm2-q4_0-f32.gguf")
    for source, target, kind in ((paths["f32"], small, "Q4_0"), (small, back, "F32")):
        if not os.path.exists(target):
            say(f"making {os.path.basename(target)}")
            run([paths["llama-quantize"], "--allow-requantize", source, target + ".part", kind, str(threads)], "llama-quantize")
            os.replace(target + ".part", target)
    return back


def figures(text):
    """What llama-perplexity prints of a comparison."""
    with_error = {"ppl_ratio": r"Mean PPL\(Q\)/PPL\(base\)\s*:", "ppl_difference": r"Mean PPL\(Q\)-PPL\(base\)\s*:",
                  "dlnppl": r"Mean ln\(PPL\(Q\)/PPL\(base\)\)\s*:", "kl": r"Mean\s+KLD:", "delta_p": r"Mean\s+Δp:",
                  "delta_p_rms": r"RMS Δp\s*:", "top1": r"Same top p:"}
    number, patterns = r"\s*(-?[0-9.]+)", {}
    for name in ("ppl", "ppl_base"):
        patterns[name] = rf"Mean PPL\({'base' if name == 'ppl_base' else 'Q'}\)\s*:" + number
    for name, label in with_error.items():
        patterns[name] = label + number
        patterns[name + "_se_tokens"] = label + r"\s*-?[0-9.]+\s*±" + number
    patterns |= {"nll_correlation": r"Cor\(ln\(PPL\(Q\)\), ln\(PPL\(base\)\)\)\s*:" + number,
                 "kl_max": r"Maximum KLD:" + number, "kl_median": r"Median\s+KLD:" + number}
    found = {}
    for name, pattern in patterns.items():
        m = re.search(pattern, text)
        if not m:
            raise Failed(f"llama-perplexity: it printed no {name}")
        found[name] = (float(m.group(1)), 0.5 * 10.0 ** -len(m.group(1).partition(".")[2]))
    for name in found:
        if name.startswith(("top1", "delta_p", "nll_")):  # printed in per cent
            found[name] = tuple(x / 100 for x in found[name])
    return found


def main():
    parser = argparse.ArgumentParser(description="resect's KL divergence beside llama.cpp's")
    runtime.add_arguments(parser, 8)
    options = parser.parse_args()
    bin_dir = options.bin_dir or os.path.join(options.build_dir, "bin")
    folder = os.path.abspath(os.path.join(options.build_dir, "compare"))
    try:
        if not os.path.isfile(options.text):
            raise Failed(f"text: got {options.text}, wanted a file")
        runtime.set_up(folder, __file__)
        paths = runtime.prepare(options, folder)
        other = other_model(paths, folder, options.threads)
        base = os.path.join(folder, "base.kld")
        common = ["-fa", "off", "-ctk", "f32", "-ctv", "f32", "-c", str(options.context), "--chunks", str(options.chunks),
                  "-t", str(options.threads), "-tb", str(options.threads), "--kl-divergence-base", base]
        say(f"llama-perplexity stores the logits of {options.chunks} chunks of {options.context}")
        run([paths["llama-perplexity"], "-m", paths["f32"], "-f", options.text, *common], "llama-perplexity")
        say("llama-perplexity --kl-divergence")
        out, err = run([paths["llama-perplexity"], "-m", other, "--kl-divergence", *common], "llama-perplexity")
        peer = figures(out + err)
        say("kl_divergence, the same")
        report = os.path.join(folder, "kl_divergence.json")
        run([os.path.join(bin_dir, "kl_divergence"), "--model", other, "--base", base, "--threads", str(options.threads),
             "--json", report], "kl_divergence")
        ours = runtime.read_json(report, list(peer), "kl_divergence")
    except (Failed, OSError) as failure:
        say(failure)
        return 1
    version, rows = paths["llama_version"], []
    for name, (value, digits) in peer.items():
        difference = abs(ours[name] - value) / max(abs(value), 1e-9)
        beyond = max(abs(ours[name] - value) - digits, 0) / max(abs(value), 1e-9)  # what is printed was rounded
        judged = name != "kl_median"  # which is a sketch's, to 1/64
        rows.append(row(name, "", ours[name], value, "llama-perplexity", version,
                        ratio=LIMIT / max(beyond, LIMIT / 100) if judged else None,
                        bar=1.0 if judged else None, note=f"relative difference {difference:.1e}, limit {LIMIT:g}"))
    finish(os.path.join(folder, "kl.json"), rows, options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
