# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares the numbers of report.json before and after a change of the program.

usage: compare_reports.py OLD NEW...     reports, or folders that hold one; several NEW are taken as one
       compare_reports.py --self-test

Rows are pairs where operator, layers and seed are the same (reports from before arms had keys give layers by `first` and
`last`). Of a pair every estimate, mark, rank and number is compared, bit by bit; so are the intact model's numbers, its
profile, and what compressions say of all layers together. What OLD has and no NEW has is a difference; what NEW has
besides is counted. Exit status 1 where anything differs.
"""
import copy
import json
import pathlib
import sys

# How a report from before operators had ids calls them.
FORMER = {"reinit.reset": "reinit", "reinit.keep": "reinit"}
# Names and places that say nothing of what was measured.
ROW_NAMES = {"arm", "operator", "layers", "first", "last", "seed", "parameters", "table", "matrix"}


def load(path):
    path = pathlib.Path(path)
    return json.loads((path / "report.json" if path.is_dir() else path).read_text())


def key(row):
    layers = row.get("layers", list(range(row["first"], row["last"])) if row["first"] is not None else None)
    return FORMER.get(row["operator"], row["operator"]), tuple(layers), row["seed"]


def leaves(value, place=""):
    """-> (place, number or text) of everything in a JSON value."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from leaves(one, f"{place}[{i}]")
    else:
        yield place, value


def differing(place, old, new):
    """-> [(place, old, new)] of what stands in old and not, or not as it is there, in new."""
    found = dict(leaves(new))
    return [(f"{place}.{name}", value, found.get(name, "nothing")) for name, value in leaves(old)
            if name not in found or found[name] != value]


def compressions(reports):
    return {c.get("table", c.get("operator")): c for r in reports for c in r.get("compressions", [])}


def compare(old, news):
    """-> differences, numbers compared, rows compared, rows that only NEW has."""
    rows = {}
    for report in news:
        for row in report["rows"]:
            rows.setdefault(key(row), row)
    found, numbers, used = [], 0, set()

    def check(place, before, after):
        nonlocal numbers
        numbers += sum(1 for _ in leaves(before))
        found.extend(differing(place, before, after))

    for row in old["rows"]:
        other, place = rows.get(key(row)), " ".join(map(str, key(row)))
        if other is None:
            found.append((place, "a row", "nothing"))
            continue
        used.add(key(row))
        drop = lambda r: {k: v for k, v in r.items() if k not in ROW_NAMES}
        check(place, drop(row), drop(other))
    for report in news:
        for part in ("baseline", "profile", "seed", "evaluation"):
            check(part, old[part], report[part])
        if report["calibration" if "calibration" in report else "evaluation"].get("sha256") and "calibration" in report:
            check("calibration", {k: old["calibration"][k] for k in ("sha256", "windows")}, report["calibration"])
    after = compressions(news)
    for name, c in compressions([old]).items():
        measured = {k: v for k, v in c.items() if k not in ("operator", "table", "fingerprint")}
        check(f"compression {name}", measured, after.get(name, {}))
    return found, numbers, len(used), len(rows) - len(used)


def self_test():
    e = {"value": 0.5, "lo": None}
    row = {"operator": "reinit", "first": 2, "last": 3, "seed": 1, "matrix": None, "metrics": {"kl": e}, "mark": "critical"}
    old = {"rows": [row], "baseline": {"nll": e}, "profile": [], "seed": 1, "evaluation": {"sha256": "a"},
           "calibration": {"sha256": "b", "windows": 3}}
    new = copy.deepcopy(old)
    new["rows"][0].update(arm="reinit.reset 2, seed 1", operator="reinit.reset", layers=[2])
    assert compare(old, [new])[0] == [] and compare(old, [new])[1:] == (9, 1, 0), compare(old, [new])
    for change in (lambda r: r["rows"][0]["metrics"]["kl"].update(value=0.5000001), lambda r: r["rows"].clear(),
                   lambda r: r["rows"][0].update(mark=None), lambda r: r["baseline"].clear(),
                   lambda r: r["rows"][0].update(layers=[3]), lambda r: r["calibration"].update(sha256="c")):
        other = copy.deepcopy(new)
        change(other)
        assert len(compare(old, [other])[0]) >= 1, other


def main():
    self_test()
    if sys.argv[1:] == ["--self-test"]:
        return
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    found, numbers, rows, more = compare(load(sys.argv[1]), [load(p) for p in sys.argv[2:]])
    for place, old, new in found[:50]:
        print(f"{place}: {old!r} before, {new!r} after")
    print(f"{rows} rows and {numbers} numbers compared, {len(found)} differ; {more} rows are new")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
