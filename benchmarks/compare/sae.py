#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares training of sparse autoencoders with its peers, in one run on the same shapes.

    python3 benchmarks/compare/sae.py --build-dir build [--threads 2] [--rounds 5] [--instructions best]
        [--settings off both] [--without PEER] [--width 768] [--latents 24576] [--kept 32] [--batch 4096] [--only step export recovery]

    step, product   seconds of one step of TopK training in fp32 without AuxK and clipping, beside the encoder's product alone
                    at the ceiling: the fastest of resect, PyTorch and OpenBLAS in this run. Bar: t_product / t_step >= 0.67
                    with AVX-512, 0.75 without
    step, budget    the same beside t_product / 0.9 + 2 t_bytes, t_bytes = (12 F d + 3 B k d) 4 bytes at the bandwidth at which
                    this run reads memory. Bar: budget / t_step >= 1
    step, PEER      the peer's seconds / resect's. Bars: sparsify 1.4, dictionary_learning 4, SAELens 4. A peer that cannot be
                    installed is named, and a dense step in PyTorch of our own is measured without a bar
    ..., both       the same with AuxK (every 64th latent dead) and clipping at norm 1 on all sides
    memory          resect's at most, beside weights and moments + 300 MB. Bar: 1
    export, ARCH    folders in SAELens' layout of each architecture: |reconstructions of SAELens - resect's| / |resect's|, both
                    fp32. Bar: 1e-6 / that >= 1
    recovery, ARCH  the smaller of both ways' MMCS over 3 seeds: planted dictionary of 512 atoms (d 128, k 8, 10 % noise) after
                    two million rows. Bar: least / 0.95 >= 1. Beside it: MMCS of a random dictionary

The sides of `step` are processes that wait; in each round every side makes one step. Figures are medians of rounds. Bars of
time are judged on a quiet machine only, as in runtime.py; notes have processor time, which a busy machine
disturbs less. Writes build/compare/sae.json as harness.py says. Exit status: 0 when everything ran, 1 with one line otherwise.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness import Failed, Others, QUIET, Served, finish, positive, row, run, say, spread  # noqa: E402

PEERS = {"sparsify": ("sparsify", 1.4), "dictionary_learning": ("dictionary_learning", 4.0), "saelens": ("sae_lens", 4.0)}
ARCHITECTURES = ["topk", "batch_topk", "jump_relu"]
PRODUCT_BARS = {"avx512": 0.67, "avx2": 0.75}
ROOM = 300e6
CLOSE, RECOVERED = 1e-6, 0.95
PARTS = ["step", "export", "recovery"]


def instructions(asked):
    if asked != "best":
        return asked
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        flags = next((line.split() for line in file if line.startswith("flags")), [])
    return "avx512" if "avx512vl" in flags else "avx2" if "avx2" in flags else "portable"


def available(python):
    """-> which peers can be imported."""
    return [side for side, (package, _) in PEERS.items()
            if subprocess.run([python, "-c", f"import {package}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env=dict(os.environ, SPARSIFY_DISABLE_TRITON="1")).returncode == 0]


def programs_of(options, python, sides, which):
    """The processes that wait: {side: Served}."""
    shape = [str(n) for n in (options.width, options.latents, options.kept, options.batch, options.threads)]
    # what limits PyTorch's and OpenBLAS' kernels to the same instruction set
    limits = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2",
              "OPENBLAS_CORETYPE": "Haswell"} if options.instructions == "avx2" else {}
    env = dict(os.environ, OPENBLAS_NUM_THREADS=str(options.threads), OMP_NUM_THREADS=str(options.threads), **limits)
    torch = os.path.join(HERE, "sae_torch.py")
    programs = {"resect": Served([options.program, "step", *shape, options.instructions, which], "sae_bench")}
    if which == "off":
        programs["ceilings"] = Served([options.program, "ceilings", *shape, options.instructions], "sae_bench")
        programs["products"] = Served([python, torch, "products", *shape, which], "PyTorch", env)
    for side in sides:
        programs[side] = Served([python, torch, side, *shape, which], side, env)
    return programs


class Measured:
    """Rounds in which every side answers each of its questions once."""

    def __init__(self, options, python, sides, which):
        questions = [("resect", "step")] + [(side, "step") for side in sides]
        if which == "off":
            questions += [("ceilings", "product"), ("products", "torch"), ("products", "openblas"), ("ceilings", "read")]
        self.values, self.used, watch = {q: [] for q in questions}, {q: [] for q in questions}, []
        programs = programs_of(options, python, sides, which)
        try:
            for side, question in questions:  # memory and threads are there afterwards
                programs[side].number(question)
            for number in range(options.rounds):
                say(f"{which}, round {number + 1} of {options.rounds}")
                others = Others(programs.values())
                for side, question in questions:
                    before = programs[side].seconds()
                    self.values[side, question].append(programs[side].number(question))
                    self.used[side, question].append(programs[side].seconds() - before)
                watch.append(others.share())
            self.state, self.peak = (programs["resect"].number(what) for what in ("state", "peak"))
            self.versions = {side: programs[side].ask("version") for side in sides}
            self.peaks = {side: programs[side].number("peak") for side in sides}
        finally:
            for program in programs.values():
                program.close()
        self.quiet = max(watch) <= QUIET
        self.busy = "" if self.quiet else f"; others took up to {100 * max(watch):.0f} % of the cores: not judged"

    def median(self, side, question="step"):
        return statistics.median(self.values[side, question])

    def processor(self, side, question="step"):
        return statistics.median(self.used[side, question])

    def row(self, name, peer, theirs, version, bar, runs, note, peer_values=None):
        ours = self.median("resect")
        return row(name, "s", ours, theirs, peer, version, ratio=theirs / ours, bar=bar if self.quiet else None, runs=runs,
                   spread={"resect": spread(self.values["resect", "step"]), "peer": spread(peer_values) if peer_values else None},
                   note=note + self.busy)


def ceiling_rows(options, m):
    questions = {"resect": ("ceilings", "product"), "torch": ("products", "torch"), "openblas": ("products", "openblas")}
    fastest = min(questions, key=lambda side: m.median(*questions[side]))
    product, read = m.median(*questions[fastest]), m.median("ceilings", "read")
    moved = 4.0 * (12 * options.latents * options.width + 3 * options.batch * options.kept * options.width)
    each = ", ".join(f"{side} {m.median(*question):.3f}" for side, question in questions.items())
    note = (f"d {options.width}, F {options.latents}, k {options.kept}, B {options.batch}, {options.instructions}; products: "
            f"{each} s; processor time {m.processor('resect'):.2f} s, of resect's product "
            f"{m.processor('ceilings', 'product'):.2f} s")
    return [m.row("step, product", f"product by {fastest}", product, "", PRODUCT_BARS.get(options.instructions), options.rounds,
                  note, m.values[questions[fastest]]),
            m.row("step, budget", "t_product/0.9 + 2 t_bytes", product / 0.9 + 2 * moved / read, "", 1.0, options.rounds,
                  f"{moved / 1e9:.2f} GB at {read / 1e9:.1f} GB/s")]


def steps(options, python):
    sides = [side for side in available(python) if side not in options.without]
    missing = [side for side in PEERS if side not in sides and side not in options.without]
    if missing:
        say(f"not installed: {', '.join(missing)}; a step of our own in PyTorch is measured instead")
        sides.append("torch")
    rows = []
    for which in options.settings:
        m = Measured(options, python, sides, which)
        mark = "" if which == "off" else ", AuxK and clipping"
        if which == "off":
            rows += ceiling_rows(options, m)
        for side in sides:
            theirs = m.median(side)
            note = (f"{options.batch / m.median('resect'):.0f} and {options.batch / theirs:.0f} rows/s; processor time "
                    f"{m.processor('resect'):.2f} and {m.processor(side):.2f} s; the peer's memory {m.peaks[side] / 1e6:.0f} MB")
            rows.append(m.row(f"step, {side}{mark}", side, theirs, m.versions[side], PEERS[side][1] if side in PEERS else None,
                              options.rounds, note, m.values[side, "step"]))
        limit = m.state + ROOM
        rows.append(row(f"memory{mark}", "MB", m.peak / 1e6, limit / 1e6, "weights and moments + 300 MB", "",
                        ratio=limit / m.peak, bar=1.0, note=f"weights and moments {m.state / 1e6:.0f} MB"))
    for side in missing:
        rows.append(row(f"step, {side}", "s", None, None, side, "not installed", note="pip could not install it"))
    return rows


def exports(options, python):
    if "saelens" not in available(python):
        say("not installed: saelens; folders in its layout are not checked")
        return [row("export", "", None, None, "SAELens", "not installed")]
    rows = []
    for architecture in ARCHITECTURES:
        say(f"export of {architecture}")
        folder = os.path.join(options.folder, f"saelens_{architecture}")
        os.makedirs(folder, exist_ok=True)
        ours = json.loads(run([options.program, "export", architecture, folder, str(options.threads)], "sae_bench")[0])
        check = run([python, os.path.join(HERE, "saelens_check.py"), folder, str(ours["width"])], "SAELens")[0]
        theirs = json.loads(check.splitlines()[-1])
        rows.append(row(f"export, {architecture}", "", theirs["difference"], CLOSE, "SAELens", theirs["version"],
                        ratio=CLOSE / max(theirs["difference"], 1e-12), bar=1.0,
                        note=f"as {theirs['architecture']}, {theirs['rows']} rows, worst row {theirs['worst_row']:.1e}, latents a "
                             f"row {ours['latents_a_row']:.4f} and {theirs['latents']:.4f}"))
        shutil.rmtree(folder)
    return rows


def recoveries(options):
    rows = []
    for architecture in ARCHITECTURES:
        found = []
        for seed in (1, 2, 3):
            say(f"recovery by {architecture}, seed {seed}")
            found.append(json.loads(run([options.program, "recover", architecture, str(seed), "2000000",
                                         str(options.threads)], "sae_bench")[0]))
        least = min(min(one["there"], one["back"]) for one in found)
        each = ", ".join(f"{one['there']:.4f}/{one['back']:.4f}" for one in found)
        rows.append(row(f"recovery, {architecture}", "MMCS", least, max(one["random"] for one in found), "random dictionary", "",
                        ratio=least / RECOVERED, bar=1.0, runs=3,
                        note=f"there/back {each}; {sum(one['seconds'] for one in found):.0f} s"))
    return rows


def main():
    parser = argparse.ArgumentParser(description="training of sparse autoencoders beside its peers")
    parser.add_argument("--build-dir", default="build", help="results go to BUILD_DIR/compare (%(default)s)")
    parser.add_argument("--cache", help="not used")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=positive, default=5, help="alternating rounds (%(default)s)")
    parser.add_argument("--instructions", default="best", choices=["best", "portable", "avx2", "avx512"],
                        help="of resect's kernels; avx2 limits the peers' libraries, too (%(default)s)")
    parser.add_argument("--width", type=positive, default=768)
    parser.add_argument("--latents", type=positive, default=24576)
    parser.add_argument("--kept", type=positive, default=32)
    parser.add_argument("--batch", type=positive, default=4096)
    parser.add_argument("--settings", nargs="+", choices=["off", "both"], default=["off", "both"],
                        help="AuxK and clipping off, both on (each once)")
    parser.add_argument("--without", nargs="+", choices=list(PEERS), default=[], help="peers to leave out")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run (all)")
    options = parser.parse_args()
    options.instructions = instructions(options.instructions)
    options.program = os.path.join(options.build_dir, "bin", "sae_bench")
    options.folder = os.path.abspath(os.path.join(options.build_dir, "compare"))
    os.makedirs(options.folder, exist_ok=True)
    rows = []
    try:
        if set(options.only) & {"step", "export"}:
            if subprocess.run(["sh", os.path.join(HERE, "peers.sh"), options.folder, "sae"],
                              stdin=subprocess.DEVNULL).returncode != 0:
                raise Failed("the peers could not be set up")
            python = os.path.join(options.folder, "venv", "bin", "python")
        if "export" in options.only:
            rows += exports(options, python)
        if "step" in options.only:
            rows += steps(options, python)
        if "recovery" in options.only:
            rows += recoveries(options)
    except (Failed, OSError, ValueError) as failure:
        say(failure)
        return 1
    finish(os.path.join(options.folder, "sae.json"), rows, options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
