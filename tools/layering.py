# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks include/resect: which module includes which, which standard headers stay out, and the form of every header.

    layering.py FOLDER        exit status 1 lists every breach
    layering.py --self-test   plants one breach of each kind and fails unless each is found

A header includes only its own module and modules above it in MODULES. backend/ and host/ are included by users alone;
they may include everything above them.
"""
import pathlib
import re
import sys
import tempfile

MODULES = ["core", "random", "linalg", "metrics", "io", "model", "quant", "factor", "compress", "residual", "conformance", "student", "sae",
           "study"]
USERS_CHOICE = ["backend", "host"]
# Global state, streams, threads that nobody asked for, a meaning that follows NDEBUG: no module includes these.
FORBIDDEN = {"iostream", "istream", "ostream", "sstream", "fstream", "iomanip", "locale", "execution", "random", "thread", "mutex",
             "shared_mutex", "condition_variable", "future", "regex", "filesystem", "format", "cassert"}
# Costly to include: not in the modules whose fronts are under a budget (tools/include_time.py), and not in what these include.
DEAR = {"algorithm", "charconv", "chrono", "functional", "map", "memory", "ranges", "set", "string", "unordered_map",
        "unordered_set", "vector"}
CHEAP_MODULES = {"core", "random", "metrics", "model", "quant", "residual"}
# Libraries that headers of a module may need. Front headers, which stand in no folder, need none, by no way.
LIBRARIES = {"io": {"nlohmann/json.hpp"}}
# Files and pages are the system's: the one header that makes folders crash-safe, which no front includes, and the one that asks
# for large pages.
SYSTEM = {"io/durable_folder.hpp": {"fcntl.h", "sys/stat.h", "unistd.h"}, "core/huge_pages.hpp": {"sys/mman.h"}}
# The pool is the one place that needs threads; backends include it, nothing else does.
EXEMPT = {"core/threads.hpp"}
FRONTS = {f"{module}.hpp" for module in MODULES}
TOP = {"config.hpp", "version.hpp", "resect.hpp"} | FRONTS
# Who may define macros that stay; they begin with RESECT_. Elsewhere a macro is undefined again in the same file.
MACROS = {"config.hpp", "version.hpp", "core/instruction_set.hpp"}
LICENCE = "// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception"
MAX_LINES = 400

# What makes two translation units disagree on one function, or leaks into a user's program.
PATTERNS = [
    (r"^\s*#\s*pragma\s+(?!once\b|GCC (diagnostic|unroll|ivdep)\b|unroll\b|clang fp reassociate\(off\)$)",
     "has a pragma that changes code", set()),
    (r"^\s*#\s*pragma\s+clang fp reassociate\(off\)$", "has a pragma that holds to the end of the file", {"config.hpp"}),
    (r"\b__(FAST|ASSOCIATIVE|FINITE)_MATH(_ONLY)?__", "follows a setting of the compiler's", {"config.hpp"}),
    (r"\b(NDEBUG|__OPTIMIZE__|_OPENMP|__AVX\w*__|__FMA__|__SSE\w*__|__ARM_FEATURE\w*)\b",
     "follows a setting of the compiler's", set()),
    (r"\b__CUDACC__\b", "asks for __CUDACC__, which config.hpp alone does", {"config.hpp"}),
    (r"\bthread_local\b", "has state that is a thread's", set()),
    (r"^\s*(inline\s+)?namespace\s*\{", "has an unnamed namespace", set()),
    (r"^\s*using\s+namespace\b", "has a using-directive", {"residual/words.hpp", "conformance/words.hpp"}),
    (r"\b(std::(cout|cerr|clog|printf|puts|exit|abort|terminate)|printf|exit|abort)\s*(\(|<<)", "prints or ends the program", set()),
    (r"(?<![\w.])/(work|tmp|home|root)/", "names a place on somebody's machine", set()),
]


# Who in study/ runs a model: the runner and what it is made of. Every study is a list of arms.
RUNS_A_MODEL = re.compile(r"\b(try_run|try_head)\s*\(")
STUDY_RUNS = re.compile(r"study/(runner\.hpp|detail/.*)$")


def code_only(text):
    """The text without comments and strings, with its lines kept."""
    keep_lines = lambda m: re.sub(r"[^\n]", "", m.group()) if m.group().startswith("/") else '""'
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', keep_lines, text, flags=re.S)


def form_breaches(name, text):
    lines = text.split("\n")
    if len(lines) - 1 > MAX_LINES:
        yield f"{len(lines) - 1} lines, at most {MAX_LINES}"
    if lines[0] != LICENCE:
        yield "no licence line at the top"
    code = code_only(text)
    for macro in sorted(set(re.findall(r"^\s*#\s*define\s+(\w+)", code, re.M))):
        undefined = re.search(rf"^\s*#\s*undef\s+{macro}\b", code, re.M)
        if not macro.startswith("RESECT_") or not (undefined or name in MACROS):
            yield f"defines the macro {macro} and keeps it"
    if "#pragma once" not in lines and not name.endswith(".inl"):
        yield "no #pragma once"
    only_includes = not re.search(r"^\s*[^#\s]", code, re.M)
    if name not in TOP and not only_includes and not name.endswith(".inl") and not re.search(r"^namespace RESECT_NAMESPACE\b", text, re.M):
        yield "nothing in namespace RESECT_NAMESPACE"
    for number, (part, line) in enumerate(zip(code.split("\n"), lines), 1):
        if name.startswith("study/") and not STUDY_RUNS.match(name) and RUNS_A_MODEL.search(part):
            yield f"line {number} runs a model, which study/runner.hpp alone does"
        for pattern, what, but in PATTERNS:
            in_text = "/(work" in pattern
            if name not in but and re.search(pattern, line if in_text else part):
                yield f"line {number} {what}"


def include_breach(name, header):
    """What is wrong with one #include, or None."""
    module = name.split("/")[0] if "/" in name else None
    if not header.startswith("resect/"):
        if module in USERS_CHOICE or name in EXEMPT:
            return None
        if header in LIBRARIES.get(module, set()):
            return None
        if header in SYSTEM.get(name, set()):
            return None
        if "/" in header or header.endswith((".h", ".hpp")):
            return f"includes <{header}>, which is not a standard C++ header"
        return f"includes <{header}>" if header in FORBIDDEN | (DEAR if module in CHEAP_MODULES else set()) else None
    target = header.removeprefix("resect/")
    other = target.split("/")[0] if "/" in target else None
    if other is None:
        if target == "resect.hpp" or (target in FRONTS and name != "resect.hpp"):
            return f"includes {target}, a header of headers for users"
        return None
    if module in USERS_CHOICE:
        return None
    if other in USERS_CHOICE:
        return f"includes {target}; backends and hosts are included by the user alone"
    if name in TOP:
        return None
    for m in (other, module):
        if m not in MODULES:
            return f"module {m} is not in the list"
    if MODULES.index(other) > MODULES.index(module):
        return f"includes {target}, a module below its own"
    return f"includes {target}, which only a backend may" if target in EXEMPT else None


def front_breaches(includes):
    """What is wrong with front headers; `includes` has of every header what it includes."""
    for front in sorted(name for name in includes if "/" not in name):
        seen, rest = set(), [front]
        while rest:
            name = rest.pop()
            for header in includes.get(name, []):
                if header in LIBRARIES.get(name.split("/")[0], set()):
                    yield f"{front}: needs <{header}> by way of {name}"
                inner = header.removeprefix("resect/")
                if inner not in seen:
                    seen.add(inner)
                    rest.append(inner)


def breaches(root):
    found, includes = [], {}
    for path in sorted([*root.rglob("*.hpp"), *root.rglob("*.inl"), *root.rglob("*.cuh")]):
        name = path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8")
        found += [f"{name}: {what}" for what in form_breaches(name, text)]
        includes[name] = re.findall(r"^#include [<\"]([^>\"]+)[>\"]", text, re.M)
        for header in includes[name]:
            what = include_breach(name, header)
            if what:
                found.append(f"{name}: {what}")
    return found + list(front_breaches(includes))


def self_test():
    good = f"{LICENCE}\n#pragma once\nnamespace RESECT_NAMESPACE {{}}\n"
    planted = [
        ("core/good.hpp", good, None),
        ("core/text.hpp", good + '// NDEBUG\nconst char* a = "NDEBUG // namespace {";\n', None),
        ("io/string.hpp", good + "#include <string>\n", None),
        ("residual/run.hpp", f"{LICENCE}\n#pragma once\n// all\n#include <resect/residual/plan.hpp>\n", None),
        ("quant/concept.hpp", good + "#include <resect/core/backend.hpp>\n", None),
        ("core/string.hpp", good + "#include <string>\n", "includes <string>"),
        ("core/up.hpp", good + "#include <resect/random/philox.hpp>\n", "a module below its own"),
        ("core/other.hpp", good + "#include <resect/elsewhere/x.hpp>\n", "module elsewhere is not in the list"),
        ("quant/backend.hpp", good + "#include <resect/backend/cpu.hpp>\n", "included by the user alone"),
        ("quant/threads.hpp", good + "#include <resect/core/threads.hpp>\n", "which only a backend may"),
        ("quant/all.hpp", good + "#include <resect/resect.hpp>\n", "a header of headers for users"),
        ("study/front.hpp", good + "#include <resect/core.hpp>\n", "a header of headers for users"),
        ("study/vector.hpp", good + "#include <vector>\n#include <string>\n#include <chrono>\n", None),
        ("residual/vector.hpp", good + "#include <vector>\n", "includes <vector>"),
        ("study/stream.hpp", good + "#include <sstream>\n", "includes <sstream>"),
        ("io/map.hpp", good + "#include <nlohmann/json.hpp>\n#include <unordered_map>\n", None),
        ("quant/json.hpp", good + "#include <nlohmann/json.hpp>\n", "not a standard C++ header"),
        ("quant/by_io.hpp", good + "#include <resect/io/json.hpp>\n", None),
        ("resect.hpp", f"{LICENCE}\n#pragma once\n#include <resect/io/json.hpp>\n",
         "needs <nlohmann/json.hpp> by way of io/json.hpp"),
        ("quant/eigen.hpp", good + "#include <Eigen/Core>\n", "not a standard C++ header"),
        ("core/licence.hpp", "\n" + good, "no licence line"),
        ("core/once.hpp", good.replace("#pragma once", ""), "no #pragma once"),
        ("core/names.hpp", good.replace("RESECT_NAMESPACE", "other"), "nothing in namespace"),
        ("core/long.hpp", good + "\n" * MAX_LINES, f"at most {MAX_LINES}"),
        ("core/macro.hpp", good + "#define RESECT_X 1\n", "defines the macro RESECT_X and keeps it"),
        ("core/short_macro.hpp", good + "#define X 1\n#undef X\n", "defines the macro X and keeps it"),
        ("core/macro_undone.hpp", good + "#define RESECT_X 1\n#undef RESECT_X\n", None),
        ("core/kernels.inl", LICENCE + "\ninline void f() {}\n", None),
        ("core/kernels2.inl", "inline void f() {}\n", "no licence line"),
        ("core/pragma.hpp", good + "#pragma GCC optimize(3)\n", "a pragma that changes code"),
        ("core/order.hpp", good + "#pragma clang fp reassociate(on)\n", "a pragma that changes code"),
        ("core/order_off.hpp", good + "#pragma clang fp reassociate(off)\n", "a pragma that holds to the end of the file"),
        ("core/debug.hpp", good + "#ifdef NDEBUG\n#endif\n", "a setting of the compiler's"),
        ("core/march.hpp", good + "#if defined(__AVX2__)\n#endif\n", "a setting of the compiler's"),
        ("core/state.hpp", good + "inline thread_local int n = 0;\n", "state that is a thread's"),
        ("core/unnamed.hpp", good + "namespace {\n}\n", "an unnamed namespace"),
        ("core/using.hpp", good + "using namespace std;\n", "a using-directive"),
        ("core/print.hpp", good + "inline void f() { std::abort(); }\n", "prints or ends the program"),
        ("study/own_loop.hpp", good + "inline void f() { host.try_run(s, 0, 1, k); }\n", "runs a model"),
        ("study/own_head.hpp", good + "inline void f() { host.try_head (s, 0, a, b); }\n", "runs a model"),
        ("study/detail/pass.hpp", good + "inline void f() { host.try_run(s, 0, 1, k); }\n", None),
        ("core/place.hpp", good + "// see /home/somebody\n", "a place on somebody's machine"),
    ]
    wrong = 0
    for name, text, wanted in planted:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, content in (root / "io/json.hpp", good + "#include <nlohmann/json.hpp>\n"), (root / name, text):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
            found = breaches(pathlib.Path(folder))
        if (found != []) if wanted is None else (len(found) != 1 or wanted not in found[0]):
            print(f"{name}: got {found}, wanted {wanted or 'nothing'}")
            wrong += 1
    print(f"{len(planted)} planted headers, {wrong} wrong answers")
    return wrong


def main():
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(1 if self_test() else 0)
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
