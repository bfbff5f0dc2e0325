#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares training a student with an equivalent PyTorch step on CPU, in one run.

    python3 benchmarks/compare/student.py --build-dir build [--rounds 5] [--steps 12] [--threads 2]

Both sides begin with the same parameters, rows and targets; their first loss and gradient norm must agree to 1e-4, and the loss
after the last step to 1e-2, or the run fails: figures of different work are not compared. Rounds alternate between the sides.

    tokens/s   of training steps (forward, backward, clipping, AdamW); the ratio is resect / PyTorch of medians. Bar: >= 0.95,
               judged on a quiet machine only, as in runtime.py

Writes build/compare/student.json as harness.py says. Exit status: 0 when everything ran, 1 with one line otherwise.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness import Failed, Others, QUIET, finish, positive, row, run, say  # noqa: E402

# WIDTH,HIDDEN,HEADS,KV_HEADS,HEAD_DIM,SEQUENCES,LENGTH
SHAPES = {"a block like SmolLM2's, 8 texts of 128": "576,1536,9,3,64,8,128", "a block like the small model's, 16 texts of 64": "256,512,8,2,32,16,64"}
BAR = 0.95


def check_same(ours, theirs, name):
    for what, bound in (("loss", 1e-4), ("norm", 1e-4), ("last", 1e-2)):
        if not abs(ours[what] - theirs[what]) <= bound * abs(theirs[what]):
            raise Failed(f"{name}: {what} {ours[what]:g}, wanted PyTorch's {theirs[what]:g}: the sides do different work")


def measured(options, python, folder, name, shape):
    run([options.program, "inputs", shape, folder], "student_bench")
    sides = {"resect": [options.program, "train", shape, str(options.steps), str(options.threads)],
             "torch": [python, os.path.join(os.path.dirname(HERE), "student_torch.py"), shape, folder, str(options.steps),
                       str(options.threads)]}
    speeds, others = {side: [] for side in sides}, Others()
    others.share()
    for _ in range(options.rounds):
        found = {side: json.loads(run(command, side)[0]) for side, command in sides.items()}
        check_same(found["resect"], found["torch"], name)
        for side in sides:
            speeds[side].append(found[side]["tokens_per_second"])
    quiet = others.share() <= QUIET
    middle = {side: statistics.median(speeds[side]) for side in sides}
    spread = {"resect": (max(speeds["resect"]) - min(speeds["resect"])) / middle["resect"],
              "peer": (max(speeds["torch"]) - min(speeds["torch"])) / middle["torch"]}
    for kind in "wxy":
        os.remove(os.path.join(folder, f"student.{kind}"))
    return row(f"training, {name}", "tokens/s", middle["resect"], middle["torch"], "PyTorch", found["torch"]["version"],
               ratio=middle["resect"] / middle["torch"], bar=BAR if quiet else None, runs=options.rounds, spread=spread,
               note=f"first losses {found['resect']['loss']:.6f} and {found['torch']['loss']:.6f}" +
               ("" if quiet else "; others took more than a tenth of the cores: not judged"))


def main():
    parser = argparse.ArgumentParser(description="training a student beside PyTorch")
    parser.add_argument("--build-dir", default="build", help="results go to BUILD_DIR/compare (%(default)s)")
    parser.add_argument("--cache", help="of other comparisons; not used")
    parser.add_argument("--rounds", type=positive, default=5, help="of both sides (%(default)s)")
    parser.add_argument("--steps", type=positive, default=12, help="timed in a round (%(default)s)")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    folder = os.path.abspath(os.path.join(options.build_dir, "compare"))
    options.program = os.path.join(os.path.abspath(options.build_dir), "bin", "student_bench")
    os.makedirs(folder, exist_ok=True)
    try:
        if subprocess.run(["sh", os.path.join(HERE, "peers.sh"), folder, "torch"], stdin=subprocess.DEVNULL).returncode != 0:
            raise Failed("the peers could not be set up")
        python = os.path.join(folder, "venv", "bin", "python")
        rows = []
        for name, shape in SHAPES.items():
            say(name)
            rows.append(measured(options, python, folder, name, shape))
    except (Failed, OSError, ValueError) as failure:
        say(failure)
        return 1
    finish(os.path.join(folder, "student.json"), rows, options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
