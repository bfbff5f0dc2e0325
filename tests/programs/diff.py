# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `diff` says of two studies, and which it refuses to pair. Usage: see support.py."""
import json
import math
import shutil
import sys
import zipfile

sys.dont_write_bytecode = True
from support import TINY, array, expect_refusal, is_estimate, main, run, spoiled_model, with_halved_matrix  # noqa: E402


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
    reinit = [r for r in result["rows"] if r["table"] == "reinit"]
    assert [r["first"] for r in reinit] == [0, 2, 4]
    assert reinit[0]["seeds_a"] == [1, 2, 3, 4, 5] and reinit[0]["seeds_b"] == [11, 12, 13, 14, 15]
    assert all(r["metrics"]["kl"]["difference"]["se"] > 0 for r in reinit)

    text, result = diff("halved")
    clusters = result["text"]["clusters"]
    archives = [folder / name / "clusters.npz" for name in ("a", "halved")]
    skips = [r for r in result["rows"] if r["operator"] == "skip"]
    for i, row in enumerate(skips):
        for measure, m in row["metrics"].items():
            value, se = paired_difference(*archives, measure, i, clusters)  # the first runs of the report
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


def case_diff_says_which_methods_it_compares(folder):
    common = ["--recipe", "compress", "--sequences", 8, "--context", 16, "--layers", "1,3", "--quiet"]
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

    alone = ", the matrices of the layer alone"
    text, result = diff("same")
    assert not result["notes"] and "No difference: every number is the same in both." in text, result["notes"]
    assert result["tables"] == [
        {"name": "quantize", "a": "quantize 3 bit, group 64" + alone, "b": "quantize 3 bit, group 64" + alone},
        {"name": "low_rank", "a": "rank 8" + alone, "b": "rank 8" + alone}]
    text, result = diff("other")  # other parameters are other arms, which are paired by their places
    assert result["notes"][0] == (f"quantize: quantize 3 bit, group 64{alone} in A, "
                                  f"quantize 2 bit symmetric, group 32{alone} in B"), result["notes"]
    assert result["notes"][-1] == f"low_rank: rank 8{alone} in A, rank 9{alone} in B"
    assert all(f"note: {n}" in text for n in result["notes"]), text
    first = result["rows"][0]
    assert first["arm"].startswith("quantize 1: bits 3") and first["arm_b"].startswith("quantize 1: bits 2"), first
    assert [r["layers"] for r in result["rows"] if r["table"] == "quantize"] == [[1], [3]]
    assert [r["layers"] for r in result["rows"] if r["table"] is None] == [[1, 3], [1, 3]]
    assert not result["only_a"]["arms"] and not result["only_b"]["arms"]
    text, result = diff("mse")
    assert result["notes"][0].endswith(f"quantize 3 bit, group 64, mse{alone} in B")

    path = folder / "same/report.json"

    def quantized(report):
        return [row for row in report["rows"] if row["operator"] == "quantize"]

    for spoil, words in [
        (lambda r: r["compressions"][0]["all"]["kl"].update(value=9), ["compressions[0].all.kl.value"]),
        (lambda r: quantized(r)[1]["restored_kl"].update(se=9), ["restored_kl.se"]),
        (lambda r: quantized(r)[0]["interaction_kl"].update(lo=-9), ["interaction_kl.lo"]),
        (lambda r: quantized(r)[0].pop("restored_kl"), ["restored_kl.value"]),
        (lambda r: r["compressions"][0].update(table="melt"), ["compressions[0].table", "melt"]),
    ]:
        report = json.loads((folder / "mse/report.json").read_text())
        spoil(report)
        path.write_text(json.dumps(report))
        shutil.copy(folder / "mse/clusters.npz", folder / "same/clusters.npz")
        expect_refusal(run("diff", folder / "a", folder / "same"), *words)


def case_seeds_that_a_study_takes_are_seeds_that_diff_takes(folder):
    for out in ("a", "b"):
        done = run("study", "--sequences", 8, "--context", 16, "--layers", 1, "--alterations", "reinit", "--quiet",
                   "--seed", 2**53 - 5, "--out", folder / out)
        assert done.returncode == 0, done.stderr
    done = run("diff", folder / "a", folder / "b")
    assert done.returncode == 0 and "No difference" in done.stdout, done.stderr


if __name__ == "__main__":
    main(globals())
