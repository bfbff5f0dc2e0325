# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The short programs of docs/examples.md. Usage: see support.py."""
import re
import subprocess
import sys

sys.dont_write_bytecode = True
from support import BIN, SOURCE, TINY, expect_refusal, main, spoiled_model, with_halved_matrix  # noqa: E402


def example(name, *arguments):
    """What a short program prints, run from the repository's folder as docs/examples.md says."""
    source = (SOURCE / "examples/short" / f"{name}.cpp").read_text()
    assert source.count("\n") <= 60, "short programs have at most 60 lines"
    done = subprocess.run([BIN / "short" / name, *map(str, arguments)], capture_output=True, text=True, cwd=SOURCE)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


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


def case_short_activation_patching(folder):
    lines = example("activation_patching").splitlines()
    assert len(lines) == 16, lines
    shares = [numbers(line[7:])[::3] for line in lines]
    for line in lines:
        cells = numbers(line[7:])
        assert all(low <= mean <= high for mean, low, high in zip(cells[::3], cells[1::3], cells[2::3])), line
    # the step is where it stands, and at the end where it is asked for; nothing is recovered before it
    assert shares[6][0] > 0.8 > 0.1 > shares[6][-1] and shares[-1][-1] == 1, (shares[6], shares[-1])
    assert all(share == 0 for row in shares[:6] for share in row), shares[:6]


def case_short_drop_layers(folder):
    rows = [numbers(line.split("perplexity")[1]) for line in example("drop_layers").splitlines()]
    assert len(rows) == 5 and all(low < ratio < high and kl_low < kl < kl_high for ratio, low, high, kl, kl_low, kl_high in rows), rows
    assert [r[0] for r in rows] == sorted(r[0] for r in rows) and 1 < rows[0][0] < 1.2, rows


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


def case_short_programs_say_what_is_missing(folder):
    for name in ("skip_a_layer", "own_operator", "watch_norms", "quantize_a_matrix"):
        done = subprocess.run([BIN / "short" / name], capture_output=True, text=True, cwd=folder)
        expect_refusal(done, name, "examples/models/tiny")


if __name__ == "__main__":
    main(globals())
