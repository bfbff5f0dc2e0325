# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks that Universal Ctags, and so most editors, sees every public name of include/resect.

    ctags.py SOURCE_DIR   exit status 1 lists every name that is not seen in its line and its namespace; 77: no ctags here
    ctags.py --self-test  plants a header in a form that ctags does not follow and fails unless its names are missed

The names are those that documented.py wants comments for; the options are .ctags.d/resect.ctags. What ctags 5.9 misses
without a fault of the header's: a function whose whole return type is a parameter of its template, unless it is the
last one (put it last) or a word as `constexpr` stands before it.
"""
import collections
import pathlib
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCE / "tools/reference"))
from headers import declarations  # noqa: E402

SAMPLE = """namespace OPENING::sample {
template <class T>
concept runs = requires(T t) { t.run(); };
template <class A, class B> concept both = runs<A> && runs<B>;
enum class letters : int { a, b };
struct pair {
  int first, second;
};
template <runs T, int N = 3>
  requires(N > 2)
class holder {
 public:
  explicit holder(T value);
};
using longer = holder<int, 4>;
inline constexpr int counted = 3;
template <class E, class T>
[[nodiscard]] RESECT_HD constexpr bool try_it(E& e, const T& t, int n = 3) noexcept {
  return e(t) < n;
}
template <class T>
  requires requires(T t) { t.run(); }
int run(T t);
}
"""


def find_ctags():
    """The program, or None: other programs of that name know little of C++."""
    for name in ("ctags-universal", "ctags"):
        if shutil.which(name):
            said = subprocess.run([name, "--version"], capture_output=True, text=True).stdout
            if "Universal Ctags" in said:
                return name
    return None


def tags(ctags, folder):
    """Of each file and name: lines, namespaces and kinds."""
    command = [ctags, "--options=NONE", f"--options={SOURCE / '.ctags.d/resect.ctags'}", "--languages=C++", "--sort=no",
               "--fields=+nK", "-f", "-", "-R", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = collections.defaultdict(list)
    for line in done.stdout.splitlines():
        name, path, rest = line.split("\t", 2)
        kind, *fields = rest[rest.rindex(';"\t') + 3:].split("\t")
        of = dict(f.split(":", 1) for f in fields if ":" in f)
        found[path, name].append((int(of["line"]), of.get("namespace", ""), kind))
    return found


def missing(ctags, folder):
    """Declarations that ctags does not see where they are, by path, and how many there are in all."""
    seen, out, count = tags(ctags, folder), [], 0
    for path in sorted(folder.rglob("*.hpp")):
        for d in declarations(path.read_text(encoding="utf-8")):
            count += 1
            if not any(d.first < line <= d.last + 1 and (namespace == d.namespace or kind == "concept")  # found by a pattern
                       for line, namespace, kind in seen[str(path), d.name]):
                out.append((path, d))
    return out, count


def self_test(ctags):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "sample.hpp"

        def names_missed(opening):
            path.write_text(SAMPLE.replace("OPENING", opening))
            return [d.name for _, d in missing(ctags, path.parent)[0]]

        assert names_missed("RESECT_NAMESPACE") == [], names_missed("RESECT_NAMESPACE")
        old = names_missed("resect::inline TAG")
        assert old == ["letters", "pair", "holder", "longer", "counted", "try_it", "run"], old
        assert all(kind == "concept" for found in tags(ctags, path.parent).values() for _, _, kind in found)


def main():
    ctags = find_ctags()
    if ctags is None:
        print("skipped: Universal Ctags is not installed (Debian: universal-ctags)")
        sys.exit(77)
    self_test(ctags)  # a check that finds nothing is worth nothing
    if sys.argv[1] == "--self-test":
        return
    root = pathlib.Path(sys.argv[1]) / "include"
    found, count = missing(ctags, root)
    for path, d in found:
        print(f"{path.relative_to(root).as_posix()}:{d.first + 1}: {d.kind} {d.name} is not seen")
    print(f"{count} declarations, {len(found)} not seen")
    sys.exit(1 if found or not count else 0)


if __name__ == "__main__":
    main()
