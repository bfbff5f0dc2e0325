# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Builds programs as those who embed resect do, and runs them: link.py ROOT WORK KIND [--cxx COMPILER]

KIND
  no_exceptions   -fno-exceptions -fno-rtti: every header, the try_ forms; nothing refers to the machinery of exceptions
  mixed_options   one program of translation units with different compilers, optimization, instruction sets, NDEBUG and
                  exceptions, which hand objects to each other; linked in both orders, as either may give its copy of a
                  function to the other
                  and a pool whose threads run out, of parts with exceptions and without, in both orders
  fast_math       every part of -ffast-math that changes results is refused, with a message that names it; of those that
                  clang does not tell of, the one that removes sums changes nothing
  two_copies      two vendored copies of different versions in one program, under two namespace tags
"""
import argparse
import pathlib
import platform
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent / "link"
WARNINGS = "-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror".split()


def call(*command):
    command = [str(c) for c in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}exit status {done.returncode}")
    return done.stdout


def run(program):
    said = call(program)
    if "fine" not in said:
        sys.exit(f"{program}: got {said!r}, wanted 'fine'")
    print(said, end="")


def compile_object(compiler, include, source, out, *options):
    call(compiler, "-std=c++20", *WARNINGS, *options, f"-I{include}", "-isystem", "/usr/include/eigen3", "-c", source, "-o", out)
    return out


def clang():
    return shutil.which("clang++")


def symbols(path, undefined):
    lines = call("nm", "--undefined-only" if undefined else "--defined-only", path).splitlines()
    return {line.split()[-1] for line in lines if line.split()}


# What needs more than the standard library and Eigen.
NEEDS_MORE = re.compile(r"backend/cblas|backend/cpu_extern|cuda")


def no_exceptions(root, work, cxx):
    include = root / "include"
    headers = sorted(str(h.relative_to(include)) for h in include.rglob("*.hpp"))
    every = [h for h in headers if not NEEDS_MORE.search(h)]
    lines = [f"#include <{h}>\n" for h in every]
    compilers = [cxx] + ([clang()] if clang() and "clang" not in cxx else [])
    for i, compiler in enumerate(compilers):  # the second one sees the headers in the other order
        (work / "every_header.hpp").write_text("".join(lines[::-1] if i else lines))
        out = compile_object(compiler, root / "include", HERE / "no_exceptions.cpp", work / f"{i}.o", "-O1", "-fno-exceptions",
                             "-fno-rtti", f"-I{work}")
        machinery = {s for s in symbols(out, True) if re.match(r"__cxa_(throw|allocate_exception|begin_catch)|_ZTI", s)}
        if machinery:
            sys.exit(f"{compiler}: got references to {sorted(machinery)}, wanted none")
        call(compiler, out, "-pthread", "-o", work / f"program{i}")
        run(work / f"program{i}")


def mixed_options(root, work, cxx):
    builds = [
        (cxx, ["-O0"]),
        (cxx, ["-O3", "-march=native"]),
        (cxx, ["-O1", "-march=native", "-fno-inline"]),  # every function is a symbol that others may get
        (cxx, ["-O2", "-fno-exceptions", "-fno-rtti", "-DNDEBUG"]),
        (clang(), ["-O3", "-march=native"]),
        (clang(), ["-O1"]),
    ]
    builds = [b for b in builds if b[0] is not None]
    if clang() is None:
        print("clang++ is not installed: one compiler only")
    include = root / "include"
    parts = [compile_object(compiler, include, HERE / "part.cpp", work / f"part{i}.o", f"-DPART={i}", *options)
             for i, (compiler, options) in enumerate(builds)]
    listed = " ".join(f"X({i})" for i in range(len(parts)))
    # sized by the baseline, so that the other builds' objects meet the plainest one
    main_object = compile_object(cxx, include, HERE / "parts_main.cpp", work / "main.o", "-O0", f"-DPARTS={listed}")
    for name, order in {"forward": parts, "backward": parts[::-1]}.items():
        for place, objects in {"first": [main_object, *order], "last": [*order, main_object]}.items():
            program = work / f"{name}_{place}"
            call(cxx, *objects, "-o", program)
            run(program)
    threads_that_run_out(root, work, cxx)


def threads_that_run_out(root, work, cxx):
    include = root / "include"
    main_object = compile_object(cxx, include, HERE / "threads_main.cpp", work / "threads_main.o", "-O1")
    for compiler in [cxx] + ([clang()] if clang() and "clang" not in cxx else []):
        parts = [compile_object(compiler, include, HERE / "threads_part.cpp", work / f"threads{i}.o", "-O1", "-fno-inline",
                                f"-DPART={name}", *options)
                 for i, (name, options) in enumerate({"with_exceptions": [], "without_exceptions": ["-fno-exceptions"]}.items())]
        for i, order in enumerate((parts, parts[::-1])):
            call(cxx, *order, main_object, "-pthread", "-ldl", "-o", work / f"threads_program{i}")
            run(work / f"threads_program{i}")


def fast_math(root, work, cxx):
    source = work / "any.cpp"
    source.write_text("#include <resect/core/view.hpp>\n")
    for compiler in [cxx] + ([clang()] if clang() and "clang" not in cxx else []):
        refusals = [["-ffast-math"], ["-Ofast"], ["-ffinite-math-only"], []]
        if "clang" not in compiler:
            refusals += [["-funsafe-math-optimizations"], ["-freciprocal-math"], ["-fno-signed-zeros"],
                         ["-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math"]]
        for options in refusals:
            done = subprocess.run([compiler, "-std=c++20", *options, f"-I{root / 'include'}", "-fsyntax-only", source],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            refused = done.returncode != 0 and "resect: -ffast-math" in done.stdout
            if refused != bool(options) or (not options and done.returncode != 0):
                sys.exit(f"{compiler} {options}: got status {done.returncode}, wanted {'a refusal' if options else '0'}\n{done.stdout}")
    if clang():
        said = {}
        for options in ([], ["-funsafe-math-optimizations"], ["-fassociative-math", "-fno-signed-zeros"]):
            for first in ([], ["-include", "immintrin.h"] if platform.machine() == "x86_64" else []):
                program = work / "order"
                call(clang(), "-std=c++20", "-O2", *WARNINGS, *options, *first, f"-I{root / 'include'}",
                     HERE / "order_of_sums.cpp", "-o", program)
                said[" ".join(options + first)] = call(program)
        if len(set(said.values())) != 1 or "fine" not in said[""]:
            sys.exit(f"sums in another order: got {said}, wanted 'fine' and the same everywhere")
    print("fast math: fine")


def two_copies(root, work, cxx):
    main_source = work / "main.cpp"
    main_source.write_text("extern int copy_one();\nextern int copy_two();\n#include <cstdio>\n"
                           "int main() {\n  if (copy_one() != 1 || copy_two() != 2) return 1;\n"
                           '  std::puts("two copies: fine");\n}\n')
    objects = []
    for number, name in ((1, "one"), (2, "two")):
        copy = work / name
        shutil.copytree(root / "include", copy)
        version = copy / "resect" / "version.hpp"
        text = version.read_text().replace("RESECT_VERSION_MAJOR 0", f"RESECT_VERSION_MAJOR {number}")
        version.write_text(text)
        source = work / f"{name}.cpp"
        source.write_text('#include "part.hpp"\n'
                          f"int copy_{name}() {{\n  part::shared_state s;\n  part::compute(s);\n"
                          f"  return RESECT_VERSION_MAJOR;\n}}\n")
        objects.append(compile_object(cxx, copy, source, work / f"{name}.o", "-O0", f"-I{HERE}", f"-Dpart=part_{name}",
                                      f"-DRESECT_NAMESPACE_TAG=copy_{name}"))
    first, second = ({s for s in symbols(o, False) if "6resect" in s} for o in objects)
    own = [{s for s in shared if f"6resect8copy_{name}" in s} for shared, name in ((first, "one"), (second, "two"))]
    if first & second:
        sys.exit(f"symbols of both copies: got {sorted(first & second)[:5]}, wanted none")
    if min(map(len, own)) < 20:
        sys.exit(f"symbols under their own tag: got {[len(o) for o in own]}, wanted 20 or more of each")
    call(cxx, main_source, *objects, "-o", work / "program")
    run(work / "program")


def main():
    kinds = {f.__name__: f for f in (no_exceptions, mixed_options, fast_math, two_copies)}
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path, help="a folder that is made anew")
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--cxx", default="c++")
    arguments = parser.parse_args()
    work = arguments.work.absolute() / arguments.kind
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    kinds[arguments.kind](arguments.root.resolve(), work, arguments.cxx)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
