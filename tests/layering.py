# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks include/resect: which module includes which, which standard headers stay out, how long headers are.

A header includes only its own module and modules above it in MODULES. Exit status 1 lists every breach.
"""
import pathlib
import re
import sys

MODULES = ["core", "random", "metrics", "io", "quant", "factor", "compress", "residual", "student", "sae", "study"]
# Costly to include, or global state, or threads that nobody asked for.
FORBIDDEN = {"iostream", "execution", "ranges", "functional", "memory", "random", "thread", "regex", "string"}
ALLOWED = {"io": {"string"}}  # files are text and bytes; not part of the include-time budget
# The pool is the one place that needs threads; backends include it, nothing else does.
EXEMPT = {"core/threads.hpp"}
TOP = {"config.hpp", "version.hpp", "resect.hpp"}
MAX_LINES = 450


def breaches(root):
    found = []
    for path in sorted(root.rglob("*.hpp")):
        name = path.relative_to(root).as_posix()
        module = name.split("/")[0] if "/" in name else None
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MAX_LINES:
            found.append(f"{name}: {text.count(chr(10))} lines, at most {MAX_LINES}")
        if "SPDX-License-Identifier" not in text.split("\n")[0]:
            found.append(f"{name}: no licence line at the top")
        for header in re.findall(r"^#include [<\"]([^>\"]+)[>\"]", text, re.M):
            if header.startswith("resect/"):
                target = header.removeprefix("resect/")
                other = target.split("/")[0] if "/" in target else None
                if other is None:
                    if target == "resect.hpp":
                        found.append(f"{name}: includes the umbrella header")
                    continue
                if name in TOP:
                    if other == "backend":
                        found.append(f"{name}: includes a backend, which is the user's to choose")
                    continue
                if module == "backend":
                    if other not in ("backend", "core"):
                        found.append(f"{name}: a backend includes {target}")
                elif other == "backend":
                    found.append(f"{name}: includes {target}; backends are included by the user alone")
                elif other not in MODULES or module not in MODULES:
                    found.append(f"{name}: module {other if other not in MODULES else module} is not in the list")
                elif MODULES.index(other) > MODULES.index(module):
                    found.append(f"{name}: includes {target}, a module below its own")
                elif target in EXEMPT:
                    found.append(f"{name}: includes {target}, which only a backend may")
            elif module != "backend" and name not in EXEMPT:
                if header in FORBIDDEN - ALLOWED.get(module, set()):
                    found.append(f"{name}: includes <{header}>")
                if "/" in header or header.endswith((".h", ".hpp")):
                    found.append(f"{name}: includes <{header}>, which is not a standard C++ header")
    return found


def main():
    root = pathlib.Path(sys.argv[1])
    headers = list(root.rglob("*.hpp"))
    if not headers:
        sys.exit(f"{root}: no header found")
    found = breaches(root)
    for line in found:
        print(line)
    print(f"{len(headers)} headers checked, {len(found)} breaches")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
