# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What including resect costs a compiler: include_time.py ROOT [--cxx g++] [--detail]

Prints, as multiples of what `#include <memory>` costs in the same run, the processor time of the fronts under a budget, of
the other fronts, of the first factorization in a file, and of a study on one's own host whose instantiation is `extern
template`. Exit status 1: one is over its budget. A measurement that is over is taken again, since what other programs do
to a busy machine only adds.
"""
import argparse
import collections
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import extern_time  # noqa: E402

FRONTS = {"core": 0.6, "metrics": 0.6, "quant": 0.6, "residual": 0.6}  # of what runs per token
TOGETHER = 1.3
# What is over its budget today, and how far it may be until it is brought down: each run shows it, and fails above this.
NOISE = 1.12  # runs of one day differ by as much (quant.hpp: 0.59 to 0.66 on a busy machine)
KNOWN_SHORT = {"residual.hpp": 0.75, "resect.hpp": 2.9, "the first factorization": 33, "a study that is linked": 14}
BUDGETS = [*(([f"{front}.hpp"], budget) for front, budget in FRONTS.items()), ([f"{front}.hpp" for front in FRONTS], TOGETHER),
           (["resect.hpp"], 2.5)]
OTHERS = ["random", "linalg", "io", "model", "factor", "compress", "conformance", "student", "study"]
RUNS, AGAIN = 7, 3
EIGEN = os.environ.get("EIGEN_INCLUDE", "/usr/include/eigen3")
# What the first factorization of a file costs beside the headers that every file includes.
FACTORIZATION = (["backend/cpu.hpp", "factor/truncated_svd.hpp"], 24, """
resect::result<resect::factor::truncated_decomposition<float>> decompose(resect::cpu<>& exec, resect::matrix_view<const float> w) {
  return resect::factor::try_truncated_svd(exec, w, {.rank = 8});
}
""")
# The program of README.md with a study whose instantiation another file has (tools/extern_time.py).
STUDY = 12


class Compiler:
    def __init__(self, cxx, root):
        self.command = [cxx, "-std=c++20", "-O2", f"-I{root / 'include'}", f"-I{root / 'examples'}", "-isystem", EIGEN, "-x", "c++"]

    def call(self, headers, *arguments, code=""):
        source = "".join(f"#include <{h}>\n" for h in headers) + code
        done = subprocess.run([*self.command, *arguments, "-"], input=source, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{headers}: does not compile\n{done.stderr}")
        return done

    def seconds(self, headers, runs=RUNS, code=""):
        """Least processor time to compile: what is more is other programs' doing."""
        def used():
            u = resource.getrusage(resource.RUSAGE_CHILDREN)
            return u.ru_utime + u.ru_stime

        with tempfile.NamedTemporaryFile(suffix=".o") as out:
            times = []
            for _ in range(runs):
                begin = used()
                self.call(headers, "-c", "-o", out.name, code=code)
                times.append(used() - begin)
        return min(times)

    def multiple(self, headers, budget, runs=RUNS, code=""):
        """Seconds, and as a multiple of what <memory> costs; taken again where that is over the budget."""
        for _ in range(AGAIN):
            unit, seconds = self.seconds(["memory"]), self.seconds(headers, runs, code)
            if not budget or seconds <= budget * unit:
                break
        return seconds, seconds / unit

    def has_eigen(self):
        done = subprocess.run([*self.command, "-fsyntax-only", "-"], input="#include <Eigen/Core>\n", text=True,
                              stderr=subprocess.DEVNULL)
        return done.returncode == 0

    def lines(self, headers):
        return self.call(headers, "-E", "-P").stdout.count("\n")

    def included(self, headers):
        """Path, size in lines and who included it first, of every file."""
        stack, files = [], []
        for line in self.call(headers, "-H", "-fsyntax-only").stderr.splitlines():
            m = re.match(r"(\.+) (\S+)$", line)
            if m:
                depth = len(m[1])
                stack = stack[:depth - 1] + [m[2]]
                files.append((m[2], list(stack)))
        return files


def is_standard(path):
    return "/resect/" not in path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--cxx", default="g++")
    parser.add_argument("--detail", action="store_true", help="what each standard header adds")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    compiler = Compiler(arguments.cxx, root)
    over = []
    print(f"{'included':36} {'seconds':>8} {'multiple':>9} {'budget':>7} {'lines':>8}   {arguments.cxx} -O2; <memory>: "
          f"{compiler.seconds(['memory']):.2f} s, an empty file: {compiler.seconds([]):.2f} s")

    def row(name, headers, budget=None, runs=RUNS, code=""):
        seconds, multiple = compiler.multiple(headers, budget, runs, code)
        print(f"{name:36} {seconds:8.2f} {multiple:9.2f} {budget or '-':>7} {compiler.lines(headers):8}", flush=True)
        if budget and multiple > budget:
            short = f"{name}: got {multiple:.2f} times <memory>, wanted at most {budget}"
            if multiple <= max(KNOWN_SHORT.get(name, 0), NOISE * budget):
                print(f"  SHORT of its budget: {short}", flush=True)
            else:
                over.append(short)

    for parts, budget in BUDGETS:
        row(" + ".join(part.removesuffix(".hpp") if len(parts) > 1 else part for part in parts), [f"resect/{h}" for h in parts], budget)
    for front in OTHERS:
        if (root / f"include/resect/{front}.hpp").exists():
            row(f"{front}.hpp", [f"resect/{front}.hpp"])
    if compiler.has_eigen():
        parts, budget, code = FACTORIZATION
        row("the first factorization", [f"resect/{h}" for h in parts], budget, 1, code)
        headers, code = extern_time.linked_study(root)
        row("a study that is linked", headers, STUDY, 1, code)
    else:
        print("skipped: the first factorization and a study need Eigen")

    headers = [f"resect/{front}.hpp" for front in FRONTS]
    wanted_by = collections.defaultdict(set)  # standard header → headers of ours that include it
    own_lines = standard_lines = 0
    for path, stack in compiler.included(headers):
        count = pathlib.Path(path).read_bytes().count(b"\n")
        if is_standard(path):
            standard_lines += count
            if len(stack) >= 2 and not is_standard(stack[-2]):
                wanted_by[pathlib.Path(path).name].add(stack[-2].split("/include/resect/")[-1])
        else:
            own_lines += count
    print(f"files: {own_lines} lines of resect, {standard_lines} of the standard library in the fronts under a budget")
    if arguments.detail:
        empty = compiler.seconds([])
        rows = sorted(((compiler.seconds([std], 3) - empty, std) for std in wanted_by), reverse=True)
        print(f"{'standard header':20} {'alone, s':>8}   included by")
        for seconds, std in rows:
            users = sorted(wanted_by[std])
            print(f"<{std}>".ljust(20) + f" {seconds:8.2f}   {len(users)}: {' '.join(users[:4])}{' …' if len(users) > 4 else ''}")
    for line in over:
        print(line)
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
