# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes every C++ code block of the given Markdown files as a program: OUT/<file>_<n>.cpp.

Every ```cpp block must be a whole program. The names written are printed, so that CMake can build them. A link
to a file that does not exist is an error.
"""
import pathlib
import re
import sys


def main():
    out, files = pathlib.Path(sys.argv[1]), [pathlib.Path(p) for p in sys.argv[2:]]
    out.mkdir(parents=True, exist_ok=True)
    names = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#\s]+)[^)\s]*\)", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)):
            if "://" not in link and not (path.parent / link).exists():
                sys.exit(f"{path}: {link} is linked to and does not exist")
        blocks = re.findall(r"^```cpp\n(.*?)^```", text, re.S | re.M)
        for n, block in enumerate(blocks, 1):
            if not re.search(r"\bint main\(", block):
                sys.exit(f"{path}: C++ block {n} is not a whole program")
            name = f"{path.stem.lower()}_{n}"
            target = out / f"{name}.cpp"
            if not target.exists() or target.read_text(encoding="utf-8") != block:
                target.write_text(block, encoding="utf-8")
            names.append(name)
    print(";".join(names), end="")


if __name__ == "__main__":
    main()
