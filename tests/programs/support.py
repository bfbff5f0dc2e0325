# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the tests of programs share. Each runs the programs as a user would: what a good run leaves, what a bad one says.

usage: FILE.py BIN_DIR SOURCE_DIR CASE, with CASE one of the file's functions whose name begins with `case_`.
"""
import ast
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

BIN = pathlib.Path(sys.argv[1])
SOURCE = pathlib.Path(sys.argv[2])
TINY = SOURCE / "examples/models/tiny"
SMALL = ["--sequences", "8", "--context", "16", "--threads", "2"]
TWO_LAYERS = ["--layers", "0,2"]


def run(program, *arguments):
    return subprocess.run([BIN / program, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def expect_refusal(done, *words):
    """One line on stderr that holds the words, nothing on stdout, exit status 2."""
    line = done.stderr.strip()
    assert done.returncode == 2, (done.returncode, line)
    assert line and "\n" not in line, line
    for word in words:
        assert word in line, f"{word!r} is not in: {line}"


def study(folder, *arguments):
    layers = [] if "--layers" in arguments else TWO_LAYERS
    done = run("study", *SMALL, *layers, "--out", folder / "report", *arguments)
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / "report/report.json").read_text())


def is_estimate(e):
    return set(e) == {"value", "se", "lo", "hi", "n", "n_clusters"} and (
        e["lo"] is None or e["lo"] <= e["value"] <= e["hi"])


def spoiled_model(folder, spoil):
    copy = folder / "model"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(TINY, copy)
    path = copy / "model.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    return copy


def with_halved_matrix(data):
    """The model with model.layers.2.mlp.down_proj.weight, stored as f16, times one half."""
    start = 8 + struct.unpack("<Q", data[:8])[0]
    matrix = json.loads(data[8:start])["model.layers.2.mlp.down_proj.weight"]
    assert matrix["dtype"] == "F16"
    first, last = (start + x for x in matrix["data_offsets"])
    halved = [x / 2 for (x,) in struct.iter_unpack("<e", data[first:last])]
    return data[:first] + struct.pack(f"<{len(halved)}e", *halved) + data[last:]


def array(archive, name):
    """An array of a .npz file: shape and values."""
    data = archive.read(name + ".npy")
    end = 10 + struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:end].decode())
    kind = {"<f8": "d", "<i8": "q"}[header["descr"]]
    return header["shape"], [x[0] for x in struct.iter_unpack("<" + kind, data[end:])]


def main(cases):
    """Runs the case that the command line names, in a folder of its own; `cases` are the globals of the test."""
    with tempfile.TemporaryDirectory() as folder:
        cases["case_" + sys.argv[3]](pathlib.Path(folder))
