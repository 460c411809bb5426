#!/usr/bin/env bash
# Quantize SmolLM2-135M-Instruct (or the GGUF given as $1) to many mixes and compare every tensor with ggml's encoders.
# INCIPIT names the executable (default: the release build). Ends with 1 if a byte differs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

model=${1:-$(Scripts/fetch-model.sh)}
python=${INCIPIT_PYTHON:-$(Tests/Oracles/setup.sh)/bin/python}
incipit=${INCIPIT:-.build/release/incipit}
work=$cache/oracles-out/quantize
mkdir -p "$work"
"$incipit" quantize "$model" "$work/f16.gguf" F16 --force --no-provenance
"$python" Tests/Oracles/quantize_check.py --incipit "$incipit" --model "$work/f16.gguf" --work "$work" \
    F32 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q6_K Q5_K_M Q4_K_M Q4_K_S Q3_K_M Q3_K_L Q2_K IQ4_NL IQ4_XS TQ1_0 TQ2_0
