#!/usr/bin/env bash
# Time `incipit quantize` against llama.cpp's quantizer on SmolLM2-135M-Instruct as F16 (or on the F16 GGUF given as $1).
# INCIPIT names the executable (default: the release build). Close other programs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

python=${INCIPIT_PYTHON:-$(Tests/Oracles/setup.sh)/bin/python}
incipit=${INCIPIT:-.build/release/incipit}
work=$cache/oracles-out/quantize
mkdir -p "$work"
model=${1:-}
if [ -z "$model" ]; then
    model=$work/f16.gguf
    "$incipit" quantize "$(Scripts/fetch-model.sh)" "$model" F16 --force --no-provenance
fi
"$python" Tests/Benchmarks/peers/compare_quantize.py --incipit "$incipit" --model "$model" --work "$work" \
    --rounds "${INCIPIT_ROUNDS:-5}"
