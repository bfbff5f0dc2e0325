#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares resect's truncated SVD with torch.svd_lowrank and scikit-learn's randomized_svd at equal accuracy, in one run.

    python3 benchmarks/compare/lowrank.py --build-dir build --cache DIR [--rank 128] [--side 2048] [--threads 2] [--rounds 5]
        [--clock wall | processor] [--matrices flat 1/sqrt 1/k smollm2:TENSOR minilm:NAME ...]

Every side approximates an fp32 matrix W to ||W - U diag(s) V'||_F <= 1.01 * optimum, by its cheapest setting that reaches
it; optimum: all singular values in double by NumPy. The error of every side is measured by NumPy in double.

    flat, 1/sqrt, 1/k   of side x side; flat has Gaussian elements, the others these singular values
    smollm2, minilm     real matrices: of SmolLM2 (rank 128 of 576), of all-MiniLM-L6-v2 (128 of 384)

Grids: columns beside the rank 0 16 32 48 64 80 96 112 128 160 192 256, as far as the matrix has them, and
    PyTorch         niter 0 to 6
    scikit-learn    n_iter 0 to 6, normalizer none or LU (QR has LU's subspace and costs more)
    resect          a Krylov space of blocks of 16 or 32, start powers 0, 2, 3 or 4; error_probes 0, as no peer measures one
Of each number of columns the least number of iterations that suffices is timed, and the fastest setting goes on. Sides
then alternate in rounds; figures are medians. Peer is the faster one. Bars: peer's seconds / resect's on `cpu`, each
>= 1.1, geometric mean >= 1.4; `cblas` (OpenBLAS) stands beside it without one. Bars are judged on a quiet machine only,
as in runtime.py; with --clock processor everything is on one thread, times are of the processor, and a busy machine will
do. Writes build/compare/lowrank.json as harness.py says. Exit status: 0 when everything ran, 1 with one
line otherwise.
"""
import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.dirname(HERE))
import two_level  # noqa: E402
from harness import Failed, Others, QUIET, finish, positive, row, run, say  # noqa: E402

MATRICES = ["flat", "1/sqrt", "1/k", "smollm2:blk.3.attn_q.weight", "smollm2:blk.12.ffn_down.weight", "smollm2:blk.26.ffn_up.weight",
            "minilm:encoder.layer.0.attention.self.query.weight", "minilm:encoder.layer.3.intermediate.dense.weight"]
EXCESS, LEAST_BAR, MEAN_BAR = 1.01, 1.1, 1.4
COLUMNS = [0, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256]
ITERATIONS, BLOCKS, POWERS = range(7), [16, 32], [0, 2, 3, 4]
REST = 0.3  # seconds: idle threads of a library go on spinning for a while


class Worker:
    """A process that answers lines of JSON (lowrank_peers.py)."""

    def __init__(self, python, kind):
        script = os.path.join(os.path.dirname(HERE), "lowrank_peers.py")
        self.process = subprocess.Popen([python, script, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, do, **rest):
        self.process.stdin.write(json.dumps({"do": do, **rest}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failed("a peer's process ended")
        answer = json.loads(line)
        if "failed" in answer:
            raise Failed(f"{do}: {answer['failed']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Peer:
    def __init__(self, worker, name, normalizers, clock):
        self.worker, self.name, self.normalizers, self.clock, self.version = worker, name, normalizers, clock, ""

    def factor(self, of, setting, threads, repeats, out):
        normalizer, oversampling, iterations = setting
        answer = self.worker.ask("factor", **of, normalizer=normalizer, oversampling=oversampling, iterations=iterations,
                                 threads=threads, repeats=repeats, out=out)
        self.version = answer["version"]
        return answer[self.clock]

    def settings(self, columns, reaches):
        found = []
        for normalizer in self.normalizers:
            bound = len(ITERATIONS)
            for oversampling in columns:
                fewest = next((n for n in ITERATIONS[:bound] if reaches((normalizer, oversampling, n))), None)
                if fewest is not None:
                    found.append((normalizer, oversampling, fewest))
                    bound = fewest
        return found

    def words(self, setting):
        normalizer, oversampling, iterations = setting
        return f"+{oversampling} columns, {iterations} iterations" + (f", {normalizer}" if normalizer else "")


class Resect:
    name = "resect"

    def __init__(self, program, clock):
        self.program, self.clock = program, clock

    def factor(self, of, setting, threads, repeats, out):
        block, powers, oversampling = setting
        shape = [str(of[key]) for key in ("rows", "cols", "rank")]
        text = run([self.program, of["matrix"], *shape, str(oversampling), str(block), str(powers), str(threads), str(repeats), out],
                   os.path.basename(self.program))[0]
        return json.loads(text)[self.clock]

    def settings(self, columns, reaches):
        found = []
        for block, powers in itertools.product(BLOCKS, POWERS):
            fewest = next((oversampling for oversampling in columns if reaches((block, powers, oversampling))), None)
            if fewest is not None:
                found.append((block, powers, fewest))
        return found

    def words(self, setting):
        return f"+{setting[2]} columns, blocks of {setting[0]}, start powers {setting[1]}"


def obtained(options, judge, number, name, folder):
    """A matrix of the list, in a file of its own: what `factor` and `error` ask for."""
    out = os.path.join(folder, f"lowrank_{number}.f32")
    source, _, what = name.partition(":")
    if source == "smollm2":
        fetch = os.path.join(ROOT, "examples", "study", "python", "fetch_smollm2.py")
        model = run([sys.executable, fetch, "--cache", options.cache], "obtaining the model")[0].strip()
        shape = judge.ask("gguf", model=model, tensor=what, out=out)
    elif source == "minilm":
        path, rows, cols = two_level.matrix(two_level.model_file(folder), what, folder)
        os.replace(path, out)
        shape = {"rows": rows, "cols": cols}
    else:
        judge.ask("make", spectrum=name, side=options.side, out=out)
        shape = {"rows": options.side, "cols": options.side}
    return {"matrix": out, "rank": options.rank, **shape}


def cheapest(options, side, of, judge, best, out):
    """The setting of a side that takes least time of those that reach the error: (setting, excess)."""
    columns = [c for c in COLUMNS if c + of["rank"] <= min(of["rows"], of["cols"])]
    excess = {}

    def reaches(setting):
        side.factor(of, setting, 1, 0, out)
        excess[setting] = judge.ask("error", **of, factors=out)["error"] / best
        return excess[setting] <= EXCESS

    settings = side.settings(columns, reaches)
    if not settings:
        raise Failed(f"{side.name}: no setting reaches {EXCESS} of the least error")
    time.sleep(REST)
    chosen = min(settings, key=lambda s: min(side.factor(of, s, options.threads, 3, out)))
    return chosen, excess[chosen]


def measured(options, sides, number, judge, folder):
    """Everything on one matrix: its extents, {side: {seconds, setting, excess}}, and the share of the cores that others took."""
    name = options.matrices[number]
    of, out = obtained(options, judge, number, name, folder), os.path.join(folder, "lowrank.out")
    say(f"{name}, {of['rows']} x {of['cols']}")
    best = judge.ask("optimum", **of)["optimum"]
    found = {}
    for key, side in sides.items():
        setting, excess = cheapest(options, side, of, judge, best, out)
        found[key] = {"setting": setting, "excess": excess, "rounds": []}
        say(f"  {key}: {side.words(setting)}: error {excess:.4f} of the least")
    others = Others()
    for _ in range(options.rounds):
        for key, side in sides.items():
            time.sleep(REST)
            found[key]["rounds"].append(statistics.median(side.factor(of, found[key]["setting"], options.threads, 3, out)))
    for entry in found.values():
        entry["seconds"] = statistics.median(entry["rounds"])
    say("  " + ", ".join(f"{key} {1000 * entry['seconds']:.1f} ms" for key, entry in found.items()))
    os.remove(of["matrix"])
    os.remove(out)
    return of, found, others.share()


def spread(values):
    return (max(values) - min(values)) / statistics.median(values) if len(values) > 1 else None


def rows_of(options, python, folder):
    workers = {"torch": Worker(python, "torch"), "sklearn": Worker(python, "sklearn")}
    clock = "processor" if options.clock == "processor" else "seconds"
    peers = {"torch.svd_lowrank": Peer(workers["torch"], "torch", [""], clock),
             "randomized_svd": Peer(workers["sklearn"], "scikit-learn", ["none", "LU"], clock)}
    bin_dir = os.path.join(os.path.abspath(options.build_dir), "bin")
    ours = {f"resect on {backend}": Resect(os.path.join(bin_dir, program), clock)
            for backend, program in (("cpu", "lowrank_bench"), ("cblas", "lowrank_bench_blas"))
            if os.path.exists(os.path.join(bin_dir, program))}
    rows, ratios, quiet_all = [], {key: [] for key in ours}, True
    try:
        for number, name in enumerate(options.matrices):
            of, found, share = measured(options, ours | peers, number, workers["sklearn"], folder)
            quiet = share <= QUIET or options.clock == "processor"
            quiet_all = quiet_all and quiet
            peer = min(peers, key=lambda key: found[key]["seconds"])
            for key in ours:
                entry, theirs = found[key], found[peer]
                ratios[key].append(theirs["seconds"] / entry["seconds"])
                note = (f"rank {of['rank']} of {of['rows']} x {of['cols']}; {ours[key].words(entry['setting'])}, error {entry['excess']:.4f}; "
                        f"peer {peers[peer].words(theirs['setting'])}, {theirs['excess']:.4f}; "
                        + ", ".join(f"{other} {1000 * found[other]['seconds']:.1f} ms" for other in peers if other != peer))
                if not quiet:
                    note += f"; others took {100 * share:.0f} % of the cores: not judged"
                rows.append(row(f"{name}, {key}", "ms" if clock == "seconds" else "ms of the processor", 1000 * entry["seconds"], 1000 * theirs["seconds"], peer, peers[peer].version,
                                ratio=ratios[key][-1], bar=LEAST_BAR if quiet and key.endswith("cpu") else None, runs=options.rounds,
                                spread={"resect": spread(entry["rounds"]), "peer": spread(theirs["rounds"])}, note=note))
    finally:
        for worker in workers.values():
            worker.close()
    for key, list_of in ratios.items():
        mean = math.exp(sum(map(math.log, list_of)) / len(list_of))
        rows.append(row(f"geometric mean, {key}", "", None, None, "the faster one", "", ratio=mean,
                        bar=MEAN_BAR if quiet_all and key.endswith("cpu") else None, runs=len(list_of), note=f"least {min(list_of):.2f}"))
    return rows


def main():
    parser = argparse.ArgumentParser(description="resect's truncated SVD beside torch.svd_lowrank and randomized_svd")
    parser.add_argument("--build-dir", default="build", help="results go to BUILD_DIR/compare (%(default)s)")
    parser.add_argument("--cache", default=os.path.expanduser("~/.cache/resect"), help="where the model is kept")
    parser.add_argument("--rank", type=positive, default=128)
    parser.add_argument("--side", type=positive, default=2048, help="of the matrices with a planted spectrum (%(default)s)")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=positive, default=5, help="alternating rounds (%(default)s)")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall", help="what is timed (%(default)s)")
    parser.add_argument("--matrices", nargs="+", default=MATRICES, help="flat, 1/sqrt, 1/k, smollm2:TENSOR, minilm:NAME (%(default)s)")
    options = parser.parse_args()
    if options.clock == "processor":
        options.threads = 1
    folder = os.path.abspath(os.path.join(options.build_dir, "compare"))
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)
    try:
        os.makedirs(folder, exist_ok=True)
        if subprocess.run(["sh", os.path.join(HERE, "peers.sh"), folder, "torch"], stdin=subprocess.DEVNULL).returncode != 0:
            raise Failed("the peers could not be set up")
        rows = rows_of(options, os.path.join(folder, "venv", "bin", "python"), folder)
    except (Failed, OSError, ValueError) as failure:
        say(failure)
        return 1
    finish(os.path.join(folder, "lowrank.json"), rows, options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
