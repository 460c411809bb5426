#!/usr/bin/env bash
# Fetch llama.cpp's converter, vocabularies and chat templates out of the PyPI source package of llama-cpp-python 0.3.36 and
# print their folder, laid out as in llama.cpp. They keep their licences and are not part of this project.
# INCIPIT_LLAMA_CPP_SDIST=FILE names a package that is here already; INCIPIT_PYTHON the Python whose pip fetches it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"

version=0.3.36
folder=$cache/llama-cpp-source-$version
if [ ! -d "$folder" ]; then
    work=$(mktemp -d "$cache/llama-cpp-source.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    archive=${INCIPIT_LLAMA_CPP_SDIST:-}
    if [ -z "$archive" ]; then
        say 'fetching the source package of llama-cpp-python'
        python=${INCIPIT_PYTHON:-}
        if [ -z "$python" ]; then
            python3 -m venv "$work/env" || fail 'no venv: apt-get install python3-venv'
            python=$work/env/bin/python
        fi
        # Only the package itself as source: pip prepares its build, and the tools for that come as wheels.
        "$python" -m pip download -q --no-deps --no-binary llama-cpp-python -d "$work" "llama-cpp-python==$version" >&2
        archive=$work/llama_cpp_python-$version.tar.gz
    fi
    mkdir "$work/source"
    tar -xzf "$archive" -C "$work/source" --strip-components 3 --wildcards '*/vendor/llama.cpp/conversion' \
        '*/vendor/llama.cpp/gguf-py' '*/vendor/llama.cpp/convert_hf_to_gguf.py' \
        '*/vendor/llama.cpp/models/ggml-vocab-*' '*/vendor/llama.cpp/models/templates'
    mv "$work/source" "$folder"
fi
printf '%s\n' "$folder"
