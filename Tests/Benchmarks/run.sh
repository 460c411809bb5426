#!/usr/bin/env bash
# Speed and memory against llama.cpp and PEFT, alternating in one sitting; Markdown rows on stdout. Close other programs.
# INCIPIT_ROUNDS (default 5) rounds; $1 may name another GGUF of the llama architecture.
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
