# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`perplexity` and `kl_divergence`, against figures worked out here. Usage: see support.py."""
import json
import math
import shutil
import struct
import sys
from array import array

sys.dont_write_bytecode = True
from support import TINY, expect_refusal, main, run, spoiled_model  # noqa: E402


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


def case_perplexity_reads_the_same_text_as_study_where_none_is_named(folder):
    given = ["--chunks", 2, "--context", 32]
    named = run("perplexity", *given, "--text", TINY / "heldout.txt", "--json", folder / "a")
    own = run("perplexity", *given, "--json", folder / "b")
    assert named.returncode == own.returncode == 0, own.stderr
    assert json.loads((folder / "a").read_text())["ppl"] == json.loads((folder / "b").read_text())["ppl"]
    shutil.copytree(TINY, folder / "model")
    (folder / "model/heldout.txt").unlink()
    expect_refusal(run("perplexity", *given, "--model", folder / "model"), "--text", "heldout.txt")


def sixteen_bits(logits):
    """Logits of one position as llama-perplexity stores them: its bytes, and ln p as a reader finds it."""
    top, low = max(logits), max(min(logits), max(logits) - 16)
    lse = top + math.log(sum(math.exp(x - top) for x in logits))
    scale, offset = struct.unpack("<2f", struct.pack("<2f", (top - low) / 65535, low - lse))
    codes = [round((x - low) / scale) if x > low else 0 for x in logits]
    return struct.pack("<2f", scale, offset) + struct.pack(f"<{len(codes)}H", *codes), [scale * c + offset for c in codes]


def logits_of(folder, model, first, count, vocabulary):
    """Logits of `count` positions of ids.i32, from position `first` on, which is run as position 0."""
    assert run("logits", "--model", model, "--ids", folder / "ids.i32", "--first", first, "--count", count, "--out",
               folder / "logits.f32").returncode == 0
    values = struct.unpack(f"<{count * vocabulary}f", (folder / "logits.f32").read_bytes())
    return [values[i:i + vocabulary] for i in range(0, len(values), vocabulary)]


def with_rounded_matrices(data, bits):
    """The model with every matrix of its layers as float32, rounded to `bits` bits a row: s = max |w|/(2^(bits-1) - 1)."""
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header, body, at = {}, b"", 0
    for name, told in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        first, last = (start + x for x in told["data_offsets"])
        values = data[first:last]
        if len(told["shape"]) == 2 and "layers" in name:
            kind = {"F16": "e", "F32": "f"}[told["dtype"]]
            w = [x[0] for x in struct.iter_unpack("<" + kind, values)]
            rounded, cols = array("f"), told["shape"][1]
            for r in range(0, len(w), cols):
                row = w[r:r + cols]
                s = array("f", [max(map(abs, row)) / (2 ** (bits - 1) - 1)])[0]
                rounded.extend(round(x) * s for x in array("f", [x / s for x in row]))
            told, values = {**told, "dtype": "F32"}, rounded.tobytes()
        header[name] = {**told, "data_offsets": [at, at + len(values)]}
        body, at = body + values, at + len(values)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + body


def case_kl_of_a_rounded_model_has_a_median_and_a_maximum_though_tokens_are_below_0(folder):
    """Expected values: of an independent forward pass in float64."""
    vocabulary, context, chunks, bits = 224, 64, 12, 4
    words = {w: i for i, w in enumerate((TINY / "vocab.txt").read_text().split("\n"))}
    ids = []
    for line in (TINY / "heldout.txt").read_text().splitlines():
        ids += [words["<doc>"]] + [words[w] for w in line.split()]
    ids = ids[:chunks * context]
    (folder / "ids.i32").write_bytes(struct.pack(f"<{len(ids)}i", *ids))
    data = b"_logits_" + struct.pack("<3i", context, vocabulary, chunks) + struct.pack(f"<{len(ids)}i", *ids)
    model = spoiled_model(folder, lambda weights: with_rounded_matrices(weights, bits))
    kl = []
    for chunk in range(chunks):
        intact, rounded = (logits_of(folder, m, chunk * context, context, vocabulary)[context // 2:-1]
                           for m in ("tiny", model))
        for row, q in zip(intact, rounded):
            stored, lp = sixteen_bits(row)
            data += stored
            lse = max(q) + math.log(sum(math.exp(x - max(q)) for x in q))
            kl.append(sum(math.exp(p) * (p - (x - lse)) for p, x in zip(lp, q) if p > -16))
    (folder / "tiny.kld").write_bytes(data)
    done = run("kl_divergence", "--model", model, "--base", folder / "tiny.kld", "--json", folder / "kl.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "kl.json").read_text())
    # quantiles are to within 1/64 of themselves, the maximum is exact
    for name, wanted, within in (("kl_median", 0.001650, 1 / 64), ("kl_p99", 0.151621, 1 / 64), ("kl_max", 6.636164, 1e-5)):
        assert abs(result[name] - wanted) <= within * wanted, (name, result[name], wanted)
    assert min(kl) < 0 and abs(result["kl"] - sum(kl) / len(kl)) < 1e-6, (min(kl), result["kl"], sum(kl) / len(kl))


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


def case_kl_divergence_prints_the_floor_of_the_stored_form(folder):
    """A model against its own logits, stored in 16 bits here: its KL is the floor, and tokens may have one below 0."""
    vocabulary, context, chunks = 224, 12, 3
    ids = [(7 * i * i + 3 * i) % 200 for i in range(context * chunks)]
    (folder / "ids.i32").write_bytes(struct.pack(f"<{len(ids)}i", *ids))
    data, kl = b"_logits_" + struct.pack("<3i", context, vocabulary, chunks) + struct.pack(f"<{len(ids)}i", *ids), []
    for chunk in range(chunks):
        assert run("logits", "--model", "tiny", "--ids", folder / "ids.i32", "--first", chunk * context, "--count", context,
                   "--out", folder / "logits.f32").returncode == 0
        logits = struct.unpack(f"<{context * vocabulary}f", (folder / "logits.f32").read_bytes())
        for at in range(context // 2, context - 1):
            q = logits[at * vocabulary:(at + 1) * vocabulary]
            stored, lp = sixteen_bits(q)
            data += stored
            lse = max(q) + math.log(sum(math.exp(x - max(q)) for x in q))
            kl.append(sum(math.exp(p) * (p - (x - lse)) for p, x in zip(lp, q) if p > -16))
    (folder / "own.kld").write_bytes(data)
    done = run("kl_divergence", "--model", "tiny", "--base", folder / "own.kld", "--json", folder / "kl.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "kl.json").read_text())
    assert any(x < 0 for x in kl) and "floor of KL" in done.stdout
    for name, wanted, within in (("kl", sum(kl) / len(kl), 2e-6), ("kl_floor", sum(kl) / len(kl), 2e-6), ("kl_floor_max", max(kl), 1e-5)):
        assert abs(result[name] - wanted) < within, (name, result[name], wanted)
    assert max(kl) > 2e-5, kl  # so that the comparison says something


if __name__ == "__main__":
    main(globals())
