# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where programs write, and what they say where they cannot. Usage: see support.py."""
import json
import os
import shutil
import stat
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
from support import BIN, SMALL, SOURCE, TINY, expect_refusal, main, run  # noqa: E402


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


def case_output_that_nobody_gets_is_a_failure(folder):
    small = ["--sequences", "8", "--context", "16", "--layers", "1", "--alterations", "skip"]
    assert run("study", *small, "--quiet", "--out", folder / "a").returncode == 0
    for program, *arguments in [("study", *small, "--out", folder / "b"), ("diff", folder / "a", folder / "a"),
                                ("perplexity", "--chunks", 1, "--context", 64), ("diff", "--help"), ("short/skip_a_layer",),
                                ("short/own_operator",), ("short/watch_norms",), ("short/quantize_a_matrix",),
                                ("short/activation_patching",), ("short/drop_layers",),
                                ("short/compare_two_models", TINY, TINY)]:
        with open("/dev/full", "w") as full:
            done = subprocess.run([BIN / program, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True,
                                  stdin=subprocess.DEVNULL, cwd=SOURCE)
        assert done.returncode == 2, (program, done.returncode, done.stderr)


def case_help_lists_the_options(folder):
    for program in ("study", "perplexity"):
        done = run(program, "--help")
        assert done.returncode == 0
        for option in ("--model", "--text", "--context", "--threads"):
            assert option in done.stdout, (program, option)
    done = run("diff", "--help")
    assert done.returncode == 0 and "--json" in done.stdout and "report.json" in done.stdout


if __name__ == "__main__":
    main(globals())
