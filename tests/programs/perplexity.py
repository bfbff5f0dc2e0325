# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`perplexity` and `kl_divergence`, against figures worked out here. Usage: see support.py."""
import json
import math
import shutil
import struct
import sys

sys.dont_write_bytecode = True
from support import TINY, expect_refusal, main, run  # noqa: E402


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


if __name__ == "__main__":
    main(globals())
