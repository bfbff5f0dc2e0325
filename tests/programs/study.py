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


def case_study_quantizes_and_factorizes(folder):
    """S, R and I = R - S of two ways to store the matrices, from the report and again from the clusters' sums."""
    done = run("study", *SMALL, *TWO_LAYERS, "--alterations", "skip", "--quantize", 3, "--group", 32, "--scale", "mse",
               "--low-rank", 200, "--out", folder / "report")
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "report/report.json").read_text())
    assert report["grid"]["matrices"] == 14 and report["grid"]["on_grid"] == 0, report["grid"]
    assert [c["operator"] for c in report["compressions"]] == ["quantize", "low_rank"]
    assert report["compressions"][0]["description"] == "quantize 3 bit, group 32, mse"
    assert report["compressions"][0]["options"] == {"bits": 3, "group": 32, "zero": "integer", "scale": "mse"}
    assert report["compressions"][1]["options"]["rank"] == 200
    assert re.fullmatch("0x[0-9a-f]{16}", report["compressions"][0]["fingerprint"])
    assert abs(report["compressions"][0]["bits_per_weight"] - (3 + 35 / 32)) < 1e-9
    with zipfile.ZipFile(folder / "report/clusters.npz") as archive:
        for c in report["compressions"]:
            name = c["operator"]
            rows = [r for r in report["rows"] if r["operator"] == name]
            assert [r["first"] for r in rows] == [0, 2]
            (_, whole), (_, count) = array(archive, name + "_all_kl_sum"), array(archive, name + "_all_kl_count")
            mean_all = sum(whole) / sum(count)
            assert abs(mean_all - c["all"]["kl"]["value"]) < 1e-12
            _, but_one = array(archive, name + "_all_but_one_kl_sum")
            for i, row in enumerate(rows):
                assert 0 < row["weight_error"] < 1 and row["metrics"]["kl"]["value"] > 0
                if c["saturated"]:
                    assert row["restored_kl"]["value"] is None
                    continue
                without = but_one[i * len(whole):(i + 1) * len(whole)]
                restored = mean_all - sum(without) / sum(count)
                assert abs(row["restored_kl"]["value"] - restored) < 1e-12
                alone = row["metrics"]["kl"]["value"]
                assert abs(row["interaction_kl"]["value"] - (restored - alone)) < 1e-12
    assert "spared: R" in done.stdout and "low_rank" in done.stdout


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

    done, report = study(folder, "--model", spoiled_model(folder, on_grid), "--alterations", "skip", "--quantize", 2)
    rows = [r for r in report["rows"] if r["operator"] == "quantize"]
    assert all(r["weight_error"] == 0 and r["metrics"]["kl"]["value"] == 0 for r in rows), rows
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
        (["--quantize", "9"], ["--quantize", "8"]),
        (["--low-rank", "0"], ["--low-rank", "1"]),
        (["--low-rank", "256"], ["--low-rank", "got 256", "1 to 255"]),
        (["--seed", 2**53 - 4], ["--seed", str(2**53 - 5)]),
        (["--seed", 2**53], ["--seed", str(2**53 - 5)]),
        (["--scale", "best"], ["--scale", "mse"]),
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
