#!/usr/bin/env bash
# Judge tokenizer conversion, Hugging Face to GGUF and back, against Hugging Face tokenizers and SentencePiece. (How our own
# tokenizers encode and decode is judged by tokenizers/run.sh.)
# $1: a folder with llama.cpp's ggml-vocab-*.gguf (optional). Ends with 1 if an id differs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

python=$(Tests/Oracles/setup.sh)/bin/python
work=$cache/oracles-out/tokenizers
rm -rf "$work"
"$python" Tests/Oracles/tokenizers_oracle.py make "$work" ${1:+"$1"}
INCIPIT_TOKENIZER_ORACLE=$work swift test -c release --scratch-path .build-tests -Xswiftc -enable-testing \
  --filter TokenizerOracleTests
"$python" Tests/Oracles/tokenizers_oracle.py compare "$work"
