#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs a program of the study on the model and the texts that its command line names.

    python3 prepare.py [--build DIR] [--cache DIR] PROGRAM ARGUMENT...
    python3 prepare.py --packages ARGUMENT...       prints the system's packages that this command line needs

What the program cannot do for itself is done first:
- `--model smollm2` becomes the path of that model, which is obtained (fetch_smollm2.py).
- A text for a GGUF model becomes token ids (tokenize_gguf.py), kept in CACHE/ids by content. Without a text it is
  passage.txt. `--text` gets `--ids`, `--calibration` gets `--calibration-ids`, and so on; the lines of `--labels` get ids each. For `perplexity` one newline at
  the end of the text is dropped, as llama.cpp does with a file that -f names.
- `study` gets `--command`, the line that a user would type to run it again.
Everything else goes to the program as it is. Python packages (gguf, tokenizers) are installed into BUILD/venv when they
are needed. Exit status: the program's, or 2 with one line that says what was wrong.
"""
import hashlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TOKENIZER = HERE / "tokenize_gguf.py"
PASSAGE = HERE.parent / "passage.txt"
IDS_OF = {"--text": "--ids", "--calibration": "--calibration-ids", "--selection": "--selection-ids", "--train": "--train-ids"}
REST = "rest"  # in place of a text: what evaluation leaves


class Refused(Exception):
    pass


def options(arguments):
    """-> [(name, value)] of `--name value` and `--name=value`, and (None, argument) for the rest, in their order."""
    out, at = [], 0
    while at < len(arguments):
        name, equals, value = arguments[at].partition("=")
        if name in ("--model", "--labels", *IDS_OF, *IDS_OF.values()) and (equals or at + 1 < len(arguments)):
            out.append((name, value if equals else arguments[at + 1]))
            at += 1 if equals else 2
        else:
            out.append((None, arguments[at]))
            at += 1
    return out


def is_gguf(model):
    return model == "smollm2" or model.endswith(".gguf") or os.path.isfile(model)


def asks_for_help(arguments):
    return any(a in ("--help", "-h") for a in arguments)


def needs_python(arguments):
    return not asks_for_help(arguments) and any(n == "--model" and is_gguf(v) for n, v in options(arguments))


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, what):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Refused(f"{what} failed" if done.returncode != 2 else "")  # with 2 it has said why
    return done.stdout.strip()


def python_with_packages(build):
    """A Python of its own for what turns text into token ids."""
    venv = build / "venv"
    python = venv / "bin/python"
    if not python.exists():
        say(f"creating a Python environment in {venv}")
        fresh = build / f"venv.new-{os.getpid()}"
        build.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "venv", fresh], "making a Python environment")
        shutil.rmtree(venv, ignore_errors=True)
        fresh.rename(venv)
    if subprocess.run([str(python), "-c", "import gguf, tokenizers"], stderr=subprocess.DEVNULL).returncode != 0:
        say("installing Python packages: gguf tokenizers")
        run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "gguf", "tokenizers"], "pip install")
    return python


def digest(*paths):
    out = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                out.update(piece)
    return out.hexdigest()[:16]


def ends_in_newline(path):
    with open(path, "rb") as file:
        return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read() == b"\n"


def token_ids(text, gguf, build, cache, as_prompt_file):
    """The file of the text's ids under the model; of a prompt file, as llama.cpp reads it, without a newline at its end."""
    if not os.path.isfile(text):
        raise Refused(f"text: got {text}, wanted a readable file")
    cut = as_prompt_file and ends_in_newline(text)
    ids = cache / "ids" / f"{digest(text)}-{digest(gguf, TOKENIZER)}{'-cut' if cut else ''}.i32"
    if not ids.exists():
        ids.parent.mkdir(parents=True, exist_ok=True)
        options = ["--drop-last-newline"] if cut else []
        say(run([python_with_packages(build), TOKENIZER, "--model", gguf, "--text", text, "--out", ids, *options],
                "tokenizing"))
    return str(ids)


def labels_with_ids(labels, gguf, build, cache):
    """A copy of a file of labelled texts (JSON lines) whose lines have token ids."""
    if not os.path.isfile(labels):
        raise Refused(f"labels: got {labels}, wanted a readable file")
    out = cache / "ids" / f"{digest(labels)}-{digest(gguf, TOKENIZER)}.jsonl"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        say(run([python_with_packages(build), TOKENIZER, "--model", gguf, "--text", labels, "--out", out, "--json-lines"],
                "tokenizing"))
    return str(out)


def prepared(program, arguments, build, cache):
    """The arguments that the program is to have."""
    given = options(arguments)
    names = {n for n, _ in given} | {a.partition("=")[0] for n, a in given if n is None}
    models, out = [], []
    for name, value in given:
        if name == "--model":
            models.append(value)
            if value == "smollm2":
                value = run([python_with_packages(build), HERE / "fetch_smollm2.py", "--cache", cache], "obtaining the model")
                if program == "study" and "--model-name" not in names:
                    out += ["--model-name", "SmolLM2-135M-Instruct"]
            elif value.endswith(".gguf") and not os.path.isfile(value):
                raise Refused(f"model: got {value}, wanted a GGUF file, a safetensors folder, tiny or smollm2")
            out += ["--model", value]
        else:
            out += [value] if name is None else [name, value]
    gguf = next((v for n, v in zip(out, out[1:]) if n == "--model"), "")
    if models and is_gguf(models[0]):
        if not names & {"--text", "--ids"}:
            out += ["--text", str(PASSAGE)]
        for option, ids in IDS_OF.items():
            if ids not in names:
                for text in [v for n, v in zip(out, out[1:]) if n == option and v != REST]:
                    out += [ids, token_ids(text, gguf, build, cache, program == "perplexity")]
        out = [labels_with_ids(v, gguf, build, cache) if i and out[i - 1] == "--labels" else v for i, v in enumerate(out)]
    if program == "study" and "--command" not in names:
        out += ["--command", shlex.join(["./run", program, *arguments])]
    return out


def main():
    arguments, places = sys.argv[1:], {"--build": "build", "--cache": os.path.expanduser("~/.cache/resect")}
    if arguments[:1] == ["--packages"]:
        print("python3-venv ca-certificates" if needs_python(arguments[1:]) else "")
        return 0
    while arguments and arguments[0] in places and len(arguments) > 1:
        places[arguments[0]] = arguments[1]
        del arguments[:2]
    if not arguments:
        print("prepare: got no program, wanted prepare.py [--build DIR] [--cache DIR] PROGRAM ARGUMENT...", file=sys.stderr)
        return 2
    program = arguments.pop(0)
    try:
        if not asks_for_help(arguments):
            arguments = prepared(os.path.basename(program), arguments, pathlib.Path(places["--build"]).absolute(),
                                 pathlib.Path(places["--cache"]).absolute())
        os.execv(program, [program, *arguments])
    except Refused as refusal:
        if str(refusal):
            print(f"run: {refusal}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"run: {error.filename or program}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
