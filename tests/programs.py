# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the programs as a user would: what a good run leaves, and what a bad one says.

usage: programs.py BIN_DIR SOURCE_DIR CASE, with CASE one of the functions below whose name begins with `case_`.
"""
import ast
import hashlib
import json
import math
import os
import pathlib
import re
import shutil
import stat
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
    assert result["skip"] == 32 and result["bos"] is False, result
    assert 1 < result["ppl"] < 400 and result["se_tokens"] > 0 and result["se_clustered"] > 0
    assert math.isfinite(result["lo"]) and result["lo"] < result["ppl"] < result["hi"]
    expect_refusal(run("perplexity", "--model", "tiny", "--text", TINY / "heldout.txt", "--chunks", "100000",
                       "--context", "64"), "100000")


def case_kl_divergence_reads_stored_logits(folder):
    """Against KL and nll worked out here from a file of known distributions and from the model's own logits."""
    vocabulary, context, chunks = 224, 12, 7
    ids = [(7 * i * i + 3 * i) % 200 for i in range(context * chunks)]
    (folder / "ids.i32").write_bytes(struct.pack(f"<{len(ids)}i", *ids))
    scored = range(context // 2, context - 1)
    scale, offset = 16 / 65535, -17.0  # ln p from -17 to -1: the lowest are left out
    codes = [[(65535 * ((5 * i + 11 * row) % vocabulary)) // vocabulary for i in range(vocabulary)]
             for row in range(chunks * len(scored))]
    data = b"_logits_" + struct.pack("<3i", context, vocabulary, chunks) + struct.pack(f"<{len(ids)}i", *ids)
    for row in codes:
        data += struct.pack("<2f", scale, offset) + struct.pack(f"<{vocabulary}H", *row)
    base = folder / "base.kld"
    base.write_bytes(data)
    done = run("kl_divergence", "--model", "tiny", "--base", base, "--json", folder / "kl.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "kl.json").read_text())

    kl, nll, nll_base, same, bos = [], [], [], [], 1
    scale, offset = struct.unpack("<2f", struct.pack("<2f", scale, offset))
    for chunk in range(chunks):
        part = ids[chunk * context:(chunk + 1) * context]
        (folder / "part.i32").write_bytes(struct.pack(f"<{context}i", *part))
        assert run("logits", "--model", "tiny", "--ids", folder / "part.i32", "--count", context, "--out",
                   folder / "logits.f32").returncode == 0
        logits = struct.unpack(f"<{context * vocabulary}f", (folder / "logits.f32").read_bytes())
        for i, at in enumerate(scored):
            q = logits[at * vocabulary:(at + 1) * vocabulary]
            top = max(q)
            lse = top + math.log(sum(math.exp(x - top) for x in q))
            lp = [scale * c + offset for c in codes[chunk * len(scored) + i]]
            kl.append(sum(math.exp(p) * (p - (x - lse)) for p, x in zip(lp, q) if p > -16))
            nll.append(lse - q[part[at + 1]])
            nll_base.append(-lp[part[at + 1]])
            same.append(lp.index(max(lp)) == q.index(top))
    n = len(kl)
    assert result["tokens"] == n
    # p is stored to 2^-24 of ln p, which is up to 17; the two programs take other rows at once, so float logits differ
    assert abs(result["kl"] - sum(kl) / n) < 1e-5 * sum(kl) / n
    assert abs(result["kl_max"] - max(kl)) < 1e-5 * max(kl)
    assert abs(result["ppl"] / math.exp(sum(nll) / n) - 1) < 1e-5
    assert abs(result["ppl_base"] / math.exp(sum(nll_base) / n) - 1) < 2e-6
    p = sum(same) / n
    assert abs(result["top1"] - p) < 1e-12
    assert abs(result["top1_se_tokens"] - math.sqrt(p * (1 - p) / (n - 1))) < 1e-12
    moved = [math.exp(-b) - math.exp(-a) for a, b in zip(nll_base, nll)]
    ratio = [b - a for a, b in zip(nll_base, nll)]

    def error_of_mean(x):
        return math.sqrt(sum((v - sum(x) / n) ** 2 for v in x) / n / (n - 1))

    rms = math.sqrt(sum(v * v for v in moved) / n)
    for name, wanted in (("dlnppl", sum(ratio) / n), ("dlnppl_se_tokens", error_of_mean(ratio)),
                         ("ppl_ratio", math.exp(sum(ratio) / n)), ("delta_p", sum(moved) / n),
                         ("delta_p_se_tokens", error_of_mean(moved)), ("delta_p_rms", rms),
                         ("delta_p_rms_se_tokens", error_of_mean([v * v for v in moved]) / (2 * rms))):
        assert abs(result[name] - wanted) < 1e-4 * abs(wanted), (name, result[name], wanted)

    for spoiled, words in ((data[:-1], ["bytes"]), (b"x" + data[1:], ["beginning"]), (data[:16], ["header"]),
                           (data[:8] + struct.pack("<3i", 12, 225, 7) + data[20:], ["bytes"]),
                           (data[:8] + struct.pack("<3i", 3, 224, 7) + data[20:], ["chunks"]),
                           (data[:20] + struct.pack("<i", 224) + data[24:], ["token 224"])):
        base.write_bytes(spoiled)
        expect_refusal(run("kl_divergence", "--model", "tiny", "--base", base), *words)


def array(archive, name):
    """An array of a .npz file: shape and values."""
    data = archive.read(name + ".npy")
    end = 10 + struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:end].decode())
    kind = {"<f8": "d", "<i8": "q"}[header["descr"]]
    return header["shape"], [x[0] for x in struct.iter_unpack("<" + kind, data[end:])]


def paired_difference(a, b, name, run, clusters):
    """Mean of b − a over tokens and its clustered standard error, from the definitions."""
    with zipfile.ZipFile(a) as first, zipfile.ZipFile(b) as second:
        sums_a, sums_b = array(first, name + "_sum")[1], array(second, name + "_sum")[1]
        counts = array(first, name + "_count")[1]
    cells = [(y - x, n) for x, y, n in list(zip(sums_a, sums_b, counts))[run * clusters:(run + 1) * clusters] if n]
    total = sum(n for _, n in cells)
    mean = sum(d for d, _ in cells) / total
    g = len(cells)
    return mean, math.sqrt(g / (g - 1) * sum((d - mean * n) ** 2 for d, n in cells)) / total


def with_halved_matrix(data):
    """The model with model.layers.2.mlp.down_proj.weight, stored as f16, times one half."""
    start = 8 + struct.unpack("<Q", data[:8])[0]
    matrix = json.loads(data[8:start])["model.layers.2.mlp.down_proj.weight"]
    assert matrix["dtype"] == "F16"
    first, last = (start + x for x in matrix["data_offsets"])
    halved = [x / 2 for (x,) in struct.iter_unpack("<e", data[first:last])]
    return data[:first] + struct.pack(f"<{len(halved)}e", *halved) + data[last:]


def case_diff_compares_two_studies_in_pairs(folder):
    small = ["--sequences", "10", "--context", "16", "--layers", "0,2,4", "--alterations", "skip,reinit", "--threads", "2"]
    spoiled = spoiled_model(folder, with_halved_matrix)
    studies = {"a": [], "same": ["--threads", "1"], "seeds": ["--seed", "11"], "halved": ["--model", spoiled]}
    for name, arguments in studies.items():
        given = [str(a) for a in arguments]
        base = small[:-2] if "--threads" in given else small
        done = run("study", *base, "--quiet", "--out", folder / name, *arguments)
        assert done.returncode == 0, done.stderr

    def diff(b, *arguments):
        done = run("diff", folder / "a", folder / b / "report.json", "--json", folder / "diff.json", *arguments)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout, json.loads((folder / "diff.json").read_text())

    for same in ("a", "same"):  # the number of threads changes no bit
        text, result = diff(same)
        assert "No difference: every number is the same in both." in text
        for row in result["rows"]:
            for m in row["metrics"].values():
                assert m["difference"]["value"] == m["difference"]["se"] == 0 and not m["differs"], row

    text, result = diff("seeds")
    assert "intact models: no difference." in text and "skip: no difference." in text
    reinit = [r for r in result["rows"] if r["operator"] == "reinit"]
    assert [r["first"] for r in reinit] == [0, 2, 4]
    assert reinit[0]["seeds_a"] == [1, 2, 3, 4, 5] and reinit[0]["seeds_b"] == [11, 12, 13, 14, 15]
    assert all(r["metrics"]["kl"]["difference"]["se"] > 0 for r in reinit)

    text, result = diff("halved")
    clusters = result["text"]["clusters"]
    archives = [folder / name / "clusters.npz" for name in ("a", "halved")]
    skips = [r for r in result["rows"] if r["operator"] == "skip"]
    for i, row in enumerate(skips):
        for measure, m in row["metrics"].items():
            value, se = paired_difference(*archives, f"skip_{measure}", i, clusters)
            assert math.isclose(m["difference"]["value"], value, rel_tol=1e-9, abs_tol=1e-12), (row["first"], measure)
            assert math.isclose(m["difference"]["se"], se, rel_tol=1e-6, abs_tol=1e-12), (row["first"], measure)
            assert is_estimate(m["difference"]) and is_estimate(m["a"]) and is_estimate(m["b"])
    assert skips[1]["metrics"]["cosine_head_norm"]["differs"], "layer 2 writes half as much"
    value, se = paired_difference(*archives, "baseline_nll", 0, clusters)
    assert math.isclose(result["baseline"]["perplexity_ratio"]["value"], math.exp(value), rel_tol=1e-9)
    assert result["a"]["model"]["fingerprint"] != result["b"]["model"]["fingerprint"]
    assert sorted(p.name for p in folder.iterdir()) == ["a", "diff.json", "halved", "model", "same", "seeds"]


def case_diff_refuses_what_cannot_be_paired(folder):
    small = ["--sequences", "8", "--context", "16", "--layers", "1", "--alterations", "skip", "--quiet"]
    for name, arguments in {"a": [], "windows": ["--sequences", "9"], "context": ["--context", "17"]}.items():
        base = [a for i, a in enumerate(small) if not arguments or (a != arguments[0] and small[i - 1] != arguments[0])]
        done = run("study", *base, "--out", folder / name, *arguments)
        assert done.returncode == 0, done.stderr
    broken = folder / "broken"
    shutil.copytree(folder / "a", broken)
    report = (broken / "report.json").read_text()
    (folder / "out").mkdir()
    expect_refusal(run("diff", folder / "a"), "B", "required")
    expect_refusal(run("diff", folder / "a", folder / "missing"), "missing")
    expect_refusal(run("diff", folder / "a", TINY / "heldout.txt"), "heldout.txt", "JSON")
    expect_refusal(run("diff", folder / "a", folder / "out"), "out/report.json")
    expect_refusal(run("diff", folder / "a", folder / "windows"), "windows", "got 9, wanted 8")
    expect_refusal(run("diff", folder / "a", folder / "context"), "context", "got 17, wanted 16")
    expect_refusal(run("diff", folder / "a", folder / "a", "--json", folder / "out"), str(folder / "out"))
    for text, words in [
        (report[:len(report) // 2], ["JSON"]),
        (report.replace('"schema": 1', '"schema": 7'), ["schema", "7"]),
        (report.replace('"value": ', '"value": 1', 1), ["baseline", "value"]),
        (report.replace('"context": 16', '"context": NaN'), ["JSON"]),
        ("[]", ["array", "object"]),
    ]:
        assert text != report
        (broken / "report.json").write_text(text)
        expect_refusal(run("diff", folder / "a", broken, "--json", folder / "out" / "diff.json"), *words)
    (broken / "report.json").write_text(report)
    (broken / "clusters.npz").write_bytes((folder / "a" / "clusters.npz").read_bytes()[:500])
    expect_refusal(run("diff", broken, folder / "a"), "clusters.npz")
    (broken / "clusters.npz").unlink()
    expect_refusal(run("diff", broken, folder / "a"), "clusters.npz")
    assert not list((folder / "out").iterdir())


def case_no_program_writes_over_what_it_reads(folder):
    done = run("study", "--sequences", 8, "--context", 16, "--layers", 1, "--alterations", "skip", "--quiet", "--out",
               folder / "a")
    assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "a", folder / "b")
    model = folder / "model"
    shutil.copytree(TINY, model)
    ids = folder / "ids.i32"
    ids.write_bytes(struct.pack("<64i", *range(64)))
    (folder / "link").symlink_to(folder / "a/report.json")
    (folder / "hard").hardlink_to(folder / "b/clusters.npz")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    a, b = folder / "a", folder / "b"
    for program, *arguments in [
        ("diff", a, b, "--json", a / "report.json"),
        ("diff", a, b, "--json", b / "clusters.npz"),
        ("diff", a, b, "--json", folder / "link"),
        ("diff", a, b, "--json", folder / "hard"),
        ("perplexity", "--model", model, "--context", 64, "--chunks", 1, "--json", model / "heldout.txt"),
        ("perplexity", "--model", model, "--ids", ids, "--context", 64, "--json", ids),
        ("perplexity", "--model", model, "--context", 64, "--chunks", 1, "--json", model / "model.safetensors"),
        ("kl_divergence", "--model", model, "--base", ids, "--json", ids),
        ("logits", "--model", model, "--ids", ids, "--out", ids),
        ("logits", "--model", model, "--ids", ids, "--out", model / "config.json"),
        ("study", *SMALL, "--text", a / "report.html", "--out", a),
    ]:
        expect_refusal(run(program, *arguments), "also read", str(arguments[-1]))
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def case_files_are_written_where_their_names_lead(folder):
    """A link stays and what it leads to is replaced; pipes and devices are written into; the rest is refused first."""
    ids = folder / "ids.i32"
    ids.write_bytes(struct.pack("<64i", *range(64)))

    def perplexity(to, **more):
        return subprocess.run([BIN / "perplexity", "--ids", ids, "--context", "64", "--json", to], capture_output=True,
                              text=True, **more)

    (folder / "sub").mkdir()
    (folder / "sub/real.json").write_text("old")
    (folder / "link").symlink_to("sub/real.json")
    (folder / "dangling").symlink_to(folder / "sub/new.json")
    for name, real in (("link", "sub/real.json"), ("dangling", "sub/new.json"), ("plain", "plain")):
        done = perplexity(folder / name)
        assert done.returncode == 0, done.stderr
        assert (folder / name).is_symlink() == (name != "plain")
        assert json.loads((folder / real).read_text())["chunks"] == 1
    assert sorted(p.name for p in (folder / "sub").iterdir()) == ["new.json", "real.json"]

    pipe = folder / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True)
    try:
        done = perplexity(pipe)
        assert done.returncode == 0, done.stderr
        assert json.loads(reader.communicate(timeout=60)[0])["chunks"] == 1 and pipe.is_fifo()
    finally:
        reader.kill()

    done = perplexity("/dev/stdout")
    assert done.returncode == 0 and '"chunks": 1' in done.stdout and "PPL" in done.stdout, done.stderr
    with open(folder / "all.txt", "w") as out:
        done = subprocess.run([BIN / "perplexity", "--ids", ids, "--context", "64", "--json", folder / "all.txt"],
                              stdout=out, stderr=subprocess.PIPE, text=True)
    said = (folder / "all.txt").read_text()
    assert done.returncode == 0 and "PPL" in said and '"chunks": 1' in said, said
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    done = perplexity("/dev/full")
    assert done.returncode == 2 and "/dev/full: No space" in done.stderr.splitlines()[-1], done.stderr
    for wrong in (folder / "gone" / "x.json", folder / "sub", folder / "ids.i32" / "x.json"):
        done = perplexity(wrong)
        expect_refusal(done, "--json", str(wrong))
        assert not done.stdout, "refused before the work is done"
    assert sorted(p.name for p in folder.iterdir()) == [
        "all.txt", "dangling", "ids.i32", "link", "pipe", "plain", "sub"]


def case_diff_says_which_methods_it_compares(folder):
    common = ["--sequences", 8, "--context", 16, "--layers", "1,3", "--alterations", "skip", "--quiet"]
    methods = {"a": ["--quantize", 3, "--low-rank", 8], "same": ["--quantize", 3, "--low-rank", 8],
               "other": ["--quantize", 2, "--group", 32, "--zero", "symmetric", "--low-rank", 9],
               "mse": ["--quantize", 3, "--scale", "mse", "--low-rank", 8]}
    for name, arguments in methods.items():
        done = run("study", *common, *arguments, "--out", folder / name)
        assert done.returncode == 0, done.stderr

    def diff(b):
        done = run("diff", folder / "a", folder / b, "--json", folder / "diff.json")
        assert done.returncode == 0, done.stderr
        return " ".join(done.stdout.split()), json.loads((folder / "diff.json").read_text())

    text, result = diff("same")
    assert not result["notes"] and "No difference: every number is the same in both." in text, result["notes"]
    assert result["methods"] == [
        {"operator": "quantize", "a": "quantize 3 bit, group 64", "b": "quantize 3 bit, group 64"},
        {"operator": "low_rank", "a": "rank 8", "b": "rank 8"}]
    text, result = diff("other")
    assert result["notes"] == ["quantize: quantize 3 bit, group 64 in A, quantize 2 bit symmetric, group 32 in B",
                               "low_rank: rank 8 in A, rank 9 in B"]
    assert all(f"note: {n}" in text for n in result["notes"]), text
    text, result = diff("mse")
    assert result["notes"] == ["quantize: quantize 3 bit, group 64 in A, quantize 3 bit, group 64, mse in B"]

    path = folder / "same/report.json"
    report = json.loads(path.read_text())
    report["compressions"][0]["fingerprint"] = "0x0"
    path.write_text(json.dumps(report))
    assert diff("same")[1]["notes"] == ["quantize: quantize 3 bit, group 64 in both, but not done the same way in both"]
    for c in report["compressions"]:  # as reports were before methods had fingerprints
        del c["fingerprint"], c["options"]
    path.write_text(json.dumps(report))
    assert all("is not known (B does not say)" in n for n in diff("same")[1]["notes"])

    def quantized(report):
        return [row for row in report["rows"] if row["operator"] == "quantize"]

    for spoil, words in [
        (lambda r: r["compressions"][0]["all"]["kl"].update(value=9), ["compressions[0].all.kl.value"]),
        (lambda r: quantized(r)[1]["restored_kl"].update(se=9), ["restored_kl.se"]),
        (lambda r: quantized(r)[0]["interaction_kl"].update(lo=-9), ["interaction_kl.lo"]),
        (lambda r: r["compressions"][0].update(operator="melt"), ["compressions[0].operator"]),
    ]:
        report = json.loads((folder / "mse/report.json").read_text())
        spoil(report)
        path.write_text(json.dumps(report))
        shutil.copy(folder / "mse/clusters.npz", folder / "same/clusters.npz")
        expect_refusal(run("diff", folder / "a", folder / "same"), *words)


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


def case_seeds_that_a_study_takes_are_seeds_that_diff_takes(folder):
    for out in ("a", "b"):
        done = run("study", "--sequences", 8, "--context", 16, "--layers", 1, "--alterations", "reinit", "--quiet",
                   "--seed", 2**53 - 5, "--out", folder / out)
        assert done.returncode == 0, done.stderr
    done = run("diff", folder / "a", folder / "b")
    assert done.returncode == 0 and "No difference" in done.stdout, done.stderr


def case_output_that_nobody_gets_is_a_failure(folder):
    small = ["--sequences", "8", "--context", "16", "--layers", "1", "--alterations", "skip"]
    assert run("study", *small, "--quiet", "--out", folder / "a").returncode == 0
    for program, *arguments in [("study", *small, "--out", folder / "b"), ("diff", folder / "a", folder / "a"),
                                ("perplexity", "--chunks", 1, "--context", 64), ("diff", "--help"), ("short/skip_a_layer",),
                                ("short/own_operator",), ("short/watch_norms",), ("short/quantize_a_matrix",),
                                ("short/compare_two_models", TINY, TINY)]:
        with open("/dev/full", "w") as full:
            done = subprocess.run([BIN / program, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True,
                                  stdin=subprocess.DEVNULL, cwd=SOURCE)
        assert done.returncode == 2, (program, done.returncode, done.stderr)


def case_perplexity_reads_the_same_text_as_study_where_none_is_named(folder):
    given = ["--chunks", 2, "--context", 32]
    named = run("perplexity", *given, "--text", TINY / "heldout.txt", "--json", folder / "a")
    own = run("perplexity", *given, "--json", folder / "b")
    assert named.returncode == own.returncode == 0, own.stderr
    assert json.loads((folder / "a").read_text())["ppl"] == json.loads((folder / "b").read_text())["ppl"]
    shutil.copytree(TINY, folder / "model")
    (folder / "model/heldout.txt").unlink()
    expect_refusal(run("perplexity", *given, "--model", folder / "model"), "--text", "heldout.txt")


def case_short_programs_say_what_is_missing(folder):
    for name in ("skip_a_layer", "own_operator", "watch_norms", "quantize_a_matrix"):
        done = subprocess.run([BIN / "short" / name], capture_output=True, text=True, cwd=folder)
        expect_refusal(done, name, "examples/models/tiny")


def case_help_lists_the_options(folder):
    for program in ("study", "perplexity"):
        done = run(program, "--help")
        assert done.returncode == 0
        for option in ("--model", "--text", "--context", "--threads"):
            assert option in done.stdout, (program, option)
    done = run("diff", "--help")
    assert done.returncode == 0 and "--json" in done.stdout and "report.json" in done.stdout


def example(name, *arguments):
    """What a short program prints, run from the repository's folder as docs/examples.md says."""
    source = (SOURCE / "examples/short" / f"{name}.cpp").read_text()
    assert source.count("\n") <= 60, "short programs have at most 60 lines"
    done = subprocess.run([BIN / "short" / name, *map(str, arguments)], capture_output=True, text=True, cwd=SOURCE)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def case_pages_show_what_programs_print(folder):
    shown = [(page.name, *block) for page in [SOURCE / "README.md", *sorted((SOURCE / "docs").glob("*.md"))]
             for block in re.findall(r"^```text\n\$ build/bin/(\S+)\n(.*?)^```", page.read_text(), re.S | re.M)]
    assert shown
    for page, program, said in shown:
        done = subprocess.run([BIN / program], capture_output=True, text=True, cwd=SOURCE)
        assert done.returncode == 0 and done.stdout == said, (page, program, done.stdout)


def case_console_lines_of_the_examples_page_run(folder):
    blocks = re.findall(r"^```console\n(.*?)^```", (SOURCE / "docs/examples.md").read_text(), re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    shutil.copytree(TINY, folder / "my_model")
    ran = 0
    for line in lines:
        words = line.split()
        if words[0] == "cmake":
            continue  # that is how these programs were built
        words = [w.replace("build/", f"{folder}/") if "build/bin/" not in w else str(BIN / w[10:]) for w in words]
        words = [str(folder / w) if w == "my_model" else w for w in words]
        if words[0] == "./run":
            words = [str(BIN / words[1]), *words[2:], *(["--sequences", "6"] if words[1] == "study" else [])]
        done = subprocess.run(words, capture_output=True, text=True, cwd=SOURCE)
        assert done.returncode == 0, (line, done.stderr)
        ran += 1
    assert ran >= 4, lines


def numbers(text):
    return [float(x) for x in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", text)]


def case_short_skip_a_layer(folder):
    lines = example("skip_a_layer").splitlines()
    assert lines[0] == "tiny without layer 3, 2048 tokens in 100 documents", lines[0]
    kl, low, high = numbers(lines[1])
    assert 0 < low < kl < high < 1, lines[1]
    agreement, low, high = numbers(lines[2])
    assert 50 < low < agreement < high < 100, lines[2]
    perplexity, ratio, low, high = numbers(lines[3])
    assert 2 < perplexity < 5 and 1 < low < ratio < high < 1.5, lines[3]
    first = numbers(example("skip_a_layer", "examples/models/tiny", 0).splitlines()[1])[0]
    assert first > 10 * kl, "layer 0 matters far more"
    refused = subprocess.run([BIN / "short/skip_a_layer", TINY, "9"], capture_output=True, text=True, cwd=SOURCE)
    expect_refusal(refused, "layers 0 to 5")


def case_short_own_operator(folder):
    rows = [numbers(line) for line in example("own_operator").splitlines()]
    assert [r[0] for r in rows] == [256, 128, 64, 32, 16, 8], rows
    kls = [r[2] for r in rows]
    assert kls[0] == 0 and kls == sorted(kls) and kls[-1] > 1, kls
    assert all(r[3] <= r[2] <= r[4] for r in rows), rows


def case_short_watch_norms(folder):
    rows = [numbers(line) for line in example("watch_norms").splitlines()[1:]]
    assert [r[0] for r in rows] == list(range(6)), rows
    means = [r[1] for r in rows]
    assert means == sorted(means) and means[0] < 10 and means[-1] > 100, means
    assert all(r[3] < r[1] < r[4] for r in rows), rows


def case_short_compare_two_models(folder):
    same = example("compare_two_models", TINY, TINY)
    assert "perplexity B / A  1.0000 [1.0000, 1.0000]" in same and "The outputs are the same." in same, same
    lines = example("compare_two_models", TINY, spoiled_model(folder, with_halved_matrix)).splitlines()
    (ratio, low, high), (kl, kl_low, kl_high) = numbers(lines[1]), numbers(lines[2])[:3]
    assert low < ratio < high and 0 < kl_low < kl < kl_high < 0.1, lines
    assert lines[4] in ("The perplexities differ.", "No difference of perplexity shown."), lines
    expect_refusal(subprocess.run([BIN / "short/compare_two_models", TINY, folder / "missing"], capture_output=True,
                                  text=True, cwd=SOURCE), "missing")


def case_short_quantize_a_matrix(folder):
    lines = example("quantize_a_matrix").splitlines()
    assert re.fullmatch(r"\S+ of layer 0, \d+ x \d+", lines[0]), lines[0]
    rows = [numbers(line) for line in lines[1:]]
    assert [r[0] for r in rows] == [8, 6, 5, 4, 3, 2], rows
    assert all(r[0] < r[1] < r[0] + 1 for r in rows), "scales and zero points are counted"
    errors, kls = [r[2] for r in rows], [r[3] for r in rows]
    assert errors == sorted(errors) and errors[0] < 1 < errors[-1] < 60, errors
    assert kls == sorted(kls) and kls[0] < 1e-4, kls


def main():
    with tempfile.TemporaryDirectory() as folder:
        globals()["case_" + sys.argv[3]](pathlib.Path(folder))


if __name__ == "__main__":
    main()
