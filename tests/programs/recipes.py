# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recipes of `study`, the texts that they ask for, and how ./run prepares them. Usage: see support.py."""
import hashlib
import json
import re
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
from support import SMALL, SOURCE, TINY, expect_refusal, main, run, study  # noqa: E402

CORPUS = TINY / "corpus.py"
PREPARE = SOURCE / "examples/study/python/prepare.py"
LINES = (TINY / "heldout.txt").read_text().splitlines(keepends=True)


def case_recipes_are_listed_and_an_unknown_one_is_refused_with_the_list(folder):
    done = run("study", "--recipe", "list")
    assert done.returncode == 0
    names = re.findall(r"^  (\w+)  ", done.stdout, re.M)
    assert names[:2] == ["sensitivity", "compression"] and "spans" in names, names
    assert all(f"  {name}  " in run("study", "--help").stdout for name in names)
    expect_refusal(run("study", "--recipe", "melt", "--out", folder / "x"), "--recipe", "'melt'", ", ".join(names))
    expect_refusal(run("study", "--recipe=melt"), "--recipe", "'melt'")
    expect_refusal(run("study", "--recipe"), "--recipe")
    for option in (["--recipe", "compression"], ["--recipe=compression"]):
        said = run("study", *option, "--help").stdout
        assert "--quantize" in said and "--alterations" not in said and "study/compression" in said, said
    said = run("study", "--help").stdout
    assert "--quantize" not in said and "--alterations" in said and re.search("--out TEXT=.*/study$", said, re.M), said


def case_an_option_of_another_recipe_is_refused_with_its_name(folder):
    for arguments, words in [
        (["--quantize", 4], ["--quantize", "compression", "sensitivity"]),
        (["--low-rank=4"], ["--low-rank", "compression"]),
        (["--recipe", "compression", "--alterations", "skip"], ["--alterations", "sensitivity", "compression"]),
        (["--recipe", "spans", "--calibration", "rest"], ["--calibration", "sensitivity and compression", "spans"]),
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


def case_a_short_recipe_is_what_the_page_of_studies_shows(folder):
    page = (SOURCE / "docs/study.md").read_text()
    shown = re.search(r"^```c\+\+\n(recipe spans_recipe.*?)^```", page, re.S | re.M).group(1)
    assert shown.count("\n") <= 10, shown
    assert shown in (SOURCE / "examples/study/recipes/spans.cpp").read_text()
    assert "      spans_recipe(),\n" in (SOURCE / "examples/study/recipes/recipes.cpp").read_text()


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
    _, by_ids = study(folder, *texts, "--ids", ids, "--ids", ids)
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
