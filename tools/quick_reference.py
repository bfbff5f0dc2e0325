# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes docs/quick_reference.md: every public name, by task, with the first sentence of its comment.

usage: quick_reference.py SOURCE_DIR            writes the page
       quick_reference.py SOURCE_DIR --check    exit status 1 where the page is not what would be written
       quick_reference.py --self-test

Each header belongs to the first task below that one of its patterns fits. A header without a task, and a task without a
header, is an error. A name stands once: a try_ form under its plain name, overloads together.
"""
import fnmatch
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCE / "tools/reference"))
from headers import declarations, is_documented  # noqa: E402

# (task, page, patterns of headers below include/resect)
TASKS = [
    ("Plug a runtime in", "hosts.md", ["model/*", "host/*"]),
    ("Find out what a runtime really does", "hosts.md", ["conformance/*"]),
    ("Alter the residual stream: operators, plans, passes", "residual.md", ["residual/*"]),
    ("Study what an alteration does", "study.md", ["study/*"]),
    ("Measure rows of logits and activations", "metrics.md", ["metrics/rows/*"]),
    ("Accumulate measures over tokens", "metrics.md", ["metrics/accumulators/*"]),
    ("Put an interval around a measure", "metrics.md", ["metrics/intervals/*"]),
    ("Compare representations", "metrics.md", ["metrics/similarity/*"]),
    ("Draw a conclusion", "metrics.md", ["metrics/verdicts/*"]),
    ("Quantize a matrix", "quant.md", ["quant/*"]),
    ("Factorize a matrix", "factor.md", ["factor/*"]),
    ("Compress a model", "compress.md", ["compress/*"]),
    ("Train sparse autoencoders", "sae.md", ["sae/*"]),
    ("Replace layers by students", "student.md", ["student/*"]),
    ("Read and write files", "io.md", ["io/*"]),
    ("Choose a backend", "backends.md", ["backend/*", "core/backend.hpp"]),
    ("Small dense linear algebra", "core.md", ["linalg/*"]),
    ("Random numbers by position", "random.md", ["random/*"]),
    ("Views, arrays, errors, executors", "core.md", ["core/*", "config.hpp", "version.hpp"]),
]

# The checks of the conformance suite, which its front calls: nobody calls them one by one.
PARTS = ["conformance/decoding.hpp", "conformance/delta_writes.hpp", "conformance/editing.hpp", "conformance/observing.hpp",
         "conformance/probe.hpp", "conformance/states.hpp", "conformance/surgery.hpp", "*/words.hpp"]


def first_sentence(lines):
    """Of comment lines, up to the first period that ends a sentence; a line that shows code ends it, too."""
    text = []
    for line in lines:
        line = re.sub(r"^\s*//", "", line)
        if not line.strip() or line.startswith("   "):
            break
        text.append(line.strip())
    whole = " ".join(text)
    end = re.search(r"(?<!e\.g)(?<!i\.e)(?<!et al)(?<!cf)\.(?=\s+[A-Z`(]|$)|:$", whole)
    return (whole[:end.start()] if end else whole).strip().rstrip(":")


def names_of(source):
    """[(name, kind, sentence)] of a header, in the order of their declaration."""
    lines = source.split("\n")
    found = declarations(source)
    names = {}
    for d in found:
        if not is_documented(d, found):
            continue
        plain = d.name.removeprefix("try_")
        sentence = ""
        if d.comment < d.first:
            sentence = first_sentence(lines[d.comment:d.first])
        elif d.trailing:
            sentence = lines[d.last].split("//", 1)[1].strip().rstrip(".")
        entry = names.setdefault(plain, [d.name, d.kind, sentence])
        entry[2] = entry[2] or sentence
        if d.name == plain:
            entry[0] = plain if entry[0] == plain else f"{plain}, {entry[0]}" if "," not in entry[0] else entry[0]
        elif entry[0] == plain:
            entry[0] = f"{plain}, {d.name}"
    return [tuple(entry) for entry in names.values()]


def task_of(header):
    for task in TASKS:
        if any(fnmatch.fnmatch(header, p) for p in task[2]):
            return task[0]
    return None


def escaped(text):
    return text.replace("|", "\\|").replace("<", "\\<")


def page(root):
    include = root / "include/resect"
    sections = {task: [] for task, _, _ in TASKS}
    fronts = {p.stem for p in include.glob("*.hpp")}
    for path in sorted(include.rglob("*.hpp")):
        header = path.relative_to(include).as_posix()
        if "detail" in header.split("/") or any(fnmatch.fnmatch(header, p) for p in PARTS) or ("/" not in header and path.stem in fronts and path.stem not in ("config", "version")):
            continue  # internals; fronts, which only include
        names = names_of(path.read_text(encoding="utf-8"))
        if not names:
            continue
        task = task_of(header)
        if task is None:
            sys.exit(f"quick_reference.py: {header} has no task: add a pattern to TASKS")
        sections[task].append((header, names))
    out = ["# Quick reference", "",
           "Every public name by task. The comment above a declaration says the rest: formula, shapes, cost, errors. "
           "`tools/quick_reference.py` writes this page from the headers.", ""]
    for task, more, _ in TASKS:
        if not sections[task]:
            continue
        link = f" ([{more}]({more}))" if (root / "docs" / more).exists() else ""
        out += [f"## {task}{link}", ""]
        for header, names in sections[task]:
            out += [f"`<resect/{header}>`", "", "| name | what it is |", "|---|---|"]
            out += [f"| `{name.replace('|', '')}` | {escaped(sentence) if sentence else kind} |" for name, kind, sentence in names]
            out.append("")
    return "\n".join(out).rstrip("\n") + "\n"


def self_test():
    sample = ("namespace RESECT_NAMESPACE::sample {\n// Adds two numbers, e.g. 1 and 2. Cost: none.\nint try_add(int a, int b) { return a + b; }\n"
              "#if RESECT_EXCEPTIONS\nint add(int a, int b) { return a + b; }\n#endif\nstruct one {};  // the first\n"
              "namespace detail {\n// hidden\nint hidden();\n}\n}\n")
    got = names_of(sample)
    wanted = [("add, try_add", "function", "Adds two numbers, e.g. 1 and 2"), ("one", "class", "the first")]
    assert got == wanted, got
    assert task_of("quant/grids/integer.hpp") == "Quantize a matrix" and task_of("nowhere/x.hpp") is None


def main():
    self_test()
    if sys.argv[1] == "--self-test":
        return
    root = pathlib.Path(sys.argv[1])
    target, wanted = root / "docs/quick_reference.md", page(root)
    if "--check" not in sys.argv:
        target.write_text(wanted, encoding="utf-8")
        return
    got = target.read_text(encoding="utf-8") if target.exists() else ""
    if got != wanted:
        differing = next((i for i, (a, b) in enumerate(zip(got.split("\n"), wanted.split("\n"))) if a != b), len(got.split("\n")))
        sys.exit(f"docs/quick_reference.md, line {differing + 1}: not what tools/quick_reference.py writes: run it on the source folder")


if __name__ == "__main__":
    main()
