# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the programs as a user would: what a good run leaves, and what a bad one says.

usage: programs.py BIN_DIR SOURCE_DIR CASE, with CASE one of the functions below whose name begins with `case_`.
"""
import json
import math
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

BIN = pathlib.Path(sys.argv[1])
SOURCE = pathlib.Path(sys.argv[2])
TINY = SOURCE / "examples/models/tiny"
SMALL = ["--sequences", "8", "--context", "16", "--reinit-seeds", "5", "--threads", "2"]
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
    done = run("study", *SMALL, *TWO_LAYERS, "--out", folder / "report", *arguments)
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / "report/report.json").read_text())


def is_estimate(e):
    return set(e) == {"value", "se", "lo", "hi", "n", "n_clusters"} and (
        e["lo"] is None or e["lo"] <= e["value"] <= e["hi"])


def case_study_leaves_a_whole_report(folder):
    done, report = study(folder)
    assert report["schema"] == 1
    assert report["model"]["layers"] == 6 and report["model"]["d_model"] == 256
    assert report["model"]["fingerprint"] not in (None, "", 0)
    text = report["text"]
    assert len(text["sha256"]) == 64 and text["sequences"] == 8 and text["context"] == 16
    assert all(is_estimate(e) for e in report["baseline"].values() if isinstance(e, dict) and "value" in e)
    rows = report["rows"]
    operators = {}
    for row in rows:
        assert row["last"] == row["first"] + 1 and row["matrix"] is None
        assert set(row["metrics"]) >= {"kl", "top1_agreement", "dlnppl", "cosine_head_norm"}
        assert all(is_estimate(e) for e in row["metrics"].values())
        operators.setdefault(row["operator"], []).append((row["first"], row["seed"]))
    assert set(operators) == {"skip", "mean_delta", "reinit", "zero_stream"}, operators
    assert sorted(operators["skip"]) == [(0, None), (2, None)]
    assert len(operators["reinit"]) == 12  # two layers: their mean and five seeds each
    assert report["findings"]
    out = folder / "report"
    for name in ("norms.png", "sensitivity.png"):
        png = (out / name).read_bytes()
        assert png[:8] == b"\x89PNG\r\n\x1a\n", name
        width, height = struct.unpack(">II", png[16:24])
        assert width >= 600 and height >= 300, (name, width, height)
    assert "<html" in (out / "report.html").read_text().lower()
    with zipfile.ZipFile(out / "clusters.npz") as archive:
        assert archive.testzip() is None and archive.namelist()
    assert sorted(p.name for p in out.iterdir()) == [
        "clusters.npz", "norms.png", "report.html", "report.json", "sensitivity.png"]
    assert "skip" in done.stdout


def case_study_has_the_same_numbers_for_any_number_of_threads(folder):
    reports = []
    for threads in (1, 3):
        done = run("study", *SMALL[:-1], threads, *TWO_LAYERS, "--out", folder / "report", "--command", "same")
        assert done.returncode == 0, done.stderr
        reports.append((folder / "report/clusters.npz").read_bytes())
        reports.append(json.loads((folder / "report/report.json").read_text()))
    assert reports[0] == reports[2]
    for key in ("baseline", "rows", "findings"):
        assert reports[1][key] == reports[3][key], key


def case_study_refuses_bad_options_and_leaves_nothing(folder):
    out = folder / "report"
    empty = folder / "empty.txt"
    empty.touch()
    unknown = folder / "unknown.txt"
    unknown.write_text("thisisnotaword\n")
    short = folder / "short.txt"
    short.write_text("the\n")
    cases = [
        (["--layers", "99"], ["layer", "99", "5"]),
        (["--layers", "3-"], ["layers", "3-"]),
        (["--layers", "5-2"], ["layers", "5-2"]),
        (["--alterations", "melt"], ["melt", "skip"]),
        (["--no-such-option"], ["--no-such-option"]),
        (["--text", folder / "missing.txt"], ["missing.txt"]),
        (["--text", empty], ["empty.txt"]),
        (["--text", unknown], ["thisisnotaword"]),
        (["--text", short], ["windows", "tokens"]),
        (["--sequences", "100000"], ["100000 windows", "at most"]),
        (["--context", "1"], ["context"]),
        (["--reinit-seeds", "2"], ["--reinit-seeds", "5"]),
        (["--model", "tyni"], ["--model", "tyni"]),
        (["--text", ""], ["text"]),
        (["--model", folder / "missing.gguf", "--text", TINY / "heldout.txt"], ["missing.gguf"]),
    ]
    for arguments, words in cases:
        given = {str(a) for a in arguments}
        base = [a for i, a in enumerate(SMALL) if a not in given and (i == 0 or SMALL[i - 1] not in given)]
        done = run("study", *base, "--out", out, *arguments)
        expect_refusal(done, *words)
        assert not out.exists(), arguments
        assert sorted(p.name for p in folder.iterdir()) == ["empty.txt", "short.txt", "unknown.txt"], arguments


def spoiled_model(folder, spoil):
    copy = folder / "model"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(TINY, copy)
    path = copy / "model.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    return copy


def case_study_refuses_broken_models_and_keeps_the_old_report(folder):
    out = folder / "report"
    out.mkdir()
    (out / "report.json").write_text("old")

    def with_nan(data):
        start = 8 + struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:start])
        at = start + header["model.layers.1.mlp.down_proj.weight"]["data_offsets"][0]
        return data[:at] + b"\x00\x7e" + data[at + 2:]

    spoils = [
        (lambda d: d[:len(d) // 2], ["model.layers", "data"]),
        (lambda d: struct.pack("<Q", 1 << 62) + d[8:], ["header"]),
        (with_nan, ["model.layers.1.mlp.down_proj.weight"]),
    ]
    for spoil, words in spoils:
        done = run("study", *SMALL, "--out", out, "--model", spoiled_model(folder, spoil))
        expect_refusal(done, *words)
        assert (out / "report.json").read_text() == "old"
        assert [p.name for p in out.iterdir()] == ["report.json"]


def case_perplexity_scores_the_second_half_of_each_chunk(folder):
    done = run("perplexity", "--model", "tiny", "--text", TINY / "heldout.txt", "--chunks", "8", "--context", "64",
               "--json", folder / "ppl.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "ppl.json").read_text())
    assert result["chunks"] == 8 and result["tokens"] == 8 * 31
    assert 1 < result["ppl"] < 400 and result["se_tokens"] > 0 and result["se_clustered"] > 0
    assert math.isfinite(result["lo"]) and result["lo"] < result["ppl"] < result["hi"]
    expect_refusal(run("perplexity", "--model", "tiny", "--text", TINY / "heldout.txt", "--chunks", "100000",
                       "--context", "64"), "100000")


def case_help_lists_the_options(folder):
    for program in ("study", "perplexity"):
        done = run(program, "--help")
        assert done.returncode == 0
        for option in ("--model", "--text", "--context", "--threads"):
            assert option in done.stdout, (program, option)


def main():
    with tempfile.TemporaryDirectory() as folder:
        globals()["case_" + sys.argv[3]](pathlib.Path(folder))


if __name__ == "__main__":
    main()
