#!/usr/bin/env bash
# Fetch llama.cpp's vocabularies with their known answers (out of the PyPI sdist of llama-cpp-python 0.3.36) and print
# their folder. They keep the licences of their models and are not part of this project.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../../Scripts/common.sh"

version=0.3.36
folder=$cache/vocabularies-$version
if [ ! -s "$folder/ggml-vocab-gemma-4.gguf" ]; then
    archive=${INCIPIT_LLAMA_CPP_SDIST:-}
    if [ -z "$archive" ]; then
        # pip keeps nothing if it cannot prepare the build, so the build tools are there first.
        python3 -m venv "$cache/sdist-env"
        "$cache/sdist-env/bin/pip" install -q scikit-build-core setuptools wheel >&2
        mkdir -p "$cache/sdist"
        "$cache/sdist-env/bin/pip" download -q --no-deps --no-build-isolation --no-binary :all: \
            -d "$cache/sdist" "llama_cpp_python==$version" >&2
        archive=$cache/sdist/llama_cpp_python-$version.tar.gz
    fi
    mkdir -p "$folder.part"
    tar -xzf "$archive" -C "$folder.part" --strip-components=4 --wildcards '*/vendor/llama.cpp/models/ggml-vocab-*'
    rm -rf "$folder"
    mv "$folder.part" "$folder"
fi
printf '%s\n' "$folder"
