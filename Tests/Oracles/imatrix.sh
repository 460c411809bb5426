#!/usr/bin/env bash
# From text to importance to weights: `incipit imatrix` on SmolLM2-135M-Instruct (or the GGUF given as $1), then many mixes
# with the matrix; every tensor is compared with ggml's encoders and with what llama.cpp makes of model and matrix.
# INCIPIT names the executable (default: the release build), INCIPIT_TEXT another text. Ends with 1 if a byte differs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

model=${1:-$(Scripts/fetch-model.sh)}
python=${INCIPIT_PYTHON:-$(Tests/Oracles/setup.sh)/bin/python}
incipit=${INCIPIT:-.build/release/incipit}
work=$cache/oracles-out/imatrix
mkdir -p "$work"
text=${INCIPIT_TEXT:-ARCHITECTURE.md}
"$incipit" quantize "$model" "$work/f16.gguf" F16 --force --no-provenance > /dev/null
"$incipit" imatrix "$work/f16.gguf" "$text" --chunks "${INCIPIT_CHUNKS:-8}" -o "$work/imatrix.gguf" --force >&2
mixes=(${INCIPIT_MIXES:-Q4_0 Q5_1 Q4_K_M Q3_K_M Q2_K IQ4_NL IQ4_XS IQ3_S IQ3_XXS IQ2_XS})
"$python" Tests/Oracles/quantize_check.py --incipit "$incipit" --model "$work/f16.gguf" --work "$work" \
    --imatrix "$work/imatrix.gguf" "${mixes[@]}"
