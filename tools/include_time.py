# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Time that including resect costs: include_time.py ROOT [--cxx g++] [--detail]

Prints the processor time (a compiler runs on one core, so on an idle machine it is what one waits) and the number of
preprocessed lines of `#include` for the budget (core + metrics + quant + residual in 0.5 s, core/view.hpp in 0.15 s), what
the first factorization in a file costs (10 s), and what the budget goes to. A machine that is busy is slow, so the figures
never fail the check, unless one is four times over its budget.
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

BUDGETS = [("core/view.hpp", ["core/view.hpp"], 0.15), ("core + metrics + quant + residual", ["core", "metrics", "quant", "residual"], 0.5),
           ("resect.hpp", ["resect.hpp"], None), ("conformance/suite.hpp", ["conformance/suite.hpp"], None)]
# What a user includes beside the rest: the pool comes with a backend, the conformance suite into a host's own tests.
LEFT_OUT = re.compile(r"core/threads\.hpp|/conformance/")
LIMIT = 4
EIGEN = os.environ.get("EIGEN_INCLUDE", "/usr/include/eigen3")
# What the first factorization of a file costs beside the headers that every file includes.
FACTORIZATION = (["backend/cpu.hpp", "factor/truncated_svd.hpp"], 10.0, """
resect::result<resect::factor::truncated_decomposition<float>> decompose(resect::cpu<>& exec, resect::matrix_view<const float> w) {
  return resect::factor::try_truncated_svd(exec, w, {.rank = 8});
}
""")


class Compiler:
    def __init__(self, cxx, root):
        self.command = [cxx, "-std=c++20", "-O2", f"-I{root / 'include'}", "-isystem", EIGEN, "-x", "c++"]

    def call(self, headers, *arguments, code=""):
        source = "".join(f"#include <{h}>\n" for h in headers) + code
        done = subprocess.run([*self.command, *arguments, "-"], input=source, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{headers}: does not compile\n{done.stderr}")
        return done

    def seconds(self, headers, runs=5, code=""):
        """Least processor time to compile, and by how much the runs differ: what is more is other programs' doing."""
        def used():
            u = resource.getrusage(resource.RUSAGE_CHILDREN)
            return u.ru_utime + u.ru_stime

        with tempfile.NamedTemporaryFile(suffix=".o") as out:
            times = []
            for _ in range(runs):
                begin = used()
                self.call(headers, "-c", "-o", out.name, code=code)
                times.append(used() - begin)
        return min(times), max(times) - min(times)

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


def headers_of(root, names):
    found = []
    for name in names:
        path = root / "include" / "resect" / name
        if path.is_dir():
            found += [h for h in sorted(path.rglob("*.hpp")) if not LEFT_OUT.search(h.as_posix())]
        elif path.is_file():
            found.append(path)
    return [p.relative_to(root / "include").as_posix() for p in found]


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
    empty, _ = compiler.seconds([])
    print(f"{'included':36} {'seconds':>8} {'spread':>7} {'budget':>7} {'lines':>8}   {arguments.cxx} -O2; an empty file: {empty:.2f} s")
    for name, parts, budget in BUDGETS:
        headers = headers_of(root, parts)
        if not headers:
            continue
        seconds, spread = compiler.seconds(headers)
        wanted = f"{budget:.2f}" if budget else "-"
        print(f"{name:36} {seconds:8.2f} {spread:7.2f} {wanted:>7} {compiler.lines(headers):8}")
        if budget and seconds > LIMIT * budget:
            over.append(f"{name}: got {seconds:.2f} s, wanted {budget} s")

    parts, budget, code = FACTORIZATION
    headers = [f"resect/{h}" for h in parts]
    if "factor" in {h.name for h in (root / "include/resect").iterdir()} and compiler.has_eigen():
        seconds, spread = compiler.seconds(headers, 1, code)
        print(f"{'the first factorization':36} {seconds:8.2f} {'':7} {budget:7.2f} {compiler.lines(headers):8}")
        if seconds > LIMIT * budget:
            over.append(f"the first factorization: got {seconds:.2f} s, wanted {budget} s")
    else:
        print("skipped: the first factorization needs Eigen")

    headers = headers_of(root, BUDGETS[1][1])
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
    print(f"files: {own_lines} lines of resect, {standard_lines} of the standard library; without core/threads.hpp, which comes "
          "with a backend, and conformance/, which a host's own tests include")
    if arguments.detail:
        base, _ = compiler.seconds(headers)
        everyone = collections.defaultdict(set)
        for h in headers:
            for std in re.findall(r"^#include <([a-z_]+)>", (root / "include" / h).read_text(), re.M):
                everyone[std].add(h.removeprefix("resect/"))
        rows = sorted(((compiler.seconds([std], 3)[0] - empty, std) for std in everyone), reverse=True)
        print(f"{'standard header':20} {'alone, s':>8}   included by ({base:.2f} s in all)")
        for seconds, std in rows:
            users = sorted(everyone[std])
            print(f"<{std}>".ljust(20) + f" {seconds:8.2f}   {len(users)}: {' '.join(users[:4])}{' …' if len(users) > 4 else ''}")
    for line in over:
        print(line)
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
