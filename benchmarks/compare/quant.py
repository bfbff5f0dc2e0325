#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares resect's quantizers with their peers, in one run on the same inputs.

    python3 benchmarks/compare/quant.py --build-dir build [--side 4096] [--threads 2] [--rounds 5]

    gptq          GPTQ of a side x side matrix from W and H, 4 bits, groups of 128: seconds beside PyTorch's on the CPU
                  (gptq_torch.py, plain form). Bar: PyTorch's time / resect's >= 3.5. Beside it, without a bar, PyTorch with
                  the matrix transposed and updated in place
    gptq, rate    (m n^2 + 2 n^3 / 3) / time, of an algorithm that inverts nothing, beside the fp32 product: the faster of
                  resect's and PyTorch's of this run. Bar: >= 0.5
    two levels    the rows of two_level.py
    gptq, loss    tr(E H E') / tr(W H W') of both results, computed in double by NumPy. No bar: PyTorch fits a group when
                  it gets there, resect beforehand

W is normal; H is the second moment of 2 n rows whose neighbouring columns go together (.8) and of which some are large.
Programs alternate in rounds; figures are medians. Bars are judged on a quiet machine only, as in runtime.py. Writes
build/compare/quant.json as harness.py says. Exit status: 0 when everything ran, 1 with one line otherwise.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.dirname(HERE))
import two_level  # noqa: E402
from harness import Failed, Others, QUIET, finish, positive, row, run, say, spread  # noqa: E402

GPTQ_BAR, RATE_BAR = 3.5, 0.5

INPUTS = """
import sys, numpy
folder, n = sys.argv[1], int(sys.argv[2])
draws = numpy.random.default_rng(1)
w = draws.standard_normal((n, n), dtype=numpy.float32) * numpy.float32(0.02)
x = draws.standard_normal((2 * n, n), dtype=numpy.float32)
for c in range(1, n):
    x[:, c] += numpy.float32(0.8) * x[:, c - 1]
x *= draws.lognormal(0.0, 1.0, n).astype(numpy.float32)
w.tofile(folder + "/gptq_w.f32")
(x.T @ x / numpy.float32(2 * n)).tofile(folder + "/gptq_h.f32")
"""

LOSSES = """
import json, sys, numpy
folder, n = sys.argv[1], int(sys.argv[2])
def read(name):
    return numpy.fromfile(f"{folder}/{name}.f32", dtype=numpy.float32).reshape(n, n).astype(numpy.float64)
w, h = read("gptq_w"), read("gptq_h")
def quadratic(e):
    return float(((e @ h) * e).sum())
print(json.dumps({name: quadratic(w - read(name)) / quadratic(w) for name in ("gptq_resect", "gptq_torch")}))
"""


def gptq(options, folder, python):
    n, program = options.side, os.path.join(options.build_dir, "bin", "gptq_bench")
    say(f"W and H of side {n}")
    run([python, "-c", INPUTS, folder, str(n)], "NumPy")
    files = [os.path.join(folder, name) for name in ("gptq_w.f32", "gptq_h.f32")]
    common = [*files, str(n), str(n), str(options.threads)]
    ours, plain, transposed, products, others, version = [], [], [], [], [], ""
    for number in range(options.rounds):
        say(f"gptq, round {number + 1} of {options.rounds}")
        watch = Others()
        mine = json.loads(run([program, *common, os.path.join(folder, "gptq_resect.f32")], "gptq_bench")[0])
        torch = json.loads(run([python, os.path.join(os.path.dirname(HERE), "gptq_torch.py"), *common,
                                os.path.join(folder, "gptq_torch.f32")], "PyTorch")[0])
        ours.append(mine["seconds"])
        plain.append(torch["plain"])
        transposed.append(torch["transposed"])
        products.append((mine["product_flops"], torch["product_flops"]))
        version = torch["version"]
        others.append(watch.share())
    loss = json.loads(run([python, "-c", LOSSES, folder, str(n)], "NumPy")[0])
    for name in ("gptq_w", "gptq_h", "gptq_resect", "gptq_torch"):
        os.remove(os.path.join(folder, name + ".f32"))

    quiet = max(others) <= QUIET
    note = "" if quiet else f"others took up to {100 * max(others):.0f} % of the cores: not judged"
    own = statistics.median(ours)
    ceilings = [statistics.median(side) for side in zip(*products)]
    fastest = "resect" if ceilings[0] > ceilings[1] else "torch"
    work = n * n * n + 2 * n ** 3 / 3
    what = f"{n} x {n}, 4 bits, group 128"
    return [
        *(row(name, "s", own, statistics.median(theirs), "torch", version, ratio=statistics.median(theirs) / own,
              bar=bar if quiet else None, runs=options.rounds, spread={"resect": spread(ours), "peer": spread(theirs)},
              note=f"{what}; {note}".rstrip("; "))
          for name, theirs, bar in (("gptq", plain, GPTQ_BAR), ("gptq, torch transposed", transposed, None))),
        row("gptq, rate", "GFLOP/s", work / own / 1e9, max(ceilings) / 1e9, f"product by {fastest}", "",
            ratio=work / own / max(ceilings), bar=RATE_BAR if quiet else None, runs=options.rounds,
            spread={"resect": spread(ours), "peer": spread([max(p) for p in products])},
            note=f"products: resect {ceilings[0] / 1e9:.0f}, torch {ceilings[1] / 1e9:.0f}; {note}".rstrip("; ")),
        row("gptq, loss", "", loss["gptq_resect"], loss["gptq_torch"], "torch", version,
            ratio=loss["gptq_torch"] / loss["gptq_resect"], note="tr(EHE')/tr(WHW'), in double"),
    ]


def main():
    parser = argparse.ArgumentParser(description="resect's quantizers beside their peers")
    parser.add_argument("--build-dir", default="build", help="results go to BUILD_DIR/compare (%(default)s)")
    parser.add_argument("--cache", help="not used")
    parser.add_argument("--side", type=positive, default=4096, help="of the matrix that GPTQ rounds (%(default)s)")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=positive, default=5, help="alternating rounds (%(default)s)")
    parser.add_argument("--without-ggml", action="store_true", help="GPTQ alone: llama.cpp is not built")
    options = parser.parse_args()
    folder = os.path.abspath(os.path.join(options.build_dir, "compare"))
    os.makedirs(folder, exist_ok=True)
    try:
        if subprocess.run(["sh", os.path.join(HERE, "peers.sh"), folder, "torch" if options.without_ggml else "all"], stdin=subprocess.DEVNULL).returncode != 0:
            raise Failed("the peers could not be set up")
        if not options.without_ggml:
            two_level.ggml_program(folder)  # fails here, if it does, and not after the rounds
        rows = gptq(options, folder, os.path.join(folder, "venv", "bin", "python"))
        if not options.without_ggml:
            rows += two_level.rows_of(options, folder)
    except (Failed, OSError, ValueError) as failure:
        say(failure)
        return 1
    finish(os.path.join(folder, "quant.json"), rows, options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
