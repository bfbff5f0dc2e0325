# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Builds the reference: the comments of the public headers and the pages of docs/ as HTML, by Doxygen.

usage: build.py OUT [DOXYGEN]

The headers are written for their readers, without a tool's marks. Here they are copied with the marks that Doxygen
needs: comments in front of a declaration become documentation, the inline namespace goes, each header's declarations
join the group of its module, indented lines stay as they are, names that the library has become links. OUT is replaced
only when all went well. Exit status 1 where Doxygen fails or a link leads nowhere.
"""
import pathlib
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
from headers import declarations, is_documented  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HEADERS = ROOT / "include"
MODULES = {
    "core": "Views, errors as values, executors, sums in a fixed order, hashes",
    "random": "Philox addressed by position, and what is drawn from it",
    "metrics": "Mergeable accumulators, each with an interval; tests and ranks",
    "io": "File formats, as bytes",
    "quant": "Grids, layouts, scales and rounding of quantized matrices",
    "factor": "Low-rank factorization",
    "compress": "Quantization and low rank together",
    "residual": "Sites, hosts, plans and operators on the residual stream",
    "student": "Small models in place of layers",
    "sae": "Sparse autoencoders",
    "study": "What an altered model does otherwise",
    "backend": "Who multiplies, and where memory lives",
    "host": "Adapters to runtimes that exist",
}
PAGES = ["README.md", "docs/architecture.md", "docs/hosts.md", "docs/metrics.md", "docs/examples.md", "docs/performance.md"]
OPENING = re.compile(r"^namespace RESECT_NAMESPACE((?:::\w+)*) \{")
CLOSING = re.compile(r"^\}  // namespace RESECT_NAMESPACE((?:::\w+)*)$")
SECTIONS = r"(Errors?|Costs?|Determinism|Memory|Sources?|Accumulator|Returns|Preconditions|Element types)\b([^:.]{0,40}):"


def pages():
    rest = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.md"))
    return [p for p in PAGES if (ROOT / p).exists()] + [p for p in rest if p not in PAGES]


def index_of(sources):
    """name → its qualified name, of names that mean one thing and look like no word of a sentence."""
    found = {}
    for source in sources.values():
        in_file = declarations(source)
        for d in (d for d in in_file if is_documented(d, in_file)):
            found.setdefault(d.name, set()).add(d.namespace + "::" + d.name)
    return {name: next(iter(q)) for name, q in found.items() if len(q) == 1 and "_" in name}


def escaped(text, names, own):
    """Prose for Doxygen: nothing in it is a command, tags or Markdown; known names link."""
    text = re.sub(r'[\\@&$#<>%"]', lambda m: "\\" + m[0], text)
    text = re.sub(r"(?<![\w:%])(?=\w+::\w)", "%", text)  # no automatic link: what it cannot resolve it warns of
    text = re.sub(r"(?<![\w:/.%])([a-z0-9]+(?:_[a-z0-9]+)+)(?![\w/.]*[\w/])",
                  lambda m: f'@ref {names[m[1]]} "{m[1]}"' if m[1] in names and m[1] not in own else m[1], text)
    return re.sub(r"(?<!\w)[*_](?=\S)", lambda m: "\\" + m[0], text)


def documentation(block, names, own, end):
    """The lines of a comment with Doxygen's marks, as many as there were. Indented lines under a colon or a full stop
    (lists, code) stay as they are; others go on with the line above, which begins a paragraph."""
    texts = [re.match(r"(\s*)// ?(.*)$", line) for line in block]
    indented = [m[2].startswith("  ") for m in texts] + [False]
    kept, out = False, []
    for i, m in enumerate(texts):
        text = m[2]
        if indented[i]:
            if not indented[i - 1] or i == 0:
                kept = i == 0 or texts[i - 1][2].rstrip()[-1:] in ("", ":", ".", ")")
            line = text if kept else escaped(text.strip(), names, own)
            if kept and i == 0:
                line = "@verbatim " + line
            if kept and not indented[i + 1]:
                line += " @endverbatim"
        else:
            line = escaped(text, names, own)
            hangs = indented[i + 1] and text.rstrip()[-1:] not in ("", ":", ".", ")")
            line = re.sub("^" + SECTIONS, r"<p><b>\1</b>\2:", line)
            if text and i > 0 and (hangs or (indented[i - 1] and not kept)) and not line.startswith("<p>"):
                line = "<p>" + line
            if indented[i + 1] and not hangs:
                line += " @verbatim"
        out.append(f"{m[1]}/// {line}".rstrip())
    out[-1] += end
    return out


def marked(source, header, names):
    """A header's text as Doxygen wants it, line for line."""
    module = header.split("/")[1] if header.count("/") > 1 else "core"
    module = module if module in MODULES else "core"
    lines = source.split("\n")
    found = declarations(source)
    by_comment = {d.comment: d for d in found if d.comment < d.first}
    by_first = {d.first: d for d in found}
    bodies = {i for d in found if d.kind == "function" for i in range(d.first + 1, d.last + 1)}
    include = f' <br><small><code>\\#include \\<{header}\\></code></small>'
    out, i = [], 0
    while i < len(lines):
        line = lines[i]
        if i in bodies:
            out.append(line)
            i += 1
            continue
        if re.match(r"\s*//", line) and "SPDX" not in line:
            last = i
            while last + 1 < len(lines) and re.match(r"\s*//", lines[last + 1]):
                last += 1
            after = lines[last + 1].strip() if last + 1 < len(lines) else ""
            block = lines[i:last + 1]
            d = by_comment.get(i)
            if OPENING.match(after):
                if out and not out[-1].strip():
                    out[-1] = "/// @file"
                out += documentation(block, names, (), "")
            elif not after or after.startswith(("#", "}", "private:", "public:")) or re.match(r"// ---", block[0].strip()):
                out += block
            else:
                out += documentation(block, names, (d.name,) if d else (), include if d and d.kind != "class" else "")
            i = last + 1
            continue
        if m := OPENING.match(line):
            inner = m[1].split("::")
            line = f"namespace resect{m[1]} {{" + ("" if "detail" in inner else f" /** @addtogroup {module} */ /** @{{ */")
        elif m := CLOSING.match(line):
            line = "}" if "detail" in m[1].split("::") else "/** @} */ }"
        elif (d := by_first.get(i)) and d.trailing and d.first == d.last and (m := re.match(r"(.*?)\s+// (.*)$", line)):
            line = f"/** {escaped(m[2], names, (d.name,))} */ {m[1]}"
        elif d and d.comment == i and not d.trailing:
            if d.throws and f"try_{d.name}" in (x.name for x in found):
                line = f'/** The throwing form of {escaped("try_" + d.name, names, ())}. {include} */ ' + line
            elif d.follows and is_documented(d, found):
                line = f"/** As the one above. {include} */ " + line
        elif m := re.match(r"^(\s*)([^/\s][^/]*[;,{}\w])\s+// (.*)$", line):  # a trailing comment
            line = f"{m[1]}{m[2]} ///< {escaped(m[3], names, ())}"
            if i + 1 < len(lines) and re.match(r"\s{12,}// ", lines[i + 1]):  # that goes on below
                more = re.match(r"(\s*)// (.*)$", lines[i + 1])
                out += [line, f"{more[1]}///< {escaped(more[2], names, ())}"]
                i += 2
                continue
        out.append(line)
        i += 1
    return "\n".join(out)


def page(text):
    """A page for Doxygen: what it takes for a command is escaped outside of code; links to folders become text."""
    def prose(part):
        part = re.sub(r"\[([^\]]+)\]\(((?:\.\./)?(?:include|examples|tests|benchmarks)[^)]*)\)", r"\1", part)
        part = re.sub(r"\[([^][\n]*)\n([^][\n]*)\]\(", r"[\1 \2](", part)  # Doxygen loses what follows such a link
        return re.sub(r"(?<!`)@(?=\w)", r"\\@", part)
    parts = re.split(r"(^```.*?^```$)", text, flags=re.S | re.M)
    return "".join(prose(p) if k % 2 == 0 else p for k, p in enumerate(parts))


def settings(source, out):
    inputs = [source / "modules.dox", source / "resect"] + [source / p for p in pages()]
    version = re.search(r'RESECT_VERSION "([^"]+)"', (HEADERS / "resect/version.hpp").read_text())[1]
    values = {
        "PROJECT_NAME": "resect", "PROJECT_NUMBER": version, "PROJECT_BRIEF": '"layer surgery on transformers"',
        "INPUT": " ".join(f'"{p}"' for p in inputs), "RECURSIVE": "YES", "FILE_PATTERNS": "*.hpp *.md *.dox",
        "USE_MDFILE_AS_MAINPAGE": f'"{source / "README.md"}"', "IMAGE_PATH": f'"{ROOT}" "{ROOT / "docs"}"',
        "OUTPUT_DIRECTORY": f'"{out}"', "HTML_OUTPUT": ".", "GENERATE_LATEX": "NO", "HTML_TIMESTAMP": "NO",
        "STRIP_FROM_PATH": f'"{source}"', "STRIP_FROM_INC_PATH": f'"{source}"', "EXCLUDE_SYMBOLS": "*detail*",
        "JAVADOC_AUTOBRIEF": "YES", "HIDE_IN_BODY_DOCS": "YES", "HIDE_UNDOC_CLASSES": "YES", "EXTRACT_ALL": "NO",
        "SORT_MEMBER_DOCS": "NO", "SORT_GROUP_NAMES": "NO", "TOC_INCLUDE_HEADINGS": "2", "DISABLE_INDEX": "NO",
        "GENERATE_TREEVIEW": "YES", "HAVE_DOT": "NO", "CLASS_GRAPH": "NO", "SHOW_USED_FILES": "NO",
        "ENABLE_PREPROCESSING": "YES", "MACRO_EXPANSION": "YES", "EXPAND_ONLY_PREDEF": "YES",
        "PREDEFINED": "RESECT_EXCEPTIONS=1 RESECT_HD= __cplusplus=202002L", "BUILTIN_STL_SUPPORT": "YES",
        "QUIET": "YES", "WARN_IF_UNDOCUMENTED": "NO", "WARN_IF_DOC_ERROR": "YES", "WARN_FORMAT": '"$file:$line: $text"',
    }
    return "".join(f"{key} = {value}\n" for key, value in values.items())


def main():
    out = pathlib.Path(sys.argv[1]).resolve()
    doxygen = sys.argv[2] if len(sys.argv) > 2 else "doxygen"
    source, fresh = out.with_name(out.name + ".marked"), out.with_name(out.name + ".new")
    for folder in (source, fresh):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    sources = {p.relative_to(HEADERS).as_posix(): p.read_text(encoding="utf-8") for p in sorted(HEADERS.rglob("*.hpp"))
               if "detail" not in p.relative_to(HEADERS).parts}
    names = index_of(sources)
    (source / "docs").mkdir()
    for p in pages():
        (source / p).write_text(page((ROOT / p).read_text(encoding="utf-8")), encoding="utf-8")
    used = {h.split("/")[1] for h in sources if h.count("/") > 1}
    (source / "modules.dox").write_text("".join(
        f"/** @defgroup {name} {name}\n {what}. */\n/** @namespace {'resect' if name == 'core' else 'resect::' + name}\n"
        f" {what}: see @ref {name}. */\n" for name, what in MODULES.items() if name in used), encoding="utf-8")
    (source / "Doxyfile").write_text(settings(source, fresh), encoding="utf-8")
    for _ in range(2):  # the second time without links that Doxygen cannot follow
        for header, text in sources.items():
            (source / header).parent.mkdir(parents=True, exist_ok=True)
            (source / header).write_text(marked(text, header, names), encoding="utf-8")
        done = subprocess.run([doxygen, source / "Doxyfile"], cwd=source, capture_output=True, text=True)
        lost = set(re.findall(r"unable to resolve reference to '(resect::[^']+)'", done.stderr))
        if not lost:
            break
        names = {name: qualified for name, qualified in names.items() if qualified not in lost}
    warnings = [w.replace(str(source) + "/", "") for w in done.stderr.split("\n") if w.strip()]
    for warning in warnings:
        print(warning, file=sys.stderr)
    broken = [w for w in warnings if "unable to resolve" in w or "not found" in w]
    if done.returncode != 0 or broken or not (fresh / "index.html").exists():
        sys.exit(f"build.py: the reference could not be built: {len(broken)} broken links, Doxygen returned {done.returncode}")
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
    shutil.rmtree(source)
    print(f"{out}/index.html")


if __name__ == "__main__":
    main()
