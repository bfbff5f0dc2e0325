# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks docs/architecture.md: each test that guards what must not change exists.

    guards.py ROOT         exit status 1 lists every guard whose text is not in its file
    guards.py --self-test  takes a guard away and fails unless that is noticed
"""
import pathlib
import re
import sys

POINTS = 12
HEADING = "## What must not change"


def missing(root, page):
    """What is wrong with the table of a page, line by line."""
    if HEADING not in page:
        return [f"docs/architecture.md: no heading '{HEADING}'"]
    section = page[page.index(HEADING):]
    section = section[:section.find("\n## ", 1)] if "\n## " in section[1:] else section
    rows = [line for line in section.split("\n") if line.startswith("| ")][1:]
    found = [] if len(rows) == POINTS else [f"docs/architecture.md: got {len(rows)} points, wanted {POINTS}"]
    for row in rows:
        guards = re.findall(r'`([^`]+)`: "([^"]+)"', row)
        if not guards:
            found.append(f"no guard: {row[:80]}")
        for path, text in guards:
            if not (root / path).is_file():
                found.append(f"{path}: does not exist")
            elif text not in (root / path).read_text(encoding="utf-8"):
                found.append(f"{path}: has no \"{text}\"")
    return found


def main():
    root = pathlib.Path(__file__).resolve().parent.parent if sys.argv[1:] == ["--self-test"] else pathlib.Path(sys.argv[1])
    page = (root / "docs/architecture.md").read_text(encoding="utf-8")
    if sys.argv[1:] == ["--self-test"]:
        broken = [page.replace("the same bits for 1, 2, 3", "other bits for 1, 2, 3"), page.replace("tests/model/", "tests/modal/"),
                  page.replace("| The conformance suite", "The conformance suite"), page.replace(HEADING, "## Other")]
        wrong = [i for i, text in enumerate(broken) if not missing(root, text)]
        print(f"{len(broken)} planted faults, not noticed: {wrong}")
        sys.exit(1 if wrong else 0)
    found = missing(root, page)
    for line in found:
        print(line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
