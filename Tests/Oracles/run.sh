#!/usr/bin/env bash
# Judge the engine against transformers, llama.cpp and PEFT on SmolLM2-135M-Instruct (or on the GGUF given as $1).
# Prints each comparison; ends with 1 if any fails. Works in the cache, outside the source tree.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

model=${1:-$(Scripts/fetch-model.sh)}
python=$(Tests/Oracles/setup.sh)/bin/python
swift build -c release --package-path Tests/Benchmarks --product incipit-measure >&2
measure=$(swift build -c release --package-path Tests/Benchmarks --show-bin-path)/incipit-measure
threads=${INCIPIT_THREADS:-$(nproc)}
work=$cache/oracles-out/$(basename "$model" .gguf)
mkdir -p "$work"
export TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1
failures=0
check() { "$@" || failures=$((failures + 1)); }

printf '## Tensor types: bytes against ggml (libgguf), values against gguf-py\n\n'
check "$python" Tests/Oracles/tensor_types.py --measure "$measure"

say 'dequantizing for transformers'
"$python" - "$model" "$work/hf" << 'PYTHON'
import sys
sys.path.insert(0, "Tests/Oracles")
import hf_from_gguf
hf_from_gguf.folder_for(*sys.argv[1:3])
PYTHON

printf '\n## Files, against gguf-py and the official safetensors package\n\n'
check "$python" Tests/Oracles/container_files.py .build/release/incipit

printf '\n## Logits, teacher-forced\n\n'
"$python" Tests/Oracles/make_ids.py "$work/hf" "$work/ids.json"
"$python" Tests/Oracles/reference_logits.py "$work/hf" "$work/ids.json" "$work/reference.f32"
"$python" Tests/Oracles/llama_cpp_logits.py "$model" "$work/ids.json" "$work/llama_cpp.f32" "$threads"
"$measure" logits "$model" "$work/ids.json" "$work/ours.f32"
check "$python" Tests/Oracles/compare_logits.py "$work"/{ids.json,reference.f32,llama_cpp.f32,ours.f32}

printf '\n## Perplexity, first 16384 tokens of Persuasion, windows of 512\n\n'
text=${INCIPIT_TEXT:-$work/persuasion.txt}
[ -s "$text" ] || "$python" Tests/Oracles/fetch_text.py "$text"
"$python" Tests/Oracles/perplexity_llama_cpp.py "$model" "$text" --threads "$threads" > "$work/perplexity-llama_cpp.json"
"$measure" perplexity "$model" "$text" --tokens 16384 --window 512 --json > "$work/perplexity-ours.json"
theirs=$(json_number "$work/perplexity-llama_cpp.json" perplexity)
ours=$(json_number "$work/perplexity-ours.json" perplexity)
printf '| llama.cpp | Incipit | difference |\n| ---: | ---: | ---: |\n'
check awk -v a="$theirs" -v b="$ours" 'BEGIN {
    d = 100 * (b - a) / a
    printf "| %.4f | %.4f | %+.3f %% |\n%s  allowed 0.5 %%\n", a, b, d, (d * d <= 0.25 ? "pass" : "FAIL")
    exit !(d * d <= 0.25)
}'

printf '\n## Training: ten SGD steps from the same values, F32\n\n'
data=Fixtures/Data/gloss_category.jsonl
for method in prompt-tuning prefix-tuning; do
    [ "$method" = prompt-tuning ] && rate=0.02 || rate=0.2
    shared=(--method "$method" --data "$data" --tokens 32 --batch 16 --steps 10 --optimizer sgd --lr "$rate")
    "$python" Tests/Oracles/peft_losses.py --model "$work/hf" "${shared[@]}" --make-init "$work/$method.npy" \
        --threads "$threads" > "$work/$method-peft.json"
    "$measure" train "$model" "${shared[@]}" --init "$work/$method.npy" --json > "$work/$method-ours.json"
    check "$python" Tests/Oracles/compare_losses.py "$work/$method-peft.json" "$work/$method-ours.json"
    printf '\n'
done

printf '\n## Chat templates that llama.cpp ships, against transformers\n\n'
check "$python" Tests/Oracles/chat_templates.py "$(swift build -c release --show-bin-path)/incipit template --batch"

printf '\n## Soft prompts that PEFT saves, imported and exported again\n\n'
check "$python" Tests/Oracles/peft_prompts.py --incipit "$(swift build -c release --show-bin-path)/incipit" \
    --model Fixtures/Models/tiny --gguf Fixtures/Models/tiny/tiny-llama.gguf

[ "$failures" = 0 ] || fail "$failures comparisons failed"
