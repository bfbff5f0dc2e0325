#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Sets up the peers of `./run compare` in a throw-away folder:
#
#     sh benchmarks/compare/peers.sh [FOLDER [PEER]]   default build/compare and all; PEER: torch, sae or llama.cpp
#
#     FOLDER/venv                Python environment: torch numpy gguf tokenizers scikit-learn (5.6 GB); with PEER sae alone also
#                                eai-sparsify dictionary-learning sae-lens (0.6 GB), those of them that pip can install
#     FOLDER/llama.cpp/bin       llama-perplexity llama-quantize llama-bench llama-batched-bench, built for this machine
#     FOLDER/llama.cpp/src       llama.cpp's sources and FOLDER/llama.cpp/build its libraries, for peers that link ggml
#     FOLDER/llama.cpp/version   what was built; written last, so its presence says that the build is whole
#
# What is there already is kept: a second run does nothing. The sources come from the source distribution of the Python
# package llama-cpp-python, which carries the whole of llama.cpp. Remove FOLDER to undo everything.
# Exit status: 0, or 1 with one line that says what failed and where its log is.
set -eu

python_packages="torch numpy gguf tokenizers scikit-learn"
sae_packages="eai-sparsify dictionary-learning sae-lens"
llama_package="llama-cpp-python"
llama_version="0.3.36"
llama_targets="llama-perplexity llama-quantize llama-bench llama-batched-bench"

folder=${1:-build/compare}
only=${2:-all}
case $only in all | torch | sae | llama.cpp) ;; *) echo "peers: got $only, wanted torch, sae or llama.cpp" >&2; exit 1 ;; esac
mkdir -p "$folder" 2>/dev/null || { echo "peers: cannot make folder $folder" >&2; exit 1; }
folder=$(cd "$folder" && pwd)
jobs=$(nproc 2>/dev/null || echo 2)

fail() { echo "peers: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || fail "$1 is missing: install the package $2"; }
logged() { # logged LOG WHAT COMMAND...
    log=$1 what=$2
    shift 2
    nice -n 5 "$@" >>"$log" 2>&1 </dev/null || fail "$what failed, see $log"
}

need python3 python3-venv

# Python environment
venv=$folder/venv
if [ "$(cat "$venv/packages" 2>/dev/null)" != "$python_packages" ]; then
    echo "peers: installing $python_packages (some minutes)" >&2
    log=$folder/venv.log
    : >"$log"
    logged "$log" "making a Python environment" python3 -m venv "$venv"
    # shellcheck disable=SC2086
    logged "$log" "pip install $python_packages" "$venv/bin/python" -m pip install --disable-pip-version-check $python_packages
    echo "$python_packages" >"$venv/packages"
fi

[ "$only" != torch ] || exit 0

# trainers of sparse autoencoders: each by itself, and one that cannot be had is said and left out
if [ "$only" = sae ]; then
    if [ "$(cat "$venv/sae_packages" 2>/dev/null)" != "$sae_packages" ]; then
        echo "peers: installing $sae_packages (a minute)" >&2
        : >"$folder/venv_sae.log"
        for package in $sae_packages; do
            nice -n 5 "$venv/bin/python" -m pip install --disable-pip-version-check "$package" >>"$folder/venv_sae.log" 2>&1 </dev/null ||
                echo "peers: pip could not install $package, see $folder/venv_sae.log: going on without it" >&2
        done
        echo "$sae_packages" >"$venv/sae_packages"
    fi
    exit 0
fi

# llama.cpp
llama=$folder/llama.cpp
wanted="$llama_package $llama_version"
if [ "$(cat "$llama/version" 2>/dev/null)" != "$wanted" ]; then
    echo "peers: building llama.cpp from $wanted (some minutes)" >&2
    need cmake cmake
    need c++ g++
    rm -rf "$llama/version" "$llama/download"
    mkdir -p "$llama/bin" "$llama/download"
    log=$llama/build.log
    : >"$log"
    if [ "$(cat "$llama/src.version" 2>/dev/null)" != "$wanted" ]; then
        rm -rf "$llama/src" "$llama/src.version" "$llama/build"
        logged "$log" "pip download of $llama_package $llama_version" "$venv/bin/python" -m pip download \
            --disable-pip-version-check --no-deps --no-binary "$llama_package" --dest "$llama/download" \
            "$llama_package==$llama_version"
        mkdir -p "$llama/download/unpacked"
        logged "$log" "unpacking $llama_package" tar -xzf "$llama"/download/*.tar.gz -C "$llama/download/unpacked"
        mv "$llama"/download/unpacked/*/vendor/llama.cpp "$llama/src" 2>>"$log" || fail "$wanted does not hold vendor/llama.cpp"
        rm -rf "$llama/download"
        echo "$wanted" >"$llama/src.version"
    fi
    generator="Unix Makefiles"
    ! command -v ninja >/dev/null 2>&1 || generator=Ninja
    logged "$log" "configuring llama.cpp" cmake -S "$llama/src" -B "$llama/build" -G "$generator" \
        -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_UI=OFF
    # shellcheck disable=SC2086
    logged "$log" "building llama.cpp" cmake --build "$llama/build" -j "$jobs" --target $llama_targets
    for target in $llama_targets; do
        cp "$llama/build/bin/$target" "$llama/bin/$target.part" 2>>"$log" || fail "the build of llama.cpp made no $target, see $log"
        mv "$llama/bin/$target.part" "$llama/bin/$target"
    done
    echo "$wanted" >"$llama/version"
fi
