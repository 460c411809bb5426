#!/usr/bin/env bash
# Judge samplers, grammars, JSON schemas and perplexity beside llama.cpp and jsonschema, on SmolLM2-135M-Instruct (or on the
# GGUF given as $1). Ends with 1 if anything fails.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

model=${1:-$(Scripts/fetch-model.sh)}
python=$(Tests/Oracles/setup.sh)/bin/python
incipit=$(swift build -c release --show-bin-path)/incipit
threads=${INCIPIT_THREADS:-$(nproc)}
work=$cache/oracles-out/sampling
tiny=Fixtures/Models/tiny/tiny-llama.gguf
mkdir -p "$work"
failures=0
check() { "$@" || failures=$((failures + 1)); }

printf '## Golden files of samplers and grammars are what llama.cpp says now\n\n'
"$python" Tests/Oracles/samplers.py --vocab "$tiny" "$work/samplers.json"
check cmp "$work/samplers.json" Fixtures/Golden/samplers.json
"$python" Tests/Oracles/grammars.py --vocab "$tiny" "$work/grammars.json"
check cmp "$work/grammars.json" Fixtures/Golden/grammars.json

printf '\n## Random chains of samplers, random grammars\n\n'
"$python" Tests/Oracles/samplers.py --vocab "$tiny" --random 4000 --seed "$RANDOM" "$work/random-samplers.json"
"$python" Tests/Oracles/grammars.py --vocab "$tiny" --random 800 --seed "$RANDOM" "$work/random-grammars.json"
check env INCIPIT_SAMPLER_ORACLE="$work/random-samplers.json" INCIPIT_GRAMMAR_GOLDEN="$work/random-grammars.json" \
    swift test -c release --scratch-path .build-tests -Xswiftc -enable-testing --filter 'SamplerOracleTests|verdicts'

printf '\n## JSON schemas, against jsonschema and llama.cpp\n\n'
check "$python" Tests/Oracles/random_schemas.py "$incipit" --schemas 1000
check "$python" Tests/Oracles/json_schemas.py "$incipit" "$model"

printf '\n## Perplexity and KL divergence of every type, Persuasion, windows of 512\n\n'
text=${INCIPIT_TEXT:-$work/persuasion.txt}
[ -s "$text" ] || "$python" Tests/Oracles/fetch_text.py "$text"
check "$python" Tests/Oracles/perplexity_types.py "$incipit" "$model" "$text" "$work" --threads "$threads"

[ "$failures" = 0 ] || fail "$failures comparisons failed"
