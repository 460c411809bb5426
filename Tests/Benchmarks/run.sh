#!/usr/bin/env bash
# Speed and memory against llama.cpp and PEFT, alternating in one sitting; Markdown rows on stdout. Close other programs.
# INCIPIT_ROUNDS (default 5) rounds; $1 may name another GGUF of the llama architecture. INCIPIT_TYPES="Q4_0 Q6_K" limits
# the types that are compared, INCIPIT_LARGE=0 leaves the model of 1.17 G out (its files take 9 GB of disk).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

model=${1:-$(Scripts/fetch-model.sh)}
python=$(Tests/Oracles/setup.sh)/bin/python
swift build -c release --package-path Tests/Benchmarks --product incipit-measure >&2
measure=$(swift build -c release --package-path Tests/Benchmarks --show-bin-path)/incipit-measure
rounds=${INCIPIT_ROUNDS:-5}
work=$cache/oracles-out/$(basename "$model" .gguf)
mkdir -p "$work"
export TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1

threads=(1)
[ "$(nproc)" -gt 1 ] && threads+=("$(nproc)")
failures=0
"$python" Tests/Benchmarks/peers/compare_speed.py --measure "$measure" --model "$model" --threads "${threads[@]}" \
    --rounds "$rounds" || failures=$((failures + 1))
printf '\n'

# Every type of the small model, and of a large one of random weights.
incipit=$(swift build -c release --show-bin-path)/incipit
f16=$work/$(basename "$model" .gguf | sed 's/[.-]Q[0-9].*//')-F16.gguf
[ -f "$f16" ] || "$incipit" quantize "$model" "$f16" F16 > /dev/null
large=()
if [ "${INCIPIT_LARGE:-1}" = 1 ]; then
    [ -f "$work/random-1.17G-F16.gguf" ] ||
        "$python" Tests/Benchmarks/peers/random_llama.py "$model" "$work/random-1.17G-F16.gguf"
    large=(--large "$work/random-1.17G-F16.gguf")
fi
"$python" Tests/Benchmarks/peers/compare_types.py --incipit "$incipit" --measure "$measure" --source "$f16" --work "$work" \
    --threads "${threads[@]}" --rounds "$(((rounds + 1) / 2))" "${large[@]}" ${INCIPIT_TYPES:+--types $INCIPIT_TYPES} ||
    failures=$((failures + 1))
printf '\n'
"$python" Tests/Benchmarks/peers/first_token.py "$incipit" "$model" ${large[1]:+"${large[1]}"} --threads "${threads[@]}" ||
    failures=$((failures + 1))
printf '\n'
"$python" Tests/Benchmarks/peers/compare_context.py --measure "$measure" --model "$model" --threads "$(nproc)" \
    --rounds "$(((rounds + 1) / 2))" || failures=$((failures + 1))
printf '\n'
"$python" - "$model" "$work/hf" << 'PYTHON'
import sys
sys.path.insert(0, "Tests/Oracles")
import hf_from_gguf
hf_from_gguf.folder_for(*sys.argv[1:3])
PYTHON
"$python" Tests/Benchmarks/peers/compare_training.py --measure "$measure" --model "$model" --hf "$work/hf" \
    --data Fixtures/Data/gloss_category.jsonl --threads "$(nproc)" --rounds "$(((rounds + 1) / 2))" ||
    failures=$((failures + 1))
[ "$failures" = 0 ] || fail "$failures comparisons miss what is required"
