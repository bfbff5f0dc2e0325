# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks include/resect: everything public at namespace scope has a comment that says what it is.

usage: documented.py SOURCE_DIR [HEADER...], or documented.py --self-test. Exit status 1 lists what has none.
"""
import pathlib
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCE / "tools/reference"))
from headers import declarations, is_documented  # noqa: E402

SAMPLE = """
namespace RESECT_NAMESPACE::sample {
// says what
template <class T>
  requires requires(T t) { t.run(); }
int said(T t) { return 1; }
int said(int again);

int unsaid(int x = 3, std::vector<int> y = {1}) {
  struct inner {
    int x;
  };
  return x;
}
struct bare {
  int value = 0;  // not its own
};
struct ahead;
enum class letters : int { a, b };
inline constexpr int counted = 3;  // says what
template <class T>
concept runs = requires(T t) { t.run(); };
using shorter = bare;
inline constexpr std::array<int, 3> table{{1, 2, 3}};
namespace detail {
int hidden();
}
#if RESECT_EXCEPTIONS
int tried() { return 1; }

int untried() { return 1; }
#endif

// says what
int try_tried();
int beside();
// far away

int apart();
constexpr bool operator==(bare, bare) { return "}" == 0; }
}
"""


def missing(source):
    found = declarations(source)
    return [d for d in found if not is_documented(d, found)], len(found)


def self_test():
    names = [(d.kind, d.name) for d in missing(SAMPLE)[0]]
    wanted = [("function", "unsaid"), ("class", "bare"), ("enum", "letters"), ("concept", "runs"), ("alias", "shorter"),
              ("variable", "table"), ("function", "untried"), ("function", "apart")]
    assert names == wanted, names
    assert all(d.namespace == "resect::sample" for d in declarations(SAMPLE))


def main():
    self_test()  # a check that finds nothing is worth nothing
    if sys.argv[1] == "--self-test":
        return
    root = pathlib.Path(sys.argv[1]) / "include"
    headers = [root / h for h in sys.argv[2:]] or sorted(root.rglob("*.hpp"))
    count = bare = 0
    for path in headers:
        found, n = missing(path.read_text(encoding="utf-8"))
        count += n
        bare += len(found)
        for d in found:
            print(f"{path.relative_to(root).as_posix()}:{d.first + 1}: {d.kind} {d.name} has no comment")
    print(f"{count} declarations in {len(headers)} headers, {bare} without a comment")
    sys.exit(1 if bare or not count else 0)


if __name__ == "__main__":
    main()
