# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Builds the reference and looks at it: every documented name is there, with its text, its header and its links.

usage: reference.py SOURCE_DIR
"""
import html
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[1])
sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCE / "tools/reference"))
from build import marked  # noqa: E402
from headers import declarations, is_documented  # noqa: E402


def text_of(page):
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def check_marks():
    source = "\n".join([
        "", "// About a_file.", "namespace RESECT_NAMESPACE::io {", "", "// --- a rule ---", "",
        "// Reads <x> & other_name, 5 % of it.", "// Errors: none.", "//   code(); <kept>", "int reads(int x) {",
        "  // inside", "  return x;", "}", "}  // namespace RESECT_NAMESPACE::io", ""])
    lines = marked(source, "resect/io/a.hpp", {"other_name": "resect::io::other_name"}).split("\n")
    assert len(lines) == len(source.split("\n")), "lines keep their numbers"
    assert lines[0] == "/// @file" and lines[1] == "/// About a_file."
    assert lines[2] == "namespace resect::io { /** @addtogroup io */ /** @{ */"
    assert lines[4] == "// --- a rule ---"
    assert lines[6] == '/// Reads \\<x\\> \\& @ref resect::io::other_name "other_name", 5 \\% of it.', lines[6]
    assert lines[7] == "/// <p><b>Errors</b>: none. @verbatim", lines[7]
    assert lines[8].startswith("///   code(); <kept> @endverbatim") and "resect/io/a.hpp" in lines[8], lines[8]
    assert lines[10] == "  // inside" and lines[13] == "/** @} */ }"


def main():
    check_marks()
    if not shutil.which("doxygen"):
        print("skipped: doxygen is not installed")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "docs"
        done = subprocess.run([sys.executable, SOURCE / "tools/reference/build.py", out], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert sorted(p.name for p in out.parent.iterdir()) == ["docs"]
        pages = [*out.glob("group__*.html"), out / "annotated.html"]
        everything = " ".join(text_of(p.read_text(encoding="utf-8")) for p in pages)
        absent = []
        for path in sorted((SOURCE / "include/resect").rglob("*.hpp")):
            if "detail" in path.parts:
                continue
            found = declarations(path.read_text(encoding="utf-8"))
            for d in found:
                if is_documented(d, found) and not re.search(rf"\b{d.name}\b", everything):
                    absent.append(f"{path.name}: {d.kind} {d.name}")
        assert not absent, "\n".join(absent)
        metrics = (out / "group__metrics.html").read_text(encoding="utf-8")
        assert "clustered both ways: var = V_cluster + V_seed − V_cell" in text_of(metrics)
        assert "#include < resect/metrics/intervals/two_way.hpp >" in text_of(metrics) or \
            "#include <resect/metrics/intervals/two_way.hpp>" in text_of(metrics)
        assert 'href="structresect_1_1metrics_1_1seeded__estimate.html"' in metrics  # a signature links its types
        index = (out / "index.html").read_text(encoding="utf-8")
        for page in ("hosts", "metrics", "architecture"):
            assert f'href="md_docs_{page}.html"' in index, page
            assert (out / f"md_docs_{page}.html").exists()
        assert "sensitivity.png" in index and (out / "sensitivity.png").exists()


if __name__ == "__main__":
    main()
