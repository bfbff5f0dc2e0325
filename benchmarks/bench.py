#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What runs per token or per tap, and products through the backend, each beside its ceiling, in one run.

    python3 benchmarks/bench.py --build-dir build [--threads 2] [--rounds 5] [--without-torch]

    identity tap     what resect adds to a callback of the host. Bar: ratio of 1 µs to it >= 1
    steer            adding a vector to rows in memory, bytes read and written, beside reading alone
    row products     cosine and error of two rows in one pass. Bar: >= 0.7 of the read bandwidth
    compare logits   KL, both nll and both argmaxes of rows of 49,152 logits in one pass. Bars: >= 0.5 of the read
                     bandwidth, >= 3 times PyTorch's log_softmax of both and the sum over rows. Of bf16 beside of float
    nearest rounding  4 bits in groups of 128 of 8192^2, weights read. Bar: >= 0.5 of the read bandwidth with AVX-512, else 0.4
    exact search     both signs, 4 bits, groups of 128, one core. Bar: ratio of 2 µs to the time of a weight >= 1
    product          fp32, 1024^3 and 4096^3, all threads. Bar: >= 0.9 of the fastest of Eigen (with its own threads),
                     OpenBLAS and PyTorch

The bandwidth ceiling is the best of several loops that add up memory (streams, prefetch, huge pages) at the same number of
threads. Programs alternate in rounds; figures are medians over rounds, a ceiling the best median. Bars are judged on a quiet
machine only, as in compare/runtime.py. Writes build/bench/bench.json as harness.py says. Exit status: 0 when everything
ran, whether or not the bars are met; 1 with one line otherwise.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from harness import Failed, Others, QUIET, finish, positive, row, run, say  # noqa: E402

TORCH = """
import json, sys, time, torch
threads, out = int(sys.argv[1]), {}
def median(f, least):
    f()
    times = []
    while len(times) < 3 or sum(times) < least:
        start = time.perf_counter(); f(); times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]
for n in (1024, 4096):
    torch.set_num_threads(threads)
    a, b = torch.randn(n, n), torch.randn(n, n)
    out[f"gemm/torch/{n}"] = 2 * n**3 / median(lambda: a @ b.T, 0.3)
x, y = 3 * torch.randn(512, 49152), 3 * torch.randn(512, 49152)
def kl():
    p, q = torch.log_softmax(x, -1), torch.log_softmax(y, -1)
    return (p.exp() * (p - q)).sum(-1)
for n in {1, threads}:
    torch.set_num_threads(n)
    out[f"kl/torch/{n}"] = 512 / median(kl, 0.3)
out["version"] = torch.__version__
print(json.dumps(out))
"""


def google(program, threads, seconds):
    """Figures of a Google Benchmark program: bytes, flop, rows or taps a second, by name."""
    environment = dict(os.environ, RESECT_BENCH_THREADS=str(threads))
    try:
        done = subprocess.run([program, "--benchmark_format=json", f"--benchmark_min_time={seconds}"], env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        found = json.loads(done.stdout)["benchmarks"]
    except (OSError, ValueError, LookupError) as error:
        raise Failed(f"{program}: no figures: {error}")
    if done.returncode != 0:
        raise Failed(f"{program}: exit status {done.returncode}")
    figures = {}
    for b in found:
        name = b["name"].removesuffix("/real_time")
        for key in ("bytes_per_second", "flop/s", "rows/s", "taps/s", "weights/s"):
            if key in b:
                figures[f"{name} {key}"] = b[key]
    return figures


def has_avx512():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        return "avx512f" in file.read()


class Figures:
    def __init__(self):
        self.runs = {}

    def add(self, figures):
        for name, value in figures.items():
            self.runs.setdefault(name, []).append(value)

    def median(self, name):
        return statistics.median(self.runs[name]) if name in self.runs else None

    def spread(self, name):
        values = self.runs.get(name, [])
        return (max(values) - min(values)) / statistics.median(values) if len(values) > 1 else None

    def best(self, prefix, suffix=""):
        """Name of the largest median among those that begin and end so."""
        names = [n for n in self.runs if n.startswith(prefix) and n.endswith(suffix)]
        return max(names, key=self.median) if names else None


def rows_of(figures, threads, rounds, version, quiet):
    rows = []

    def add(name, unit, own, peer, peer_name, bar=None, scale=1.0, note=""):
        mine, theirs = figures.median(own), None if peer is None else figures.median(peer)
        if mine is None:
            raise Failed(f"{own}: no such figure")
        rows.append(row(name, unit, mine / scale, None if theirs is None else theirs / scale, peer_name, version.get(peer_name, ""),
                        ratio=None if theirs is None else mine / theirs, bar=bar if quiet else None, runs=rounds,
                        spread={"resect": figures.spread(own), "peer": figures.spread(peer) if peer else None}, note=note))

    taps = figures.median("identity_tap taps/s")
    rows.append(row("identity tap", "ns", 1e9 / taps, None, "1 µs", "", ratio=taps / 1e6, bar=1.0, runs=rounds,
                    spread={"resect": figures.spread("identity_tap taps/s"), "peer": None}, note="a plan of one step"))
    weights = figures.median("exact_search weights/s")
    rows.append(row("exact search of scales", "µs/weight", 1e6 / weights, 2.0, "2 µs", "", ratio=2e-6 * weights, bar=1.0 if quiet else None,
                    runs=rounds, spread={"resect": figures.spread("exact_search weights/s"), "peer": None}, note="4 bits, both signs"))
    one = figures.best("read/", "/1 bytes_per_second")
    add("steer, 1 thread", "GB/s", "steer bytes_per_second", one, "reading", scale=1e9, note="reads and writes; " + one.split(" ")[0])
    for n in sorted({1, threads}):
        read = figures.best("read/", f"/{n} bytes_per_second")
        add(f"row products, {n} thread{'s' if n > 1 else ''}", "GB/s", f"row_products/{n} bytes_per_second", read, "reading", 0.7, 1e9,
            read.split(" ")[0])
        add(f"compare logits, {n} thread{'s' if n > 1 else ''}", "GB/s", f"compare_logits/{n} bytes_per_second", read, "reading", 0.5, 1e9,
            read.split(" ")[0])
        add(f"compare logits of bf16, {n} thread{'s' if n > 1 else ''}", "rows/s", f"compare_logits_bf16/{n} rows/s",
            f"compare_logits/{n} rows/s", "of float", note="widened a chunk at a time")
        add(f"nearest rounding, {n} thread{'s' if n > 1 else ''}", "GB/s", f"round_nearest/{n} bytes_per_second", read, "reading",
            0.5 if has_avx512() else 0.4, 1e9, read.split(" ")[0])
        if f"kl/torch/{n}" in figures.runs:
            add(f"compare logits, {n} thread{'s' if n > 1 else ''}", "rows/s", f"compare_logits/{n} rows/s", f"kl/torch/{n}", "torch", 3.0,
                note="log_softmax of both, exp, difference, sum")
    for n in (1024, 4096):
        peers = [f"gemm/{who}/{n}{suffix}" for who, suffix in (("eigen", " flop/s"), ("openblas", " flop/s"), ("torch", ""))]
        best = max((p for p in peers if p in figures.runs), key=figures.median)
        others = ", ".join(f"{p.split('/')[1]} {figures.median(p) / 1e9:.0f}" for p in peers if p in figures.runs)
        add(f"product {n}^3", "GFLOP/s", f"gemm/resect/{n} flop/s", best, best.split("/")[1], 0.9, 1e9, others)
    return rows


def main():
    parser = argparse.ArgumentParser(description="resect beside the ceilings of this machine")
    parser.add_argument("--build-dir", default="build", help="results go to BUILD_DIR/bench (%(default)s)")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=positive, default=5, help="alternating rounds (%(default)s)")
    parser.add_argument("--without-torch", action="store_true", help="do not set up and measure PyTorch")
    options = parser.parse_args()
    folder = os.path.abspath(os.path.join(options.build_dir, "bench"))
    os.makedirs(folder, exist_ok=True)
    programs = [os.path.join(options.build_dir, "bin", name) for name in ("bench_resect", "bench_ceilings")]
    figures, others, version = Figures(), [], {}
    try:
        python = None
        if not options.without_torch:
            peers = os.path.abspath(os.path.join(options.build_dir, "compare"))
            if subprocess.run(["sh", os.path.join(HERE, "compare", "peers.sh"), peers, "torch"], stdin=subprocess.DEVNULL).returncode != 0:
                raise Failed("PyTorch could not be set up; --without-torch goes on without it")
            python = os.path.join(peers, "venv", "bin", "python")
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            watch = Others()
            for program in programs:
                figures.add(google(program, options.threads, 0.3))
            if python:
                found = json.loads(run([python, "-c", TORCH, str(options.threads)], "PyTorch")[0])
                version["torch"] = found.pop("version")
                figures.add(found)
            others.append(watch.share())
        quiet = max(others) <= QUIET
        rows = rows_of(figures, options.threads, options.rounds, version, quiet)
    except (Failed, OSError) as failure:
        say(failure)
        return 1
    finish(os.path.join(folder, "bench.json"), rows, options.threads)
    if not quiet:
        say(f"other processes took up to {100 * max(others):.0f} % of the cores: bars are not judged")
    return 0


if __name__ == "__main__":
    sys.exit(main())
