#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Do the tests notice? Changes one line of a header at a time and runs the tests that could see it.

    python3 tests/mutation.py [--seed 1] [--count 50] [--modules core,metrics,residual] [--most 12] [--work build/mutation]

Mutants are drawn by the seed from all places where one of OPERATORS applies: comments, strings, templates, includes and
assertions are left alone, and so is the boundary of a clamp or of a comparison with a fraction; a mutant that does not compile is replaced by the next one. First the test file of the
header's own name runs, then others that include the header, those of its module first, until one fails (or takes too
long): the mutant is killed. After MOST tests a mutant counts as a survivor, although the rest of the tests might kill it. Tests are compiled for this purpose alone, one file at a time, without optimisation flags of the project.
Writes WORK/mutants.json and prints the survivors, which are to be looked at: is it the same program, or is a test missing?
Exit status: 0 where the tests killed nine in ten, 1 where not, 2 where the tests fail without any change.
"""
import argparse
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEST_FOLDERS = ["core", "random", "metrics", "residual", "study", "backend"]
FLAGS = ["-std=c++20", "-O2", "-w", f'-DRESECT_SOURCE_DIR="{ROOT}"', "-isystem", "/usr/include/eigen3"]
LIMIT_S = 200

OPERATORS = [
    (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "), (r" == ", " != "), (r" != ", " == "),
    (r" && ", " || "), (r" \|\| ", " && "), (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " / "), (r" / ", " * "),
    (r" \+= ", " -= "), (r" -= ", " += "), (r" \*= ", " /= "), (r"\btrue\b", "false"), (r"\bfalse\b", "true"),
    (r"std::min\b", "std::max"), (r"std::max\b", "std::min"), (r"\(!", "("), (r"\+\+", "--"),
    (r"(?<![\w.])0(?![\w.])", "1"), (r"(?<![\w.])1(?![\w.])", "2"), (r"(?<![\w.])2(?![\w.])", "3"),
]
STATEMENT = re.compile(r"^\s+[\w\]\[.>()*-]+ ?([-+*|^]?=|\()[^=].*;\s*$")  # an assignment or a call: may be left out
SKIP = re.compile(r"^\s*(//|#|template|static_assert|using|namespace|requires|concept|friend|case\b|public:|private:)|\benum\b|operator|"
                  r"\bstatic constexpr std::align|version|= (default|delete);")


def code_of(line):
    """The line without its comment and strings; None where it holds nothing to change."""
    bare = re.sub(r'"(\\.|[^"\\])*"', lambda m: '"' + "_" * (len(m.group(0)) - 2) + '"', line)
    comment = bare.find("//")
    bare = bare if comment < 0 else bare[:comment]
    return None if not bare.strip() or SKIP.search(bare) else bare


# Changes that make the same program: what is smaller or larger of two is the same where they are equal, and a test meets a
# constant with a fraction or an exponent only by aiming at it.
CLAMP = re.compile(r"(?P<a>[\w.\[\]():<>]+) (?:<=?|>=?) (?P<b>[\w.\[\]():<>]+) \? (?:(?P=a) : (?P=b)|(?P=b) : (?P=a)|(?P=b) : .*(?P=a))")
FRACTION = re.compile(r" (?:<=?|>=?) -?\d+(?:\.\d+)?(?:e[-+]?\d+)?\b")


def is_same_program(bare, start, end):
    """Whether only the boundary of a comparison changes where it cannot matter."""
    if not re.fullmatch(r" (<=?|>=?) ", bare[start:end]):
        return False
    if any(m.start() <= start < m.end() for m in CLAMP.finditer(bare)):
        return True
    m = FRACTION.match(bare, start)
    return bool(m and re.search(r"[.e]", m.group()))


def places(header):
    found = []
    lines = header.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines):
        bare = code_of(line)
        if bare is None:
            continue
        for pattern, new in OPERATORS:
            for m in re.finditer(pattern, bare):
                if ("<" in pattern and "template" in bare) or is_same_program(bare, m.start(), m.end()):
                    continue
                found.append((header, number, line[:m.start()] + new + line[m.end():]))
        if STATEMENT.match(bare) and "return" not in bare:
            found.append((header, number, ""))
    return found


class Bench:
    def __init__(self, work, most):
        self.most = most
        self.tree = work / "tree"
        self.bin = work / "bin"
        shutil.rmtree(work, ignore_errors=True)
        self.bin.mkdir(parents=True)
        for folder in ("include", "tests", "examples"):
            shutil.copytree(ROOT / folder, self.tree / folder)
        self.main = self.bin / "main.o"
        self.compile([self.tree / "tests/support/main.cpp", "-c", "-o", self.main], check=True)
        self.hosts = self.bin / "hosts"
        self.dependencies = {}
        for folder in TEST_FOLDERS:
            for test in sorted((self.tree / "tests" / folder).glob("*.cpp")):
                self.dependencies[test] = self.includes(test)
        self.passes = set()  # tests that are known to pass without a change
        self.host_dependencies = set().union(*(self.includes(f) for f in self.host_sources()))

    def host_sources(self):
        return [self.tree / "examples/hosts/llama" / name for name in ("load.cpp", "products.cpp")]

    def command(self, arguments):
        return ["g++", *FLAGS, *(f"-I{self.tree / f}" for f in ("include", "tests", "examples")), *map(str, arguments)]

    def compile(self, arguments, check=False):
        done = subprocess.run(self.command(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if check and done.returncode != 0:
            sys.exit(f"mutation: {done.stdout[:2000]}")
        return done.returncode == 0

    def includes(self, source):
        done = subprocess.run(self.command(["-MM", source]), stdout=subprocess.PIPE, text=True, check=True)
        return {pathlib.Path(p) for p in done.stdout.replace("\\\n", " ").split(": ", 1)[1].split()}

    def build_hosts(self, into):
        into.mkdir(exist_ok=True)
        return all(self.compile([s, "-c", "-o", into / (s.stem + ".o")]) for s in self.host_sources())

    def run(self, test, hosts):
        """Builds and runs one test file: built, passed."""
        program = self.bin / "test"
        uses_hosts = any("hosts/llama" in str(p) for p in self.dependencies[test])
        objects = sorted(hosts.glob("*.o")) if uses_hosts else []
        if not self.compile([test, self.main, *objects, "-pthread", "-lcrypto", "-o", program]):
            return False, False
        try:
            # hidden and long tests are left to the full run
            return True, subprocess.run([str(program), "~[slow]"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        timeout=LIMIT_S).returncode == 0
        except subprocess.TimeoutExpired:
            return True, False

    def check_unchanged(self, test, header, original):
        """Whether a test passes without the change, asked once."""
        if test in self.passes:
            return
        changed = header.read_text(encoding="utf-8")
        header.write_text(original, encoding="utf-8")
        if self.run(test, self.hosts) != (True, True):
            print(f"mutation: {test.parent.name}/{test.name} fails without any change")
            sys.exit(2)
        header.write_text(changed, encoding="utf-8")
        self.passes.add(test)

    def judge(self, header, original):
        """`header` is changed in the tree: ("killed", by) or ("survived", None) or ("does not compile", None)."""
        tests = [t for t, used in self.dependencies.items() if header in used]
        module, stem = header.relative_to(self.tree / "include/resect").parts[0], header.stem
        own = [t for t in tests if t.parent.name == module and t.stem == stem]
        near = [t for t in tests if t.parent.name == module and t not in own]
        hosts, rebuilt = self.hosts, header not in self.host_dependencies
        far = sorted((t for t in tests if t not in own and t not in near), key=lambda t: len(self.dependencies[t]))
        near.sort(key=lambda t: len(self.dependencies[t]))
        for test in (own + near + far)[:self.most]:
            if not rebuilt and any("hosts/llama" in str(p) for p in self.dependencies[test]):
                hosts, rebuilt = self.bin / "hosts_changed", True
                if not self.build_hosts(hosts):
                    return "does not compile", None
            self.check_unchanged(test, header, original)
            built, passed = self.run(test, hosts)
            if not built:
                return "does not compile", None
            if not passed:
                return "killed", f"{test.parent.name}/{test.name}"
        return "survived", None


def main():
    parser = argparse.ArgumentParser(description="single-line mutants of the headers against the tests")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--modules", default="core,metrics,residual")
    parser.add_argument("--most", type=int, default=12, help="tests that are tried on a mutant (%(default)s)")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/mutation")
    options = parser.parse_args()

    bench = Bench(options.work.resolve(), options.most)
    bench.build_hosts(bench.hosts)

    candidates = []
    for module in options.modules.split(","):
        for header in sorted((bench.tree / "include/resect" / module).rglob("*.hpp")):
            candidates += places(header)
    random.Random(options.seed).shuffle(candidates)
    results = []
    for header, number, new in candidates:
        if len(results) == options.count:
            break
        text = header.read_text(encoding="utf-8")
        lines = text.split("\n")
        old = lines[number]
        lines[number] = new
        header.write_text("\n".join(lines), encoding="utf-8")
        verdict, by = bench.judge(header, text)
        header.write_text(text, encoding="utf-8")
        if verdict == "does not compile":
            continue
        name = f"{header.parent.name}/{header.name}:{number + 1}"
        results.append({"place": name, "old": old.strip(), "new": new.strip(), "verdict": verdict, "by": by})
        print(f"{len(results):3} {verdict:8} {name}  {old.strip()}  →  {new.strip() or '(left out)'}" + (f"  [{by}]" if by else ""), flush=True)
        (options.work / "mutants.json").write_text(json.dumps({"seed": options.seed, "mutants": results}, indent=1), encoding="utf-8")
    killed = sum(r["verdict"] == "killed" for r in results)
    print(f"{killed} of {len(results)} killed, {len(candidates)} places")
    for r in results:
        if r["verdict"] == "survived":
            print(f"  survived: {r['place']}: {r['old']}  →  {r['new'] or '(left out)'}")
    return 0 if 10 * killed >= 9 * len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
