# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `extern template` saves: extern_time.py ROOT [--cxx g++] [--runs 3]

Compiles the first program of README.md as it stands, as after a change of one line, and again where the study is declared
`extern template` (docs/study.md) and another file of the program has it. Prints the processor time of both and their
ratio. Exit status 1: the ratio is above 0.35.
"""
import argparse
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys

BAR = 0.35
EIGEN = os.environ.get("EIGEN_INCLUDE", "/usr/include/eigen3")


def program(root):
    """The first program of README.md: the headers that it includes, and the rest."""
    text = (root / "README.md").read_text(encoding="utf-8")
    code = re.search(r"^```cpp\n(.*?)^```", text, re.S | re.M)[1]
    return re.findall(r"^#include <([^>]+)>", code, re.M), re.sub(r"^#include.*\n", "", code, flags=re.M)


def declaration(root):
    """The lines that docs/study.md shows: what is `extern template` in every file but one."""
    text = (root / "docs/study.md").read_text(encoding="utf-8")
    return re.search(r"^(extern template .*?;)\n", text, re.S | re.M)[1] + "\n"


def linked_study(root):
    """The program whose study another file has: headers, and the rest."""
    headers, code = program(root)
    return headers, declaration(root) + code


def seconds(command, headers, code):
    def used():
        u = resource.getrusage(resource.RUSAGE_CHILDREN)
        return u.ru_utime + u.ru_stime

    begin = used()
    source = "".join(f"#include <{h}>\n" for h in headers) + code
    done = subprocess.run([*command, "-c", "-o", os.devnull, "-x", "c++", "-"], input=source, text=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"does not compile\n{done.stderr}")
    return used() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--cxx", default="g++")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    command = [arguments.cxx, "-std=c++20", "-O2", f"-I{root / 'include'}", f"-I{root / 'examples'}", "-isystem", EIGEN]
    whole, linked = [], []
    for _ in range(arguments.runs):
        whole.append(seconds(command, *program(root)))
        linked.append(seconds(command, *linked_study(root)))
    ratio = statistics.median(b / a for a, b in zip(whole, linked))
    for name, times in ("as it stands", whole), ("with extern template", linked):
        print(f"{name:22} {statistics.median(times):6.2f} s of processor time, {min(times):.2f} to {max(times):.2f}")
    print(f"{'ratio':22} {ratio:6.3f}   at most {BAR}; {arguments.cxx} -O2, {arguments.runs} alternating runs")
    sys.exit(1 if ratio > BAR else 0)


if __name__ == "__main__":
    main()
