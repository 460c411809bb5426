#!/usr/bin/env bash
# Make the Python environment of the oracles and print its folder: pinned torch (CPU), transformers, PEFT, gguf-py, and
# llama.cpp as llama-cpp-python builds it here from source (ten minutes on two cores). Outside the source tree.
# INCIPIT_ORACLES=FOLDER names another place; an environment that already imports everything is left alone.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"

folder=${INCIPIT_ORACLES:-$cache/oracles}
complete() {
    "$folder/bin/python" -c 'import gguf, jsonschema, libgguf, llama_cpp, peft, safetensors, sentencepiece, tokenizers, torch, transformers' \
        2> /dev/null
}
if ! complete; then
    command -v python3 > /dev/null || fail 'python3 (3.10 or newer, with venv) is needed'
    command -v g++ > /dev/null || fail 'a C++ compiler is needed to build llama.cpp: apt-get install g++'
    [ -x "$folder/bin/pip" ] || python3 -m venv "$folder" || fail 'no venv: apt-get install python3-venv'
    "$folder/bin/pip" install -q -r "$here/requirements.txt" >&2
    CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) "$folder/bin/pip" install -q --no-binary llama-cpp-python llama-cpp-python==0.3.36 >&2
    complete || fail "$folder does not import everything; remove it and run this again"
fi
printf '%s\n' "$folder"
