#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares Q + L R with CALDERA and with its start from outliers (ODLRI-type), on matrices of SmolLM2, in one run.

    python3 benchmarks/compare/qlr.py --build-dir build --cache DIR [--bits 2.25 2.5] [--rounds 20] [--threads 2]
        [--matrices 3:attn.q ...]

The model's residual stream is rotated (its weights were stored on a grid of 4 bits), H is of the rows that each matrix reads
on the program's passage, and each matrix stands between two seeded Hadamard-type transforms. All sides have the same
quantizer: E8 with one scale for Q, by the same function, 4 bits symmetric for L and R; each takes the largest rank at which
codes, scales and the seed of the transforms fit the bits. resect and both peers make `rounds` rounds from their (best) start.

    loss      tr(E H E') / tr(W H W'), in double by NumPy; the ratio is the peer's loss / resect's. Bar: the ratio's geometric
              mean above 1 (row "geometric mean"), and for each matrix >= 1/1.02
    seconds   of one side at these rounds; bar against CALDERA: >= 1. Judged on a quiet machine only, as in runtime.py
    loss, own norm   beside CALDERA's in the norm that CALDERA minimises: H + 0.01 mean(diag H) I. No bar

CALDERA runs with and without its downdate of the Hessian; the better one of each matrix is the peer, and its time the time.
Writes build/compare/qlr.json as harness.py says. Exit status: 0 when everything ran, 1 with one line otherwise.
"""
import argparse
import json
import math
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
STUDY = os.path.join(ROOT, "examples", "study", "python")
sys.path.insert(0, os.path.dirname(HERE))
from harness import Failed, Others, QUIET, finish, positive, row, run, say  # noqa: E402

MATRICES = ["3:attn.q", "3:attn.o", "12:attn.k", "12:mlp.down", "20:attn.v", "20:attn.q", "26:mlp.up"]
LOSS_BAR = 1 / 1.02
PEERS = {"CALDERA": "caldera", "ODLRI-type": "odlri"}

LOSSES = """
import json, sys, numpy
w_path, h_path, m, n = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def read(path):
    return numpy.fromfile(path, dtype=numpy.float32).reshape(m, n).astype(numpy.float64)
w, h = read(w_path), numpy.fromfile(h_path, dtype=numpy.float64).reshape(n, n)
ridge = h + 0.01 * h.diagonal().mean() * numpy.eye(n)
def loss(e, moment):
    return float(((e @ moment) * e).sum() / ((w @ moment) * w).sum())
print(json.dumps([[loss(w - read(path), moment) for moment in (h, ridge)] for path in sys.argv[5:]]))
"""


def inputs(options, python, folder):
    """-> [{name, rows, cols, w, h}]"""
    model = run([python, os.path.join(STUDY, "fetch_smollm2.py"), "--cache", options.cache], "obtaining the model")[0].strip()
    ids = os.path.join(folder, "qlr.i32")
    run([python, os.path.join(STUDY, "tokenize_gguf.py"), "--model", model, "--text",
         os.path.join(ROOT, "examples", "study", "passage.txt"), "--out", ids], "tokenizing")
    say(f"W and H of {len(options.matrices)} matrices")
    lines = run([options.program, "inputs", model, ids, folder, str(options.threads), *options.matrices], "qlr_bench")[0]
    out = [json.loads(line) for line in lines.splitlines()]
    for m in out:
        m["w"], m["h"] = (os.path.join(folder, f"qlr_{m['name']}.{kind}") for kind in "wh")
    return out


def measured(options, python, folder, m, bits):
    """Everything on one matrix at one width: {side: {seconds, rank, bits, loss, own}}."""
    common, found, paths = [str(m["rows"]), str(m["cols"]), str(bits)], {}, {}
    last = ["--"]

    def remember(side, answer):
        found[side], paths[side] = json.loads(answer), last[0]

    last[0] = os.path.join(folder, "qlr_resect.out")
    # of its starts, the one that goes on has made a pair and two rounds
    remember("resect", run([options.program, "decompose", m["w"], m["h"], *common, str(max(0, options.rounds - 3)),
                            str(options.threads), last[0]], "qlr_bench")[0])
    for peer, start in PEERS.items():
        for downdate in ("on", "off"):
            last[0] = os.path.join(folder, f"qlr_{start}_{downdate}.out")
            remember(f"{peer} {downdate}", run(
                [python, os.path.join(os.path.dirname(HERE), "caldera_torch.py"), m["w"], m["h"], options.e8_code, *common,
                 str(options.rounds), str(options.threads), start, downdate, last[0]], peer)[0])
    losses = json.loads(run([python, "-c", LOSSES, m["w"], m["h"], *common[:2], *paths.values()], "NumPy")[0])
    for side, (loss, own) in zip(paths, losses):
        found[side].update(loss=loss, own=own)
        if found[side]["bits"] > bits:
            raise Failed(f"{side}: {found[side]['bits']} bits a weight, wanted at most {bits}")
    for path in paths.values():
        os.remove(path)
    for peer in PEERS:
        sides = [found.pop(f"{peer} {downdate}") | {"downdate": downdate} for downdate in ("on", "off")]
        found[peer] = min(sides, key=lambda side: side["loss"])
    return found


def rows_of(options, python, folder):
    rows, others = [], Others()
    matrices = inputs(options, python, folder)
    others.share()
    for bits in options.bits:
        ratios = {peer: [] for peer in PEERS}
        for m in matrices:
            say(f"{m['name']} at {bits} bits")
            found = measured(options, python, folder, m, bits)
            quiet = others.share() <= QUIET
            ours = found["resect"]
            say("  loss " + ", ".join(f"{side} {found[side]['loss']:.5f} in {found[side]['seconds']:.1f} s" for side in found))
            for peer in PEERS:
                theirs = found[peer]
                ratios[peer].append(theirs["loss"] / ours["loss"])
                note = (f"{m['rows']} x {m['cols']}, ranks {ours['rank']} and {theirs['rank']}, {ours['bits']:.4f} and "
                        f"{theirs['bits']:.4f} bits, start: {ours['start']}, downdate {theirs['downdate']}")
                what = f"{m['name']}, {bits} bits, {options.rounds} rounds"
                rows.append(row(f"loss, {what}", "", ours["loss"], theirs["loss"], peer, "", ratio=ratios[peer][-1],
                                bar=LOSS_BAR, note=note))
                rows.append(row(f"seconds, {what}", "s", ours["seconds"], theirs["seconds"], peer, "torch " + theirs["version"],
                                ratio=theirs["seconds"] / ours["seconds"], bar=1.0 if quiet and peer == "CALDERA" else None,
                                note="" if quiet else "others took more than a tenth of the cores: not judged"))
            rows.append(row(f"loss, own norm, {what}", "", ours["own"], found["CALDERA"]["own"], "CALDERA", "",
                            ratio=found["CALDERA"]["own"] / ours["own"], note="with 0.01 of the mean diagonal"))
        for peer, list_of in ratios.items():
            mean = math.exp(sum(map(math.log, list_of)) / len(list_of))
            rows.append(row(f"loss, geometric mean, {bits} bits", "", None, None, peer, "", ratio=mean, bar=1.0, runs=len(list_of),
                            note=f"worst {min(list_of):.4f}"))
    for m in matrices:
        os.remove(m["w"])
        os.remove(m["h"])
    return rows


def main():
    parser = argparse.ArgumentParser(description="Q + L R beside CALDERA")
    parser.add_argument("--build-dir", default="build", help="results go to BUILD_DIR/compare (%(default)s)")
    parser.add_argument("--cache", default=os.path.expanduser("~/.cache/resect"), help="where the model is kept")
    parser.add_argument("--bits", type=float, nargs="+", default=[2.25, 2.5], help="a weight, all told (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=20, help="of all sides (%(default)s)")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--matrices", nargs="+", default=MATRICES, help="LAYER:NAME (%(default)s)")
    options = parser.parse_args()
    folder = os.path.abspath(os.path.join(options.build_dir, "compare"))
    options.program = os.path.join(os.path.abspath(options.build_dir), "bin", "qlr_bench")
    options.e8_code = os.path.join(os.path.abspath(options.build_dir), "lib", "libqlr_e8.so")
    os.makedirs(folder, exist_ok=True)
    try:
        if subprocess.run(["sh", os.path.join(HERE, "peers.sh"), folder, "torch"], stdin=subprocess.DEVNULL).returncode != 0:
            raise Failed("the peers could not be set up")
        rows = rows_of(options, os.path.join(folder, "venv", "bin", "python"), folder)
    except (Failed, OSError, ValueError) as failure:
        say(failure)
        return 1
    finish(os.path.join(folder, "qlr.json"), rows, options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
