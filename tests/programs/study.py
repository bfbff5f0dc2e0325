# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `study` leaves, and what it refuses. Usage: see support.py."""
import hashlib
import json
import re
import struct
import sys
import zipfile

sys.dont_write_bytecode = True
from support import SMALL, TINY, TWO_LAYERS, array, expect_refusal, is_estimate, main, run, spoiled_model, study  # noqa: E402


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
        assert row["layers"] == [row["first"]] and row["parameters"] == {}
        operators.setdefault(row["operator"], []).append((row["first"], row["seed"]))
    assert set(operators) == {"skip", "mean_delta", "reinit.reset", "zero_stream"}, operators
    assert sorted(operators["skip"]) == [(0, None), (2, None)]
    assert len(operators["reinit.reset"]) == 12  # two layers: their mean and five seeds each
    assert len({row["arm"] for row in rows}) == len(rows)
    assert [row["arm"] for row in rows if row["operator"] == "skip"] == ["skip 0", "skip 2"]
    assert {"reinit.reset 2", "reinit.reset 2, seed 3"} <= {row["arm"] for row in rows}
    assert report["recipe"] == "sensitivity" and 0 <= report["floor"] < 1e-6
    assert report["rules"]["bos"]["id"] is None and "t over clusters" in report["rules"]["interval"]
    assert report["evaluation"]["name"] == "heldout.txt" and report["calibration"]["name"] == "tiny-calibration.txt"
    assert report["findings"]
    out = folder / "report"
    for name in ("norms.png", "effects.png"):
        png = (out / name).read_bytes()
        assert png[:8] == b"\x89PNG\r\n\x1a\n", name
        width, height = struct.unpack(">II", png[16:24])
        assert width >= 600 and height >= 300, (name, width, height)
    assert "<html" in (out / "report.html").read_text().lower()
    with zipfile.ZipFile(out / "clusters.npz") as archive:
        assert archive.testzip() is None and archive.namelist()
    assert sorted(p.name for p in out.iterdir()) == [
        "clusters.npz", "effects.png", "norms.png", "report.html", "report.json"]
    assert "skip" in done.stdout


def case_study_quantizes_and_factorizes(folder):
    """S, R and I = R - S of two ways to store the matrices, from the report and again from the clusters' sums."""
    done, report = study(folder, "--recipe", "compress", "--layers", "0,2,3", "--quantize", 3, "--group", 32, "--scale",
                         "mse", "--low-rank", 200)
    assert report["recipe"] == "compress"
    assert report["grid"]["matrices"] == 21 and report["grid"]["on_grid"] == 0, report["grid"]
    assert [c["table"] for c in report["compressions"]] == ["quantize", "low_rank"]
    assert report["compressions"][0]["description"] == "quantize 3 bit, group 32, mse"
    assert report["compressions"][0]["options"] == {"bits": 3, "group": 32, "zero": "integer", "scale": "mse"}
    assert report["compressions"][1]["options"]["rank"] == 200
    assert re.fullmatch("0x[0-9a-f]{16}", report["compressions"][0]["fingerprint"])
    assert abs(report["compressions"][0]["bits_per_weight"] - (3 + 35 / 32)) < 1e-9
    runs = [r for r in report["rows"] if "seeds" not in r]
    with zipfile.ZipFile(folder / "report/clusters.npz") as archive:
        (n_runs, clusters), sums = array(archive, "kl_sum")
        counts = array(archive, "kl_count")[1]
    assert n_runs == len(runs) == 14  # three layers alone, three spared, all: of two methods
    mean = {r["arm"]: sum(sums[i * clusters:(i + 1) * clusters]) / sum(counts[i * clusters:(i + 1) * clusters])
            for i, r in enumerate(runs)}
    for c in report["compressions"]:
        kind = [r for r in runs if r["operator"] == c["table"]]
        of = {tuple(r["layers"]): r for r in kind}
        assert set(of) == {(0,), (2,), (3,), (0, 2), (0, 3), (2, 3), (0, 2, 3)}
        assert of[(2, 3)]["first"] == 2 and of[(2, 3)]["last"] == 4 and of[(0, 2)]["first"] is None
        assert "rank" not in of[(0, 2, 3)] and of[(0,)]["table"] == c["table"]
        mean_all = mean[of[(0, 2, 3)]["arm"]]
        assert abs(mean_all - c["all"]["kl"]["value"]) < 1e-12
        for layer in (0, 2, 3):
            row = of[(layer,)]
            assert 0 < row["weight_error"] < 1 and row["metrics"]["kl"]["value"] > 0
            if c["saturated"]:
                assert row["restored_kl"]["value"] is None
                continue
            restored = mean_all - mean[of[tuple(l for l in (0, 2, 3) if l != layer)]["arm"]]
            assert abs(row["restored_kl"]["value"] - restored) < 1e-12
            assert abs(row["interaction_kl"]["value"] - (restored - mean[row["arm"]])) < 1e-12
    assert "spared: R" in done.stdout and "low_rank" in done.stdout


def case_a_compression_of_one_or_two_layers_has_each_arm_once(folder):
    """All of one layer is that layer alone; of two, all but the first is the second alone."""
    for layers, wanted in (("1", [[1]]), ("1,2", [[1], [2], [1, 2]])):
        _, report = study(folder, "--recipe", "compress", "--list", "layers", "--layers", layers, "--quiet")
        assert [r["layers"] for r in report["rows"]] == wanted
        assert report["compressions"][0]["description"] == "quantize 4 bit, group 64"  # where nothing is asked for
        done = run("diff", folder / "report", folder / "report")
        assert done.returncode == 0 and "No difference" in done.stdout, done.stderr


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


def case_study_names_the_text_that_it_used(folder):
    ids = folder / "some.i32"
    ids.write_bytes(struct.pack("<900i", *((7 * i * i + 3 * i) % 200 for i in range(900))))
    wanted = hashlib.sha256(ids.read_bytes()).hexdigest()
    _, report = study(folder, "--ids", ids, "--alterations", "skip", "--quiet")
    assert report["text"]["name"] == "some.i32" and report["text"]["tokens"] == 900, report["text"]
    assert report["text"]["sha256"] == report["text"]["ids_sha256"] == wanted
    _, report = study(folder, "--alterations", "skip", "--quiet")
    assert report["text"]["name"] == "heldout.txt"
    assert report["text"]["sha256"] == hashlib.sha256((TINY / "heldout.txt").read_bytes()).hexdigest()


def case_study_says_where_nothing_changes(folder):
    """A quantizer that meets the grid which a model was stored on: no layer matters most where all are as before."""
    def on_grid(data):
        start = 8 + struct.unpack("<Q", data[:8])[0]
        out = bytearray(data)
        for name, tensor in json.loads(data[8:start]).items():
            if name == "__metadata__" or len(tensor["shape"]) != 2 or ".layers." not in name:
                continue
            assert tensor["dtype"] == "F16"
            first, last = (start + x for x in tensor["data_offsets"])
            n = (last - first) // 2
            out[first:last] = struct.pack(f"<{n}e", *(((i + i // 4) % 4 - 1) / 16 for i in range(n)))
        return bytes(out)

    done, report = study(folder, "--model", spoiled_model(folder, on_grid), "--recipe",
                         "compress", "--quantize", 2)
    rows = [r for r in report["rows"] if r["operator"] == "quantize" and "weight_error" in r]
    assert len(rows) == 2 and all(r["weight_error"] == 0 and r["metrics"]["kl"]["value"] == 0 for r in rows), rows
    kinds = [f["kind"] for f in report["findings"] if f["operator"] == "quantize"]
    assert kinds == ["unchanged"], kinds
    assert "no order among these layers" in " ".join(done.stdout.split())


def case_study_refuses_bad_options_and_leaves_nothing(folder):
    out = folder / "report"
    empty = folder / "empty.txt"
    empty.touch()
    unknown = folder / "unknown.txt"
    unknown.write_text("thisisnotaword\n")
    short = folder / "short.txt"
    short.write_text("the\n")
    layers = ["--recipe", "compress"]
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
        ([*layers, "--quantize", "9"], ["--quantize", "8"]),
        ([*layers, "--low-rank", "0"], ["--low-rank", "1"]),
        ([*layers, "--low-rank", "256"], ["--low-rank", "got 256", "1 to 255"]),
        (["--seed", 2**53 - 4], ["--seed", str(2**53 - 5)]),
        (["--seed", 2**53], ["--seed", str(2**53 - 5)]),
        ([*layers, "--scale", "best"], ["--scale", "mse"]),
        (["--model", "tyni"], ["--model", "tyni"]),
        (["--text", ""], ["text"]),
        (["--model", folder / "missing.gguf", "--text", TINY / "heldout.txt"], ["missing.gguf"]),
    ]
    for arguments, words in cases:
        given = {str(a) for a in arguments if str(a).startswith("--")}
        base = [a for i, a in enumerate(SMALL) if a not in given and (i == 0 or SMALL[i - 1] not in given)]
        done = run("study", *base, "--out", out, *arguments)
        expect_refusal(done, *words)
        assert not out.exists(), arguments
        assert sorted(p.name for p in folder.iterdir()) == ["empty.txt", "short.txt", "unknown.txt"], arguments


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


if __name__ == "__main__":
    main(globals())
