# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recipes of `study`, the texts that they ask for, and how ./run prepares them. Usage: see support.py."""
import hashlib
import json
import math
import random
import re
import struct
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from support import BIN, SMALL, SOURCE, TINY, expect_refusal, is_estimate, main, run, spoiled_model, study  # noqa: E402

CORPUS = TINY / "corpus.py"
PREPARE = SOURCE / "examples/study/python/prepare.py"
LINES = (TINY / "heldout.txt").read_text().splitlines(keepends=True)


def case_recipes_are_listed_and_an_unknown_one_is_refused_with_the_list(folder):
    done = run("study", "--recipe", "list")
    assert done.returncode == 0
    names = re.findall(r"^  (\w+)  ", done.stdout, re.M)
    assert names[:2] == ["sensitivity", "compress"] and "spans" in names, names
    assert all(f"  {name}  " in run("study", "--help").stdout for name in names)
    expect_refusal(run("study", "--recipe", "melt", "--out", folder / "x"), "--recipe", "'melt'", ", ".join(names))
    expect_refusal(run("study", "--recipe=melt"), "--recipe", "'melt'")
    expect_refusal(run("study", "--recipe"), "--recipe")
    for option in (["--recipe", "compress"], ["--recipe=compress"]):
        said = run("study", *option, "--help").stdout
        assert "--quantize" in said and "--alterations" not in said and "study/compress" in said, said
    said = run("study", "--help").stdout
    assert "--quantize" not in said and "--alterations" in said and re.search(r"--out TEXT=\S*/study(\s|$)", said), said


def case_an_option_of_another_recipe_is_refused_with_its_name(folder):
    for arguments, words in [
        (["--quantize", 4], ["--quantize", "compress", "sensitivity"]),
        (["--low-rank=4"], ["--low-rank", "compress"]),
        (["--recipe", "compress", "--alterations", "skip"], ["--alterations", "sensitivity", "compress"]),
        (["--recipe", "spans", "--calibration", "rest"], ["--calibration", "sensitivity, compress, quantize, lowrank, inject, sae and protect", "spans"]),
        (["--recipe", "spans", "--melt"], ["--melt"]),
        (["--selection", TINY / "heldout.txt"], ["--selection"]),
        (["--model", "tiny", "--model", "tiny"], ["--model", "second one, 'tiny'", "recipe sensitivity"]),
    ]:
        expect_refusal(run("study", *SMALL, "--out", folder / "report", *arguments), *words)
        assert not (folder / "report").exists()


def case_spans_are_arms_of_two_layers(folder):
    done, report = study(folder, "--recipe", "spans", "--layers", "0,1,2,4")
    assert [(r["arm"], r["layers"], r["first"], r["last"]) for r in report["rows"]] == [
        ("skip 0-1", [0, 1], 0, 2), ("skip 1-2", [1, 2], 1, 3)]
    assert report["recipe"] == "spans" and "calibration" not in report
    assert "cost   2 altered models" in done.stdout and "  layers" in done.stdout and "0–1" in done.stdout
    assert "matter most" in done.stdout
    done = run("diff", folder / "report", folder / "report")
    assert done.returncode == 0 and "No difference" in done.stdout, done.stderr


def case_quantize_measures_every_method_beside_its_bits(folder):
    few = ["--recipe", "quantize", "--bits", "2", "--methods", "mse,weighted-mse,gptq,ldlq,rotated-nearest,rotated-ldlq"]
    done, report = study(folder, *few)
    rows = {r["parameters"]["method"]: r for r in report["rows"]}
    assert list(rows) == few[-1].split(","), list(rows)
    assert report["calibration"]["windows"] > 8 and all(r["layers"] == [0, 2] for r in rows.values())
    for name, row in rows.items():
        extra = 64 / 65536 if name.startswith("rotated") else 0  # seeds, at most one a matrix of 64 x 256
        assert 2.25 <= row["bits_per_weight"] <= 2.25 + 4 * extra, (name, row["bits_per_weight"])
        assert row["calibrated"] == (name != "mse") and 0 < row["weight_error"] < 1 and row["metrics"]["kl"]["value"] > 0
    assert rows["gptq"]["h_loss"] < rows["mse"]["h_loss"] and rows["ldlq"]["h_loss"] < rows["weighted-mse"]["h_loss"]
    assert rows["mse"]["weight_error"] < rows["weighted-mse"]["weight_error"]
    assert [(c["bits"], c["arm"], c["than"]) for c in report["comparisons"]] == [
        (2, "gptq", "mse"), (2, "ldlq", "weighted-mse")]
    for c in report["comparisons"]:
        ratio = rows[c["arm"]]["metrics"]["kl"]["value"] / rows[c["than"]]["metrics"]["kl"]["value"]
        assert abs(c["kl_ratio"]["value"] - ratio) < 1e-9 * ratio, (c, ratio)
    kl = [rows[n]["metrics"]["kl"]["value"] for n in ("weighted-mse", "ldlq", "rotated-nearest", "rotated-ldlq")]
    effects = report["rotation"][0]["effects"]
    assert abs(effects["interaction"]["kl_ratio"]["value"] / (kl[0] * kl[3] / (kl[1] * kl[2])) - 1) < 1e-9
    assert "cost   6 altered models" in done.stdout and "rotation, effects" in done.stdout and "bits/weight" in done.stdout
    assert any(f["kind"].startswith("full_h") for f in report["findings"])
    assert (folder / "report/effects.png").stat().st_size > 10000
    done = run("diff", folder / "report", folder / "report")
    assert done.returncode == 0 and "No difference" in done.stdout, done.stderr
    for arguments, words in [(["--bits", 7], ["--bits"]), (["--methods", "melt"], ["--methods", "melt"]),
                             (["--bits", "5", "--methods", "exact"], ["--methods", "widths"])]:
        expect_refusal(run("study", *SMALL, "--out", folder / "x", "--recipe", "quantize", *arguments), *words)


def case_lowrank_measures_pairs_of_every_matrix(folder):
    done, report = study(folder, "--recipe", "lowrank", "--shares", "0.25,0.125", "--prompts", 8)
    rows = {(r["parameters"]["method"], r["parameters"]["share"]): r for r in report["rows"]}
    assert len(rows) == 2 * (2 * 2 + 1), list(rows)
    for kind in ("svd", "weighted"):
        more, less = rows[kind, 0.25], rows[kind, 0.125]
        assert more["weight_error"] < less["weight_error"] and more["h_loss"] < less["h_loss"], (more, less)
        assert abs(more["bits_per_weight"] / less["bits_per_weight"] - 2) < 1e-9 and more["calibrated"] == (kind == "weighted")
    assert rows["weighted", 0.25]["h_loss"] < rows["svd", 0.25]["h_loss"]
    assert rows["weighted", 0.25]["weight_error"] > rows["svd", 0.25]["weight_error"]
    assert len(report["matrices"]) == 2 * 7 * 2 * 4  # two layers; the ranks of S002 are there, too
    for m in report["matrices"]:
        if m["pair"] == "svd":
            assert abs(m["forecast"] - m["truncation_error"]) < 2e-3 and m["truncation_error"] < m["error"] + 1e-4, m
            assert m["truncation_error"] < m["null_error"], m
        else:
            assert abs(m["forecast"] - m["h_loss"]) < 1e-3 + 0.05 * m["h_loss"], m
    assert [x["layers"] for x in report["additivity"]] == [1, 2] and [x["layer"] for x in report["layers_alone"]] == [0, 2]
    assert [x["model"] for x in report["loops"]][0] == "intact" and len(report["loops"]) == 1 + 2 * 3
    assert [x["share"] for x in report["speed"]] == [0.125, 0.25]
    assert report["speed"][0]["bytes"] < report["speed"][1]["bytes"] < 0.2 * report["speed"][0]["fp32_bytes"]
    assert {"spectrum", "forecast", "weighted", "kl", "additivity", "loops"} <= {f["kind"] for f in report["findings"]}
    assert "peak memory" in (folder / "report/report.html").read_text() and "free continuations" in done.stdout
    assert (folder / "report/effects.png").stat().st_size > 10000
    expect_refusal(run("study", *SMALL, "--out", folder / "x", "--recipe", "lowrank", "--shares", 2), "--shares")


def case_protect_searches_on_one_half_of_the_items_and_judges_on_the_other(folder):
    few = ["--recipe", "protect", "--bits", "2.5", "--search-items", 60, "--confirmation-items", 120, "--evaluations", 16, "--random-sets", 0]
    done, report = study(folder, *few)
    assert [r["parameters"]["budget"] for r in report["rows"]] == [2.5] and report["rows"][0]["bits_per_weight"] <= 2.5
    assert [x["layer"] for x in report["layers"]] == [0, 2]
    assert report["sets"] and all(s["layers"] in ([0], [2]) and s["verdict"] == "undecidable at this N" for s in report["sets"])
    for s in report["sets"]:
        assert s["uniform_bits"] <= s["bits_per_weight"] and s["items_needed"] > 120, s
    for t in report["goodhart"]:
        assert t["both"] + t["only_understood"] + t["only_executed"] + t["neither"] == 120, t
    assert [t["arm"] for t in report["goodhart"]][:2] == ["intact", "uniform, 2.50 bits"], report["goodhart"]
    assert len(report["items"]) == 120 and len({i["id"] for i in report["items"]}) == 120
    words = [a["word"] for i in report["items"] for a in i["arms"] if a["arm"] == "intact"]
    assert words.count("PASS") == report["goodhart"][0]["both"] and words.count("GAP") == report["goodhart"][0]["only_understood"]
    assert {"headroom", "execution", "search", "set", "established"} <= {f["kind"] for f in report["findings"]}
    assert "what it says and what it does" in done.stdout and "protected sets" in done.stdout
    assert (folder / "report/effects.png").stat().st_size > 10000
    expect_refusal(run("study", *SMALL, "--out", folder / "x", "--recipe", "protect", "--items", folder / "none.jsonl"), "--items", "none.jsonl")
    (folder / "items.jsonl").write_text('{"id": "1", "kind": "U", "prompt": "which steps ?", "answer": "rises"}\n')
    expect_refusal(run("study", *SMALL, "--out", folder / "x", "--recipe", "protect", "--items", folder / "items.jsonl"), "item 1, execution", "no prompt")


def case_quantize_works_on_a_rotation_where_weights_lie_on_a_grid(folder):
    done, report = study(folder, "--recipe", "quantize", "--bits", "2", "--methods", "mse,gptq", "--rotate", "always")
    assert report["options"]["rotated_stream"] is True and report["options"]["matrices_on_a_grid"] == 0
    _, plain = study(folder, "--recipe", "quantize", "--bits", "2", "--methods", "mse,gptq", "--quiet")
    nll = [r["baseline"]["nll"]["value"] for r in (report, plain)]
    assert abs(nll[0] - nll[1]) < 1e-4 and report["rows"][0]["weight_error"] != plain["rows"][0]["weight_error"], nll


def on_a_grid(data):
    """The model with every matrix of layers 0 and 2 on 16 levels in groups of 32, as a file of Q4_1 has them."""
    start = 8 + struct.unpack("<Q", data[:8])[0]
    out = bytearray(data)
    for name, of in json.loads(data[8:start]).items():
        if not re.match(r"model\.layers\.[02]\.\w+\.\w+_proj\.weight", name):
            continue
        first, last = (start + x for x in of["data_offsets"])
        values = [x for (x,) in struct.iter_unpack("<e", data[first:last])]
        for at in range(0, len(values), 32):
            group = values[at:at + 32]
            step = 2.0 ** math.ceil(math.log2(max((max(group) - min(group)) / 15, 1e-6)))
            low = math.floor(min(group) / step) * step
            codes = [min(15, max(0, round((x - low) / step))) for x in group]
            codes[:2] = 0, 15  # both ends are met, as in a file that was quantized by min-max
            values[at:at + 32] = [low + step * c for c in codes]
        out[first:last] = struct.pack(f"<{len(values)}e", *values)
    return bytes(out)


def case_quantize_shows_how_a_stored_grid_would_have_looked_perfect(folder):
    model = spoiled_model(folder, on_a_grid)
    done, report = study(folder, "--recipe", "quantize", "--model", model, "--bits", "4", "--methods", "mse,gptq",
                         "--text", TINY / "heldout.txt", "--calibration", "rest")
    assert report["options"]["rotated_stream"] is True and report["options"]["matrices_on_a_grid"] == 14, report["options"]
    assert "the study works on a rotation of the residual stream" in done.stderr, done.stderr
    stored = {r["parameters"]["weights"]: r["metrics"]["kl"]["value"] for r in report["rows"] if r["table"] == "stored"}
    assert stored["as stored"] < 1e-9 < 1e-5 < stored["rotated"], stored
    assert any(f["kind"] == "on_grid" and "would look perfect" in f["text"] for f in report["findings"])


def case_inject_replaces_layers_and_probes_what_is_left(folder):
    few = ["--recipe", "inject", "--parts", "splice,skip,maps", "--spans", "1", "--positions", "1", "--probe-texts", 40]
    done, report = study(folder, *few)
    tables = {}
    for row in report["rows"]:
        tables.setdefault(row["table"], []).append(row)
    assert list(tables)[:2] == ["splice", "skip"] and {"identity", "affine", "cosine"} < set(tables), list(tables)
    assert all(r["metrics"]["kl"]["value"] == 0 and r["control"] for r in tables["splice"])
    span = report["least_angular"][0]
    affine, skip = tables["affine"][0], next(r for r in tables["skip"] if r["layers"] == tables["affine"][0]["layers"])
    assert span["layers"] == [affine["first"], affine["last"]]
    assert 0 < affine["fvu_splice"]["value"] < skip["fvu_splice"]["value"], (affine, skip)
    assert affine["metrics"]["kl"]["value"] < skip["metrics"]["kl"]["value"]
    assert abs(span["ratio"]["value"] - span["dlnppl_map"]["value"] / span["dlnppl_skip"]["value"]) < 1e-9
    probe = report["probe"]
    assert probe["intact"]["accuracy"]["n"] == 20 and 0 < probe["intact"]["majority"] < 1, probe
    assert all("probe_accuracy" in r for r in tables["skip"]) and "probe_accuracy" not in tables["splice"][0]
    assert "cost of plans" in done.stdout and "leave the outputs as they were" in done.stdout.replace("\n", " "), done.stdout
    assert (folder / "report/effects.png").stat().st_size > 10000
    lines = folder / "labels.jsonl"
    lines.write_text('{"text": "the fox", "label": "a"}\n{"text": "the"}\n')
    for arguments, words in [(["--parts", "melt"], ["--parts", "'melt'", "splice"]), (["--spans", 6], ["--spans", "6", "1 to 5"]),
                             (["--labels", folder / "none"], ["--labels"]), (["--labels", lines], ["--labels", "object 2", "label"])]:
        expect_refusal(run("study", *SMALL, "--out", folder / "x", "--recipe", "inject", *arguments), *words)


def case_sae_goes_on_after_a_kill_to_the_same_bytes_and_reports_what_it_trained(folder):
    some = ["--recipe", "sae", "--layers", "1,4", "--features", 64, "--k", 4, "--tokens", 16384, "--batch", 256, "--seeds", 2,
            "--held-out", 1000]
    done, report = study(folder, *some, "--quiet")
    files = lambda name: {p.name: p.read_bytes() for p in (folder / name / "checkpoints").iterdir()}
    whole = files("report")
    assert len(whole) == 6 and "site-001.seed-2.safetensors" in whole, list(whole)
    for attempt in range(10):  # on a busy machine a run may end before it is killed
        shutil.rmtree(folder / "killed", ignore_errors=True)
        killed = subprocess.Popen([BIN / "study", *SMALL, *map(str, some), "--out", folder / "killed", "--save-every", "0", "--quiet"])
        while not (folder / "killed/checkpoints/run.safetensors").exists() and killed.poll() is None:
            time.sleep(0.01)
        killed.kill()
        if killed.wait() != 0 and "site-000.seed-1.safetensors" not in files("killed"):
            break
    else:
        raise AssertionError("no run was killed before it ended")
    again = run("study", *SMALL, *some, "--out", folder / "killed")
    assert again.returncode == 0, again.stderr
    assert files("killed") == whole
    assert "training" in again.stdout and "train  4 topk autoencoders of 64 latents" in again.stdout, again.stdout

    site = report["autoencoders"][1]
    assert site["layer"] == 4 and site["site"] == "resid_post" and [t["seed"] for t in site["trained"]] == [1, 2]
    first = site["trained"][0]
    assert first["mean_latents"]["value"] == 4 and 0 < first["fvu"]["value"] < site["random"]["fvu"]["value"] < 1, site
    assert abs(first["explained_variance"]["value"] + first["fvu"]["value"] - 1) < 1e-12 and is_estimate(first["fvu"])
    assert site["random"]["ce_recovered_mean"]["value"] < first["ce_recovered_mean"]["value"] < 1
    assert site["seed_sd"]["fvu"] > 0 and len(site["mmcs_between_seeds"]) == 2 and site["mmcs_to_random"] < 1
    assert site["zero_output_fvu"] > 1 and (folder / "report" / first["file"]).exists()
    assert report["training_rows"]["kept"] > 16384 and report["training_rows"]["first_positions"] > 0
    tables = {r["table"] for r in report["rows"] if r.get("table")}
    assert {"sae", "random", "zero", "mean"} <= tables, tables
    kl = lambda table: next(r["metrics"]["kl"]["value"] for r in report["rows"] if r.get("table") == table and r["layers"] == [4])
    assert kl("sae") < kl("random") < kl("mean"), report["rows"]
    for arguments, words in [(["--features", 64, "--k", 65], ["--k", "65", "at most 64"]), (["--architecture", "melt"], ["--architecture", "'melt'", "jump_relu"]),
                             (["--sites", "melt"], ["--sites", "'melt'", "mlp_delta"]), (["--tokens", 16384, "--batch", 20000], ["--batch", "20000", "16384"])]:
        expect_refusal(run("study", *SMALL, "--recipe", "sae", "--out", folder / "x", *arguments), *words)
        assert not (folder / "x").exists()
    expect_refusal(run("study", *SMALL, *some, "--out", folder / "report", "--quiet", "--learning-rate", 0.1), "options of the checkpoint")
    assert files("report") == whole


def case_a_short_recipe_is_what_the_page_of_studies_shows(folder):
    page = (SOURCE / "docs/study.md").read_text()
    shown = re.search(r"^```c\+\+\n(recipe spans_recipe.*?)^```", page, re.S | re.M).group(1)
    assert shown.count("\n") <= 10, shown
    assert shown in (SOURCE / "examples/study/recipes/spans.cpp").read_text()
    assert re.search(r"\bspans_recipe\(\),", (SOURCE / "examples/study/recipes/recipes.cpp").read_text())


def case_calibration_is_what_was_asked_for(folder):
    skip_means = ["--alterations", "mean_delta", "--quiet"]
    _, own = study(folder, *skip_means)
    assert own["calibration"]["name"] == "tiny-calibration.txt" and own["calibration"]["tokens"] > 40000
    assert own["calibration"]["windows"] == 8 and own["calibration"]["clusters"] > 8
    _, rest = study(folder, *skip_means, "--calibration", "rest")
    assert rest["calibration"]["name"] == "heldout.txt" and rest["calibration"]["sha256"] != own["calibration"]["sha256"]
    _, same = study(folder, *skip_means, "--calibration", TINY / "heldout.txt")  # the evaluated text: what it leaves
    assert same["calibration"] == rest["calibration"] and same["rows"] == rest["rows"]
    other = folder / "other.txt"
    other.write_text("".join(LINES[::3]))  # documents of the evaluated text in another one
    _, apart = study(folder, *skip_means, "--calibration", other)
    assert apart["calibration"]["name"] == "other.txt"
    ids = folder / "some.i32"
    ids.write_bytes(struct.pack("<400i", *((7 * i * i + 3 * i) % 200 for i in range(400))))
    _, by_ids = study(folder, *skip_means, "--calibration", other, "--calibration-ids", ids)
    assert by_ids["calibration"]["tokens"] == 400
    expect_refusal(run("study", *SMALL, "--calibration-ids", ids, "--out", folder / "x"), "--calibration")
    evaluated = folder / "evaluated.txt"
    evaluated.write_text(LINES[0] * 3)
    expect_refusal(run("study", *SMALL, "--calibration", evaluated, "--out", folder / "x"), "calibration", "no stretch")
    _, none = study(folder, "--alterations", "skip", "--quiet")
    assert "calibration" not in none


def case_few_calibration_windows_are_said_to_be_few(folder):
    few = folder / "few.txt"
    few.write_text("".join(LINES[700:703]))
    done, report = study(folder, "--alterations", "mean_delta", "--calibration", few)
    assert report["calibration"]["windows"] < 8
    assert "note: calibration: " in done.stderr and "are few" in done.stderr, done.stderr
    assert f"calibration: few.txt, {report['calibration']['tokens']} tokens" in done.stdout
    many = run("study", "--sequences", 24, "--context", 16, "--layers", 1, "--alterations", "mean_delta", "--out", folder / "x")
    assert many.returncode == 0 and "are few" not in many.stderr, many.stderr


def case_several_texts_are_evaluated_as_one(folder):
    first, second = folder / "first.txt", folder / "second.txt"
    first.write_text("".join(LINES[:30]).rstrip("\n"))  # no newline at the end joins no documents
    second.write_text("".join(LINES[30:60]))
    texts = ["--alterations", "skip", "--quiet", "--text", first, "--text", second]
    _, both = study(folder, *texts)
    assert both["text"]["name"] == both["evaluation"]["name"] == "first.txt + second.txt"
    assert [p["name"] for p in both["text"]["parts"]] == ["first.txt", "second.txt"]
    assert sum(p["tokens"] for p in both["text"]["parts"]) == both["text"]["tokens"]
    whole = folder / "whole.txt"
    whole.write_text("".join(LINES[:60]))
    _, one = study(folder, "--alterations", "skip", "--quiet", "--text", whole)
    assert "parts" not in one["text"]
    assert both["text"]["ids_sha256"] == one["text"]["ids_sha256"] and both["rows"] == one["rows"]
    assert both["evaluation"]["clusters"] == one["evaluation"]["clusters"]
    ids = folder / "some.i32"
    ids.write_bytes(struct.pack("<400i", *((7 * i * i + 3 * i) % 200 for i in range(400))))
    expect_refusal(run("study", *SMALL, *texts, "--ids", ids, "--out", folder / "x"), "--ids", "1 file", "2, one a text")
    expect_refusal(run("study", *SMALL, *texts, "--text", folder / "gone", "--out", folder / "x"), "gone")
    draw, mixed = random.Random(1), [folder / "first.i32", folder / "second.i32"]
    for path in mixed:
        path.write_bytes(struct.pack("<400i", *(draw.randrange(200) for _ in range(400))))
    _, by_ids = study(folder, *texts, "--ids", mixed[0], "--ids", mixed[1])
    assert by_ids["text"]["tokens"] == 800 and by_ids["evaluation"]["clusters"] == 8


def corpus(folder, *arguments):
    done = subprocess.run([sys.executable, CORPUS, *map(str, arguments)], capture_output=True, text=True, cwd=folder)
    return done


def case_the_corpus_deals_documents_to_roles(folder):
    sys.path.insert(0, str(TINY))
    from corpus import chain_held_out, document_held_out

    texts = {}
    for role in ("calibration", "selection", "train"):
        for seed in (1, 2):
            out = folder / f"{role}{seed}.txt"
            done = corpus(folder, "--role", role, "--out", out, "--documents", 300, "--seed", seed)
            assert done.returncode == 0, done.stderr
            texts[role, seed] = out.read_text().splitlines()
    assert all(len(t) == 300 == len(set(t)) for t in texts.values())
    assert texts["train", 1] != texts["train", 2]
    roles = {role: set(texts[role, 1]) | set(texts[role, 2]) for role, _ in texts}
    assert not roles["calibration"] & roles["selection"] | roles["calibration"] & roles["train"] | roles["selection"] & roles["train"]
    held_out = set((TINY / "heldout.txt").read_text().splitlines())
    words = set((TINY / "vocab.txt").read_text().split())
    kinds = {}
    for document in set().union(*roles.values()):
        first, *rest = document.split()
        kinds[first] = kinds.get(first, 0) + 1
        assert document not in held_out and words.issuperset(rest)
        if first != "game":
            assert not document_held_out(document.split()), document
            continue
        who, start, steps = re.search(r"which steps did (\w+) take \? (.*?) \.|$", document), None, None
        if who and who.group(1):  # the chain that is asked about
            steps = tuple(who.group(2).split())
            start = int(re.search(rf"{who.group(1)} (\d+)", document).group(1))
            assert not chain_held_out(start, steps), document
    assert set(kinds) == {"note", "tale", "game"} and min(kinds.values()) > 100, kinds
    again = folder / "again.txt"
    corpus(folder, "--role", "train", "--out", again, "--documents", 300, "--seed", 1)
    assert again.read_text().splitlines() == texts["train", 1]
    assert corpus(folder, "--role", "melt", "--out", again).returncode == 2
    assert corpus(folder, "--role", "train", "--out", again, "--documents", 0).returncode == 2
    assert sorted(p.name for p in folder.iterdir()) == sorted([f"{r}{s}.txt" for r, s in texts] + ["again.txt"])


def case_the_corpus_writes_the_files_that_are_kept(folder):
    assert corpus(folder, "--out", folder).returncode == 0
    for name in ("vocab.txt", "heldout.txt", "items.jsonl"):
        assert (folder / name).read_bytes() == (TINY / name).read_bytes(), name


def prepare(folder, *arguments):
    """What prepare.py starts a program with: its arguments as JSON, or what it says."""
    program = folder / "study"
    if not program.exists():
        program.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
        program.chmod(0o755)
    done = subprocess.run([sys.executable, PREPARE, "--build", folder / "build", "--cache", folder / "cache", program,
                           *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return json.loads(done.stdout) if done.returncode == 0 else done


def case_prepare_hands_over_what_needs_nothing(folder):
    def packages(*arguments):
        return subprocess.run([sys.executable, PREPARE, "--packages", *arguments], capture_output=True, text=True).stdout

    given = ["--model", "tiny", "--text", "it's a text", "--calibration=rest", "--layers", "0-3"]
    assert prepare(folder, *given) == ["--model", "tiny", "--text", "it's a text", "--calibration", "rest", "--layers", "0-3",
                                       "--command", """./run study --model tiny --text 'it'"'"'s a text' --calibration=rest --layers 0-3"""]
    assert prepare(folder, "--command", "mine") == ["--command", "mine"]
    assert prepare(folder, "--model", "m.gguf", "--help") == ["--model", "m.gguf", "--help"]
    expect_refusal(prepare(folder, "--model", "gone.gguf"), "gone.gguf", "GGUF")
    assert "python3-venv" in packages("--model=smollm2") and not packages("--model", "tiny").strip()
    assert not packages("--model", "smollm2", "--help").strip()
    assert not (folder / "build").exists() and not (folder / "cache").exists()


def case_prepare_finds_the_ids_of_every_text(folder):
    model = folder / "m.gguf"
    model.write_bytes(b"GGUF")
    tokenizer = (SOURCE / "examples/study/python/tokenize_gguf.py").read_bytes()
    of_model = hashlib.sha256(b"GGUF" + tokenizer).hexdigest()[:16]
    (folder / "cache/ids").mkdir(parents=True)

    def ids(text):  # as if they had been made before
        path = folder / "cache/ids" / f"{hashlib.sha256(text.read_bytes()).hexdigest()[:16]}-{of_model}.i32"
        path.touch()
        return str(path)

    a, b, c = folder / "a", folder / "b", folder / "c"
    for path in (a, b, c):
        path.write_text(path.name)
    wanted = ["--model", str(model), "--text", str(a), "--text", str(b), "--calibration", str(c), "--selection", "rest",
              "--command", "x", "--ids", ids(a), "--ids", ids(b), "--calibration-ids", ids(c)]
    assert prepare(folder, "--model", model, "--text", a, "--text", b, "--calibration", c, "--selection", "rest", "--command",
                   "x") == wanted
    passage = SOURCE / "examples/study/passage.txt"
    own = ids(passage)
    assert prepare(folder, f"--model={model}", "--command=x") == ["--model", str(model), "--command=x", "--text", str(passage),
                                                                "--ids", own]
    assert prepare(folder, "--model", model, "--ids", a, "--command", "x") == ["--model", str(model), "--ids", str(a),
                                                                             "--command", "x"]
    expect_refusal(prepare(folder, "--model", model, "--text", folder / "gone"), "gone", "readable")


if __name__ == "__main__":
    main(globals())
