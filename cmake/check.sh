#!/bin/sh
# Checks beyond the tests: ./run check [headers | sanitizers]
set -eu
build=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
what=${1:-all}
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror"

# Every header by itself under each compiler that is here; the backend with Eigen, leaf arithmetic with nvcc.
check_headers() {
  for compiler in g++ clang++; do
    if ! command -v "$compiler" >/dev/null 2>&1; then
      echo "skipped: $compiler is not installed"
      continue
    fi
    count=0
    for header in $(cd "$root/include" && find resect -name '*.hpp' | sort); do
      # shellcheck disable=SC2086
      echo "#include <$header>" | $compiler -std=c++20 $warnings -I"$root/include" -isystem /usr/include/eigen3 -fsyntax-only -x c++ -
      count=$((count + 1))
    done
    echo "$compiler: $count headers compile by themselves"
  done
  if command -v nvcc >/dev/null 2>&1; then
    mkdir -p "$build/check"
    nvcc -std=c++20 -arch=sm_80 -I"$root/include" "$root/tests/random/device.cu" -o "$build/check/device"
    echo "nvcc: leaf arithmetic and Philox compile and link for the device"
    "$build/check/device" || [ $? -eq 77 ]
  else
    echo "skipped: nvcc is not installed"
  fi
}

check_sanitizers() {
  for kind in address,undefined thread; do
    folder=$build/check/$(echo "$kind" | tr ',' '-')
    cmake -S "$root" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DRESECT_NATIVE=OFF \
      -DCMAKE_CXX_FLAGS="-fsanitize=$kind -fno-sanitize-recover=all" >/dev/null
    cmake --build "$folder"
    (cd "$folder" && ctest -j "$(nproc)" --output-on-failure)
  done
}

case $what in
  headers) check_headers ;;
  sanitizers) check_sanitizers ;;
  all) check_headers && check_sanitizers ;;
  *)
    echo "check: got $what, wanted headers or sanitizers" >&2
    exit 2
    ;;
esac
