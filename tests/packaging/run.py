# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Builds and runs a user's program that gets resect in one way: run.py ROOT WORK KIND [--cxx COMPILER]

KIND: find_package (installed, then moved to another place), find_package_without_eigen, refusals (what find_package
must not accept), add_subdirectory, example_runtime (README.md's first program, with resect_hosts inside another
project), fetch_content, vendored (only -I), pkg_config, page (every command and CMake line that docs/packaging.md shows),
presets (each one configures, with the settings that it names). Exit status 77: skipped.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

CONSUMER = pathlib.Path(__file__).parent / "consumer"
FLAGS = "-O0 -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror"


def call(*command, **more):
    """Runs a command; its output is shown only where it fails."""
    command = [str(c) for c in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}exit status {done.returncode}")
    return done.stdout


class Test:
    def __init__(self, root, work, cxx):
        self.root, self.work, self.cxx = root, work, cxx
        self.build = work / "consumer"
        self.env = {k: v for k, v in os.environ.items() if k not in ("CXXFLAGS", "DESTDIR", "CMAKE_BUILD_TYPE")}

    def cmake(self, *arguments):
        return call("cmake", *arguments, env=self.env)

    def settings(self, kind, *more):
        return ["-S", CONSUMER, "-B", self.build, f"-DCONSUMER_KIND={kind}", f"-DRESECT_ROOT={self.root}",
                f"-DCMAKE_CXX_COMPILER={self.cxx}", f"-DCMAKE_CXX_FLAGS={FLAGS}", *more]

    def build_and_run(self, kind, *more):
        self.cmake(*self.settings(kind, *more))
        self.cmake("--build", self.build)
        self.run(self.build / "consumer")

    def run(self, program):
        said = call(program)
        if "fine" not in said:
            sys.exit(f"{program}: got {said!r}, wanted 'fine'")
        print(said, end="")

    def install(self, *more):
        """Installs, and moves what was installed: nothing in it may name the place or the sources."""
        built, first, last = self.work / "resect", self.work / "first", self.work / "second" / "place"
        self.cmake("-S", self.root, "-B", built, f"-DCMAKE_CXX_COMPILER={self.cxx}", f"-DCMAKE_INSTALL_PREFIX={first}",
                   "-DRESECT_TESTS=OFF", "-DRESECT_EXAMPLES=OFF", *more)
        self.cmake("--install", built)
        last.parent.mkdir()
        first.rename(last)
        shutil.rmtree(built)
        for path in last.rglob("*"):
            if path.is_file() and (bytes(self.work) in path.read_bytes() or bytes(self.root) in path.read_bytes()):
                sys.exit(f"{path}: names the place that it was made in")
        installed = {p.relative_to(last / "include") for p in (last / "include").rglob("*") if p.is_file()}
        wanted = {p.relative_to(self.root / "include") for p in (self.root / "include").rglob("*") if p.is_file()}
        if installed != wanted:
            sys.exit(f"files installed: got {len(installed)}, wanted the {len(wanted)} of include/")
        return last

    def refused(self, wanted, *more):
        arguments = self.settings("find_package_refused", *more)
        done = subprocess.run(["cmake", *map(str, arguments)], capture_output=True, text=True, env=self.env)
        said = " ".join((done.stdout + done.stderr).split())
        if done.returncode == 0 or wanted not in said:
            sys.exit(f"got status {done.returncode} and {said}\nwanted a refusal that says: {wanted}")
        print(f"refused: {wanted}")
        shutil.rmtree(self.build)

    # --- one way each -------------------------------------------------------------------------------------

    def find_package(self):
        self.build_and_run("find_package", f"-DCMAKE_PREFIX_PATH={self.install()}")
        self.cmake("--install", self.build, "--prefix", self.work / "over")

    def find_package_without_eigen(self):
        without = "-DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON"
        prefix = f"-DCMAKE_PREFIX_PATH={self.install(without)}"
        self.build_and_run("find_package_without_eigen", prefix, without)
        shutil.rmtree(self.build)
        self.refused("resect::cpu needs Eigen 3.4 or newer, which was not found", prefix, without, "-DCONSUMER_COMPONENTS=cpu")

    def refusals(self):
        prefix = f"-DCMAKE_PREFIX_PATH={self.install()}"
        self.refused('compatible with requested version "0.99"', prefix, "-DCONSUMER_VERSION=0.99")
        self.refused('compatible with requested version "1.0"', prefix, "-DCONSUMER_VERSION=1.0")
        self.refused("got the component gpu, wanted cpu or none", prefix, "-DCONSUMER_COMPONENTS=gpu")

    def add_subdirectory(self):
        self.build_and_run("add_subdirectory")
        self.cmake("--install", self.build, "--prefix", self.work / "over")
        if not list((self.work / "over").rglob("resect-config.cmake")):
            sys.exit("RESECT_INSTALL inside another project: got no resect-config.cmake")

    def example_runtime(self):
        readme = (self.root / "README.md").read_text()
        program = self.work / "first.cpp"
        program.write_text(re.search(r"```cpp\n(.*?)```", readme, re.DOTALL).group(1))
        lines = "".join(re.findall(r"```cmake\n(.*?)```", readme, re.DOTALL))
        for shown in ("set(RESECT_EXAMPLES ON)", "add_subdirectory(resect)", "resect_hosts"):
            if shown not in lines:
                sys.exit(f"README.md: got cmake lines without {shown}")
        self.cmake(*self.settings("example_runtime", f"-DCONSUMER_SOURCE={program}", "-DCMAKE_BUILD_TYPE=Debug",
                                  "-DCMAKE_CXX_FLAGS_DEBUG=-Og"))
        self.cmake("--build", self.build)
        said = call(self.build / "consumer", cwd=self.root)
        if said.count("without layer") != 6:
            sys.exit(f"{program}: got {said!r}, wanted a line for each of 6 layers")
        print(said, end="")

    def fetch_content(self):
        self.build_and_run("fetch_content", "-DFETCHCONTENT_FULLY_DISCONNECTED=ON")

    def vendored(self):
        """A copy of the headers in somebody's tree, a compiler, and nothing else."""
        shutil.copytree(self.root / "include" / "resect", self.work / "third_party" / "resect")
        program = self.work / "consumer"
        call(self.cxx, "-std=c++20", *FLAGS.split(), f"-I{self.work / 'third_party'}", CONSUMER / "main.cpp", "-o", program)
        self.run(program)

    def pkg_config(self):
        if shutil.which("pkg-config") is None:
            print("skipped: pkg-config is not installed")
            sys.exit(77)
        prefix = self.install()
        self.env["PKG_CONFIG_PATH"] = str(prefix / "share" / "pkgconfig")
        flags = call("pkg-config", "--cflags", "resect >= 0.1", env=self.env).split()
        program = self.work / "consumer"
        call(self.cxx, "-std=c++20", *FLAGS.split(), *flags, CONSUMER / "main.cpp", "-o", program)
        self.run(program)

    def presets(self):
        presets = {p["name"]: p for p in json.loads((self.root / "CMakePresets.json").read_text())["configurePresets"]}
        for name, preset in presets.items():
            if preset.get("hidden"):
                continue
            wanted, base = {}, preset
            while base:
                wanted = {**base.get("cacheVariables", {}), **wanted}
                base = presets.get(base.get("inherits"))
            compiler = wanted.get("CMAKE_CXX_COMPILER")
            if shutil.which("ninja") is None or (compiler and shutil.which(compiler) is None):
                print(f"{name}: {compiler or 'ninja'} is not installed")
                continue
            build = self.work / name
            call("cmake", "--preset", name, "-B", build, "-DRESECT_TESTS=OFF", "-DRESECT_EXAMPLES=OFF", env=self.env,
                 cwd=self.root)
            cache = dict(re.findall(r"^([A-Z_0-9]+):[A-Z]+=(.*)$", (build / "CMakeCache.txt").read_text(), re.M))
            for key, value in wanted.items():
                got = cache.get(key, "nothing")
                if got != value and pathlib.Path(got).name != value:
                    sys.exit(f"preset {name}, {key}: got {got}, wanted {value}")
            print(f"{name}: {', '.join(f'{k}={v}' for k, v in wanted.items())}")

    def page(self):
        """The page's blocks in their order, in a folder that looks as it says: resect, third_party and a program."""
        blocks = re.findall(r"^```(sh|cmake)\n(.*?)^```", (self.root / "docs" / "packaging.md").read_text(), re.S | re.M)
        for name in ("app.cpp", "engine.cpp"):
            shutil.copy(CONSUMER / "main.cpp", self.work / name)
        (self.work / "resect").symlink_to(self.root)
        prefix = self.work / "opt"
        for kind, block in blocks:
            third_party = self.work / "third_party"
            shutil.rmtree(third_party, ignore_errors=True)
            third_party.mkdir()
            if kind == "sh":  # -Ithird_party: the headers
                shutil.copytree(self.root / "include" / "resect", third_party / "resect")
                if block.startswith("g++") and shutil.which("g++") is None:
                    continue
                call("sh", "-e", "-c", block.replace("/opt/resect", str(prefix)), cwd=self.work, env=self.env)
                if (self.work / "a.out").exists():
                    self.run(self.work / "a.out")
                    (self.work / "a.out").unlink()
                print(block, end="")
                continue
            (third_party / "resect").symlink_to(self.root)
            app = self.work / "app"
            app.mkdir()
            shutil.copy(CONSUMER / "main.cpp", app / "app.cpp")
            (app / "third_party").symlink_to(third_party)
            lines = ["cmake_minimum_required(VERSION 3.22)", "project(app CXX)", "add_executable(app app.cpp)", block]
            if "target_link_libraries" not in block:
                lines.append("target_link_libraries(app PRIVATE resect::cpu)")
            (app / "CMakeLists.txt").write_text("\n".join(lines) + "\n")
            self.cmake("-S", app, "-B", self.build, f"-DCMAKE_CXX_COMPILER={self.cxx}", f"-DCMAKE_PREFIX_PATH={prefix}")
            self.cmake("--build", self.build)
            self.run(self.build / "app")
            for folder in (app, self.build):
                shutil.rmtree(folder)
            print(block, end="")
        if len(blocks) < 6:
            sys.exit(f"docs/packaging.md: got {len(blocks)} blocks, wanted 6 or more")


def main():
    kinds = [k for k, v in vars(Test).items() if callable(v) and not k.startswith("_") and
             k not in ("cmake", "settings", "build_and_run", "run", "install", "refused")]
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path, help="a folder that is made anew")
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--cxx", default="c++")
    arguments = parser.parse_args()
    work = arguments.work.absolute() / arguments.kind
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    getattr(Test(arguments.root.resolve(), work, arguments.cxx), arguments.kind)()
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
