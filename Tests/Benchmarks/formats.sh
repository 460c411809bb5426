#!/usr/bin/env bash
# Model files: opening, vocabulary, fingerprint, convert, quantize and the encoders of tensor types, beside llama.cpp's
# tools and OpenSSL, in one sitting; Markdown tables on stdout. Close other programs. Ends with 1 if a value is missed.
# INCIPIT_ROUNDS (default 5) rounds; INCIPIT and INCIPIT_MEASURE name executables instead of building them; INCIPIT_WORK
# (default /dev/shm where there is one) takes some 5 GB for a while.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

python=${INCIPIT_PYTHON:-$(Tests/Oracles/setup.sh)/bin/python}
incipit=${INCIPIT:-.build/release/incipit}
[ -x "$incipit" ] || fail "$incipit is not there: run make build first"
measure=${INCIPIT_MEASURE:-}
if [ -z "$measure" ]; then
    swift build -c release --package-path Tests/Benchmarks --product incipit-measure >&2
    measure=$(swift build -c release --package-path Tests/Benchmarks --show-bin-path)/incipit-measure
fi
rounds=${INCIPIT_ROUNDS:-5}
base=${INCIPIT_WORK:-}
if [ -z "$base" ]; then
    base=$cache/oracles-out
    [ ! -w /dev/shm ] || [ "$(df --output=avail -B1M /dev/shm | tail -1)" -lt 6000 ] || base=/dev/shm
fi
work=$base/incipit-bench-formats
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
export TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1

# convert_hf_to_gguf.py is not in gguf's wheel.
source=$(INCIPIT_PYTHON=$python Tests/Oracles/llama_cpp_source.sh)
model=$(Scripts/fetch-model.sh)
"$python" Tests/Benchmarks/peers/make_large_models.py "$work" --megabytes "${INCIPIT_MEGABYTES:-1500}" >&2
"$incipit" quantize "$work/model" "$work/quantized.gguf" Q8_0 --force > /dev/null
failures=0
"$python" Tests/Benchmarks/peers/compare_formats.py --incipit "$incipit" --measure "$measure" --models "$work" \
    --work "$work" --llama-cpp "$source" --gguf "$work/quantized.gguf" --rounds "$rounds" || failures=$((failures + 1))
printf '\n'
"$incipit" quantize "$model" "$work/f16.gguf" F16 --force --no-provenance > /dev/null
"$python" Tests/Benchmarks/peers/compare_quantize.py --incipit "$incipit" --model "$work/f16.gguf" --work "$work" \
    --rounds "$rounds" || failures=$((failures + 1))
printf '\n'
"$python" Tests/Oracles/tensor_types.py --measure "$measure" --speed || failures=$((failures + 1))
[ "$failures" = 0 ] || fail "$failures tables miss what is required"
