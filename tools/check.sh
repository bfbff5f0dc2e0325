#!/bin/sh
# Checks beyond the tests: ./run check [WHAT…]
#   headers      every header by itself with g++ and clang++, leaf arithmetic and views with nvcc, the time of #include
#                (HEADER_COMPILERS="clang++" for one compiler alone)
#   format       sources are as the pinned clang-format writes them (tools/format.sh)
#   sanitizers   asan and tsan: the tests of what handles memory and files under address+undefined, and of what shares
#                work out under thread (sanitizers-all: every test under both; SANITIZER_TARGETS="test_core": these alone)
#   fuzz         each reader of files under libFuzzer for FUZZ_SECONDS (default 30), or for FUZZ_RUNS executions
#   aarch64      portable tests, compiled for aarch64 and run by qemu
# Without WHAT: format, headers, sanitizers, fuzz and aarch64. What cannot run here says "skipped: REASON" and is counted.
set -eu
build=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror"
eigen=${EIGEN_INCLUDE:-/usr/include/eigen3}
skipped=0

say() { printf '%s\n' "$*"; }
skip() {
  say "skipped: $*"
  skipped=$((skipped + 1))
}
has() { command -v "$1" >/dev/null 2>&1; }

# --- headers ------------------------------------------------------------------------------------------

# Whether the headers of others that this header includes are here (CUDA, a BLAS, a JSON library, …).
is_available() { # COMPILER HEADER
  sed -n 's/^#include <\([^>]*\)>.*/\1/p' "$root/include/$2" | grep -v '^resect/' |
    sed 's/.*/#if !__has_include(<&>)\n#error wanted <&>\n#endif/' |
    $1 -std=c++20 -isystem "$eigen" -fsyntax-only -x c++ - 2>/dev/null
}

# Compiles one header by itself. → "whole", "broken" or "left" (what it includes is not installed), and its name.
one_header() { # COMPILER HEADER
  is_available "$1" "$2" || { say "left $2"; return; }
  # shellcheck disable=SC2086
  if echo "#include <$2>" | $1 -std=c++20 $warnings -I"$root/include" -isystem "$eigen" -fsyntax-only -x c++ -; then say "whole $2"
  else say "broken $2"
  fi
}

check_headers() {
  python3 "$root/tools/layering.py" --self-test
  python3 "$root/tools/layering.py" "$root/include/resect"
  for compiler in ${HEADER_COMPILERS:-g++ clang++}; do
    has "$compiler" || { skip "$compiler is not installed"; continue; }
    found=$(cd "$root/include" && find resect -name '*.hpp' | sort |
      xargs -P "$(nproc)" -n 1 sh "$root/tools/check.sh" "$build" --one-header "$compiler")
    left=$(echo "$found" | sed -n 's/^left / /p' | sort | tr -d '\n')
    broken=$(echo "$found" | sed -n 's/^broken / /p' | sort | tr -d '\n')
    count=$(echo "$found" | grep -c -v '^left ')
    [ -z "$broken" ] || { say "$compiler: of $count headers these do not compile by themselves:$broken"; return 1; }
    say "$compiler: $count headers compile by themselves"
    [ -z "$left" ] || skip "what they include is not installed:$left"
  done
  check_device
  python3 "$root/tools/include_time.py" "$root"
}

# Everything that says that it runs on a device, in one file with all warnings as errors; then the tests' own files.
check_device() {
  has nvcc || { skip "nvcc is not installed"; return; }
  mkdir -p "$build/check"
  leaf=$(cd "$root/include" && { grep -rl RESECT_HD resect | grep -v 'resect/config.hpp'; ls resect/core/view.hpp; } | sort -u)
  for header in $leaf; do echo "#include <$header>"; done >"$build/check/leaf.cu"
  nvcc -std=c++20 -arch=sm_80 -Werror all-warnings -I"$root/include" -c "$build/check/leaf.cu" -o "$build/check/leaf.o"
  say "nvcc: $(echo "$leaf" | wc -l) headers of leaf arithmetic and views compile"
  for source in $(cd "$root/tests" && find . -name '*.cu' | sort); do
    program=$build/check/$(echo "$source" | tr -c 'a-z0-9\n' '_')
    # shellcheck disable=SC2046
    nvcc -std=c++20 -arch=sm_80 -I"$root/include" -I"$root/tests" "$root/tests/$source" -o "$program" $(libraries_of "$root/tests/$source")
    code=0
    "$program" >"$program.log" 2>&1 || code=$?
    cat "$program.log"
    [ $code -ne 0 ] || ! grep -q '^skipped: ' "$program.log" || code=77
    case $code in
      0) say "nvcc: $source runs" ;;
      77) skip "$source compiles and links; not all of it can run here" ;;
      *) say "$source: exit status $code"; return 1 ;;
    esac
  done
}
# CUDA's libraries that a file's headers stand for.
libraries_of() {
  for library in cublas cusolver; do
    ! grep -qi "$library\|backend/cuda" "$1" || printf ' -l%s' "$library"
  done
}

# --- the tests under sanitizers -----------------------------------------------------------------------

check_sanitizer() { # KIND TARGETS…: the preset, and the programs to build, or nothing for all
  kind=$1
  shift
  folder=$build/check/$kind
  say "sanitizers: $kind"
  (cd "$root" && cmake --preset "$kind" -B "$folder" >/dev/null)
  known=" $(cmake --build "$folder" --target help | sed -n 's/^\(test_[a-z_]*\|replay_[a-z_]*\): .*/\1/p' | tr '\n' ' ') "
  for target in "$@"; do
    shift
    case $known in
      *" $target "*) set -- "$@" --target "$target" ;;
      *) skip "$target does not exist" ;;
    esac
  done
  cmake --build "$folder" "$@"
  # a program that was not built has one test, <name>_NOT_BUILT; scripts compile and check on their own
  left='_NOT_BUILT|^(packaging|structure|docs|programs): |^embedding: (no_|no object|mixed_|two_)'
  [ -x "$folder/tests/replay_npy" ] || left="$left|^fuzz: "
  # the threads of a BLAS go by locks that a sanitizer cannot see: the BLAS is not compiled with it
  (cd "$folder" && TSAN_OPTIONS=halt_on_error=1 OPENBLAS_NUM_THREADS=1 ctest -j "$(nproc)" --output-on-failure -E "$left")
}

# --- fuzzing ------------------------------------------------------------------------------------------

check_fuzz() {
  compiler=${FUZZ_CXX:-clang++}
  has "$compiler" || { skip "fuzz: $compiler is not installed"; return; }
  out=$build/check/fuzz
  mkdir -p "$out"
  echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
    $compiler -fsanitize=fuzzer,address -x c++ - -o "$out/probe" 2>/dev/null ||
    { skip "fuzz: $compiler has no libFuzzer (Debian: libclang-rt-14-dev)"; return; }
  for target in gguf safetensors npy; do
    # shellcheck disable=SC2086
    $compiler -std=c++20 -O1 -g1 $warnings -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I"$root/include" \
      "$root/tests/fuzz/fuzz_$target.cpp" -o "$out/fuzz_$target"
    limit=-max_total_time=${FUZZ_SECONDS:-30}
    [ -z "${FUZZ_RUNS:-}" ] || limit=-runs=$FUZZ_RUNS
    mkdir -p "$out/corpus_$target" "$out/findings"
    "$out/fuzz_$target" "$out/corpus_$target" "$root/tests/fuzz/corpus/$target" "-dict=$root/tests/fuzz/$target.dict" \
      -max_len=2048 "$limit" "-artifact_prefix=$out/findings/$target-" -print_final_stats=1 >"$out/$target.log" 2>&1 ||
      { tail -n 40 "$out/$target.log"; say "fuzz: $target has a finding in $out/findings"; return 1; }
    say "fuzz: $target, $(sed -n 's/^stat::number_of_executed_units: //p' "$out/$target.log") executions, no finding"
  done
}

# --- another architecture -----------------------------------------------------------------------------

# The test files of a module, without those of a BLAS, which there is none of for that machine; and a file's object.
aarch64_sources() { find "$root/tests/$1" -name '*.cpp' ! -name cblas.cpp | sort; }
aarch64_object() { echo "$build/check/aarch64/$1_$(echo "${2#"$root/tests/$1/"}" | tr '/' '_').o"; }

check_aarch64() {
  compiler=${AARCH64_CXX:-aarch64-linux-gnu-g++}
  has "$compiler" || { skip "aarch64: $compiler is not installed (Debian: g++-aarch64-linux-gnu)"; return; }
  qemu=
  for name in qemu-aarch64-static qemu-aarch64; do
    has $name && qemu=$name
  done
  [ -n "$qemu" ] || { skip "aarch64: no qemu-aarch64 (Debian: qemu-user-static)"; return; }
  catch=$(dirname "$(find /usr/include /usr/local/include -path '*catch2/catch.hpp' 2>/dev/null | head -n 1)")
  [ "$catch" != . ] || { skip "aarch64: no catch2/catch.hpp (Debian: catch2)"; return; }
  out=$build/check/aarch64
  json=$(dirname "$(find /usr/include /usr/local/include -path '*nlohmann/json.hpp' 2>/dev/null | head -n 1)")
  [ "$json" != . ] || { skip "aarch64: no nlohmann/json.hpp (Debian: nlohmann-json3-dev)"; return; }
  mkdir -p "$out/include"
  ln -sfn "$catch" "$out/include/catch2"  # /usr/include itself is this machine's
  ln -sfn "$json" "$out/include/nlohmann"
  # shellcheck disable=SC2089
  flags="-std=c++20 -O1 $warnings -Wno-psabi -I$root/include -I$root/tests -I$root/examples -isystem $out/include -isystem $eigen -DRESECT_SOURCE_DIR=\"$root\""
  library=
  list=
  for source in $(cd "$root" && find tests/support examples/hosts -name '*.cpp' | sort); do
    object=$out/shared_$(echo "$source" | tr '/' '_').o
    list="$list $root/$source -o$object"
    [ "$source" = tests/support/main.cpp ] && main=$object || library="$library $object"
  done
  modules=${AARCH64_MODULES:-core random linalg metrics io model quant factor residual conformance backend}
  for module in $modules; do
    for source in $(aarch64_sources "$module"); do list="$list $source -o$(aarch64_object "$module" "$source")"; done
  done
  # shellcheck disable=SC2086,SC2090
  printf '%s\n' $list | xargs -P "$(nproc)" -n 2 $compiler $flags -c
  rm -f "$out/libshared.a"
  # shellcheck disable=SC2086
  "${compiler%g++}ar" rcs "$out/libshared.a" $library
  for module in $modules; do
    objects=
    for source in $(aarch64_sources "$module"); do objects="$objects $(aarch64_object "$module" "$source")"; done
    # shellcheck disable=SC2086
    $compiler -static $objects "$main" "$out/libshared.a" -pthread -o "$out/test_$module"
    "$qemu" "$out/test_$module" >"$out/$module.log" 2>&1 || { tail -n 60 "$out/$module.log"; say "aarch64: $module fails"; return 1; }
    say "aarch64: $module: $(tail -n 2 "$out/$module.log" | tr -d '\n')"
  done
}

# ------------------------------------------------------------------------------------------------------

asan_targets=${SANITIZER_TARGETS:-test_core test_random test_linalg test_metrics test_io test_model test_quant test_factor test_residual test_conformance \
  test_study test_backend test_embedding test_examples_hosts replay_gguf replay_safetensors replay_npy}
tsan_targets=${SANITIZER_TARGETS:-test_core test_backend test_study test_embedding}
if [ "${1:-}" = --one-header ]; then
  one_header "$2" "$3"
  exit 0
fi
[ $# -gt 0 ] || set -- format headers sanitizers fuzz aarch64
# shellcheck disable=SC2086
for what in "$@"; do
  case $what in
    format) "$root/tools/format.sh" "$build" --check ;;
    headers) check_headers ;;
    asan) check_sanitizer asan $asan_targets ;;
    tsan) check_sanitizer tsan $tsan_targets ;;
    sanitizers) check_sanitizer asan $asan_targets && check_sanitizer tsan $tsan_targets ;;
    sanitizers-all) check_sanitizer asan && check_sanitizer tsan ;;
    fuzz) check_fuzz ;;
    aarch64) check_aarch64 ;;
    *)
      say "check: got $what, wanted format, headers, asan, tsan, sanitizers, sanitizers-all, fuzz or aarch64" >&2
      exit 2
      ;;
  esac
done
say "check: $* done, $skipped skipped"
