# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the pages show of the programs is what they do. Usage: see support.py."""
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
from support import BIN, SOURCE, TINY, main  # noqa: E402


def case_pages_show_what_programs_print(folder):
    shown = [(page.name, *block) for page in [SOURCE / "README.md", *sorted((SOURCE / "docs").glob("*.md"))]
             for block in re.findall(r"^```text\n\$ build/bin/(\S+)\n(.*?)^```", page.read_text(), re.S | re.M)]
    assert shown
    for page, program, said in shown:
        done = subprocess.run([BIN / program], capture_output=True, text=True, cwd=SOURCE)
        assert done.returncode == 0 and done.stdout == said, (page, program, done.stdout)


def case_console_lines_of_the_examples_page_run(folder):
    blocks = re.findall(r"^```console\n(.*?)^```", (SOURCE / "docs/examples.md").read_text(), re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    shutil.copytree(TINY, folder / "my_model")
    ran = 0
    for line in lines:
        words = line.split()
        if words[0] == "cmake":
            continue  # that is how these programs were built
        words = [w.replace("build/", f"{folder}/") if "build/bin/" not in w else str(BIN / w[10:]) for w in words]
        words = [str(folder / w) if w == "my_model" else w for w in words]
        if words[0] == "./run":
            words = [str(BIN / words[1]), *words[2:], *(["--sequences", "6"] if words[1] == "study" else [])]
        done = subprocess.run(words, capture_output=True, text=True, cwd=SOURCE)
        assert done.returncode == 0, (line, done.stderr)
        ran += 1
    assert ran >= 4, lines


if __name__ == "__main__":
    main(globals())
