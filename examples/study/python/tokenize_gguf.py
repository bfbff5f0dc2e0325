#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Token ids of a text, by the tokenizer that a GGUF model carries.

    python3 tokenize_gguf.py --model M.gguf --text F --out ids.i32

Writes little-endian int32 ids, nothing else. With `--json-lines` the text is lines of JSON objects, and the same lines are
written with the ids of each one's "text" under "ids". Needs the Python packages `gguf` (reads vocabulary and merges) and
`tokenizers` (does the work).

- The text is read as bytes, without newline translation; it must be UTF-8.
- Special tokens in the text are ordinary text, as in llama-perplexity.
- No BOS is put in front: the program that runs the model does that where the model uses one, and says so.
- llama.cpp's programs drop one newline at the end of a prompt file; `--drop-last-newline` does the same. Without it the
  last id can differ from theirs.
- A model whose kind of tokenizer is not known here is refused: a wrong pre-tokenizer gives plausible ids and wrong
  perplexities.

Exit status: 0, or 2 with one line that says what was wrong.
"""
import argparse
import json
import os
import sys
import tempfile

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5  # tokenizer.ggml.token_type


class Refused(Exception):
    pass


def pre_tokenizer(kind):
    """The splitting that llama.cpp does for this value of tokenizer.ggml.pre."""
    from tokenizers import pre_tokenizers as pre

    known = {
        # each digit on its own, then GPT-2's expression over bytes written as characters
        "smollm": lambda: pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]),
    }
    if kind not in known:
        raise Refused(f"tokenizer.ggml.pre: got {kind!r}, wanted one of {sorted(known)}")
    return known[kind]()


def read_model(path):
    """The tokenizer of the model, and the size of its vocabulary."""
    import gguf
    from tokenizers import Tokenizer, models

    if not os.path.isfile(path):
        raise Refused(f"model: got {path}, wanted a GGUF file")
    try:
        fields = gguf.GGUFReader(path).fields
    except Exception as error:  # the reader answers damage with whatever its parsing ran into
        raise Refused(f"model: cannot read {path} as GGUF: {type(error).__name__}: {error}")

    def field(key):
        if key not in fields:
            raise Refused(f"{key}: got nothing in {path}, wanted a value")
        return fields[key].contents()

    kind = field("tokenizer.ggml.model")
    if kind != "gpt2":
        raise Refused(f"tokenizer.ggml.model: got {kind!r}, wanted 'gpt2' (byte-level BPE)")
    splitter = pre_tokenizer(field("tokenizer.ggml.pre"))

    tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    if len(types) != len(tokens):
        raise Refused(f"tokenizer.ggml.token_type: got {len(types)} values, wanted {len(tokens)}")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise Refused(f"tokenizer.ggml.tokens: got {len(tokens) - len(vocabulary)} repeated tokens, wanted none")
    defined = sum(t == USER_DEFINED for t in types)
    if defined:  # these match in plain text before the splitting, which is not done here
        raise Refused(f"tokenizer.ggml.token_type: got {defined} user-defined tokens, wanted none")

    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    bad = next((m for m in merges if len(m) != 2 or any(part not in vocabulary for part in (*m, "".join(m)))), None)
    if bad is not None:
        raise Refused(f"tokenizer.ggml.merges: got {' '.join(bad)!r}, wanted two tokens whose union is a token")

    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = splitter
    return tokenizer, len(tokens)


def read_text(path, drop_last_newline):
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise Refused(f"text: cannot read {path}: {error.strerror}")
    if drop_last_newline and data.endswith(b"\n"):
        data = data[:-1]
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"text: got byte 0x{data[error.start]:02x} at offset {error.start} of {path}, wanted UTF-8")


def write_bytes(path, data):
    folder = os.path.dirname(os.path.abspath(path))
    try:
        handle, temporary = tempfile.mkstemp(prefix=os.path.basename(path) + ".", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise Refused(f"out: cannot write {path}: {error.strerror}")


def lines_with_ids(text, tokenizer):
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except json.JSONDecodeError as error:
            raise Refused(f"text: got line {number}, which is no JSON ({error.msg}), wanted an object with \"text\"")
        if not isinstance(item, dict) or not isinstance(item.get("text"), str):
            raise Refused(f"text: got line {number} without a \"text\", wanted an object with one")
        out.append(json.dumps({**item, "ids": tokenizer.encode(item["text"], add_special_tokens=False).ids}) + "\n")
    return out


def main():
    parser = argparse.ArgumentParser(description="token ids of a text, by a GGUF model's own tokenizer")
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--text", required=True, help="UTF-8 text")
    parser.add_argument("--out", required=True, help="file of little-endian int32 ids to write")
    parser.add_argument("--drop-last-newline", action="store_true", help="as llama.cpp does with prompt files")
    parser.add_argument("--json-lines", action="store_true", help="the text is JSON lines, each with a \"text\"")
    options = parser.parse_args()
    try:
        text = read_text(options.text, options.drop_last_newline)
        tokenizer, size = read_model(options.model)
        if options.json_lines:
            lines = lines_with_ids(text, tokenizer)
            write_bytes(options.out, "".join(lines).encode())
            print(f"{options.out}: {len(lines)} texts, vocabulary {size}")
            return 0
        import numpy

        ids = tokenizer.encode(text, add_special_tokens=False).ids
        write_bytes(options.out, numpy.asarray(ids, dtype="<i4").tobytes())
    except Refused as refusal:
        print(f"tokenize_gguf: {refusal}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"tokenize_gguf: Python package {error.name!r} is missing: pip install gguf tokenizers", file=sys.stderr)
        return 2
    print(f"{options.out}: {len(ids)} ids, vocabulary {size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
