# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Looks for global variables of resect's that a program could write: no_globals.py ROOT OBJECTS [--cxx COMPILER]

Every header that needs the standard library alone is compiled with all its inline functions kept (-fkeep-inline-functions,
so that functions without a caller count too). Every object file below OBJECTS is read as well: the tests instantiate nearly
every template, and they call what the other headers have (to keep the functions of Eigen and of the JSON library would cost
as much again). OBJECTS is where the build leaves its own: programs that other tests build meanwhile come and go in folders
of theirs. A symbol of namespace
resect in a section that stays writable (or is a thread's), and the guard of a static local variable, is a breach.
A planted one of each kind must be found, else the check itself fails. Exit status 77: skipped.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PLANTED = """
#include <string_view>
namespace resect::inline v0::planted {
inline int variable = 1;
inline thread_local int of_a_thread = 2;
inline int& counted() { static int n = 3; return n; }
struct made { int value; made(); };
inline const made& guarded() { static const made m; return m; }
inline constexpr int constant[] = {1, 2, 3};
inline constexpr std::string_view names[] = {"relocated,", "but read-only"};
inline const int* pointers[] = {constant};
template <class T> struct holder { static inline T value{}; };
int use() { return variable + of_a_thread + counted() + guarded().value + constant[1] + *pointers[0] + holder<int>::value +
                   static_cast<int>(names[1].size()); }
}
"""
WANTED = {"variable", "of_a_thread", "counted()::n", "guarded()::m", "guard variable for guarded()::m", "pointers",
          "holder<int>::value"}


def call(*command):
    command = [str(c) for c in command]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}exit status {done.returncode}")
    return done.stdout


def writable(path):
    """Demangled names of resect's variables in writable sections, but for those that the loader makes read-only."""
    sections = {}
    for line in call("readelf", "-SW", path).splitlines():
        m = re.match(r"\s*\[\s*(\d+)\]\s+(\S+)\s+\S+\s+\S+\s+\S+\s+\S+\s+\S+\s+(\w*)\s", line)
        if m:
            sections[m[1]] = (m[2], m[3])
    found = []
    for line in call("readelf", "-sW", path).splitlines():
        part = line.split()
        if len(part) < 8 or part[3] not in ("OBJECT", "TLS", "COMMON") or part[6] not in sections:
            continue
        name, flags = sections[part[6]]
        if "W" in flags and not name.startswith(".data.rel.ro"):
            found.append(part[7])
    names = subprocess.run(["c++filt"], input="\n".join(found), capture_output=True, text=True, check=True).stdout.splitlines()
    return {n for n in names if re.match(r"(guard variable for |TLS init function for )?resect::", n)}


def self_test(cxx, work):
    source = work / "planted.cpp"
    source.write_text(PLANTED)
    for form in ("-fPIC", "-fno-pic"):
        call(cxx, "-std=c++20", "-O0", form, "-c", source, "-o", work / "planted.o")
        found = {n.replace("resect::v0::planted::", "") for n in writable(work / "planted.o")}
        if found != WANTED:
            sys.exit(f"planted globals with {form}: got {sorted(found)}, wanted {sorted(WANTED)}")


def needs_standard_library_alone(header, root, known):
    """Whether a header and all that it includes name no header but those of resect and the standard library."""
    if header not in known:
        known[header] = True
        text = (root / "include" / header).read_text(encoding="utf-8")
        included = re.findall(r"^#include <([^>]+)>", text, re.M)
        known[header] = all(needs_standard_library_alone(h, root, known) if h.startswith("resect/") else not re.match(r".*/|cu|cblas|lapack", h)
                            for h in included)
    return known[header]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("objects", type=pathlib.Path)
    parser.add_argument("--cxx", default="c++")
    arguments = parser.parse_args()
    for tool in ("readelf", "c++filt"):
        if shutil.which(tool) is None:
            print(f"skipped: {tool} is not installed")
            sys.exit(77)
    root = arguments.root.resolve()
    breaches = {}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        self_test(arguments.cxx, work)
        headers = sorted(p.relative_to(root / "include").as_posix() for p in (root / "include").rglob("*.hpp"))
        known = {}
        here = [h for h in headers if needs_standard_library_alone(h, root, known)]
        if len(here) < len(headers) // 2:
            sys.exit(f"headers of the standard library alone: got {len(here)} of {len(headers)}, wanted most")
        source, built = work / "all.cpp", work / "all.o"
        source.write_text("".join(f"#include <{h}>\n" for h in here))
        keep = ["-fkeep-inline-functions"] if "clang" not in call(arguments.cxx, "--version") else []
        call(arguments.cxx, "-std=c++20", "-O0", "-fPIC", *keep, f"-I{root / 'include'}", "-isystem", "/usr/include/eigen3",
             "-c", source, "-o", built)
        objects = [built, *sorted(arguments.objects.rglob("*.o"))]
        if len(objects) == 1:
            sys.exit(f"{arguments.objects}: got no object file, wanted those of the tests")
        for path in objects:
            for name in writable(path):
                breaches.setdefault(name, path.name)
    for name, where in sorted(breaches.items()):
        print(f"{name} can be written ({where})")
    left_out = sorted(set(headers) - set(here))
    print(f"{len(here)} headers and {len(objects) - 1} other object files: {len(breaches)} variables" +
          (f"; read through the tests alone: {' '.join(left_out)}" if left_out else ""))
    sys.exit(1 if breaches else 0)


if __name__ == "__main__":
    main()
