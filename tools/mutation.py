#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Do the tests notice? Changes one line of a header at a time and runs the tests that could see it.

    python3 tools/mutation.py [--seed 1] [--count 50] [--modules core,metrics,residual] [--most 10] [--jobs 2] [--again]

Mutants are drawn from all places where one of OPERATORS applies: comments, strings, templates, includes and assertions are
left alone, and so are changes that cannot matter (the boundary of a clamp, of a maximum, of a comparison with a fraction); a
mutant that does not compile is replaced by the next one. The draw depends on the seed, the header and the line alone: after
a change elsewhere the same seed draws the same mutants. First the test file of the header's own name runs, then others that
include the header, those of its module first, until one fails (or takes too long): the mutant is killed. After MOST tests a
mutant counts as a survivor, although the rest of the tests might kill it. Each test file is compiled by itself, for this
alone. Writes WORK/mutants.json and prints the survivors, which are to be looked at: is it the same program, or is a test
missing? With --again only those that survived before are judged.
Exit status: 0 where the tests killed nine in ten, 1 where not, 2 where the tests fail without any change.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEST_FOLDERS = ["core", "random", "linalg", "metrics", "model", "residual", "conformance", "study", "backend"]
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
MAXIMUM = re.compile(r"if \((?P<a>[\w.\[\]():<>]+) (?:<=?|>=?) (?P<b>[\w.\[\]():<>]+)\) (?:(?P=a) = (?P=b)|(?P=b) = (?P=a));")
FRACTION = re.compile(r" (?:<=?|>=?) -?\d+(?:\.\d+)?(?:e[-+]?\d+)?\b")


def is_same_program(bare, start, end):
    """Whether only the boundary of a comparison changes where it cannot matter."""
    if not re.fullmatch(r" (<=?|>=?) ", bare[start:end]):
        return False
    if any(m.start() <= start < m.end() for pattern in (CLAMP, MAXIMUM) for m in pattern.finditer(bare)):
        return True
    m = FRACTION.match(bare, start)
    return bool(m and re.search(r"[.e]", m.group()))


def places(root, header):
    """(key, header, line, its number, what it becomes) of every mutant of a header, given below `root`."""
    found = []
    lines = (root / header).read_text(encoding="utf-8").split("\n")
    seen = collections.Counter()  # a line that stands there twice is two lines

    def add(number, new):
        change = header.as_posix(), lines[number].strip(), new.strip()
        seen[change] += 1
        key = hashlib.sha256("\n".join([*change, str(seen[change])]).encode()).hexdigest()
        found.append((key, header, lines[number], number, new))

    for number, line in enumerate(lines):
        bare = code_of(line)
        if bare is None:
            continue
        for pattern, new in OPERATORS:
            for m in re.finditer(pattern, bare):
                if ("<" in pattern and "template" in bare) or is_same_program(bare, m.start(), m.end()):
                    continue
                add(number, line[:m.start()] + new + line[m.end():])
        if STATEMENT.match(bare) and "return" not in bare:
            add(number, "")
    return found


class Unfit(Exception):
    """The tests cannot judge anything."""


class Bench:
    """A copy of the source with its tests' dependencies, of one process."""

    def __init__(self, source, work, most):
        self.most = most
        self.tree = work / "tree"
        self.bin = work / "bin"
        shutil.rmtree(work, ignore_errors=True)
        self.bin.mkdir(parents=True)
        for folder in ("include", "tests", "examples"):
            shutil.copytree(source / folder, self.tree / folder)
        self.main = self.bin / "main.o"
        self.compile([self.tree / "tests/support/main.cpp", "-c", "-o", self.main], check=True)
        self.hosts = self.bin / "hosts"
        self.dependencies = {}
        for folder in TEST_FOLDERS:
            for test in sorted((self.tree / "tests" / folder).rglob("*.cpp")):
                self.dependencies[test] = self.includes(test)
        self.passes = set()  # tests that are known to pass without a change
        self.host_dependencies = set().union(*(self.includes(f) for f in self.host_sources()))

    def host_sources(self):
        return sorted((self.tree / "examples/hosts").rglob("*.cpp")) + \
            sorted(p for p in (self.tree / "tests/support").glob("*.cpp") if p.name != "main.cpp")

    def command(self, arguments):
        return ["g++", *FLAGS, *(f"-I{self.tree / f}" for f in ("include", "tests", "examples")), *map(str, arguments)]

    def compile(self, arguments, check=False):
        done = subprocess.run(self.command(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode < 0 or "Killed signal" in done.stdout:
            raise Unfit(f"the compiler was killed: {done.stdout[:2000]}")
        if check and done.returncode != 0:
            raise Unfit(done.stdout[:2000])
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
        # hidden and long tests are left to the full run; a limit that holds where this process is ended first
        return True, subprocess.run(["timeout", "-k", "5", str(LIMIT_S), str(program), "~[slow]"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL).returncode == 0

    def check_unchanged(self, test, header, original):
        """Whether a test passes without the change, asked once."""
        if test in self.passes:
            return
        changed = header.read_text(encoding="utf-8")
        header.write_text(original, encoding="utf-8")
        if self.run(test, self.hosts) != (True, True):
            raise Unfit(f"{test.parent.name}/{test.name} fails without any change")
        header.write_text(changed, encoding="utf-8")
        self.passes.add(test)

    def judge(self, header, number, new):
        """("killed", by) or ("survived", None) or ("does not compile", None)."""
        path = self.tree / header
        text = path.read_text(encoding="utf-8")
        lines = text.split("\n")
        lines[number] = new
        path.write_text("\n".join(lines), encoding="utf-8")
        verdict = self.try_tests(path, text)
        path.write_text(text, encoding="utf-8")
        return verdict

    def try_tests(self, header, original):
        tests = [t for t, used in self.dependencies.items() if header in used]
        module, stem = header.relative_to(self.tree / "include/resect").parts[0], header.stem
        of_module = [t for t in tests if t.relative_to(self.tree / "tests").parts[0] == module]
        own = [t for t in of_module if t.stem == stem]
        near = [t for t in of_module if t not in own]
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


BENCH, SETTING = None, None  # of this process


def set_up(*setting):
    global SETTING
    SETTING = setting


def judge(mutant):
    global BENCH
    if BENCH is None:  # here, as what an initializer raises does not reach the caller
        work, most, numbers = SETTING
        with numbers.get_lock():
            number = numbers.value
            numbers.value += 1
        BENCH = Bench(work / "source", work / f"job{number}", most)
        BENCH.build_hosts(BENCH.hosts)
    _, header, _, number, new = mutant
    return BENCH.judge(header, number, new)


def drawn(root, modules, seed):
    """All mutants in the order in which the seed draws them."""
    found = []
    for module in modules:
        for header in sorted((root / "include/resect" / module).rglob("*.hpp")):
            found += places(root, header.relative_to(root))
    return sorted(found, key=lambda m: hashlib.sha256(f"{seed} {m[0]}".encode()).hexdigest())


def main():
    parser = argparse.ArgumentParser(description="single-line mutants of the headers against the tests")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--modules", default="core,metrics,residual")
    parser.add_argument("--most", type=int, default=10, help="tests that are tried on a mutant (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="judge those alone that survived before")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/mutation")
    options = parser.parse_args()
    work = options.work.resolve()
    report = work / "mutants.json"

    before = {}
    if options.again:
        if not report.exists():
            parser.error(f"{report}: got no such file, wanted that of a run before")
        before = {m["key"]: m for m in json.loads(report.read_text(encoding="utf-8"))["mutants"]}
    known = {key: (m["verdict"], m["by"]) for key, m in before.items() if m["verdict"] != "survived"}
    shutil.rmtree(work / "source", ignore_errors=True)
    for folder in ("include", "tests", "examples"):  # what is edited meanwhile changes nothing
        shutil.copytree(ROOT / folder, work / "source" / folder)
    mutants = drawn(work / "source", options.modules.split(","), options.seed)

    def keep(results):
        """Leaves a whole report at any time, with the verdicts from before that were not reached yet."""
        reached = {r["key"] for r in results}
        text = json.dumps({"seed": options.seed, "mutants": results + [m for k, m in before.items() if k not in reached]}, indent=1)
        new = report.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        os.replace(new, report)

    everything, valid = [], []
    numbers = multiprocessing.Value("i", 0)
    with concurrent.futures.ProcessPoolExecutor(options.jobs, initializer=set_up, initargs=(work, options.most, numbers)) as pool:
        place = 0
        while len(valid) < options.count and place < len(mutants):
            batch = mutants[place:place + options.count - len(valid)]
            place += len(batch)
            asked = [m for m in batch if m[0] not in known]
            verdicts = pool.map(judge, asked)
            for m in batch:
                key, header, line, number, new = m
                verdict, by = known[key] if key in known else next(verdicts)
                result = {"key": key, "place": f"{header.relative_to('include/resect')}:{number + 1}", "old": line.strip(),
                          "new": new.strip(), "verdict": verdict, "by": by}
                everything.append(result)
                keep(everything)
                if verdict == "does not compile":
                    continue
                valid.append(result)
                print(f"{len(valid):3} {verdict:8} {result['place']}  {result['old']}  →  {result['new'] or '(left out)'}" +
                      (f"  [{by}]" if by else ""), flush=True)
    killed = sum(r["verdict"] == "killed" for r in valid)
    print(f"{killed} of {len(valid)} killed, {len(mutants)} places")
    for r in valid:
        if r["verdict"] == "survived":
            print(f"  survived: {r['place']}: {r['old']}  →  {r['new'] or '(left out)'}")
    return 0 if 10 * killed >= 9 * len(valid) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Unfit, concurrent.futures.BrokenExecutor) as problem:
        print(f"mutation: {problem or 'a job was killed'}", file=sys.stderr)
        sys.exit(2)
