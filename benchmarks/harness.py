# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the measuring scripts share: running programs, the machine, rows of figures beside their ceilings or peers.

A row is {name, unit, resect, peer, peer_name, peer_version, ratio, bar, runs, spread, note}; a bar is met when
ratio >= bar. Spread is (largest - smallest) / median over the runs, one figure a side.
"""
import json
import os
import resource
import statistics
import subprocess
import sys

QUIET = 0.1  # share of the cores that others may take while speed is measured


class Failed(Exception):
    pass


def say(text):
    program = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    print(f"{program}: {text}", file=sys.stderr, flush=True)


def run(command, what):
    """Runs a program; its standard output and standard error."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors="replace")
    except OSError as error:
        raise Failed(f"{what}: cannot run {command[0]}: {error.strerror}")
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["no message"]
        raise Failed(f"{what}: exit status {done.returncode}: {lines[-1].strip()}")
    return done.stdout, done.stderr


class Served:
    """A program that answers each line of its standard input by one line."""

    def __init__(self, command, what, env=None):
        self.what = what
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        except OSError as error:
            raise Failed(f"{what}: cannot run {command[0]}: {error.strerror}")

    def ask(self, question):
        try:
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            raise Failed(f"{self.what}: no answer to {question}, exit status {self.process.wait()}")
        return answer.strip()

    def number(self, question):
        return float(self.ask(question))

    def seconds(self):
        """Of all cores, so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def spread(values):
    """(largest - smallest) / median"""
    return (max(values) - min(values)) / statistics.median(values) if len(values) > 1 else None


def positive(text):
    """The type of an option that is 1 or more."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def machine():
    name = None
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), None)
    except OSError:
        pass
    return {"cpu": name or "unknown", "cores": len(os.sched_getaffinity(0))}


def row(name, unit, resect, peer, peer_name, peer_version, ratio=None, bar=None, runs=1, spread=None, note=""):
    return {"name": name, "unit": unit, "resect": resect, "peer": peer, "peer_name": peer_name,
            "peer_version": peer_version, "ratio": ratio, "bar": bar, "runs": runs, "spread": spread, "note": note}


class Others:
    """The share of all cores that processes other than this one, children that have ended and `served` ones take."""

    def __init__(self, served=()):
        self.served = list(served)
        self.mark = self.now()

    def now(self):
        with open("/proc/stat", encoding="ascii") as file:
            # user nice system idle iowait irq softirq steal; guest time is part of user
            ticks = [int(word) for word in file.readline().split()[1:9]]
        own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        own += sum(program.seconds() for program in self.served)
        second = os.sysconf("SC_CLK_TCK")
        return sum(ticks) / second, (sum(ticks) - ticks[3] - ticks[4]) / second, own

    def share(self):
        """Since the last call."""
        before, self.mark = self.mark, self.now()
        whole, busy, own = (after - start for after, start in zip(self.mark, before))
        return max(0.0, busy - own) / whole if whole > 0 else 0.0


def table(rows):
    def number(value):
        return "-" if value is None else f"{value:.4f}" if 0.01 <= abs(value) < 100 else f"{value:.4g}"

    cells = [["name", "unit", "resect", "peer", "ratio", "bar", "", "spread", "peer's name, note"]]
    for r in rows:
        mark = "" if r["bar"] is None or r["ratio"] is None else "met" if r["ratio"] >= r["bar"] else "MISSED"
        s = r["spread"] or {}
        spread = " / ".join("-" if s.get(side) is None else f"{100 * s[side]:.0f} %" for side in ("resect", "peer")) if s else "-"
        cells.append([r["name"], r["unit"], number(r["resect"]), number(r["peer"]), number(r["ratio"]), number(r["bar"]),
                      mark, spread, f"{r['peer_name']} {r['peer_version']}; {r['note']}"])
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        print("  ".join(cell.rjust(w) if 2 <= i <= 5 else cell.ljust(w)
                        for i, (cell, w) in enumerate(zip(line, widths))).rstrip())


def finish(path, rows, threads):
    """Writes the rows as JSON and prints them."""
    here = machine()
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump({"schema": 1, "machine": here, "rows": rows}, file, indent=1, allow_nan=False)
        file.write("\n")
    os.replace(path + ".part", path)
    print(f"{here['cpu']}, {here['cores']} cores, {threads} threads")
    table(rows)
    print(path)
