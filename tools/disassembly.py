# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads the machine code of a baseline build: code of larger instruction sets stays where it is chosen at run time.

usage: disassembly.py SOURCE_DIR WORK_DIR [COMPILER]

Compiles tests/disassembly/*.cpp without -march, at -O0, -O2 and -O3, and checks every function of the object files:
- ymm registers occur only in functions of a namespace avx2 or avx512, zmm and mask registers only in avx512;
- so do instructions in VEX or EVEX encoding (names that begin with v), which a machine without AVX does not have;
- both namespaces have functions, and these use their registers (else the check could not fail).
Compiles once more for a machine with AVX-512 (-march=x86-64-v4): functions of avx2 still need no AVX-512, so it does not
matter which copy of such a (weak) function the linker keeps. Runs the program on every set: same numbers.
Exit status: 0, 1 with a line for every breach, 77 with "skipped: REASON" where there is nothing to read.
"""
import pathlib
import platform
import re
import shutil
import subprocess
import sys

FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Werror"]
SETS = ["portable", "avx2", "avx512"]

FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\s+(?:(?:rep|lock|repz|repnz|bnd|notrack|data16|cs|ds|es)\s+)*(\S+)\s*(.*)$")
# What only AVX-512 has: zmm, the mask registers, and the upper sixteen registers.
ONLY_AVX512 = re.compile(r"%zmm|%k[0-7]\b|%[xy]mm(1[6-9]|2[0-9]|3[01])\b")
NOT_VEX = {"verr", "verw", "vmcall", "vmlaunch", "vmread", "vmwrite"}


class Use:
    def __init__(self):
        self.ymm = self.vex = self.avx512 = False


def functions(disassembly):
    """What each function uses, by its demangled name. The rest of a line after <symbol+offset> is no operand."""
    found = {}
    use = None
    for line in disassembly.splitlines():
        if header := FUNCTION.match(line):
            use = found.setdefault(header.group(1), Use())
        elif use is not None and (code := INSTRUCTION.match(line)):
            name, operands = code.group(1), re.sub(r"<.*", "", code.group(2)).split("#")[0]
            use.ymm |= "%ymm" in operands
            use.avx512 |= bool(ONLY_AVX512.search(operands))
            use.vex |= name.startswith("v") and name not in NOT_VEX
    return found


def home(name):
    """The namespace avx2 or avx512 that a function belongs to (not one that its arguments name), or None."""
    qualified = re.sub(r"\(.*", "", name)
    spaces = re.findall(r"\b(\w+)::", qualified)
    return next((s for s in ("avx512", "avx2") if s in spaces), None)


def breaches(found, what, baseline):
    """`baseline`: the build asks for no instruction set, so everything outside the namespaces must need none."""
    wrong = []
    for name, use in sorted(found.items()):
        where = home(name)
        if baseline and where is None and (use.ymm or use.avx512 or use.vex):
            wrong.append(f"{what}: {name}: AVX code outside a namespace of its instruction set")
        if where == "avx2" and use.avx512:
            wrong.append(f"{what}: {name}: AVX-512 code in namespace avx2")
    uses = {s: [u for n, u in found.items() if home(n) == s] for s in ("avx2", "avx512")}
    if not any(u.ymm for u in uses["avx2"]):
        wrong.append(f"{what}: no function of namespace avx2 uses ymm registers ({len(uses['avx2'])} functions)")
    if not any(u.avx512 for u in uses["avx512"]):
        wrong.append(f"{what}: no function of namespace avx512 uses zmm registers ({len(uses['avx512'])} functions)")
    return wrong


def self_test():
    sample = """
0000000000000000 <int resect::v0::metrics::detail::avx2::sum<float>(float const*, resect::avx512::x)>:
   0:\tvaddpd %ymm0,%ymm1,%ymm2
   4:\tret
0000000000000010 <resect::v0::metrics::detail::avx512::sum(float const*)>:
  10:\tvaddpd (%rax){1to8},%zmm0,%zmm1 # comment
0000000000000020 <main>:
  20:\tcall 0 <resect::v0::metrics::detail::avx2::sum(%ymm0)>
  25:\tmulsd  %xmm0,%xmm1
"""
    clean = functions(sample)
    assert len(clean) == 3 and not breaches(clean, "sample", True), breaches(clean, "sample", True)
    for bad, words in [("vaddpd %ymm0,%ymm1,%ymm2", "outside"), ("vmovsd %xmm0,%xmm0,%xmm1", "outside"),
                       ("kmovw %k1,%eax", "outside")]:
        found = breaches(functions(sample + f"  30:\t{bad}\n"), "sample", True)
        assert len(found) == 1 and words in found[0], (bad, found)
    for bad in ["vaddpd %zmm0,%zmm1,%zmm2", "vaddpd %ymm17,%ymm1,%ymm2", "vcmppd $1,%ymm0,%ymm1,%k1"]:
        found = breaches(functions(sample.replace("vaddpd %ymm0,%ymm1,%ymm2", bad)), "sample", False)
        assert any("in namespace avx2" in f for f in found), (bad, found)
    assert len(breaches(functions(sample.replace("%ymm", "%xmm").replace("%zmm", "%xmm")), "sample", True)) == 2


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(str(c) for c in command)}\nexit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    self_test()
    root, work = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    compiler = sys.argv[3] if len(sys.argv) > 3 else "c++"
    if platform.machine() not in ("x86_64", "AMD64"):
        skip(f"{platform.machine()} has no instruction sets to choose from")
    if not shutil.which(compiler):
        skip(f"{compiler} is not installed")
    if not shutil.which("objdump"):
        skip("objdump is not installed")
    if subprocess.run([compiler, "-dM", "-E", "-x", "c", "-"], input="", capture_output=True, text=True).stdout.count("__AVX__"):
        skip(f"{compiler} compiles for AVX by itself: there is no baseline build")
    work.mkdir(parents=True, exist_ok=True)
    sources = sorted((root / "tests/disassembly").glob("*.cpp"))
    if not sources:
        sys.exit(f"{root}/tests/disassembly: no source")
    wrong = []
    count = 0
    for source in sources:
        program = work / source.stem
        for flags, baseline in [(["-O0"], True), (["-O3"], True), (["-O2"], True), (["-O2", "-march=x86-64-v4"], False)]:
            made = work / f"{source.stem}{''.join(flags)}.o"
            run([compiler, *FLAGS, *flags, f"-I{root / 'include'}", "-c", source, "-o", made])
            found = functions(run(["objdump", "-d", "-C", "--no-show-raw-insn", made]))
            count += len(found)
            wrong += breaches(found, f"{source.name} {' '.join(flags)}", baseline)
            if flags == ["-O2"]:
                run([compiler, made, "-o", program])
        answers = {s: run([program, s]).split() for s in SETS}
        for s in SETS[1:]:
            for a, b in zip(answers["portable"][1:], answers[s][1:], strict=True):
                if abs(float(a) - float(b)) > 1e-8:
                    wrong.append(f"{source.name}: {s} prints {b}, portable {a}")
    print("\n".join(wrong) if wrong else f"{count} functions read with {compiler}; run on " +
          ", ".join(sorted({a[0] for a in answers.values()})))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
