# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How programs read a text: its BOS, the form of its ids, copies in it. Figures are worked out here (little_llama.py).
Usage: see support.py."""
import json
import re
import struct
import sys

sys.dont_write_bytecode = True
from little_llama import LittleLlama, perplexity, without_pattern  # noqa: E402
from support import SOURCE, TINY, expect_refusal, main, run, study  # noqa: E402

BOS, CONTEXT, VOCABULARY = 1, 16, 61
PYTHON = SOURCE / "examples/study/python"
LINES = (TINY / "heldout.txt").read_text().splitlines(keepends=True)


def write_ids(path, ids, form="<{}i"):
    path.write_bytes(struct.pack(form.format(len(ids)), *ids))
    return path


def npy(kind, ids):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({len(ids)},), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    code = {"<i8": "q", "<i4": "i", "<u2": "H"}[kind]
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(ids)}{code}", *ids)


def measured(folder, model, ids, *more):
    done = run("perplexity", "--model", model, "--ids", ids, "--context", CONTEXT, "--threads", 1, "--json", folder / "ppl", *more)
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / "ppl").read_text())


def near(got, wanted):
    return abs(got / wanted - 1) < 2e-5  # the runtime computes in fp32


def case_perplexity_puts_a_bos_before_the_text_and_over_the_first_id_of_each_chunk(folder):
    model = LittleLlama(VOCABULARY, 3)
    ids = without_pattern(6 * CONTEXT - 1, VOCABULARY, 4)  # with the BOS they fill six chunks, without it five
    path = write_ids(folder / "ids.i32", ids)
    for add in (True, False):
        model.write_gguf(folder / "m.gguf", tokenizer__ggml__model="gpt2", tokenizer__ggml__pre="smollm",
                         tokenizer__ggml__bos_token_id=BOS, tokenizer__ggml__add_bos_token=add)
        done, got = measured(folder, folder / "m.gguf", path)
        wanted, chunks = perplexity(model, ids, CONTEXT, BOS if add else None)
        assert chunks == got["chunks"] == (6 if add else 5) and near(got["ppl"], wanted), (got, wanted)
        assert got["bos"] is add and got["bos_id"] == (BOS if add else None)
        assert got["bos_rule"] == f"tokenizer.ggml.add_bos_token is {'true' if add else 'false'}"
        said = f"begin of text: id {BOS}, before the text and in the place" if add else "begin of text: none ("
        assert said in done.stdout and got["bos_rule"] in done.stdout, done.stdout
        others = [perplexity(model, ids, CONTEXT), perplexity(model, [*ids, 5], CONTEXT, BOS)]
        assert not near(got["ppl"], others[0][0]) or not add  # the BOS matters here
    # ids that begin with the BOS already get no second one
    model.write_gguf(folder / "m.gguf", tokenizer__ggml__model="llama", tokenizer__ggml__bos_token_id=BOS)
    done, twice = measured(folder, folder / "m.gguf", write_ids(folder / "bos.i32", [BOS, *ids]))
    assert near(twice["ppl"], perplexity(model, ids, CONTEXT, BOS)[0]) and twice["chunks"] == 6
    assert "bos.i32 begins with the BOS (id 1) already" in done.stderr, done.stderr


def case_one_model_in_every_format_has_one_bos_and_one_perplexity(folder):
    model = LittleLlama(VOCABULARY, 5)
    ids = without_pattern(5 * CONTEXT, VOCABULARY, 6)
    path = write_ids(folder / "ids.i32", ids)
    kinds = {"llama": {"tokenizer__ggml__model": "llama"}}
    for pre in ("llama-bpe", "tekken", "falcon3", "smollm"):
        kinds[pre] = {"tokenizer__ggml__model": "gpt2", "tokenizer__ggml__pre": pre}
    for name, keys in kinds.items():
        model.write_gguf(folder / f"{name}.gguf", tokenizer__ggml__bos_token_id=BOS, **keys)
    fast = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [BOS]}}}
    model.write_folder(folder / "slow", BOS, tokenizer_config={"tokenizer_class": "LlamaTokenizer"})
    model.write_folder(folder / "fast", BOS, tokenizer_config=fast,
                       tokenizer={"post_processor": {"type": "Sequence", "processors": [template]}, "model": {"type": "BPE"}})
    model.write_folder(folder / "listed", [BOS], tokenizer_config={"add_bos_token": True})
    model.write_folder(folder / "plain", BOS, tokenizer_config=fast, tokenizer={"post_processor": None})
    with_bos, without = perplexity(model, ids, CONTEXT, BOS)[0], perplexity(model, ids, CONTEXT)[0]
    assert not near(with_bos, without)
    rules = {}
    for name in ("llama.gguf", "llama-bpe.gguf", "tekken.gguf", "falcon3.gguf", "smollm.gguf", "slow", "fast", "listed", "plain"):
        _, got = measured(folder, folder / name, path)
        none = name in ("smollm.gguf", "plain")
        assert got["bos_id"] == (None if none else BOS) and near(got["ppl"], without if none else with_bos), (name, got)
        rules[name] = got["bos_rule"]
    assert "tekken" in rules["tekken.gguf"] and "post-processor" in rules["fast"] and "LlamaTokenizer" in rules["slow"], rules


def case_study_says_and_stores_the_bos_and_diff_names_it(folder):
    model = LittleLlama(VOCABULARY, 7)
    path = write_ids(folder / "ids.i32", without_pattern(600, VOCABULARY, 8))
    given = ["--ids", path, "--alterations", "skip", "--sequences", 8, "--context", 16, "--out"]
    for name, add in (("a", True), ("b", False)):
        model.write_gguf(folder / f"{name}.gguf", tokenizer__ggml__model="gpt2", tokenizer__ggml__bos_token_id=BOS,
                         tokenizer__ggml__add_bos_token=add)
        done = run("study", "--model", folder / f"{name}.gguf", *given, folder / name)
        assert done.returncode == 0, done.stderr
        report = json.loads((folder / name / "report.json").read_text())
        bos = report["rules"]["bos"]
        assert bos["id"] == (BOS if add else None) and "tokenizer.ggml.add_bos_token is" in bos["rule"], bos
        said = re.search(r"^begin  (.*\n(?:       .*\n)*?)text   ", done.stdout, re.M).group(1)
        assert said.startswith("id 1: tokenizer.ggml" if add else "none: tokenizer.ggml"), done.stdout
        assert bos["rule"].split(";")[0] in (folder / name / "report.html").read_text()
    done = run("diff", folder / "a", folder / "b", "--json", folder / "d.json")
    assert done.returncode == 0, done.stderr
    assert "note: begin of text (BOS): in A id 1" in done.stdout, done.stdout
    d = json.loads((folder / "d.json").read_text())
    assert d["a"]["bos"]["id"] == BOS and d["b"]["bos"]["id"] is None
    assert any("begin of text" in note for note in d["notes"]) and d["rows"]


def case_ids_are_read_as_what_they_are_or_refused(folder):
    ids = without_pattern(5 * CONTEXT, VOCABULARY, 9)
    model = folder / "m.gguf"
    LittleLlama(VOCABULARY, 10).write_gguf(model)
    wanted = measured(folder, model, write_ids(folder / "ids.i32", ids))[1]["ppl"]
    for kind in ("<i4", "<i8", "<u2"):
        (folder / "ids.npy").write_bytes(npy(kind, ids))
        assert measured(folder, model, folder / "ids.npy")[1]["ppl"] == wanted, kind
    for name, form, why in (("i64", "<{}q", "int64"), ("u16", "<{}H", "uint16"), ("big", ">{}i", "big-endian")):
        bad = write_ids(folder / name, ids, form)
        for program in (["perplexity"], ["study", "--out", folder / "x"], ["logits", "--out", folder / "y"]):
            expect_refusal(run(*program, "--model", model, "--ids", bad), str(bad), f"what looks like {why}", ".npy")
        expect_refusal(run("study", "--model", model, "--ids", folder / "ids.i32", "--calibration", bad, "--calibration-ids",
                           bad, "--sequences", 2, "--context", 8, "--out", folder / "x"), f"what looks like {why}")
    text = folder / "ids.txt"
    text.write_text(" ".join(map(str, ids)))
    expect_refusal(run("perplexity", "--model", model, "--ids", text), "what looks like text")
    (folder / "f.npy").write_bytes(npy("<i4", ids).replace(b"<i4", b"<f4"))
    expect_refusal(run("perplexity", "--model", model, "--ids", folder / "f.npy"), "an array of f32", "integers")
    # reports of one text are compared, whatever files its ids came from
    for name, file in (("a", "ids.i32"), ("b", "ids.npy")):
        done = run("study", "--model", model, "--ids", folder / file, "--sequences", 8, "--context", 8, "--alterations", "skip",
                   "--out", folder / name, "--quiet")
        assert done.returncode == 0, done.stderr
    done = run("diff", folder / "a", folder / "b")
    assert done.returncode == 0 and "note: text: another file in B than in A, with the same token ids" in done.stdout, done


def case_a_newline_at_the_end_of_a_prompt_file_is_dropped_as_llama_cpp_does(folder):
    sys.path.insert(0, str(PYTHON))
    import prepare
    import tokenize_gguf

    texts = {name: folder / name for name in ("text", "tail", "two", "crlf")}
    for name, end in (("text", b""), ("tail", b"\n"), ("two", b"\n\n"), ("crlf", b"\r\n")):
        texts[name].write_bytes(b"Once upon a time" + end)
    read = {name: tokenize_gguf.read_text(str(path), True) for name, path in texts.items()}
    assert read == {"text": "Once upon a time", "tail": "Once upon a time", "two": "Once upon a time\n",
                    "crlf": "Once upon a time\r"}, read
    assert tokenize_gguf.read_text(str(texts["tail"]), False).endswith("\n")
    asked = []
    prepare.python_with_packages = lambda build: "python"
    prepare.run = lambda command, what: asked.append([str(c) for c in command]) or "said"
    prepare.say = lambda text: None
    (folder / "m.gguf").write_bytes(b"GGUF")
    files = {}
    for program in ("perplexity", "study"):
        for name, path in texts.items():
            given = prepare.prepared(program, ["--model", str(folder / "m.gguf"), "--text", str(path)], folder / "build", folder)
            files[program, name] = given[given.index("--ids") + 1]
            assert ("--drop-last-newline" in asked[-1]) == (program == "perplexity" and name != "text"), asked[-1]
    assert files["perplexity", "tail"] != files["study", "tail"] and files["perplexity", "text"] == files["study", "text"]


def case_copies_in_a_text_are_one_cluster_and_are_not_calibrated_on(folder):
    some = folder / "some.txt"
    some.write_text("".join(LINES[:60]))
    reports = []
    for sequences, texts in ((12, ["--text", some]), (40, ["--text", some] * 4)):
        done = run("study", "--alterations", "mean_delta", "--sequences", sequences, "--context", 16, "--layers", "0",
                   "--calibration", "rest", "--quiet", "--out", folder / "x", *texts)
        assert done.returncode == 0, done.stderr
        reports.append(json.loads((folder / "x/report.json").read_text()))
    once, many = (r["evaluation"] for r in reports)
    assert once["clusters"] > 12 and 12 < many["clusters"] <= 60 - 1, (once, many)
    assert all(e["n_clusters"] == many["clusters"] for e in reports[1]["rows"][0]["metrics"].values())
    # a text that holds evaluated documents, under another name: what it shares is left out, and said; nothing else is there
    whole, copy = folder / "whole.txt", folder / "copy.txt"
    whole.write_text("".join(LINES[:400]))
    copy.write_text("".join(LINES[200:600]))
    done, _ = study(folder, "--alterations", "mean_delta", "--text", whole, "--calibration", copy)
    assert re.search(r"calibration: copy.txt, [\d,]+ tokens \([\d,]+ of them evaluated or used, left out\)", done.stdout), done.stdout
    first = folder / "first.txt"
    first.write_text("".join(LINES[:1]))
    expect_refusal(run("study", "--text", whole, "--calibration", first, "--sequences", 8, "--context", 16, "--out",
                       folder / "x"), "calibration", "no stretch")
    # chunks of a perplexity
    path = write_ids(folder / "ids.i32", without_pattern(8 * CONTEXT, VOCABULARY, 11) * 2)
    LittleLlama(VOCABULARY, 10).write_gguf(folder / "m.gguf")
    done, got = measured(folder, folder / "m.gguf", path)
    assert got["chunks"] == 16 and got["clusters"] == 8 and "16 chunks of 16 (8 clusters" in done.stdout, done.stdout


def case_every_table_prints_its_floor(folder):
    done, report = study(folder, "--recipe", "compress", "--quantize", 4)
    floor, of = report["floor"], report["floor_of_kl"]
    assert isinstance(floor, float) and 0 <= floor < 1e-6 and floor == of["mean"] <= of["max"] < 1e-4, of
    assert [p["pass"] for p in of["passes"]] == ["one sequence at a time", "with a cache", "in whole passes"]
    assert floor == max(p["mean"] for p in of["passes"]) and of["max"] == max(p["max"] for p in of["passes"])
    tables = len(re.findall("rank  ", done.stdout))
    assert tables == 1 and len(re.findall("^  floor of KL: ", done.stdout, re.M)) == tables, done.stdout
    done, report = study(folder)
    assert len(report["tables"]) == 4 == len(re.findall("^  floor of KL: ", done.stdout, re.M)), done.stdout
    assert (folder / "report/report.html").read_text().count('<p class="note">Floor of KL: ') == 4
    done = run("diff", folder / "report", folder / "report")
    assert len(re.findall("^  floor of KL, nats: ", done.stdout, re.M)) == 4, done.stdout


if __name__ == "__main__":
    main(globals())
