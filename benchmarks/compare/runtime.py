#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares the examples' runtime with llama.cpp and PyTorch on SmolLM2-135M, in one run.

    python3 benchmarks/compare/runtime.py --build-dir build --cache DIR --text FILE [--chunks 32] [--context 512]
        [--bin-dir build/bin] [--threads 2] [--rounds 5]

Every program runs the same file: an F32 GGUF that llama-quantize makes from the Q4_1 one, so no side quantizes and
llama.cpp computes in fp32 (KV cache in F32, no flash attention; its other settings are its defaults).

    perplexity   llama-perplexity against `perplexity`: chunks of `context` ids, the second half of each is scored.
                 Bar: relative difference <= 1e-4. llama-perplexity prints four decimals; a difference below what they
                 can show counts as half their last digit.
    logits       the first 64 positions, against the PyTorch forward in this file (fp32): largest over rows of
                 |difference| / |reference - its mean|. Bar: <= 1e-3. Beside it the distance of PyTorch's fp32 from
                 the same forward in fp64.
    prefill      512 ids, tokens a second, processes alternating in rounds: llama-batched-bench with a KV cache in F32
                 against `prefill_bench`. Bar: ratio of medians >= 0.9. Both compute the head for the last position
                 only, and both leave their first pass of 512 out.
                 Beside it, without a bar, llama-bench with its KV cache in F16: it is the peer's usual benchmark, but
                 it accepts no F32 cache (llama-cpp-python 0.3.36), so it does not run at the same precision.

Speed is judged on a quiet machine only. ggml's threads wait by spinning, so work beside it slows it far more than in
proportion and the ratio would flatter resect: when other processes take more than a tenth of the cores in any round,
the ratio is printed, the bar is not applied (null) and the note says so.

Writes build/compare/runtime.json: {schema, machine, rows [{name, unit, resect, peer, peer_name, peer_version, ratio, bar,
runs, spread, note}]}. A bar is met when ratio >= bar. Where the bar limits a difference, `resect` is that difference,
`peer` is null, `ratio` is the limit divided by the difference, and the bar is 1. Spread is (largest - smallest) / median
over the runs, one figure a side.

Exit status: 0 when everything ran, whether or not the bars are met; 1 with one line when something could not run. What
can run without the missing part does, and is written.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import Failed, Others, QUIET, finish, positive, row, run, say  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
STUDY = os.path.join(ROOT, "examples", "study", "python")

PERPLEXITY_LIMIT = 1e-4
LOGITS_LIMIT = 1e-3
PREFILL_BAR = 0.9
LOGIT_ROWS = 64
PREFILL_TOKENS = 512


# ---- our programs -----------------------------------------------------------------------------------------------

class Programs:
    """Our binaries; a missing one is remembered, so that the other parts can run."""

    def __init__(self, folder):
        self.folder = folder
        self.missing = []

    def find(self, name):
        path = os.path.join(self.folder, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
        if path not in self.missing:
            self.missing.append(path)
            say(f"{path} is missing: build the examples first; going on without it")
        return None


def read_json(path, keys, what):
    """The report of one of our programs; every number in it must be finite."""
    def not_finite(word):
        raise ValueError(f"it holds {word}")

    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file, parse_constant=not_finite)
    except (OSError, ValueError) as error:
        raise Failed(f"{what}: its report {path} cannot be read: {error}")
    absent = [key for key in keys if not isinstance(data, dict) or key not in data]
    if absent:
        raise Failed(f"{what}: its report {path} lacks {', '.join(absent)}")
    return data


# ---- perplexity -------------------------------------------------------------------------------------------------

def perplexity(options, paths, programs):
    say(f"llama-perplexity, {options.chunks} chunks of {options.context}")
    out, err = run([paths["llama-perplexity"], "-m", paths["f32"], "-f", options.text, "-fa", "off", "-ctk", "f32",
                    "-ctv", "f32", "-c", str(options.context), "--chunks", str(options.chunks),
                    "-t", str(options.threads), "-tb", str(options.threads)], "llama-perplexity")
    found = re.search(r"Final estimate: PPL = ([0-9.]+) \+/- ([0-9.]+)", out + err)
    if not found:
        raise Failed("llama-perplexity: it printed no final estimate")
    peer, peer_se = float(found.group(1)), float(found.group(2))

    ours = {"ppl": None, "se_tokens": None, "se_clustered": None}
    program = programs.find("perplexity")
    if program:
        say("perplexity, the same")
        report = os.path.join(paths["folder"], "perplexity.json")
        run([program, "--model", paths["f32"], "--ids", paths["ids"], "--chunks", str(options.chunks), "--context",
             str(options.context), "--threads", str(options.threads), "--json", report], "perplexity")
        ours = read_json(report, ["ppl", "se_tokens", "se_clustered", "chunks"], "perplexity")
        if ours["chunks"] != options.chunks:
            raise Failed(f"perplexity: got {ours['chunks']} chunks, wanted {options.chunks}")
        if not isinstance(ours["ppl"], (int, float)) or ours["ppl"] <= 0:
            raise Failed(f"perplexity: got {ours['ppl']!r}, wanted a number above 0")

    where = f"first {options.chunks} chunks of {options.context} ids of {os.path.basename(options.text)}, F32 weights"
    version = paths["llama_version"]
    ppl, rows = ours["ppl"], []
    rows.append(row("perplexity", "ppl", ppl, peer, "llama-perplexity", version,
                    ratio=None if ppl is None else peer / ppl, note=where))
    difference = ratio = None
    if ppl is not None:
        difference = abs(ppl - peer) / peer
        ratio = PERPLEXITY_LIMIT / max(difference, 0.5e-4 / peer)
    rows.append(row("perplexity difference", "relative", difference, None, "llama-perplexity", version, ratio=ratio,
                    bar=1.0, note=f"limit {PERPLEXITY_LIMIT:g}; the peer prints steps of {1e-4 / peer:.1e}"))
    rows.append(row("perplexity, error of tokens", "ppl", ours["se_tokens"], peer_se, "llama-perplexity", version,
                    note="standard error, tokens as independent"))
    rows.append(row("perplexity, error of chunks", "ppl", ours["se_clustered"], None, "llama-perplexity", version,
                    note="standard error clustered by chunk; the peer has none"))
    return rows


# ---- prefill ----------------------------------------------------------------------------------------------------

def prefill(options, paths, programs):
    program = programs.find("prefill_bench")
    report = os.path.join(paths["folder"], "prefill.json")
    tokens, threads = str(PREFILL_TOKENS), str(options.threads)
    same, ours, usual, others = [], [], [], []
    watch = Others()
    for number in range(options.rounds):
        say(f"prefill of {PREFILL_TOKENS}, round {number + 1} of {options.rounds}")
        out, err = run([paths["llama-batched-bench"], "-m", paths["f32"], "-fa", "off", "-ctk", "f32", "-ctv", "f32",
                        "-c", tokens, "-b", tokens, "-ub", tokens, "-npp", ",".join([tokens] * 3), "-ntg", "0", "-npl",
                        "1", "-t", threads, "-tb", threads, "--output-format", "jsonl"], "llama-batched-bench")
        seconds = [float(t) for t in re.findall(r'"pp": %s,.*?"t_pp": ([0-9.]+)' % tokens, out + err)]
        if len(seconds) != 3 or min(seconds) <= 0:  # its lines are no JSON when nothing is generated: a speed is nan
            raise Failed(f"llama-batched-bench: got {len(seconds)} timings, wanted 3 above 0")
        same += [PREFILL_TOKENS / t for t in seconds[1:]]
        if program:
            run([program, "--model", paths["f32"], "--tokens", tokens, "--threads", threads, "--repeat", "2", "--json",
                 report], "prefill_bench")
            ours += [float(speed) for speed in read_json(report, ["tokens_per_second"], "prefill_bench")["tokens_per_second"]]
        out, _ = run([paths["llama-bench"], "-m", paths["f32"], "-p", tokens, "-n", "0", "-t", threads, "-fa", "0", "-ctk",
                      "f16", "-ctv", "f16", "-r", "2", "-o", "json"], "llama-bench")
        try:
            usual += [float(speed) for speed in json.loads(out)[0]["samples_ts"]]
        except (ValueError, LookupError, TypeError):
            raise Failed("llama-bench: its JSON has no samples_ts")
        others.append(watch.share())

    def line(name, peer, peer_name, bar, note):
        median, own = statistics.median(peer), statistics.median(ours) if ours else None
        spread = {side: (max(v) - min(v)) / statistics.median(v) if v else None
                  for side, v in (("resect", ours), ("peer", peer))}
        return row(name, "tokens/s", own, median, peer_name, paths["llama_version"],
                   ratio=None if own is None else own / median, bar=bar, runs=len(peer), spread=spread, note=note)

    bar, note = PREFILL_BAR, f"F32 weights and KV cache, {threads} threads, {options.rounds} alternating rounds of 2"
    load = f"other processes took up to {100 * max(others):.0f} % of the cores"
    if max(others) > QUIET:
        bar, note = None, f"{note}; NOT JUDGED (bar {PREFILL_BAR}): {load}"
    else:
        note = f"{note}; {load}"
    return [line(f"prefill of {PREFILL_TOKENS}", same, "llama-batched-bench", bar, note),
            line(f"prefill of {PREFILL_TOKENS}, peer's KV cache F16", usual, "llama-bench", None,
                 f"not the same precision; {load}")]


# ---- logits -----------------------------------------------------------------------------------------------------

def torch_logits(model, ids, precision):
    """Logits of the Llama architecture at every position of `ids`, (positions, vocabulary), in PyTorch.

    GGUF keeps the rows of Q and K in the order of interleaved rotary embedding: a head's components 2i and 2i+1 are a
    pair, rotated by position * base^(-2i/d).
    """
    import gguf
    import numpy
    import torch

    reader = gguf.GGUFReader(model)
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def field(key, default=None):
        if key not in reader.fields:
            if default is None:
                raise Failed(f"PyTorch forward: {model} has no {key}")
            return default
        return reader.fields[key].contents()

    def weight(name):
        if name not in tensors:
            raise Failed(f"PyTorch forward: {model} has no tensor {name}")
        tensor = tensors[name]
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        return torch.from_numpy(numpy.array(values, dtype=numpy.float32)).to(precision)

    if field("general.architecture") != "llama":
        raise Failed(f"PyTorch forward: got architecture {field('general.architecture')!r}, wanted 'llama'")
    unknown = sorted(key for key in reader.fields if key.startswith("llama.rope.scaling"))
    unknown += sorted(name for name in tensors if name.endswith(".bias") or name.startswith("rope_") or "_exps" in name)
    if unknown:
        raise Failed(f"PyTorch forward: {model} has {unknown[0]}, which this forward does not know")
    if field("tokenizer.ggml.add_bos_token", False):
        raise Failed(f"PyTorch forward: {model} asks for a BOS, which this forward does not add")

    width = field("llama.embedding_length")
    heads = field("llama.attention.head_count")
    kv_heads = field("llama.attention.head_count_kv", heads)
    head = field("llama.rope.dimension_count", width // heads)
    base = field("llama.rope.freq_base", 10000.0)
    epsilon = field("llama.attention.layer_norm_rms_epsilon")
    if head * heads != width:
        raise Failed(f"PyTorch forward: got {head} rotary components a head, wanted {width // heads}")

    count = len(ids)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * base ** (
        -torch.arange(0, head, 2, dtype=torch.float64) / head)
    cosine, sine = (f(angles).to(precision)[:, None, :] for f in (torch.cos, torch.sin))  # (position, 1, pair)
    future = torch.ones(count, count, dtype=torch.bool).triu(1)

    def norm(x, name):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * weight(name)

    def rotate(x):  # (position, head, component)
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)

    with torch.no_grad():
        embedding = weight("token_embd.weight")
        x = embedding[torch.as_tensor(numpy.asarray(ids, dtype=numpy.int64))]
        for layer in range(field("llama.block_count")):
            block = f"blk.{layer}."
            h = norm(x, block + "attn_norm.weight")
            q = rotate((h @ weight(block + "attn_q.weight").T).view(count, heads, head))
            k = rotate((h @ weight(block + "attn_k.weight").T).view(count, kv_heads, head))
            v = (h @ weight(block + "attn_v.weight").T).view(count, kv_heads, head)
            k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
            scores = torch.einsum("qhc,khc->hqk", q, k) / head**0.5
            shares = torch.softmax(scores.masked_fill(future, float("-inf")), dim=-1)
            mixed = torch.einsum("hqk,khc->qhc", shares, v).reshape(count, width)
            x = x + mixed @ weight(block + "attn_output.weight").T
            h = norm(x, block + "ffn_norm.weight")
            gate = torch.nn.functional.silu(h @ weight(block + "ffn_gate.weight").T)
            x = x + (gate * (h @ weight(block + "ffn_up.weight").T)) @ weight(block + "ffn_down.weight").T
        out = weight("output.weight") if "output.weight" in tensors else embedding
        return (norm(x, "output_norm.weight") @ out.T).numpy()


def row_errors(values, reference):
    """For each row |values - reference| / |reference - its mean|, in double."""
    import numpy

    reference = numpy.asarray(reference, dtype=numpy.float64)
    centred = reference - reference.mean(axis=1, keepdims=True)
    return numpy.linalg.norm(values - reference, axis=1) / numpy.linalg.norm(centred, axis=1)


def logits(options, paths, programs):
    import numpy
    import torch

    torch.set_num_threads(options.threads)
    ids = numpy.fromfile(paths["ids"], dtype="<i4", count=LOGIT_ROWS)
    say(f"PyTorch logits of {len(ids)} positions, fp32 and fp64")
    single = torch_logits(paths["f32"], ids, torch.float32)
    own = float(row_errors(single, torch_logits(paths["f32"], ids, torch.float64)).max())

    difference = None
    program = programs.find("logits")
    if program:
        say("logits, the same")
        out = os.path.join(paths["folder"], "logits.f32")
        run([program, "--model", paths["f32"], "--ids", paths["ids"], "--first", "0", "--count", str(len(ids)),
             "--out", out], "logits")
        ours = numpy.fromfile(out, dtype="<f4")
        if ours.size != single.size:
            raise Failed(f"logits: got {ours.size} values, wanted {len(ids)} x {single.shape[1]}")
        if not numpy.isfinite(ours).all():
            raise Failed("logits: got values that are not finite")
        difference = float(row_errors(ours.reshape(single.shape), single).max())
    return [row("logits difference", "relative", difference, None, "torch", torch.__version__,
                ratio=None if difference is None else LOGITS_LIMIT / max(difference, 1e-12), bar=1.0,
                note=f"limit {LOGITS_LIMIT:g}; largest of {len(ids)} rows against fp32; torch fp32 against fp64: {own:.1e}")]


# ---- all --------------------------------------------------------------------------------------------------------

def set_up(folder, script):
    """The peers' environment; `script` goes on inside its Python."""
    python = os.path.join(folder, "venv", "bin", "python")
    done = subprocess.run(["sh", os.path.join(HERE, "peers.sh"), folder], stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed("the peers could not be set up")
    if os.path.realpath(sys.prefix) != os.path.realpath(os.path.join(folder, "venv")):
        sys.stdout.flush()
        os.execv(python, [python, os.path.abspath(script), *sys.argv[1:]])


def prepare(options, folder):
    """Model, ids and programs."""
    llama = os.path.join(folder, "llama.cpp")
    with open(os.path.join(llama, "version"), encoding="utf-8") as file:
        version = file.read().strip()
    paths = {name: os.path.join(llama, "bin", name)
             for name in ("llama-perplexity", "llama-quantize", "llama-bench", "llama-batched-bench")}
    paths.update(folder=folder, llama_version=version, ids=os.path.join(folder, "text.ids.i32"),
                 f32=os.path.join(folder, "smollm2-f32.gguf"))

    source = run([sys.executable, os.path.join(STUDY, "fetch_smollm2.py"), "--cache", options.cache],
                 "fetch_smollm2")[0].strip()
    if not os.path.exists(paths["f32"]):
        say("making the F32 model")
        run([paths["llama-quantize"], "--allow-requantize", source, paths["f32"] + ".part", "F32",
             str(options.threads)], "llama-quantize")
        os.replace(paths["f32"] + ".part", paths["f32"])
    # with the newline that llama-perplexity drops dropped too
    run([sys.executable, os.path.join(STUDY, "tokenize_gguf.py"), "--model", paths["f32"], "--text", options.text,
         "--out", paths["ids"], "--drop-last-newline"], "tokenize_gguf")
    wanted = max(options.chunks * options.context, 2 * options.context, LOGIT_ROWS)  # two chunks is llama-perplexity's least
    got = os.path.getsize(paths["ids"]) // 4
    if got < wanted:
        raise Failed(f"text: got {got} ids in {options.text}, wanted at least {wanted}")
    return paths


def add_arguments(parser, chunks):
    """The options that every comparison of this kind has."""
    default_cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "resect")
    parser.add_argument("--build-dir", default="build", help="results go to BUILD_DIR/compare (%(default)s)")
    parser.add_argument("--bin-dir", help="folder of our programs (BUILD_DIR/bin)")
    parser.add_argument("--cache", default=default_cache, help="folder of the model (%(default)s)")
    parser.add_argument("--text", required=True, help="UTF-8 text, for instance WikiText-2's wiki.test.raw")
    parser.add_argument("--chunks", type=positive, default=chunks)
    parser.add_argument("--context", type=positive, default=512)
    parser.add_argument("--threads", type=positive, default=2)


def arguments():
    parser = argparse.ArgumentParser(description="the examples' runtime beside llama.cpp and PyTorch")
    add_arguments(parser, 32)
    parser.add_argument("--rounds", type=positive, default=5, help="alternating rounds of the prefill (%(default)s)")
    options = parser.parse_args()
    options.bin_dir = options.bin_dir or os.path.join(options.build_dir, "bin")
    return options


def main():
    options = arguments()
    folder = os.path.abspath(os.path.join(options.build_dir, "compare"))
    rows, failures = [], []
    programs = Programs(options.bin_dir)
    try:
        if not os.path.isfile(options.text):
            raise Failed(f"text: got {options.text}, wanted a file")
        set_up(folder, __file__)
        paths = prepare(options, folder)
    except (Failed, OSError) as failure:
        say(failure)
        return 1
    for part in (perplexity, prefill, logits):
        try:
            rows += part(options, paths, programs)
        except (Failed, OSError) as failure:
            failures.append(str(failure))
    finish(os.path.join(folder, "runtime.json"), rows, options.threads)
    failures += [f"{path} is missing, build the examples first" for path in programs.missing]
    if failures:
        say("could not run everything: " + "; ".join(failures))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
