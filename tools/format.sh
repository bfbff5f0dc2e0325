#!/bin/sh
# Formats the C++ sources, or checks that they are formatted: tools/format.sh BUILD_DIR [--check]
# The formatter is pinned, since every version breaks lines in other places: clang-format 18.1.8 from the Python package
# index, installed into BUILD_DIR/format unless a clang-format of that version is on the PATH.
set -eu
wanted=18.1.8
root=$(cd "$(dirname "$0")/.." && pwd)
build=$1
mode=${2:-}

if clang-format --version 2>/dev/null | grep -q "version $wanted"; then
  format=clang-format
else
  format=$build/format/bin/clang-format
  [ -x "$format" ] || {
    python3 -m venv "$build/format.new"
    "$build/format.new/bin/python" -m pip install -q --disable-pip-version-check "clang-format==$wanted"
    rm -rf "$build/format" && mv "$build/format.new" "$build/format"
    # the venv was made under another name: its programs are called by the interpreter that it holds now
    sed -i "1s|.*|#!$build/format/bin/python|" "$build/format/bin/clang-format" 2>/dev/null || true
  }
fi

cd "$root"
if [ -d .git ] || git rev-parse --git-dir >/dev/null 2>&1; then
  files=$(git ls-files '*.hpp' '*.cpp' '*.inl' '*.cu')
else
  files=$(find include tests examples benchmarks -name '*.hpp' -o -name '*.cpp' -o -name '*.inl' -o -name '*.cu')
fi
case $mode in
  --check)
    # shellcheck disable=SC2086
    echo $files | xargs "$format" --dry-run --Werror 2>"$build/format.log" ||
      { grep -o '^[^:]*:[0-9]*' "$build/format.log" | sort -u | head -n 20; echo "format: these lines differ from clang-format $wanted; ./run format mends them" >&2; exit 1; }
    echo "format: $(echo "$files" | wc -w) files are as clang-format $wanted writes them"
    ;;
  *) echo $files | xargs "$format" -i ;;
esac
